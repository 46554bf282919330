"""Sharpness-aware minimisation: which gradient a step takes, and what it leaves as it was."""

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from transformers import PreTrainedModel

from babyllama.errors import DivergedError
from babyllama.recipe_training import Sam
from babyllama.training import spikes
from babyllama.training.job import Job
from babyllama.training.sharpness import climbed, sharp_steps
from babyllama.training.trainer import Trainer
from tiny_jobs import STEPS_PER_EPOCH, new_job, new_model, new_teachers, run

RATE, CLIP = 0.5, 0.3


def gradients(model: PreTrainedModel, ids: Tensor) -> tuple[float, list[Tensor]]:
    """Cross-entropy of a whole batch and its gradient, by transformers and autograd."""
    logits = model(ids).logits[:, :-1].flatten(0, 1)
    loss = functional.cross_entropy(logits, ids[:, 1:].flatten())
    return loss.item(), [*torch.autograd.grad(loss, [*model.parameters()])]


def norm(parts: list[Tensor]) -> Tensor:
    return torch.cat([part.flatten() for part in parts]).norm()


def moved(model: PreTrainedModel, by: list[Tensor]) -> PreTrainedModel:
    found = deepcopy(model)
    with torch.no_grad():
        for parameter, part in zip(found.parameters(), by, strict=True):
            parameter.add_(part)
    return found


def uphill(
    model: PreTrainedModel, slope: list[Tensor], *, adaptive: bool, rho: float
) -> list[Tensor]:
    """e(w) as Foret et al. and Kwon et al. write it."""
    weights = [p.detach().abs() + 0.01 for p in model.parameters()]
    sizes = weights if adaptive else [torch.ones_like(part) for part in slope]
    length = norm([size * part for size, part in zip(sizes, slope, strict=True)])
    return [rho * size**2 * part / length for size, part in zip(sizes, slope, strict=True)]


def log(work: Path) -> list[dict[str, Any]]:
    return [json.loads(row) for row in (work / "log.jsonl").read_text("utf-8").splitlines()]


@pytest.mark.parametrize("adaptive", [False, True])
@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_a_step_is_that_of_the_paper(kind: str, adaptive: bool, tmp_path: Path) -> None:
    """In float64, over three micro-batches, followed by a step of SGD."""
    model, sam = new_model(kind).double(), {"rho": 0.2, "adaptive": adaptive}
    job = new_job(model=model, sam=sam, learning_rate=RATE, clip_norm=CLIP, micro_batch=3)
    trainer = Trainer(job, tmp_path)
    trainer.optimizer = torch.optim.SGD(trainer.objective.parameters())
    trainer.position.step = 1  # past the warm-up
    ids = job.order.batch(0, 1).input_ids
    first, slope = gradients(model, ids)
    there = moved(model, uphill(model, slope, adaptive=adaptive, rho=0.2))
    second, taken = gradients(there, ids)
    length = norm(taken)
    assert length > CLIP, "clipping is seen"
    expected = moved(model, [-RATE * CLIP / length * part for part in taken])
    row = trainer.step()
    assert row["loss"] == pytest.approx(first, rel=1e-9)
    assert row["sharpness"] == pytest.approx(second - first, rel=1e-6)
    assert row["sharpness"] > 0
    assert row["gradient_norm"] == pytest.approx(length.item(), rel=1e-9)
    for found, other in zip(model.parameters(), expected.parameters(), strict=True):
        torch.testing.assert_close(found, other, rtol=0, atol=1e-6 * RATE)


def give_gradients(model: PreTrainedModel) -> None:
    drawn = torch.Generator().manual_seed(1)
    for parameter in model.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=drawn)


def test_a_move_has_the_length_rho_and_is_taken_back_bit_for_bit() -> None:
    model = new_model("gpt2")
    give_gradients(model)
    before = [p.detach().clone() for p in model.parameters()]
    with climbed(model.parameters(), Sam(rho=0.3)):
        way = [p.detach() - old for p, old in zip(model.parameters(), before, strict=True)]
        model.zero_grad()
    assert norm(way).item() == pytest.approx(0.3, rel=1e-4)
    assert all(map(torch.equal, before, model.parameters()))
    give_gradients(model)
    with pytest.raises(RuntimeError, match="inside"), climbed(model.parameters(), Sam()):
        raise RuntimeError("inside")
    assert all(map(torch.equal, before, model.parameters()))


def test_a_gradient_of_zero_leads_nowhere() -> None:
    model = new_model()
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    before = [p.detach().clone() for p in model.parameters()]
    with climbed(model.parameters(), Sam()):
        assert all(map(torch.equal, before, model.parameters()))


@pytest.mark.parametrize("taught", [False, True])
def test_both_passes_draw_the_same_masks(taught: bool, tmp_path: Path) -> None:
    """A move that rounds to nothing makes them the same pass."""

    def job(**settings: Any) -> Job:
        teachers = new_teachers() if taught else None
        model = new_model("gpt2", dropout=0.3)
        return new_job(model=model, teachers=teachers, micro_batch=3, **settings)

    plain = Trainer(job(), tmp_path).step()
    found = Trainer(job(sam={"rho": 1e-30}), tmp_path).step()
    assert found.pop("sharpness") == 0
    assert found == plain


def test_epochs_that_climb_are_counted_from_the_end() -> None:
    epoch = range(10).__getitem__

    def steps(**settings: Any) -> int:
        return sharp_steps(Sam(**settings), 9, lambda step: epoch(step) // 4)

    assert (steps(), steps(last_epochs=1), steps(last_epochs=2)) == (9, 1, 5)
    assert steps(last_epochs=3) == steps(last_epochs=7) == 9
    assert sharp_steps(None, 9, epoch) == sharp_steps(Sam(), 0, epoch) == 0


def test_the_last_epochs_alone_climb_and_they_cost_twice(tmp_path: Path) -> None:
    plain = run(new_job(epochs=3, teachers=new_teachers()), tmp_path / "plain")
    job = new_job(epochs=3, teachers=new_teachers(), sam={"last_epochs": 2})
    assert job.sharp_steps == 2 * STEPS_PER_EPOCH
    found = run(job, tmp_path / "sam")
    rows = [row for row in log(tmp_path / "sam") if row["kind"] == "step"]
    assert ["sharpness" in row for row in rows] == [row["epoch"] > 0 for row in rows]
    for key in ("flops", "teacher_flops"):
        assert found[key] == plain[key] * 5 / 3
    assert found["tokens_seen"] == plain["tokens_seen"]
    assert found["sam"] == {"rho": 0.05, "adaptive": False, "last_epochs": 2, "steps": 6}
    assert plain["sam"] is None


@pytest.mark.parametrize("which", [1, 2])
def test_a_pass_that_is_not_finite_ends_the_training_and_leaves_the_weights(
    which: int, tmp_path: Path
) -> None:
    trainer = Trainer(new_job(sam={}), tmp_path)
    passes: list[int] = []

    def spoil(_: Any, __: Any, found: Any) -> Any:
        passes.append(1)
        return (found[0] * float("nan"), found[1]) if len(passes) == which else found

    trainer.objective.register_forward_hook(spoil)
    before = [p.detach().clone() for p in trainer.objective.parameters()]
    with pytest.raises(DivergedError, match=r"diverged at step 1 .*sharpness nan"):
        trainer.step()
    assert len(passes) == 2
    assert all(map(torch.equal, before, trainer.objective.parameters()))


def test_a_spike_is_one_of_the_gradient_that_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spikes, "LEAST", 2)
    trainer = Trainer(new_job(sam={"rho": 0.2}, spikes="skip", warmup_steps=0), tmp_path)
    trainer.position.norms = [1e-3, 1e-3]
    before = [p.detach().clone() for p in trainer.objective.parameters()]
    with pytest.warns(UserWarning, match="the update is skipped"):
        row = trainer.step()
    assert trainer.position.norms[-1] == row["gradient_norm"]
    assert all(map(torch.equal, before, trainer.objective.parameters()))
    assert not trainer.optimizer.state


def test_the_copy_of_the_weights_counts_as_memory() -> None:
    assert new_job(sam={}).conditions.copies == new_job().conditions.copies + 1
