"""A training that was interrupted ends as one that was not, bit for bit."""

import json
import signal
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import pytest

from babyllama.distillation import compiling, fused
from babyllama.errors import IgnoredSettingWarning, StoppedError
from babyllama.tokens.batches import Batch, ChunkOrder
from babyllama.training import memory, spikes, trainer
from babyllama.training.job import Job
from babyllama.training.trainer import Trainer
from tiny_jobs import STEPS_PER_EPOCH, assert_equal_weights, new_job, new_model, new_teachers, run

MIDDLE, EDGE = STEPS_PER_EPOCH + 1, STEPS_PER_EPOCH


@dataclass(frozen=True)
class Eventful(ChunkOrder):
    """Something happens while a given step, counted from 1, runs."""

    at: int = 0
    event: Callable[[], None] = lambda: None

    def batch(self, epoch: int, step: int) -> Batch:
        if epoch * self.steps_per_epoch + step + 1 == self.at:
            self.event()
        return super().batch(epoch, step)


def interrupt() -> None:
    signal.raise_signal(signal.SIGINT)


def kill() -> None:
    raise RuntimeError("the machine went down")


def with_event(job: Job, at: int, event: Callable[[], None]) -> Job:
    held = {f.name: getattr(job.order, f.name) for f in fields(ChunkOrder)}
    values = {f.name: getattr(job, f.name) for f in fields(job)}
    return Job(**values | {"order": Eventful(**held, at=at, event=event)})


def without_time(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{k: v for k, v in row.items() if "second" not in k} for row in rows]


def log(work: Path) -> list[dict[str, Any]]:
    lines = (work / "log.jsonl").read_text("utf-8").splitlines()
    return without_time([json.loads(line) for line in lines])


def dropping(**settings: Any) -> Job:
    return new_job(model=new_model("gpt2", dropout=0.3), micro_batch=4, **settings)


def shifted() -> Job:
    job = new_job(teachers=new_teachers())
    return replace(job, order=replace(job.order, random_offsets=True, batch_size=6))


MOVING = {"divergence": "reverse", "ce_weight_schedule": "wsd", "mask_inputs": 0.3}
KINDS = {
    "teacher": lambda: new_job(weight_decay=0.1),
    "accumulating": lambda: new_job(micro_batch=3),
    "dropping": dropping,
    "distilled": lambda: new_job(teachers=new_teachers()),
    "distilled with dropout": lambda: dropping(teachers=new_teachers()),
    "by another loss in every step": lambda: new_job(teachers=new_teachers(), distillation=MOVING),
    "bf16": lambda: new_job(precision="bf16"),
    "keeping the best": lambda: new_job(keep="best", epochs=3, learning_rate=0.3),
    "at a constant rate": lambda: new_job(schedule="constant", warmup_steps=0, clip_norm=None),
    "to a last rate": lambda: new_job(final_learning_rate=0.2, betas=(0.8, 0.9), warmup_steps=2),
    "at random offsets": shifted,
    "climbing": lambda: dropping(sam={}),
    "climbing at the end": lambda: new_job(sam={"last_epochs": 1, "adaptive": True, "rho": 0.5}),
    "by muon": lambda: dropping(optimizer="muon", weight_decay=0.1),
    "skipping spikes": lambda: new_job(spikes="skip", epochs=4),
    "averaging": lambda: new_job(ema=0.8, keep="best"),
    "in cycles": lambda: new_job(schedule="cyclic", cycles=2),
    "uphill for some steps": lambda: new_job(ascent=True, steps=5),
}


@pytest.fixture(autouse=True)
def touchy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every norm above the median of two or more steps is a spike."""
    monkeypatch.setattr(spikes, "FACTOR", 1.0)
    monkeypatch.setattr(spikes, "LEAST", 2)


def kept_files(work: Path) -> dict[str, bytes]:
    """What is kept beside the last weights."""
    files = sorted(path for path in (work / "weights").rglob("*") if path.is_file())
    return {str(path.relative_to(work)): path.read_bytes() for path in files}


def assert_same_end(work: Path, new: Callable[[], Job], resumed: Job, summary: Any) -> None:
    """That `resumed`, trained in `work`, ended as one that is trained now without a break."""
    whole = new()
    expected = run(whole, work.with_name("uninterrupted"))
    assert without_time([summary]) == without_time([expected])
    assert log(work) == log(work.with_name("uninterrupted"))
    assert kept_files(work) == kept_files(work.with_name("uninterrupted"))
    assert_equal_weights(resumed.model, whole.model)


@pytest.mark.filterwarnings("ignore:tiny. the gradient norm")
@pytest.mark.parametrize("at", [MIDDLE, EDGE])
@pytest.mark.parametrize("kind", KINDS)
def test_a_stopped_training_goes_on_as_if_it_had_not_been(
    kind: str, at: int, tmp_path: Path
) -> None:
    new, work = KINDS[kind], tmp_path / "work"
    with pytest.raises(StoppedError, match=f"tiny stopped at step {at}"):
        run(with_event(new(), at, interrupt), work)
    assert log(work)[-1]["step"] == at
    resumed = new()
    assert_same_end(work, new, resumed, run(resumed, work))


@pytest.mark.filterwarnings("ignore:tiny. the gradient norm")
@pytest.mark.parametrize("method", ["_end_epoch", "save", "finish"])
@pytest.mark.parametrize("kind", ["distilled with dropout", "keeping the best", "skipping spikes"])
def test_a_training_killed_behind_its_last_step_ends_as_if_it_had_not_been(
    kind: str, method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before its last validation, before its last checkpoint, and before its model is written."""
    new, work = KINDS[kind], tmp_path / "work"
    begun, whole = new(), getattr(Trainer, method)

    def killed(trainer: Trainer) -> Any:
        if trainer.position.step == begun.total_steps:
            kill()
        return whole(trainer)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, method, killed)
        with pytest.raises(RuntimeError, match="went down"):
            run(begun, work)
    resumed = new()
    assert_same_end(work, new, resumed, run(resumed, work))


def test_the_window_of_the_spikes_is_part_of_the_state(tmp_path: Path) -> None:
    with pytest.raises(StoppedError), pytest.warns(UserWarning, match="gradient norm"):
        run(with_event(new_job(spikes="warn"), MIDDLE, interrupt), tmp_path)
    state = json.loads((tmp_path / f"checkpoints/step-{MIDDLE:08d}/state.json").read_text())
    assert state["norms"] == [
        row["gradient_norm"] for row in log(tmp_path) if row["kind"] == "step"
    ]
    assert state["spikes"] == len([row for row in log(tmp_path) if "spike" in row])


@pytest.mark.parametrize("other", [2, 8])
def test_a_resumed_training_keeps_its_micro_batch_whatever_the_recipe_says_by_then(
    other: int, tmp_path: Path
) -> None:
    """Dropout draws its masks by micro-batch: another one would end as neither run."""
    work = tmp_path / "work"
    with pytest.raises(StoppedError):
        run(with_event(dropping(), MIDDLE, interrupt), work)
    resumed = new_job(model=new_model("gpt2", dropout=0.3), micro_batch=other)
    message = r"models\.tiny\.training\.micro_batch has no effect: .* began with 4"
    with pytest.warns(IgnoredSettingWarning, match=message):
        summary = run(resumed, work)
    assert summary["micro_batch"] == 4
    assert_same_end(work, dropping, resumed, summary)


def test_a_resumed_training_keeps_its_micro_batch_where_the_default_is_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dropping_by_default() -> Job:
        return new_job(model=new_model("gpt2", dropout=0.3))

    work = tmp_path / "work"
    with pytest.raises(StoppedError):
        run(with_event(dropping_by_default(), MIDDLE, interrupt), work)
    resumed = dropping_by_default()
    with monkeypatch.context() as patch:
        patch.setitem(memory.LOGITS_BUDGET, "cpu", 1)
        assert resumed.micro_batch == 1
        summary = run(resumed, work)
    assert_same_end(work, dropping_by_default, resumed, summary)


def test_the_kernel_of_the_loss_is_recorded_and_kept_or_said_to_have_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here nothing is compiled: the plain function stands in for the compiled one."""
    monkeypatch.setattr(compiling, "WORTH_COMPILING", 0)
    monkeypatch.setattr(compiling, "can_compile", lambda _: True)
    monkeypatch.setattr(fused, "compiled", lambda function: function)
    assert run(new_job(), tmp_path / "whole")["kernel"] == "compiled"
    for asked, changed in (("auto", False), ("off", True)):
        work = tmp_path / asked
        with pytest.raises(StoppedError):
            run(with_event(new_job(), MIDDLE, interrupt), work)
        resumed = new_job(fields={"compile": asked})
        with pytest.warns(UserWarning, match=r"compiled") if changed else nullcontext():
            summary = run(resumed, work)
        assert summary["kernel"] == ("plain" if changed else "compiled")


def test_the_form_of_the_layers_is_recorded_and_kept_or_said_to_have_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here nothing is compiled: what would be is counted."""
    compiled: list[object] = []
    monkeypatch.setattr(compiling, "WORTH_COMPILING_LAYERS", 0)
    monkeypatch.setattr(compiling, "can_compile", lambda _: True)
    monkeypatch.setattr(trainer, "compile_layers", compiled.append)
    job = new_job()
    assert run(job, tmp_path / "whole")["layers"] == "compiled"
    assert compiled == [job.model]
    for asked, changed in (("auto", False), ("off", True)):
        work = tmp_path / asked
        with pytest.raises(StoppedError):
            run(with_event(new_job(), MIDDLE, interrupt), work)
        compiled.clear()
        resumed = new_job(fields={"compile": asked})
        message = r"compiled layers .* runtime.compile is off"
        with pytest.warns(UserWarning, match=message) if changed else nullcontext():
            summary = run(resumed, work)
        assert summary["layers"] == ("plain" if changed else "compiled")
        assert compiled == ([] if changed else [resumed.model])


def test_a_killed_training_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    work = tmp_path / "work"
    with pytest.raises(RuntimeError, match="went down"):
        run(with_event(new_job(), MIDDLE + 1, kill), work)
    with (work / "log.jsonl").open("a", encoding="utf-8") as half:
        half.write('{"kind": "step", "st')
    assert [row["step"] for row in log_until_half(work)] == [1, 2, 3, 3, 4]
    resumed = new_job()
    assert_same_end(work, new_job, resumed, run(resumed, work))


def log_until_half(work: Path) -> list[dict[str, Any]]:
    return [json.loads(row) for row in (work / "log.jsonl").read_text("utf-8").splitlines()[:-1]]


def test_a_spoilt_checkpoint_costs_time_and_nothing_else(tmp_path: Path) -> None:
    work = tmp_path / "work"
    with pytest.raises(StoppedError):
        run(with_event(new_job(), MIDDLE, interrupt), work)
    newest = work / "checkpoints" / f"step-{MIDDLE:08d}"
    (newest / "model.safetensors").write_bytes(b"")
    resumed = new_job()
    with pytest.warns(UserWarning, match=newest.name):
        summary = run(resumed, work)
    assert_same_end(work, new_job, resumed, summary)


def test_a_finished_training_that_is_called_again_trains_no_more(tmp_path: Path) -> None:
    work = tmp_path / "work"
    run(new_job(), work)
    again = with_event(new_job(), 1, kill)
    assert_same_end(work, new_job, again, run(again, work))


def test_a_stop_in_the_last_step_lets_the_training_finish(tmp_path: Path) -> None:
    job = with_event(new_job(epochs=1), STEPS_PER_EPOCH, interrupt)
    assert run(job, tmp_path / "work")["steps"] == STEPS_PER_EPOCH


def test_checkpoints_are_written_when_they_are_due(tmp_path: Path) -> None:
    for minutes, kept in ((1e-9, ["step-00000001", "step-00000002"]), (60, [])):
        work = tmp_path / str(minutes)
        with pytest.raises(RuntimeError):
            run(with_event(new_job(checkpoint_minutes=minutes), 3, kill), work)
        assert sorted(path.name for path in work.glob("checkpoints/*")) == kept


def test_time_spent_before_a_stop_counts(tmp_path: Path) -> None:
    work = tmp_path / "work"
    with pytest.raises(StoppedError):
        run(with_event(new_job(), MIDDLE, interrupt), work)
    state = work / "checkpoints" / f"step-{MIDDLE:08d}" / "state.json"
    before = json.loads(state.read_text("utf-8"))["seconds"]
    assert before > 0
    assert run(new_job(), work)["seconds"] > before


def test_handlers_are_given_back_after_a_stop(tmp_path: Path) -> None:
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(StoppedError):
        run(with_event(new_job(), 2, interrupt), tmp_path / "work")
    assert signal.getsignal(signal.SIGINT) == handler
