"""Steps that make the objective worse, for so many steps as a recipe says."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from babyllama.errors import DivergedError
from babyllama.training.trainer import Trainer
from tiny_jobs import STEPS_PER_EPOCH, new_job, new_teachers, run


def gradients(work: Path, **settings: Any) -> list[torch.Tensor]:
    job = new_job(clip_norm=None, **settings)
    trainer = Trainer(job, work)
    trainer._accumulate(job.order.batch(0, 0), 0)
    return [p.grad for p in job.model.parameters() if p.grad is not None]


@pytest.mark.parametrize("taught", [False, True])
def test_the_gradient_is_turned_and_nothing_else(taught: bool, tmp_path: Path) -> None:
    given: dict[str, Any] = {"teachers": new_teachers()} if taught else {}
    down, up = gradients(tmp_path, **given), gradients(tmp_path, ascent=True, **given)
    assert len(down) == len(up) > 5
    assert any(bool(gradient.any()) for gradient in down)
    assert all(torch.equal(a, -b) for a, b in zip(down, up, strict=True))


def rows(work: Path) -> list[dict[str, Any]]:
    lines = (work / "log.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line) for line in lines]


def test_the_loss_rises_and_is_logged_as_it_is(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"schedule": "constant", "warmup_steps": 0, "learning_rate": 1e-2}
    job = new_job(ascent=True, steps=5, batch_size=1, **settings)
    before = Trainer(job, tmp_path)._validate(job.validation)["cross_entropy"]
    facts = run(job, tmp_path / "work")
    log = rows(tmp_path / "work")
    assert [row["kind"] for row in log] == ["step"] * 5 + ["validation"]
    assert all(row["loss"] == pytest.approx(row["cross_entropy"]) for row in log[:-1])
    assert facts["validation"]["cross_entropy"] > before + 0.01


def test_steps_stand_in_the_place_of_epochs(tmp_path: Path) -> None:
    """They may end a training within an epoch, or go on into later ones."""
    for steps in (2, STEPS_PER_EPOCH + 1):
        facts = run(new_job(steps=steps, epochs=1), tmp_path / str(steps))
        steps_logged = [row for row in rows(tmp_path / str(steps)) if row["kind"] == "step"]
        assert facts["steps"] == len(steps_logged) == steps
        assert facts["epochs"] == pytest.approx(steps / STEPS_PER_EPOCH)
        assert facts["flops"] == steps * facts["tokens_seen"] / steps * 10


def test_steps_of_an_epoch_are_the_first_ones_of_a_longer_training(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"schedule": "constant"}
    run(new_job(steps=2, **settings), tmp_path / "short")
    run(new_job(steps=4, **settings), tmp_path / "long")
    short, long = ([r["loss"] for r in rows(tmp_path / w)[:2]] for w in ("short", "long"))
    assert short == long


def test_an_ascent_that_leaves_the_finite_numbers_ends(tmp_path: Path) -> None:
    job = new_job(ascent=True, learning_rate=1e30, warmup_steps=0)
    with pytest.raises(DivergedError, match="tiny diverged at step"):
        run(job, tmp_path)
    assert all(math.isfinite(row["loss"]) for row in rows(tmp_path))
