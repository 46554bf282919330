"""Batches for the tests of the loss, made up by hypothesis or drawn from a seed."""

from dataclasses import dataclass
from itertools import product
from typing import Any, get_args

import numpy as np
import torch
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch import Tensor

from babyllama.distillation.loss import Divergence, LossTerms, Pool, Reduction
from babyllama.tokens.batches import IGNORED

POOLS = get_args(Pool)
REDUCTIONS = get_args(Reduction)
DIVERGENCES = get_args(Divergence)
KINDS = [*product(POOLS, REDUCTIONS)]
LAW = settings(max_examples=50)
TEMPERATURES = st.floats(0.5, 4)


@dataclass
class Case:
    """Logits [B, T, V] of a student and its teachers, labels [B, T]."""

    student: Tensor
    teachers: list[Tensor]
    labels: Tensor
    weights: list[float]

    @property
    def batch(self) -> tuple[Tensor, Tensor, list[Tensor]]:
        return self.student, self.labels, self.teachers

    @property
    def vocabulary(self) -> int:
        return self.student.shape[-1]


@st.composite
def cases(draw: st.DrawFn, most_teachers: int = 3) -> Case:
    batch, time, vocabulary = (draw(st.integers(low, 3)) for low in (1, 1, 2))
    number = draw(st.integers(1, most_teachers))
    shape = (1 + number, batch, time, vocabulary)
    logits = torch.from_numpy(draw(arrays(np.float64, shape, elements=st.floats(-20, 20))))
    ids = st.sampled_from([IGNORED, *range(vocabulary)])
    labels = torch.from_numpy(draw(arrays(np.int64, (batch, time), elements=ids)))
    weights = draw(st.lists(st.floats(0.1, 10), min_size=number, max_size=number))
    return Case(logits[0], [*logits[1:]], labels, weights)


@st.composite
def loss_settings(draw: st.DrawFn) -> dict[str, Any]:
    return {
        "temperature": draw(TEMPERATURES),
        "ce_weight": draw(st.floats(0, 1)),
        "pool": draw(st.sampled_from(POOLS)),
        "kl_reduction": draw(st.sampled_from(REDUCTIONS)),
        "divergence": draw(st.sampled_from(DIVERGENCES)),
    }


def random_case(
    *shape: int, teachers: int = 2, seed: int = 0, dtype: torch.dtype = torch.float64
) -> Case:
    """Shape [B, T, V]; the last position of every row is ignored, as in a batch."""
    draw = torch.Generator().manual_seed(seed)
    logits = torch.randn((1 + teachers, *shape), generator=draw, dtype=torch.float64).to(dtype)
    labels = torch.randint(shape[-1], shape[:2], generator=draw)
    labels[:, -1] = IGNORED
    return Case(3 * logits[0], [*(3 * logits[1:])], labels, [1.0] * teachers)


def assert_same(left: LossTerms, right: LossTerms, tolerance: float = 1e-9) -> None:
    for a, b in zip(left, right, strict=True):
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)
