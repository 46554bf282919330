"""How far a cached signal is from the exact one, in nats and in degrees, on held-out text.

The angle is the one between two gradients of the KL at a student's head, the sum over positions
of (p - q) x^T with exact and with cached q. For p and x stands a student that is near its
teachers: it takes a twentieth of its log-probabilities from theirs of another position, the rest
from theirs of the same, and has their features. This is about as hard to serve as a student at
the end of its training; early in training gradients are larger and angles smaller.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from babyllama.distillation.loss import Pool, pooled_log_probabilities
from babyllama.models.readout import Readout, row_chunks

CONFUSED = 0.05


class Certificate(NamedTuple):
    """What was measured."""

    temperature: float
    kl: float
    """Mean KL(exact || cached), nats a position, at the temperature."""
    angle: float
    """Degrees."""
    positions: int

    def __str__(self) -> str:
        return (
            f"{self.angle:.2f} degrees, {self.kl:.2g} nats at temperature {self.temperature:g}"
            f" ({self.positions} held-out positions)"
        )


class Pooling(NamedTuple):
    """Read-outs and how they become one target."""

    readouts: Sequence[Readout]
    weights: Sequence[float]
    pool: Pool = "logits"

    def log_probabilities(self, rows: slice, temperature: float) -> Tensor:
        """[n, V] of some rows."""
        logits = [readout.logits(rows) for readout in self.readouts]
        return pooled_log_probabilities(
            logits, temperature=temperature, pool=self.pool, weights=self.weights
        )


@torch.no_grad()
def certify(exact: Pooling, cached: Pooling, temperature: float) -> Certificate:
    """Compare two targets of the same N positions."""
    features = torch.cat([readout.features for readout in exact.readouts], dim=1)
    gradient = features.new_zeros(exact.readouts[0].vocabulary, features.shape[1])
    change, kl = torch.zeros_like(gradient), torch.zeros((), device=features.device)
    for rows in row_chunks(exact.readouts[0]):
        log_q = exact.log_probabilities(rows, temperature)
        log_cached = cached.log_probabilities(rows, temperature)
        q = log_q.exp()
        ratio = log_cached - log_q
        # q (r - 1 - log r) has the sum of q log(1/r), and no term of it is negative.
        kl += (q * (ratio.expm1() - ratio)).sum()
        student = torch.softmax(log_q.lerp(log_q.roll(1, dims=0), CONFUSED), dim=-1)
        gradient += (student - q).T @ features[rows]
        change += (q - log_cached.exp()).T @ features[rows]
    positions = len(features)
    return Certificate(temperature, float(kl) / positions, _angle(gradient, change), positions)


def _angle(vector: Tensor, change: Tensor) -> float:
    """Degrees between a vector and what a small change makes of it, without cancellation."""
    length, moved = (float(torch.linalg.vector_norm(x.double())) for x in (vector, change))
    if not length:
        return 90.0 if moved else 0.0
    along = float((vector.double() * change.double()).sum()) / length
    across = math.sqrt(max(0.0, moved**2 - along**2))
    return math.degrees(math.atan2(across, length + along))
