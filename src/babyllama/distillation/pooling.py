r"""How well pooled teachers predict a text, as a function of their weights.

With weights w_k that sum to one, the cross-entropy at temperature 1 of

    softmax(sum_k w_k z_k)      pool "logits"
    sum_k w_k softmax(z_k)      pool "probabilities"

is convex in w: a log-sum-exp of linear functions less a linear one, and the negative logarithm of
a linear one. Logits are made a block of rows at a time from features and heads, never all at once.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from babyllama.distillation.loss import Pool
from babyllama.models.readout import Readout, row_blocks
from babyllama.tokens.batches import IGNORED

Weights = npt.NDArray[np.float64]


class Predictions(NamedTuple):
    """What K teachers say at the N positions of a text that have a token to predict."""

    readouts: list[Readout]
    """K read-outs, features [N, D] in float32."""
    labels: Tensor
    """[N], the tokens that are predicted."""

    def of(self, teachers: Sequence[int]) -> "Predictions":
        """What some of the teachers say."""
        return Predictions([self.readouts[k] for k in teachers], self.labels)


def predictions(signal: Sequence[Readout], labels: Tensor) -> Predictions:
    """Read-outs on all positions of a batch, and its labels [B, T], without those ignored."""
    flat = labels.flatten()
    kept = flat != IGNORED
    readouts = [r._replace(features=r.features[kept].float()) for r in signal]
    return Predictions(readouts, flat[kept])


def joined(parts: Sequence[Predictions]) -> Predictions:
    """What the same teachers say of several batches, as one."""
    by_teacher = zip(*(part.readouts for part in parts), strict=True)
    readouts = [
        same[0]._replace(features=torch.cat([readout.features for readout in same]))
        for same in by_teacher
    ]
    return Predictions(readouts, torch.cat([part.labels for part in parts]))


class PoolLoss(Protocol):
    """Cross-entropy in nats per token of K pooled teachers."""

    flops: float
    """What the products with the teachers' heads have cost so far."""

    def value(self, weights: Weights) -> float:
        """With weights [K]; a teacher that weighs nothing costs nothing."""

    def with_gradient(self, weights: Weights) -> tuple[float, Weights]:
        """The value and its gradient [K]."""


def pool_loss(found: Predictions, pool: Pool) -> PoolLoss:
    """The loss of one of the two pools."""
    return LogitPool(found) if pool == "logits" else ProbabilityPool(found)


class LogitPool:
    """Of the softmax of the weighted sum of the logits."""

    def __init__(self, found: Predictions) -> None:
        self.found = found
        self.flops = 0.0

    @torch.no_grad()
    def nats(self, weights: Weights) -> Tensor:
        """Of every token [N], in float64."""
        blocks = [
            functional.cross_entropy(
                self._pooled(self._logits(rows, weights), weights),
                self.found.labels[rows],
                reduction="none",
            )
            for rows in row_blocks(self.found.readouts[0])
        ]
        return torch.cat(blocks).double()

    def value(self, weights: Weights) -> float:
        """Nats per token."""
        return float(self.nats(weights).mean())

    @torch.no_grad()
    def with_gradient(self, weights: Weights) -> tuple[float, Weights]:
        """The derivative by w_k is the mean of E[z_k] under the pool, less z_k of the token."""
        nats, slope = 0.0, np.zeros(len(weights))
        for rows in row_blocks(self.found.readouts[0]):
            labels = self.found.labels[rows, None]
            logits = self._logits(rows, np.ones_like(weights))
            logs = self._pooled(logits, weights).log_softmax(-1)
            nats -= float(logs.gather(-1, labels).double().sum())
            p = logs.exp()
            for k, z in logits.items():
                expected = torch.linalg.vecdot(p, z)
                slope[k] += float((expected - z.gather(-1, labels)[:, 0]).double().sum())
        tokens = len(self.found.labels)
        return nats / tokens, slope / tokens

    def _logits(self, rows: slice, weights: Weights) -> dict[int, Tensor]:
        """Logits [n, V] of the teachers that weigh something."""
        found = {k: r.logits(rows) for k, r in enumerate(self.found.readouts) if weights[k]}
        for k, logits in found.items():
            width = self.found.readouts[k].features.shape[-1]
            self.flops += 2.0 * logits.numel() * width
        return found

    @staticmethod
    def _pooled(logits: dict[int, Tensor], weights: Weights) -> Tensor:
        return torch.stack([z * float(weights[k]) for k, z in logits.items()]).sum(0)


class ProbabilityPool:
    """Of the weighted sum of the softmaxes: the probabilities of the tokens alone decide it."""

    def __init__(self, found: Predictions) -> None:
        each = [LogitPool(found.of([k])) for k in range(len(found.readouts))]
        self.logs = torch.stack([-one.nats(np.ones(1)) for one in each]).cpu().numpy()
        self.flops = sum(one.flops for one in each)

    def value(self, weights: Weights) -> float:
        """Nats per token."""
        return self.with_gradient(weights)[0]

    def with_gradient(self, weights: Weights) -> tuple[float, Weights]:
        """The derivative by w_k is less the mean of p_k / p, of the tokens that come."""
        highest = self.logs.max(0)
        shares = np.exp(self.logs - highest)
        pooled = weights @ shares
        return -float((np.log(pooled) + highest).mean()), -(shares / pooled).mean(1)
