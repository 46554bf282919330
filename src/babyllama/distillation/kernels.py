"""The elementwise part of the fused loss: from a chunk's logits to its values and its gradient.

Plain, these are as few passes over [n, V] as torch takes: one exponential of the student's logits
(at temperature 2, the square of the softened one is the other), one of the pooled teachers', and
the rest in place. Compiled, every row is read once and stays in the processor's cache. The two
differ in the last bits.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from babyllama.distillation.loss import LEAST_LOG, Pool

# Stands for a log-probability of -inf: its exponential is 0, and so is 0 times it.
LEAST = -1e30


class Mixture(NamedTuple):
    """How the teachers become one target; the shares sum to one."""

    temperature: float
    pool: Pool
    shares: tuple[float, ...]


class RowTerms(NamedTuple):
    """Nats [n] of cross-entropy and KL, and the loss's gradient at the logits, [n, V]."""

    cross_entropy: Tensor
    kl: Tensor | None
    slope: Tensor | None


def cross_entropy_rows(
    logits: Tensor, labels: Tensor, ce_weights: Tensor, *, gradient: bool
) -> RowTerms:
    """Plain cross-entropy.

    Args:
        logits: [n, V], in the type of the products; the gradient has that type, too.
        labels: [n], of which negative ones stand for nothing: their weight must be 0.
        ce_weights: [n], what a row's cross-entropy weighs in the loss.
        gradient: whether it is wanted.
    """
    index = labels.clamp(min=0)[:, None]
    x = _centred(_scaled(logits, 1.0))
    at = x.gather(1, index)
    p = x.exp_()
    total = p.sum(-1, keepdim=True)
    cross_entropy = (total.log() - at)[:, 0]
    if not gradient:
        return RowTerms(cross_entropy, None, None)
    scale = ce_weights[:, None]
    slope_at = scale * (at.exp() / total - 1)
    return RowTerms(cross_entropy, None, _finish(p.mul_(scale / total), logits, index, slope_at))


def distillation_rows(
    logits: Tensor,
    labels: Tensor,
    ce_weights: Tensor,
    kl_weights: Tensor,
    teacher_logits: Sequence[Tensor],
    *,
    mixture: Mixture,
    gradient: bool,
) -> RowTerms:
    """Cross-entropy, and KL to the pooled teachers at the temperature.

    Args:
        logits: as in `cross_entropy_rows`.
        labels: as there.
        ce_weights: as there.
        kl_weights: [n], what a row's KL weighs in the loss.
        teacher_logits: K tensors [n, V].
        mixture: how they are pooled.
        gradient: as there.
    """
    temperature = mixture.temperature
    index = labels.clamp(min=0)[:, None]
    x = _centred(_scaled(logits, 1 / temperature))
    x_at = x.gather(1, index)
    z, q, q_at = _pooled(teacher_logits, mixture, index)
    q_sum = q.sum(-1, keepdim=True)
    # A logarithm of -inf, less another or times a q of 0, would not be a number.
    ratio = z.clamp_(min=LEAST).sub_(x.clamp_(min=LEAST))
    kl = ratio.mul_(q).sum(-1, keepdim=True) / q_sum - q_sum.log()
    soft, hard = _exponentials(x, temperature)
    soft_sum, hard_sum = soft.sum(-1, keepdim=True), hard.sum(-1, keepdim=True)
    kl = (kl + soft_sum.log())[:, 0]
    cross_entropy = (hard_sum.log() - temperature * x_at)[:, 0]
    if not gradient:
        return RowTerms(cross_entropy, kl, None)
    ce_scale, kl_scale = ce_weights[:, None], kl_weights[:, None] / temperature
    slope_at = ce_scale * ((temperature * x_at).exp() / hard_sum - 1)
    slope_at += kl_scale * (x_at.exp() / soft_sum - q_at / q_sum)
    slope = q.mul_(-kl_scale / q_sum)
    slope.addcmul_(soft, kl_scale / soft_sum).addcmul_(hard, ce_scale / hard_sum)
    return RowTerms(cross_entropy, kl, _finish(slope, logits, index, slope_at))


def reverse_rows(
    logits: Tensor,
    labels: Tensor,
    ce_weights: Tensor,
    kl_weights: Tensor,
    teacher_logits: Sequence[Tensor],
    *,
    mixture: Mixture,
    gradient: bool,
) -> RowTerms:
    """`distillation_rows` with the KL of the student to the pooled teachers."""
    temperature = mixture.temperature
    index = labels.clamp(min=0)[:, None]
    x = _centred(_scaled(logits, 1 / temperature))
    x_at = x.gather(1, index)
    z, q, _ = _pooled(teacher_logits, mixture, index)
    log_q = z.sub_(q.sum(-1, keepdim=True).log()).clamp_(min=LEAST_LOG)
    # As there: what the student rules out has a probability of 0, and 0 times -inf is no number.
    ratio = log_q.neg_().add_(x.clamp_(min=LEAST))
    soft, hard = _exponentials(x, temperature)
    soft_sum, hard_sum = soft.sum(-1, keepdim=True), hard.sum(-1, keepdim=True)
    ratio.sub_(soft_sum.log())
    kl = (ratio * soft).sum(-1, keepdim=True) / soft_sum
    cross_entropy = (hard_sum.log() - temperature * x_at)[:, 0]
    if not gradient:
        return RowTerms(cross_entropy, kl[:, 0], None)
    ce_scale, kl_scale = ce_weights[:, None], kl_weights[:, None] / temperature
    ratio.sub_(kl)
    slope_at = ce_scale * ((temperature * x_at).exp() / hard_sum - 1)
    slope_at += kl_scale * (x_at.exp() / soft_sum) * ratio.gather(1, index)
    slope = ratio.mul_(soft).mul_(kl_scale / soft_sum).addcmul_(hard, ce_scale / hard_sum)
    return RowTerms(cross_entropy, kl[:, 0], _finish(slope, logits, index, slope_at))


def _scaled(logits: Tensor, scale: float) -> Tensor:
    """A wide copy."""
    wide = torch.float64 if logits.dtype == torch.float64 else torch.float32
    x = logits.to(wide, copy=True)
    return x if scale == 1 else x.mul_(scale)


def _centred(x: Tensor) -> Tensor:
    """The same tensor, after its largest entry in every row has become 0."""
    return x.sub_(x.amax(-1, keepdim=True))


def _pooled(
    teacher_logits: Sequence[Tensor], mixture: Mixture, index: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Of the pooled teachers: log q and q, both up to their sum, and q at `index` [n, 1]."""
    scale = 1 / mixture.temperature
    first, *others = teacher_logits
    if mixture.pool == "logits":
        z = _scaled(first, scale * mixture.shares[0])
        for logits, share in zip(others, mixture.shares[1:], strict=True):
            z.add_(logits.to(z.dtype), alpha=scale * share)
        return _centred(z), z.exp(), z.gather(1, index).exp()
    q = _softmax(first, scale, mixture.shares[0])
    for logits, share in zip(others, mixture.shares[1:], strict=True):
        q.add_(_softmax(logits, scale, share))
    return q.log(), q, q.gather(1, index)


def _softmax(logits: Tensor, scale: float, share: float) -> Tensor:
    """A share of the probabilities."""
    p = _centred(_scaled(logits, scale)).exp_()
    return p.mul_(share / p.sum(-1, keepdim=True))


def _exponentials(x: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """exp(x), in the memory of `x`, and exp(temperature * x)."""
    if temperature in (1, 2):
        soft = x.exp_()
        return soft, soft if temperature == 1 else soft * soft
    hard = (x * temperature).exp_()
    return x.exp_(), hard


def _finish(slope: Tensor, logits: Tensor, index: Tensor, slope_at: Tensor) -> Tensor:
    """The gradient in the type of the logits, with its own value at the labels, [n, 1]."""
    return slope.to(logits.dtype).scatter_(1, index, slope_at.to(logits.dtype))
