"""The optimiser with its parameter groups, and the learning rate as a function of the step."""

import math
import warnings
from typing import Any

import torch
from torch import nn

from babyllama.recipe_training import Muon, Training
from babyllama.training.cycles import falling_part
from babyllama.training.decay import absolute_decay
from babyllama.training.muon import Divided, make_muon, matrices

AnyOptimizer = torch.optim.Optimizer | Divided


def make_optimizer(module: nn.Module, settings: Training) -> AnyOptimizer:
    """AdamW, or Muon for the matrices and AdamW for the rest.

    Raises:
        RecipeError: Muon for a model with weights that are more than matrices.
    """
    parameters = [p for p in module.parameters() if p.requires_grad]
    if settings.optimizer == "adamw":
        return _adamw(parameters, settings)
    taken = matrices(module)
    muon = make_muon(
        taken,
        settings.muon or Muon(),
        learning_rate=settings.learning_rate,
        weight_decay=absolute_decay(settings),
    )
    kept = set(taken)
    rest = _adamw([p for p in parameters if p not in kept], settings)
    return Divided({"muon": muon, "adamw": rest})


def _adamw(parameters: list[nn.Parameter], settings: Training) -> torch.optim.AdamW:
    """With decoupled weight decay on matrices, none on norms and biases."""
    decay = absolute_decay(settings)
    groups: list[dict[str, Any]] = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        [group for group in groups if group["params"]],
        lr=settings.learning_rate,
        betas=settings.betas,
        eps=settings.epsilon,
        fused=True,
    )


def learning_rate(step: int, total_steps: int, settings: Training) -> float:
    """The rate of a step, counted from 0: linear warm-up, then constant, or one cosine or more.

    As in transformers' cosine schedule, the first step of a warm-up has rate 0 and the cosine
    reaches its end one step after the last.
    """
    if step < settings.warmup_steps:
        return settings.learning_rate * step / settings.warmup_steps
    if settings.schedule == "constant":
        return settings.learning_rate
    first, end = falling_part(step, total_steps, settings)
    progress = (step - first) / max(1, end - first)
    cosine = 0.5 * (1 + math.cos(math.pi * progress))
    floor = settings.final_learning_rate
    return settings.learning_rate * (floor + (1 - floor) * cosine)


def warn_of_long_warmup(name: str, total_steps: int, settings: Training) -> None:
    """Tell where the warm-up fills the whole training, and so the rate is never reached."""
    if settings.warmup_steps >= total_steps:
        warnings.warn(
            f"models.{name}.training.warmup_steps: {settings.warmup_steps} in a training of"
            f" {total_steps} steps, so the learning rate never reaches"
            f" {settings.learning_rate:g}: lower it, or train longer",
            stacklevel=3,
        )


def set_learning_rate(optimizer: AnyOptimizer, rate: float) -> None:
    """Step with this rate from here on, or a group with its share of it."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get("rate_share", 1.0)


def optimizer_tensors(optimizer: AnyOptimizer) -> dict[str, torch.Tensor]:
    """The optimiser's state as flat tensors, `<parameter index>.<name>`, of a part with its name.

    Of AdamW alone `0.exp_avg`, beside Muon `adamw.0.exp_avg`.
    """
    if isinstance(optimizer, Divided):
        parts = {name: optimizer_tensors(part) for name, part in optimizer.parts.items()}
        return {
            f"{name}.{key}": value for name, part in parts.items() for key, value in part.items()
        }
    state = optimizer.state_dict()["state"]
    return {f"{i}.{name}": value for i, values in state.items() for name, value in values.items()}


def load_optimizer_tensors(optimizer: AnyOptimizer, tensors: dict[str, torch.Tensor]) -> None:
    """Put back what `optimizer_tensors` took out."""
    if isinstance(optimizer, Divided):
        for name, part in optimizer.parts.items():
            start = f"{name}."
            held = {key: value for key, value in tensors.items() if key.startswith(start)}
            load_optimizer_tensors(part, {k.removeprefix(start): v for k, v in held.items()})
        return
    state: dict[int, dict[str, torch.Tensor]] = {}
    for key, value in tensors.items():
        index, name = key.split(".", 1)
        state.setdefault(int(index), {})[name] = value
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state, "param_groups": groups})
