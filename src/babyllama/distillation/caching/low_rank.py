"""The pooled logits of all teachers in few numbers a token.

With the logit pool the teachers' logits are one linear map of all their features. Three changes
of coordinates lose nothing: the heads, weighted and side by side, [V, D], are centred over the
vocabulary (what shifts all logits alike changes no probability); a QR decomposition turns the
features so that distances are those of logits; a principal component analysis on positions of
the training text sorts the coordinates by how much they vary, and scales each to variance one.
Only cutting the least of them off, and rounding the rest, loses anything.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

# Directions that vary less than this part of the largest are rounding.
LEAST_VARIANCE = 1e-10
RANK_STEP = 8


class Head(NamedTuple):
    """The linear read-out of a teacher: [V, D] and, of some, a bias [V]."""

    weight: Tensor
    bias: Tensor | None


@dataclass(frozen=True)
class Basis:
    """Coordinates [N, R] are `stacked @ projection.T - shift`; logits, `weight` times them."""

    projection: Tensor
    """[R, D + 1]"""
    shift: Tensor
    """[R]"""
    weight: Tensor
    """[V, R]"""
    bias: Tensor
    """[V], the logits of the mean feature vector."""

    @property
    def rank(self) -> int:
        """R."""
        return len(self.shift)

    def cut(self, rank: int) -> "Basis":
        """The first coordinates alone."""
        return Basis(
            self.projection[:rank].contiguous(),
            self.shift[:rank].contiguous(),
            self.weight[:, :rank].contiguous(),
            self.bias,
        )

    def coordinates(self, features: Sequence[Tensor]) -> Tensor:
        """[N, R] of K tensors [N, D_k]."""
        return stacked(features) @ self.projection.T - self.shift

    def tensors(self) -> dict[str, Tensor]:
        """By name, for a file; `Basis(**tensors)` is the inverse."""
        return dict(vars(self))


def stacked(features: Sequence[Tensor]) -> Tensor:
    """[N, D + 1]: all features of a token, and a one for the biases."""
    first = features[0]
    ones = torch.ones(len(first), 1, device=first.device)
    return torch.cat([*(part.float() for part in features), ones], dim=1)


class Moments:
    """Mean and covariance of stacked features, in float64."""

    def __init__(self, parts: Iterable[Sequence[Tensor]]) -> None:
        rows, total, squares = 0, torch.zeros(()), torch.zeros(())
        for features in parts:
            wide = stacked(features).double()
            rows += len(wide)
            total = total.to(wide) + wide.sum(dim=0)
            squares = squares.to(wide) + wide.T @ wide
        self.mean = total / rows
        self.covariance = squares / rows - torch.outer(self.mean, self.mean)


def fit_basis(heads: Sequence[Head], shares: Sequence[float], moments: Moments) -> Basis:
    """All coordinates that vary, for heads whose logits are pooled with these shares."""
    mean, covariance = moments.mean, moments.covariance
    pooled = _pooled_head(heads, shares).to(mean)
    pooled -= pooled.mean(dim=0)
    rotation, rotated = torch.linalg.qr(pooled)
    variances, directions = torch.linalg.eigh(rotated @ covariance @ rotated.T)
    variances, directions = variances.flip(0), directions.flip(1)
    kept = max(1, int((variances > LEAST_VARIANCE * variances[0]).sum()))
    spread = variances[:kept].clamp(min=torch.finfo(mean.dtype).tiny).sqrt()
    projection = (directions[:, :kept] / spread).T @ rotated
    weight = rotation @ (directions[:, :kept] * spread)
    return Basis(
        projection.float(), (projection @ mean).float(), weight.float(), (pooled @ mean).float()
    )


def _pooled_head(heads: Sequence[Head], shares: Sequence[float]) -> Tensor:
    """[V, D + 1], with the biases as the last column."""
    weights = [share * head.weight.double() for share, head in zip(shares, heads, strict=True)]
    bias = torch.zeros_like(weights[0][:, :1])
    for share, head in zip(shares, heads, strict=True):
        if head.bias is not None:
            bias += share * head.bias.double()[:, None]
    return torch.cat([*weights, bias], dim=1)


def smallest_rank(largest: int, holds: Callable[[int], bool]) -> int:
    """The smallest multiple of `RANK_STEP` that holds, or the largest rank if none below does.

    >>> smallest_rank(100, lambda rank: rank > 17), smallest_rank(20, lambda rank: rank > 17)
    (24, 20)
    """
    ranks: list[int] = [*range(RANK_STEP, largest, RANK_STEP), largest]
    place: int = bisect_left(ranks, True, hi=len(ranks) - 1, key=holds)
    return ranks[place]
