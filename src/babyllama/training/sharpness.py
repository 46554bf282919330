"""Sharpness-aware minimisation: step by the gradient of the highest loss nearby.

A step climbs from the weights w to w + e(w), takes the gradient there, goes back and hands that
gradient to the optimiser. To first order the highest loss within the distance rho lies at

    e(w) = rho * g / |g|                  Foret et al. 2021 (arXiv 2010.01412), equation 2
    e(w) = rho * T^2 g / |T g|            Kwon et al. 2021 (arXiv 2102.11600), `adaptive`

where g is the gradient of the whole step, all micro-batches and processes, |.| the norm over all
weights together, and T = |w| + 0.01, weight by weight: their distance does not change when the
weights of a layer are scaled up and those of the next one down.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from babyllama.recipe_training import Sam

# What Kwon et al. add to |w|, so that a weight at zero moves too.
ETA = 0.01
# Keeps a gradient of zero where it is.
LEAST = 1e-12


def sharp_steps(settings: Sam | None, steps: int, epoch_of: Callable[[int], int]) -> int:
    """How many of the last steps of a training climb first; `epoch_of` a step, both from 0.

    >>> sharp_steps(Sam(last_epochs=2), 10, lambda step: step // 3)
    4
    """
    if not settings or not steps:
        return 0
    if settings.last_epochs is None:
        return steps
    first = epoch_of(steps - 1) + 1 - settings.last_epochs
    return steps - bisect_left(range(steps), first, key=epoch_of)


@contextmanager
def climbed(parameters: Iterable[nn.Parameter], settings: Sam) -> Iterator[None]:
    """Within it the weights are w + e(w), by the gradients they have; then w again, bit for bit."""
    moved = [p for p in parameters if p.grad is not None]
    # Not what was added is taken off again: that would round.
    before = [p.detach().clone() for p in moved]
    try:
        _climb(moved, settings)
        yield
    finally:
        with torch.no_grad():
            for parameter, kept in zip(moved, before, strict=True):
                parameter.copy_(kept)


@torch.no_grad()
def _climb(parameters: list[nn.Parameter], settings: Sam) -> None:
    """Add e(w) without waiting for the device: what is not finite shows in the second loss."""
    norms = [torch.linalg.vector_norm(_scaled(p, 1, settings)) for p in parameters]
    whole = torch.linalg.vector_norm(torch.stack(norms))
    for parameter in parameters:
        way = _scaled(parameter, 2, settings)
        parameter.add_(way * (settings.rho / (whole + LEAST)))


def _scaled(parameter: nn.Parameter, power: int, settings: Sam) -> Tensor:
    """The gradient times T to a power, or as it is."""
    assert parameter.grad is not None
    if not settings.adaptive:
        return parameter.grad
    return parameter.grad * (parameter.abs() + ETA) ** power
