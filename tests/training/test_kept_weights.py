"""What a training keeps beside its last weights: their average, and the model of every cycle."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from babyllama.training.averages import Average
from babyllama.training.job import Job
from babyllama.training.trainer import Trainer
from tiny_jobs import STEPS_PER_EPOCH, assert_equal_weights, new_job, new_model, run

STEPS = 2 * STEPS_PER_EPOCH


def trajectory(job: Job, work: Path) -> list[dict[str, Tensor]]:
    """The weights after every step."""
    work.mkdir()
    trainer = Trainer(job, work)
    found = []
    for _ in range(job.total_steps):
        trainer.step()
        found.append({n: p.detach().clone().double() for n, p in job.model.named_parameters()})
    return found


@pytest.mark.parametrize("kind", ["llama", "gpt2"])  # one with tied embeddings
@pytest.mark.parametrize("decay", [0.5, 0.9999])
def test_the_average_is_the_weighted_mean_of_the_weights_behind_each_step(
    decay: float, kind: str, tmp_path: Path
) -> None:
    path = trajectory(new_job(model=new_model(kind)), tmp_path / "steps")
    shares = [decay ** (STEPS - step) for step in range(1, STEPS + 1)]
    run(new_job(model=new_model(kind), ema=decay), tmp_path / "work")
    saved = load_file(tmp_path / "work" / "weights" / "ema" / "model.safetensors")
    for name in saved:
        terms = (share * weights[name] for share, weights in zip(shares, path, strict=True))
        mean = sum(terms, torch.zeros(1).double()) / sum(shares)
        torch.testing.assert_close(saved[name].double(), mean, rtol=0, atol=1e-6)


def test_an_average_changes_nothing_of_the_training(tmp_path: Path) -> None:
    plain, averaged = new_job(), new_job(ema=0.9)
    run(plain, tmp_path / "plain")
    run(averaged, tmp_path / "averaged")
    assert_equal_weights(plain.model, averaged.model)


def test_the_average_of_narrow_weights_is_wide() -> None:
    """Steps that vanish in bfloat16 do not vanish in the average."""
    module = nn.Linear(1, 1, bias=False).to(torch.bfloat16)
    average = Average(module, 0.5)
    for step, value in enumerate((1.0, 1.0078125), start=1):
        nn.init.constant_(module.weight, value)
        average.update(step)
    assert average.tensors["weight"].dtype == torch.float32
    assert float(average.tensors["weight"]) == pytest.approx((0.5 + 1.0078125) / 1.5)


def record(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "training.json").read_text("utf-8")))


def test_every_cycle_leaves_its_model_with_what_was_spent_until_then(tmp_path: Path) -> None:
    job = new_job(schedule="cyclic", cycles=3, epochs=2)
    path = trajectory(new_job(schedule="cyclic", cycles=3, epochs=2), tmp_path / "steps")
    whole = run(job, tmp_path / "work")
    folders = sorted((tmp_path / "work" / "weights").iterdir())
    assert [folder.name for folder in folders] == ["cycle-1", "cycle-2", "cycle-3"]
    for folder, step in zip(folders, (2, 4, 6), strict=True):
        saved = load_file(folder / "model.safetensors")
        for name, tensor in saved.items():
            assert torch.equal(tensor.double(), path[step - 1][name])
        assert record(folder)["steps"] == step
        assert record(folder)["flops"] == pytest.approx(whole["flops"] * step / 6)
        assert record(folder)["words_seen"] == pytest.approx(whole["words_seen"] * step / 6)


def test_the_average_is_kept_beside_the_best_weights(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"learning_rate": 0.3, "epochs": 3}
    last, best = new_job(ema=0.9, **settings), new_job(ema=0.9, keep="best", **settings)
    run(last, tmp_path / "last")
    run(best, tmp_path / "best")
    files = [tmp_path / kind / "weights" / "ema" / "model.safetensors" for kind in ("last", "best")]
    assert files[0].read_bytes() == files[1].read_bytes()
