"""What must not change a training, in float64 and without dropout: equal but for float64 rounding.

Gradients of the first step and 20 steps of SGD, whose weights are linear in the gradients, so that
no rounding is blown up.
"""

import json
from collections.abc import Callable, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from babyllama.distillation.caching.grid import Grid
from babyllama.distillation.caching.source import CachedSignal
from babyllama.distillation.loss import distillation_loss
from babyllama.distillation.teachers import Teachers
from babyllama.models.readout import Readout, has_linear_head
from babyllama.tokens.batches import Batch, Counts
from babyllama.training import trainer as module
from babyllama.training.objectives import Objective
from babyllama.training.processes import processes
from babyllama.training.trainer import Trainer
from several import call_together
from small_cache import CPU, build, request, wish
from tiny_jobs import CHUNK, new_job, new_model, new_teachers

STEPS = 20
BOUND = 1e-9
SETTINGS = [
    {},
    {"pool": "probabilities", "temperature": 1.0, "teacher_weights": {"gpt2": 3}},
    {"kl_reduction": "sequence", "ce_weight": 0.2},
    {"divergence": "reverse", "pool": "probabilities", "ce_weight": 0.2},
]


def double_teachers() -> Teachers:
    """In float64, and with predictions that are far from uniform."""
    models = new_teachers().models
    for seed, model in enumerate(models.values()):
        noise = torch.Generator().manual_seed(seed)
        model.get_output_embeddings().weight.data.normal_(std=0.3, generator=noise)
    return Teachers({name: model.double() for name, model in models.items()})


def trajectory(folder: Path, name: str, source: Any, **settings: Any) -> None:
    """20 steps of SGD; the first process writes the first gradients, the weights and the rows."""
    job = new_job(
        model=new_model().double(),
        teachers=source,
        **{"epochs": 7, "learning_rate": 0.5, "schedule": "constant", **settings},
    )
    trainer = Trainer(job, folder)
    trainer.optimizer = torch.optim.SGD(trainer.objective.parameters())  # type: ignore[assignment]
    first: dict[str, Tensor] = {}

    def note(*_: Any) -> None:
        if not first:
            found = job.model.named_parameters()
            first.update({key: p.grad.clone() for key, p in found if p.grad is not None})

    trainer.optimizer.register_step_pre_hook(note)
    rows = [trainer.step() for _ in range(STEPS)]
    if processes().leads:
        weights = {key: p.detach().clone() for key, p in job.model.named_parameters()}
        save_file(first, folder / f"{name}-gradients.safetensors")
        save_file(weights, folder / f"{name}-weights.safetensors")
        (folder / f"{name}.json").write_text(json.dumps(rows))


def assert_same(folder: Path, one: str, other: str, keys: Sequence[str]) -> None:
    rows = [json.loads((folder / f"{name}.json").read_text()) for name in (one, other)]
    assert len(rows[0]) == len(rows[1]) == STEPS
    for key in keys:
        series = [np.array([row[key] for row in each]) for each in rows]
        assert np.ptp(series[0]) > 1e-3 * series[0][0], f"{key} moves"
        np.testing.assert_allclose(*series, rtol=BOUND, err_msg=key)
    for kind in ("gradients", "weights"):
        first, second = (load_file(folder / f"{n}-{kind}.safetensors") for n in (one, other))
        assert first.keys() == second.keys()
        for name, tensor in first.items():
            assert tensor.abs().max() > 0
            torch.testing.assert_close(second[name], tensor, rtol=BOUND, atol=BOUND, msg=name)


VALUES = ("loss", "cross_entropy", "kl", "gradient_norm")


@pytest.mark.parametrize("clip_norm", [None, 0.05])
def test_eight_times_one_sequence_is_once_eight(clip_norm: float | None, tmp_path: Path) -> None:
    for size in (8, 3, 1):
        trajectory(tmp_path, str(size), double_teachers(), micro_batch=size, clip_norm=clip_norm)
    assert_same(tmp_path, "8", "1", VALUES)
    assert_same(tmp_path, "8", "3", VALUES)


def in_process(folder: Path, name: str, micro_batch: int) -> None:
    trajectory(folder, name, double_teachers(), micro_batch=micro_batch, clip_norm=0.05)


@pytest.mark.parametrize("micro_batch", [8, 3])
def test_two_processes_are_one(micro_batch: int, tmp_path: Path) -> None:
    in_process(tmp_path, "one", micro_batch)
    call_together(in_process, tmp_path, "two", micro_batch)
    assert_same(tmp_path, "one", "two", VALUES)


def assert_same_however_cut(
    folder: Path, train: Callable[[Path, str, int], None], values: Sequence[str]
) -> None:
    """A step is one micro-batch, eight, or three sequences at a time in two processes."""
    train(folder, "one", 8)
    train(folder, "eight", 1)
    call_together(train, folder, "two", 3)
    for other in ("eight", "two"):
        assert_same(folder, "one", other, values)


SAM = {"sam": {"rho": 0.2, "adaptive": True}, "clip_norm": 0.05}


def climbing(folder: Path, name: str, micro_batch: int) -> None:
    trajectory(folder, name, double_teachers(), micro_batch=micro_batch, **SAM)


def test_a_step_climbs_along_the_gradient_of_all_micro_batches_and_processes(
    tmp_path: Path,
) -> None:
    assert_same_however_cut(tmp_path, climbing, (*VALUES, "sharpness"))


MOVING = {"divergence": "reverse", "ce_weight_schedule": "wsd", "mask_inputs": 0.3}


def moving(folder: Path, name: str, micro_batch: int) -> None:
    given = {"distillation": MOVING, "micro_batch": micro_batch, "clip_norm": 0.05}
    trajectory(folder, name, double_teachers(), **given)


def test_masked_inputs_and_a_scheduled_weight_are_those_of_the_step_however_it_is_cut(
    tmp_path: Path,
) -> None:
    assert_same_however_cut(tmp_path, moving, (*VALUES, "ce_weight", "cross_entropy_share"))


class Dense(Objective):
    """The formula on whole logits, as transformers gives them."""

    def __init__(self, job: Any) -> None:
        super().__init__(job.model)
        self.teachers = [*job.signal.models.values()]
        self.settings = job.distillation.model_dump(
            include={"temperature", "ce_weight", "divergence", "pool", "kl_reduction"}
        )
        self.teacher_weights = job.signal.weights

    def forward(
        self, batch: Batch, counts: Counts, signal: Sequence[Readout]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        del signal
        with torch.no_grad():
            taught = [teacher(batch.input_ids).logits for teacher in self.teachers]
        terms = distillation_loss(
            self.model(batch.input_ids).logits,
            batch.labels,
            taught,
            counts=counts,
            teacher_weights=self.teacher_weights,
            **self.settings,
        )
        return terms.loss, {"cross_entropy": terms.cross_entropy, "kl": terms.kl}


@pytest.mark.parametrize("settings", SETTINGS)
def test_the_fused_loss_is_the_dense_one(
    settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {"distillation": settings, "clip_norm": None, "micro_batch": 3, "learning_rate": 0.05}
    trajectory(tmp_path, "fused", double_teachers(), **given)
    monkeypatch.setattr(module, "make_objective", Dense)
    trajectory(tmp_path, "dense", double_teachers(), **given)
    assert_same(tmp_path, "fused", "dense", VALUES)


class Rounded(Teachers):
    """Teachers that are run in every step, their features rounded as a cache rounds them."""

    def signal(self, batch: Batch) -> list[Readout]:
        return [
            Readout(r.features.float().half().double(), r.weight, r.bias)
            for r in super().signal(batch)
        ]


def with_single_heads(teachers: Teachers) -> Teachers:
    """As a cache is certified in float32; the features stay in float64."""
    for model in teachers.models.values():
        assert has_linear_head(model)  # tried now: heads and features are of one type yet
        model.set_output_embeddings(deepcopy(model.get_output_embeddings()).float())
    return teachers


def test_a_cache_of_hidden_states_is_the_rounded_teachers(tmp_path: Path) -> None:
    job, weights = new_job(), {"llama": 1.0, "gpt2": 1.0}
    starts = torch.cat([batch.starts for batch in job.validation]).tolist()
    grid = Grid(CHUNK, job.order.chunks, (0,), tuple(starts))
    asked = request("hidden-fp16", grid=grid, teachers=["llama", "gpt2"], weights=weights)
    texts = {"train": job.order.ids, "dev": job.order.ids}
    folder = build(tmp_path, asked, with_single_heads(double_teachers()), texts)
    cached = CachedSignal(folder, wish(grid=grid, weights=weights), CPU, torch.float64)
    trajectory(tmp_path, "cached", cached, micro_batch=3)
    trajectory(tmp_path, "online", Rounded(double_teachers().models), micro_batch=3)
    assert_same(tmp_path, "cached", "online", VALUES)
