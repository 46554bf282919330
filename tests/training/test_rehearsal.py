"""The batch before the first step: finds a memory that does not suffice, and leaves nothing."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from babyllama.errors import BabyllamaError
from babyllama.training import trainer as module
from babyllama.training.memory import OUT_OF_MEMORY
from babyllama.training.trainer import Trainer
from tiny_jobs import assert_equal_weights, new_job, new_model, new_teachers, run


def test_it_takes_the_largest_shapes_forward_and_back(tmp_path: Path) -> None:
    trainer = Trainer(new_job(teachers=new_teachers(), micro_batch=3), tmp_path)
    seen: list[tuple[list[int], bool]] = []
    trainer.objective.register_forward_hook(
        lambda _, given, found: seen.append(([*given[0].labels.shape], found[0].requires_grad))
    )
    trainer.rehearse()
    assert seen == [([3, 12], True), ([3, 12], False)]


def test_it_leaves_nothing_of_itself(tmp_path: Path) -> None:
    job = new_job(model=new_model("gpt2", dropout=0.3), teachers=new_teachers())
    trainer = Trainer(job, tmp_path)
    before = {name: value.clone() for name, value in job.model.state_dict().items()}
    random, position = torch.get_rng_state(), dict(vars(trainer.position))
    trainer.rehearse()
    assert all(torch.equal(before[name], value) for name, value in job.model.state_dict().items())
    assert all(p.grad is None for p in trainer.objective.parameters())
    assert not trainer.optimizer.state
    assert torch.equal(torch.get_rng_state(), random)
    assert vars(trainer.position) == position
    assert trainer.objective.training
    assert not [*tmp_path.iterdir()]


def test_a_training_without_it_is_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def trained(name: str) -> Any:
        job = new_job(model=new_model("gpt2", dropout=0.3), micro_batch=4)
        run(job, tmp_path / name)
        return job.model

    whole = trained("with")
    monkeypatch.setattr(Trainer, "rehearse", lambda _: None)
    assert_equal_weights(whole, trained("without"))


@pytest.mark.parametrize("where", ["forward", "validation"])
def test_memory_that_does_not_suffice_is_told_before_the_first_step(
    where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = new_job(micro_batch=4)

    def short(*_: Any, **__: Any) -> Any:
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: 9 bytes")

    monkeypatch.setattr(
        *((module, "validate") if where == "validation" else (job.model, "forward")), short
    )
    if where == "forward":
        monkeypatch.setattr(job.model.base_model, "forward", short)
    message = r"out of memory at 4 sequences .*micro_batch below that \(gradients are then accum"
    with pytest.raises(BabyllamaError, match=message):
        run(job, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [OUT_OF_MEMORY]


def test_a_finished_training_rehearses_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(new_job(), tmp_path)

    def refuse(_: Sequence[Any]) -> None:
        raise AssertionError

    monkeypatch.setattr(Trainer, "rehearse", refuse)
    run(new_job(), tmp_path)
