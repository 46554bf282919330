"""How far a cached signal is from the exact one, in nats and in degrees, on held-out text.

The angle is the one between two gradients of the KL at a student's head, the sum over positions
of (p - q) x^T with exact and with cached q. For p and x stands a student that is near its
teachers: it takes a twentieth of its log-probabilities from theirs of another position, the rest
from theirs of the same, and has their features. This is about as hard to serve as a student at
the end of its training; early in training gradients are larger and angles smaller.

The gradient is that of the divergence that the student is trained with. At the logits it is p - q
for KL(q || p), and p (r - E_p r) for KL(p || q), where r = log p - log q: what a code gets wrong in
log q then counts by what the student thinks likely, not by what the teachers do.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from babyllama.distillation.loss import LEAST_LOG, Divergence, Pool, pooled_log_probabilities
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
    divergence: Divergence = "forward"
    """Of the gradient."""

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
def certify(
    exact: Pooling, cached: Pooling, temperature: float, divergence: Divergence = "forward"
) -> Certificate:
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
        student = log_q.lerp(log_q.roll(1, dims=0), CONFUSED)
        slope, turn = _slopes(student, log_q, log_cached, divergence)
        gradient += slope.T @ features[rows]
        change += turn.T @ features[rows]
    positions, angle = len(features), _angle(gradient, change)
    return Certificate(temperature, float(kl) / positions, angle, positions, divergence)


def _slopes(
    student: Tensor, log_q: Tensor, log_cached: Tensor, divergence: Divergence
) -> tuple[Tensor, Tensor]:
    """Gradients [n, V] at a student's logits: from exact q, and what cached q adds to it."""
    p = torch.softmax(student, dim=-1)
    if divergence == "forward":
        q = log_q.exp()
        return p - q, q - log_cached.exp()
    exact, cached = log_q.clamp(min=LEAST_LOG), log_cached.clamp(min=LEAST_LOG)
    return _centred(student - exact, p), _centred(exact - cached, p)


def _centred(ratio: Tensor, p: Tensor) -> Tensor:
    """Every r as p (r - E_p r), which no constant in r changes."""
    return p * (ratio - (p * ratio).sum(dim=-1, keepdim=True))


def _angle(vector: Tensor, change: Tensor) -> float:
    """Degrees between a vector and what a small change makes of it, without cancellation."""
    length, moved = (float(torch.linalg.vector_norm(x.double())) for x in (vector, change))
    if not length:
        return 90.0 if moved else 0.0
    along = float((vector.double() * change.double()).sum()) / length
    across = math.sqrt(max(0.0, moved**2 - along**2))
    return math.degrees(math.atan2(across, length + along))
