"""AdamW with its parameter groups, and the learning rate as a function of the step."""

import math
import warnings
from typing import Any

import torch
from torch import nn

from babyllama.recipe import Training


def make_optimizer(module: nn.Module, settings: Training) -> torch.optim.AdamW:
    """AdamW with decoupled weight decay on matrices, none on norms and biases."""
    parameters = [p for p in module.parameters() if p.requires_grad]
    groups: list[dict[str, Any]] = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": settings.weight_decay},
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
    """The rate of a step, counted from 0: linear warm-up, then constant or cosine.

    As in transformers' cosine schedule, the first step of a warm-up has rate 0 and the cosine
    reaches its end one step after the last.
    """
    if step < settings.warmup_steps:
        return settings.learning_rate * step / settings.warmup_steps
    if settings.schedule == "constant":
        return settings.learning_rate
    progress = (step - settings.warmup_steps) / max(1, total_steps - settings.warmup_steps)
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


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """The optimiser's state as flat tensors, `<parameter index>.<name>`."""
    state = optimizer.state_dict()["state"]
    return {f"{i}.{name}": value for i, values in state.items() for name, value in values.items()}


def load_optimizer_tensors(
    optimizer: torch.optim.Optimizer, tensors: dict[str, torch.Tensor]
) -> None:
    """Put back what `optimizer_tensors` took out."""
    state: dict[int, dict[str, torch.Tensor]] = {}
    for key, value in tensors.items():
        index, name = key.split(".", 1)
        state.setdefault(int(index), {})[name] = value
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state, "param_groups": groups})
