"""The weights of a pool: learned on held-out text, and the best teachers chosen one by one."""

from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize

from babyllama.distillation.pooling import PoolLoss, Weights

LEAST = 1e-3
"""A teacher whose learned weight is less is left out: it would be run for next to nothing."""
TOLERANCE = 1e-8
"""Nats per token."""


class Chosen(NamedTuple):
    """A teacher that joined the pool."""

    teacher: int
    cross_entropy: float
    """Nats per token, of the pool with it."""


def learned_weights(loss: PoolLoss, teachers: int) -> Weights:
    """The weights [K] of the least cross-entropy, none negative, their sum one.

    The problem is convex. Sequential quadratic programming starts from equal weights and draws
    nothing, so that the same predictions give the same weights, which are never worse than equal
    ones.
    """
    equal = np.full(teachers, 1 / teachers)
    found = minimize(
        loss.with_gradient,
        equal,
        jac=True,
        method="SLSQP",
        bounds=[(0.0, 1.0)] * teachers,
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1, "jac": np.ones_like},
        options={"ftol": TOLERANCE},
    )
    weights = without_idle(np.asarray(found.x, np.float64))
    return weights if loss.value(weights) <= loss.value(equal) else equal


def without_idle(weights: Weights) -> Weights:
    """Weights that sum to one, none between zero and `LEAST`.

    >>> without_idle(np.array([0.5, 0.4995, 0.0005])).round(4).tolist()
    [0.5003, 0.4997, 0.0]
    """
    kept = np.where(weights < LEAST, 0.0, weights)
    return np.asarray(kept / kept.sum())


def choose(loss: PoolLoss, weights: Weights, number: int) -> list[Chosen]:
    """So many teachers, each the one with which the pool of those before it predicts best.

    Greedy forward selection (Caruana et al. 2004, "Ensemble selection from libraries of models"),
    without replacement: a teacher that is taken twice would be a weight, and weights can be
    learned. `weights` [K] are what each weighs beside the others once it is in. Of equals the
    first one is taken.
    """
    found: list[Chosen] = []
    for _ in range(number):
        taken = [one.teacher for one in found]
        left = [k for k in range(len(weights)) if k not in taken]
        tried = [Chosen(k, loss.value(shares(weights, [*taken, k]))) for k in left]
        found.append(min(tried, key=lambda one: one.cross_entropy))
    return found


def shares(weights: Weights, teachers: list[int]) -> Weights:
    """The weights of some teachers, scaled to sum to one; the others weigh nothing."""
    kept = np.zeros_like(weights)
    kept[teachers] = weights[teachers]
    return np.asarray(kept / kept.sum())
