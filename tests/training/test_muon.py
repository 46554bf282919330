"""Muon for the matrices between embedding and head: whose it is, its steps, and its state."""

from copy import deepcopy
from pathlib import Path

import pytest
import torch
from torch import nn

from babyllama.errors import RecipeError
from babyllama.pipeline import check_models
from babyllama.recipe_training import Training
from babyllama.resolve import resolve
from babyllama.training.muon import Divided, matrices
from babyllama.training.optimizers import (
    load_optimizer_tensors,
    make_optimizer,
    optimizer_tensors,
    set_learning_rate,
)
from babyllama.training.trainer import Trainer
from tiny import LLAMA, recipe
from tiny_jobs import new_job, new_model


def divided(module: nn.Module, **settings: object) -> Divided:
    found = make_optimizer(module, Training.model_validate({"optimizer": "muon", **settings}))
    assert isinstance(found, Divided)
    return found


@pytest.mark.parametrize(
    ("kind", "others"),
    [
        ("llama", ("embed_tokens", "lm_head", "norm")),
        ("gpt2", ("wte", "wpe", "ln_", "bias")),  # the head is the embedding
        ("opt", ("embed", "layer_norm", "bias")),
    ],
)
def test_each_parameter_has_one_optimizer(kind: str, others: tuple[str, ...]) -> None:
    model = new_model(kind)
    optimizer = divided(model, weight_decay=0.1)
    held = {
        name: {id(p): g["weight_decay"] for g in part.param_groups for p in g["params"]}
        for name, part in optimizer.parts.items()
    }
    assert len(held["muon"]) + len(held["adamw"]) == len([*model.parameters()])
    for name, parameter in model.named_parameters():
        kept = any(part in name for part in others)
        decays = parameter.ndim == 2
        assert held["adamw" if kept else "muon"][id(parameter)] == (0.1 if decays else 0), name


def test_a_step_is_orthogonal_and_as_large_as_one_of_adamw() -> None:
    """Of the gradient's singular value decomposition it keeps the vectors."""
    torch.manual_seed(1)
    module = nn.Linear(12, 30).double()
    optimizer = divided(module, learning_rate=0.01, muon={"momentum": 0.0}, weight_decay=2.0)
    before, slope = module.weight.detach().clone(), torch.randn(30, 12, dtype=torch.float64)
    module.weight.grad = slope
    optimizer.step()
    update = (before * (1 - 0.01 * 2.0) - module.weight.detach()) / 0.01
    left, _, right = torch.linalg.svd(slope, full_matrices=False)
    core = left.T @ update @ right.T / (0.2 * 30**0.5)
    assert core.diagonal().min() > 0.6
    assert core.diagonal().max() < 1.3
    assert (core - core.diagonal().diag()).abs().max() < 0.05
    assert update.square().mean().sqrt() == pytest.approx(0.2, rel=0.3)


def test_a_learning_rate_of_its_own_keeps_its_share_of_the_schedule() -> None:
    model = new_model()
    for settings, share in (({}, 1.0), ({"muon": {"learning_rate": 0.02}}, 2.0)):
        optimizer = divided(model, learning_rate=0.01, **settings)
        set_learning_rate(optimizer, 0.005)
        found = {name: [g["lr"] for g in p.param_groups] for name, p in optimizer.parts.items()}
        assert found == {"muon": [0.005 * share], "adamw": [0.005, 0.005]}


def test_the_state_of_both_is_saved_and_taken_up() -> None:
    def stepped(model: nn.Module, optimizer: Divided, times: int) -> None:
        for number in range(times):
            for parameter in model.parameters():
                drawn = torch.Generator().manual_seed(number)
                parameter.grad = torch.randn(parameter.shape, generator=drawn)
            optimizer.step()

    first = new_model("gpt2")
    one = divided(first)
    stepped(first, one, 3)
    saved = {name: tensor.clone() for name, tensor in optimizer_tensors(one).items()}
    assert {name.split(".")[0] for name in saved} == {"muon", "adamw"}
    second = deepcopy(first)
    other = divided(second)
    load_optimizer_tensors(other, saved)
    stepped(first, one, 2)
    stepped(second, other, 2)
    assert all(map(torch.equal, first.parameters(), second.parameters()))


def test_a_training_takes_the_gradient_of_the_fused_loss_at_a_tied_head(tmp_path: Path) -> None:
    trainer = Trainer(new_job(model=new_model("gpt2"), optimizer="muon", warmup_steps=0), tmp_path)
    before = {name: p.detach().clone() for name, p in trainer.job.model.named_parameters()}
    trainer.step()
    for name, parameter in trainer.job.model.named_parameters():
        assert not torch.equal(parameter, before[name]), name


def test_stacks_of_matrices_are_refused_by_name(tmp_path: Path) -> None:
    switch = {"architecture": {**LLAMA, "type": "switch"}, "training": {"optimizer": "muon"}}
    raw = recipe(tmp_path, models={"experts": switch})
    message = r"^models.experts: muon trains matrices, and .*experts.c_fc has 3 dimensions: take ad"
    with pytest.raises(RecipeError, match=message):
        check_models(resolve(raw))
    switch["training"]["optimizer"] = "adamw"
    check_models(resolve(raw))


def test_only_what_is_trained_is_taken() -> None:
    module = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 3, bias=False))
    module[0].requires_grad_(False)
    assert matrices(module) == [module[1].weight]
