"""The loss of `babyllama.distillation.loss` without its logits: same value, same gradient.

Logits are features times a head. This computes them a chunk of tokens at a time, and with them
the gradient, in the forward pass: what is held is one chunk, which fits a processor's cache,
instead of the logits of student and teachers and what autograd keeps of each. The softmax is in
float32 at least, products are in the autocast type, the head's gradient is summed in float32.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from babyllama.distillation.loss import LossTerms, Pool, Reduction, pooled_log_probabilities
from babyllama.models.readout import Readout, row_chunks
from babyllama.tokens.batches import IGNORED, Counts


class _Target(NamedTuple):
    """What the rows are compared with, and how much each term weighs, normalisation included."""

    labels: Tensor
    teachers: Sequence[Readout]
    pooling: dict[str, Any]
    """Arguments of `pooled_log_probabilities`."""
    ce_weight: float
    kl_weight: float
    every_position: bool
    """Whether the KL also counts positions that predict nothing."""
    gradient: bool
    """Whether the gradient is wanted: not while validating."""


def fused_loss(
    student: Readout,
    labels: Tensor,
    teachers: Sequence[Readout] = (),
    *,
    counts: Counts,
    temperature: float = 1.0,
    ce_weight: float = 1.0,
    pool: Pool = "logits",
    kl_reduction: Reduction = "token",
    teacher_weights: Sequence[float] | None = None,
) -> LossTerms:
    """`distillation_loss` from read-outs; without teachers, plain cross-entropy.

    Args:
        student: features [N, D] and head; gradients flow to all its tensors.
        labels: [N], the id that each row predicts; -100 is ignored.
        teachers: K read-outs of the same rows.
        counts: of the whole step, as in `distillation_loss`.
        temperature: as in `distillation_loss`.
        ce_weight: as there; without teachers it is 1.
        pool: as there.
        kl_reduction: as there.
        teacher_weights: as there.
    """
    every = kl_reduction == "sequence"
    ce_norm = max(1, counts.tokens)
    kl_norm = counts.sequences if every else ce_norm
    ce_share = ce_weight if teachers else 1.0
    target = _Target(
        labels=labels,
        teachers=teachers,
        pooling={"temperature": temperature, "pool": pool, "weights": teacher_weights},
        ce_weight=ce_share / ce_norm,
        kl_weight=(1 - ce_share) * temperature**2 / kl_norm,
        every_position=every,
        gradient=torch.is_grad_enabled(),
    )
    loss, ce_sum, kl_sum = _Fused.apply(*student, target)
    return LossTerms(loss, ce_sum / ce_norm, kl_sum / kl_norm)


class _Fused(torch.autograd.Function):
    """Loss and sums forward, with the gradients; backward only scales them."""

    @staticmethod
    def forward(
        ctx: Any,
        features: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        target: _Target,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Sum over chunks of rows."""
        given = Readout(features, weight, bias)
        device = features.device.type
        product = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None
        with torch.autocast(device, enabled=False):
            student = given.to(product or features.dtype)
            signal = [t.to(product or t.features.dtype) for t in target.teachers]
            gradients = _Gradients(student) if target.gradient else None
            sums = [features.new_zeros((), dtype=_wide(features)) for _ in range(3)]
            for rows in row_chunks(student):
                teacher_logits = [teacher.logits(rows) for teacher in signal]
                terms, slope = _rows(
                    student.logits(rows), target.labels[rows], teacher_logits, target
                )
                sums = [total + term for total, term in zip(sums, terms, strict=True)]
                if gradients:
                    gradients.add(rows, slope)
        ctx.mark_non_differentiable(*sums[1:])
        if gradients is None:
            return sums[0], sums[1], sums[2]
        ctx.save_for_backward(
            *(
                None if slope is None or tensor is None else slope.to(tensor.dtype)
                for slope, tensor in zip(gradients.all(), given, strict=True)
            )
        )
        return sums[0], sums[1], sums[2]

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        """Scale what the forward pass found."""
        slopes = (None if g is None else g * upstream[0] for g in ctx.saved_tensors)
        return (*slopes, None)


def _wide(tensor: Tensor) -> torch.dtype:
    return torch.float64 if tensor.dtype == torch.float64 else torch.float32


def _rows(
    logits: Tensor, labels: Tensor, teacher_logits: Sequence[Tensor], target: _Target
) -> tuple[tuple[Tensor, Tensor, Tensor], Tensor]:
    """Weighted loss, sum of CE, sum of KL; and the loss's gradient at the logits, all [n, V]."""
    predicted = (labels != IGNORED).to(logits.dtype)
    index = labels.clamp(min=0)[:, None]
    log_p = functional.log_softmax(logits, dim=-1)
    ce_sum = -(log_p.gather(1, index)[:, 0] * predicted).sum()
    slope = log_p.exp_()
    slope.scatter_add_(1, index, -torch.ones_like(index, dtype=slope.dtype))
    slope *= (predicted * target.ce_weight)[:, None]
    if not teacher_logits:
        return (target.ce_weight * ce_sum, ce_sum, torch.zeros_like(ce_sum)), slope
    temperature = target.pooling["temperature"]
    log_q = pooled_log_probabilities(teacher_logits, **target.pooling)
    q = log_q.exp()
    log_p = functional.log_softmax(logits / temperature, dim=-1)
    counted = torch.ones_like(predicted) if target.every_position else predicted
    # Where q is 0 its logarithm is -inf, and 0 times that is not a number.
    ratio = log_q.sub_(log_p).masked_fill_(q == 0, 0.0)
    kl_sum = (ratio.mul_(q).sum(dim=-1) * counted).sum()
    slope += log_p.exp_().sub_(q).mul_((counted * (target.kl_weight / temperature))[:, None])
    return (target.ce_weight * ce_sum + target.kl_weight * kl_sum, ce_sum, kl_sum), slope


class _Gradients:
    """Gradients of a read-out, filled chunk by chunk."""

    def __init__(self, student: Readout) -> None:
        self.student = student
        self.features = torch.empty_like(student.features)
        wide = _wide(student.features)
        weight, bias = student.weight, student.bias
        self.weight = None if weight is None else torch.zeros_like(weight, dtype=wide)
        self.bias = None if bias is None else torch.zeros_like(bias, dtype=wide)

    def add(self, rows: slice, slope: Tensor) -> None:
        """Add a chunk's gradient at the logits, [n, V]."""
        if self.bias is not None:
            self.bias += slope.sum(dim=0)
        narrow = slope.to(self.student.features.dtype)
        if self.weight is None or self.student.weight is None:
            self.features[rows] = narrow
            return
        self.features[rows] = narrow @ self.student.weight
        self.weight += narrow.T @ self.student.features[rows]

    def all(self) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """In the order of the read-out."""
        return self.features, self.weight, self.bias
