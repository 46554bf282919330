"""Spikes: steps whose gradient is far above those of the steps before.

A step is a spike if the norm of its gradient, before clipping, is more than `FACTOR` times the
median norm of the last `WINDOW` steps, of which there must be `LEAST`. Spikes themselves stay in
the window: if gradients have grown for good, the median follows, and training goes on.
"""

import warnings
from collections.abc import Sequence
from statistics import median
from typing import Literal

Policy = Literal["off", "warn", "skip"]

FACTOR = 4.0
WINDOW = 128
LEAST = 32


def is_spike(norm: float, before: Sequence[float]) -> bool:
    """Whether a gradient norm stands out from those of the steps before, the newest last.

    >>> is_spike(4.1, [1.0] * 32), is_spike(4.0, [1.0] * 32), is_spike(4.1, [1.0] * 31)
    (True, False, False)
    """
    recent = before[-WINDOW:]
    return len(recent) >= LEAST and norm > FACTOR * median(recent)


def warn_of_spike(norm: float, policy: Policy, *, model: str, step: int) -> None:
    """Tell of a spike, and of what was done with it."""
    done = "the update is skipped" if policy == "skip" else "the update is made"
    warnings.warn(
        f"{model}: the gradient norm {norm:.3g} of step {step} is more than {FACTOR:g} times the"
        f" median of the steps before; {done} (models.{model}.training.spikes: {policy})",
        stacklevel=3,
    )
