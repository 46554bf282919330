"""The loss of `babyllama.distillation.loss` without its logits: same value, same gradient.

Logits are features times a head. This computes them a block of tokens at a time, and with them
the gradient, in the forward pass: what is held is one block, in the type of the products, and the
float32 of a chunk that fits a processor's cache, instead of the logits of student and teachers and
what autograd keeps of each. The softmax is in float32 at least, products are in the autocast type,
the head's gradient is summed in float32.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from babyllama.distillation.compiling import Kernel, compiled
from babyllama.distillation.kernels import (
    Mixture,
    RowTerms,
    cross_entropy_rows,
    distillation_rows,
    reverse_rows,
)
from babyllama.distillation.loss import Divergence, LossTerms, Pool, Reduction, normalised
from babyllama.errors import RecipeError
from babyllama.models.readout import Readout, row_blocks, row_chunks
from babyllama.tokens.batches import IGNORED, Counts


class _Target(NamedTuple):
    """What the rows are compared with, and how much each term weighs."""

    labels: Tensor
    teachers: Sequence[Readout]
    mixture: Mixture
    divergence: Divergence
    ce_weights: Tensor
    """[N], 0 where nothing is predicted."""
    kl_weights: Tensor
    """[N], 0 where the KL does not count."""
    ce_factor: float
    """What the loss multiplies the weighted sum of the cross-entropy with."""
    kl_factor: float
    kernel: Kernel
    gradient: bool
    """Whether one may be wanted: not while validating."""


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
    divergence: Divergence = "forward",
    ce_weights: Tensor | None = None,
    kl_weights: Tensor | None = None,
    kernel: Kernel = "plain",
) -> LossTerms:
    """`distillation_loss` from read-outs; without teachers, plain cross-entropy.

    Args:
        student: features [N, D] and head; gradients flow to those that want one.
        labels: [N], the id that each row predicts; -100 is ignored.
        teachers: K read-outs of the same rows.
        counts: of the whole step, as in `distillation_loss`.
        temperature: as in `distillation_loss`.
        ce_weight: as there; without teachers it is 1.
        pool: as there.
        kl_reduction: as there.
        teacher_weights: as there.
        divergence: as there.
        ce_weights: [N], as there.
        kl_weights: [N], as there.
        kernel: which form of the elementwise part computes the gradient; values alone are plain.

    Raises:
        RecipeError: products in float16.
    """
    every = kl_reduction == "sequence"
    ce_norm = max(1, counts.tokens)
    kl_norm = counts.sequences if every else ce_norm
    ce_share = ce_weight if teachers else 1.0
    shares = normalised(teacher_weights, len(teachers)) if teachers else []
    predicted = (labels != IGNORED).to(_wide(student.features.dtype))
    target = _Target(
        labels=labels,
        teachers=teachers,
        mixture=Mixture(temperature, pool if len(teachers) > 1 else "logits", tuple(shares)),
        divergence=divergence,
        ce_weights=_times(predicted, ce_weights),
        kl_weights=_times(torch.ones_like(predicted) if every else predicted, kl_weights),
        ce_factor=ce_share / ce_norm,
        kl_factor=(1 - ce_share) * temperature**2 / kl_norm,
        kernel=kernel,
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
        """Sum over blocks of rows."""
        given = Readout(features, weight, bias)
        device = features.device.type
        product = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None
        with torch.autocast(device, enabled=False):
            student = _in_product_type(given, product)
            signal = [_in_product_type(teacher, product) for teacher in target.teachers]
            wanted = ctx.needs_input_grad[:3] if target.gradient else (False,) * 3
            gradients = _Gradients(student, wanted) if any(wanted) else None
            cross_entropy, kl = (target.ce_weights.new_zeros(len(features)) for _ in range(2))
            for block in row_blocks(student):
                terms = _block(student, signal, target, block, gradient=bool(gradients))
                cross_entropy[block] = terms.cross_entropy
                if terms.kl is not None:
                    kl[block] = terms.kl
                if gradients and terms.slope is not None:
                    gradients.add(block, terms.slope)
        if gradients:
            ctx.save_for_backward(*gradients.in_types_of(given))
        ce_sum, kl_sum = _sum(cross_entropy, target.ce_weights), _sum(kl, target.kl_weights)
        ctx.mark_non_differentiable(ce_sum, kl_sum)
        return target.ce_factor * ce_sum + target.kl_factor * kl_sum, ce_sum, kl_sum

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        """Scale what the forward pass found."""
        slopes = (None if g is None else g * upstream[0] for g in ctx.saved_tensors)
        return (*slopes, None)


def _wide(dtype: torch.dtype) -> torch.dtype:
    return torch.float64 if dtype == torch.float64 else torch.float32


def _times(counted: Tensor, weights: Tensor | None) -> Tensor:
    return counted if weights is None else counted * weights


def _sum(values: Tensor, weights: Tensor) -> Tensor:
    """The weighted sum; what weighs nothing is left out, even if it is infinite."""
    return (values.masked_fill(weights == 0, 0.0) * weights).sum()


def _in_product_type(readout: Readout, product: torch.dtype | None) -> Readout:
    """The read-out in the type that autocast multiplies in, or its own."""
    if torch.float16 in (product, readout.features.dtype):
        raise RecipeError(
            "float16 cannot hold the gradient of the head, which is made before a loss could be"
            " scaled: train in bf16 or fp32 (training.precision), with weights in one of them"
        )
    return readout.to(product or readout.features.dtype)


def _block(
    student: Readout, signal: Sequence[Readout], target: _Target, block: slice, *, gradient: bool
) -> RowTerms:
    """The terms of a block of rows: products of all of it, the rest by chunks unless compiled."""
    logits, *taught = (readout.products(block) for readout in (student, *signal))
    labels = target.labels[block]
    ce_weights = target.ce_weights[block] * target.ce_factor
    kl_weights = target.kl_weights[block] * target.kl_factor
    # What a compiled kernel holds of a row stays in the cache; and one row has no kernel.
    whole = gradient and target.kernel == "compiled" and len(logits) > 1
    found = []
    for rows in [slice(None)] if whole else row_chunks(student, len(logits)):
        given: list[Any] = [logits[rows], labels[rows], ce_weights[rows]]
        settings: dict[str, Any] = {"gradient": gradient}
        function: Callable[..., RowTerms] = cross_entropy_rows
        if signal:
            function = distillation_rows if target.divergence == "forward" else reverse_rows
            given += [kl_weights[rows], [t[rows] for t in taught]]
            settings["mixture"] = target.mixture
        found.append((compiled(function) if whole else function)(*given, **settings))
    if len(found) == 1:
        return found[0]
    cross_entropy, kl, slope = zip(*found, strict=True)
    return RowTerms(torch.cat(cross_entropy), _joined(kl), _joined(slope))


def _joined(parts: tuple[Tensor | None, ...]) -> Tensor | None:
    there = [part for part in parts if part is not None]
    return torch.cat(there) if there else None


class _Gradients:
    """Gradients of a read-out, filled block by block; only those that are wanted."""

    def __init__(self, student: Readout, wanted: Sequence[bool]) -> None:
        self.student = student
        wide = _wide(student.features.dtype)
        features, weight, bias = student
        self.features = torch.empty_like(features) if wanted[0] else None
        self.weight, self.bias = (
            torch.zeros_like(x, dtype=wide) if asked and x is not None else None
            for asked, x in zip(wanted[1:], (weight, bias), strict=True)
        )

    def add(self, rows: slice, slope: Tensor) -> None:
        """Add a block's gradient at the logits, [n, V]."""
        features, weight, _ = self.student
        if self.features is not None:
            self.features[rows] = slope if weight is None else slope @ weight
        if self.weight is not None:
            self.weight += slope.T @ features[rows]
        if self.bias is not None:
            self.bias += slope.sum(dim=0, dtype=self.bias.dtype)

    def in_types_of(self, given: Readout) -> list[Tensor | None]:
        """In the order of the read-out."""
        pairs = zip((self.features, self.weight, self.bias), given, strict=True)
        return [None if g is None or x is None else g.to(x.dtype) for g, x in pairs]
