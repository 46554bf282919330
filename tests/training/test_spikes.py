"""What a spike is, and what each policy does with one."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from babyllama.training import spikes
from babyllama.training.spikes import FACTOR, LEAST, WINDOW, is_spike
from babyllama.training.trainer import Trainer
from tiny_jobs import assert_equal_weights, new_job, run


def test_the_median_of_the_window_decides() -> None:
    calm = [1.0, 3.0, 2.0] * WINDOW
    assert is_spike(2 * FACTOR + 0.01, calm)
    assert not is_spike(2 * FACTOR, calm)
    assert is_spike(FACTOR + 0.01, [100.0] * 50 + [1.0] * WINDOW), "only the last ones count"
    assert not is_spike(1e9, calm[: LEAST - 1])
    assert is_spike(FACTOR + 0.01, [1.0] * (WINDOW - 1) + [1e9]), "one spike before hides none"


def test_a_norm_that_has_risen_for_good_stops_being_a_spike() -> None:
    norms, found = [1.0] * WINDOW, []
    for _ in range(WINDOW):
        found.append(is_spike(10.0, norms))
        norms = [*norms, 10.0][-WINDOW:]
    assert found == [True] * (WINDOW // 2) + [False] * (WINDOW // 2)


@pytest.fixture
def touchy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every norm that is above the median of two or more before is a spike."""
    monkeypatch.setattr(spikes, "FACTOR", 1.0)
    monkeypatch.setattr(spikes, "LEAST", 2)


def rows(work: Path) -> list[dict[str, Any]]:
    found = map(json.loads, (work / "log.jsonl").read_text("utf-8").splitlines())
    return [row for row in found if row["kind"] == "step"]


@pytest.mark.usefixtures("touchy")
def test_a_spike_is_told_and_taken_or_skipped(
    tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    jobs, results = {}, {}
    for policy in ("off", "warn", "skip"):
        jobs[policy] = new_job(spikes=policy, epochs=3)
        results[policy] = run(jobs[policy], tmp_path / policy)
    assert_equal_weights(jobs["off"].model, jobs["warn"].model)
    assert results["off"]["spikes"] is None
    assert not any("spike" in row for row in rows(tmp_path / "off"))
    for policy, done in (("warn", "taken"), ("skip", "skipped")):
        marked = [row["step"] for row in rows(tmp_path / policy) if row.get("spike") == done]
        told = [str(w.message) for w in recwarn if f"spikes: {policy}" in str(w.message)]
        assert len(marked) == len(told) == results[policy]["spikes"] > 0
        assert f"of step {marked[0]} is more than" in told[0]


@pytest.mark.usefixtures("touchy")
def test_a_skipped_step_changes_no_weight_and_no_moment(tmp_path: Path) -> None:
    trainer = Trainer(new_job(spikes="skip", warmup_steps=0), tmp_path)
    trainer.position.norms = [0.0, 0.0]
    before = [p.clone() for p in trainer.objective.parameters()]
    with pytest.warns(UserWarning, match="the update is skipped"):
        row = trainer.step()
    assert row["spike"] == "skipped"
    assert trainer.position.step == 1
    assert trainer.position.norms == [0.0, 0.0, row["gradient_norm"]]
    assert not trainer.optimizer.state
    assert all(p.grad is None for p in trainer.objective.parameters())
    assert all(map(torch.equal, before, trainer.objective.parameters()))
