"""Muon for the matrices between embedding and head, AdamW for all else.

Muon (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/) makes the momentum of a
matrix's gradients orthogonal before it steps. It is torch's, with the factor of Liu et al. 2025
(arXiv 2502.16982), 0.2 x the root of the longer side: an update then has the size that AdamW's has,
so that one learning rate and one weight decay serve both, and a matrix may be stored either way.
Embeddings, head, norms and biases stay with AdamW, as both say.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from transformers import PreTrainedModel

from babyllama.errors import RecipeError
from babyllama.recipe_training import Muon, Training

# Of Newton and Schulz, in which a matrix is made orthogonal.
ITERATIONS = 5


class Divided:
    """Optimisers that share the parameters of one model, each with its own, and step as one."""

    def __init__(self, parts: Mapping[str, Optimizer]) -> None:
        self.parts = parts
        """By the name that their state has in a checkpoint."""

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """Of all of them."""
        return [group for part in self.parts.values() for group in part.param_groups]

    @property
    def state(self) -> dict[Tensor, Any]:
        """What each parameter has, of all of them."""
        return {p: held for part in self.parts.values() for p, held in part.state.items()}

    def step(self) -> None:
        """Update all parameters."""
        for part in self.parts.values():
            part.step()

    def zero_grad(self) -> None:
        """Drop all gradients."""
        for part in self.parts.values():
            part.zero_grad()


def matrices(module: nn.Module) -> list[nn.Parameter]:
    """The trained matrices that are neither embedding nor head.

    Raises:
        RecipeError: a weight of more than two dimensions, as the experts of `switch`.
    """
    looked_up = {m.weight for m in module.modules() if isinstance(m, nn.Embedding)}
    models = (m for m in module.modules() if isinstance(m, PreTrainedModel))
    heads = {head.weight for m in models if (head := m.get_output_embeddings()) is not None}
    found = []
    for name, parameter in module.named_parameters():
        if parameter.ndim > 2:
            raise RecipeError(
                f"muon trains matrices, and {name} has {parameter.ndim} dimensions: take adamw"
            )
        if parameter.ndim == 2 and parameter.requires_grad:
            found += [parameter] if parameter not in looked_up | heads else []
    return found


def make_muon(
    parameters: list[nn.Parameter], settings: Muon, *, learning_rate: float, weight_decay: float
) -> torch.optim.Muon:
    """Muon for some matrices; `rate_share` is their part of AdamW's learning rate."""
    share = (settings.learning_rate or learning_rate) / learning_rate
    return torch.optim.Muon(
        [{"params": parameters, "rate_share": share}],
        lr=learning_rate,
        weight_decay=weight_decay,
        momentum=settings.momentum,
        ns_steps=ITERATIONS,
        adjust_lr_fn="match_rms_adamw",
    )


def update_flops(module: nn.Module, settings: Training) -> float:
    """Operations of the matrix products in one update; AdamW has none.

    Each iteration makes three: [a, b] with itself, the square of that [a, a], and that with [a, b],
    where a is the shorter side.
    """
    if settings.optimizer != "muon":
        return 0.0
    sides = [sorted(matrix.shape) for matrix in matrices(module)]
    return float(sum(ITERATIONS * (4 * a * a * b + 2 * a**3) for a, b in sides))
