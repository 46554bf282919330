"""A training by a curriculum: what its log says, and that it goes on where it stood in a phase."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from babyllama.tokens.batches import Batch
from babyllama.tokens.curriculum import Curriculum, Mixed
from babyllama.training.job import Job
from tiny_jobs import BATCH, CHUNK, assert_equal_weights, new_job, new_model, run

SOURCES = {"easy": range(BATCH * CHUNK), "hard": range(BATCH * CHUNK, 3 * BATCH * CHUNK)}
PHASE = 2  # steps: two epochs of one batch; the second phase has six, two epochs of three


@dataclass(frozen=True, kw_only=True)
class Deadly(Curriculum):
    """The machine goes down in a step, counted from 1."""

    at: int = 0

    def batch(self, epoch: int, step: int) -> Batch:
        if (epoch, step) == self.place(self.at - 1):
            raise RuntimeError("the machine went down")
        return super().batch(epoch, step)


def job(kind: Callable[..., Curriculum] = Curriculum, *, shift: bool = False, **more: Any) -> Job:
    plain = new_job(model=new_model("gpt2", dropout=0.3), checkpoint_minutes=1e-9)
    whole = (plain.order.ids, CHUNK, BATCH - shift, 1, shift)
    buckets = [["easy"], ["hard"]]
    order = kind(*whole, buckets=buckets, sources=SOURCES, epochs=plain.settings.epochs, **more)
    return replace(plain, order=order)


def log(work: Path) -> list[dict[str, Any]]:
    lines = (work / "log.jsonl").read_text("utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    return [{k: v for k, v in row.items() if "second" not in k} for row in rows]


@pytest.mark.parametrize("shift", [False, True])
@pytest.mark.parametrize("at", [PHASE, PHASE + 1, PHASE + 3, PHASE + 4])
def test_a_training_that_was_killed_in_a_phase_ends_as_one_that_was_not(
    at: int, shift: bool, tmp_path: Path
) -> None:
    with pytest.raises(RuntimeError, match="went down"):
        run(job(Deadly, shift=shift, at=at), tmp_path / "killed")
    assert log(tmp_path / "killed")[-1]["step"] == at - 1
    resumed, whole = job(shift=shift), job(shift=shift)
    run(resumed, tmp_path / "killed")
    run(whole, tmp_path / "whole")
    assert log(tmp_path / "killed") == log(tmp_path / "whole")
    assert_equal_weights(resumed.model, whole.model)


def test_the_log_names_the_phase_and_every_epoch_ends_with_a_validation(tmp_path: Path) -> None:
    summary = run(job(), tmp_path / "work")
    rows = log(tmp_path / "work")
    steps = [(row["epoch"], row["phase"]) for row in rows if row["kind"] == "step"]
    assert steps == [(0, 1), (1, 1), (2, 2), (2, 2), (2, 2), (3, 2), (3, 2), (3, 2)]
    validated = [r for r in rows if r["kind"] == "validation"]
    assert [(r["step"], r["epoch"], r["phase"]) for r in validated] == [
        (1, 1, 1),
        (2, 2, 1),
        (5, 3, 2),
        (8, 4, 2),
    ]
    assert summary["phases"] == [
        {"adds": ["easy"], "chunks": BATCH, "steps": PHASE},
        {"adds": ["hard"], "chunks": 3 * BATCH, "steps": 6},
    ]


def test_the_learning_rate_falls_over_the_whole_training(tmp_path: Path) -> None:
    run(job(), tmp_path / "work")
    rates = [row["learning_rate"] for row in log(tmp_path / "work") if row["kind"] == "step"]
    # A step of warm-up, then half a cosine over the seven others.
    cosine = 1e-2 * 0.5 * (1 + np.cos(np.pi * np.arange(7) / 7))
    assert rates == pytest.approx([0.0, *cosine])


def test_the_control_sees_as_many_tokens_and_costs_as_much(tmp_path: Path) -> None:
    rising = job()
    assert isinstance(rising.order, Curriculum)
    order = Mixed(rising.order.ids, CHUNK, BATCH, 1, curriculum=rising.order)
    found = run(replace(rising, order=order), tmp_path / "control")
    expected = run(job(), tmp_path / "curriculum")
    for key in ("steps", "tokens_seen", "words_seen", "flops"):
        assert found[key] == expected[key]
    steps = [row["epoch"] for row in log(tmp_path / "control") if row["kind"] == "step"]
    assert steps == [0, 0, 0, 1, 1, 1, 2, 2]


def test_steps_in_the_place_of_epochs_cut_a_curriculum_or_go_on_in_its_last_phase(
    tmp_path: Path,
) -> None:
    for steps, phases in ((4, [1, 1, 2, 2]), (10, [1, 1, *[2] * 8])):
        given = job()
        given = replace(given, settings=given.settings.model_copy(update={"steps": steps}))
        run(given, tmp_path / str(steps))
        rows = log(tmp_path / str(steps))
        assert [row["phase"] for row in rows if row["kind"] == "step"] == phases
