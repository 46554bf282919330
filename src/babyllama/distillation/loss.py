r"""The loss of a distilled model: the formula, obvious, in float32 at least.

For K teachers with logits z_k, weights w_k that sum to one, temperature T and student logits s:

    q    = softmax(sum_k w_k z_k / T)            pool "logits" (the paper)
    q    = sum_k w_k softmax(z_k / T)            pool "probabilities"
    loss = ce_weight * CE(s, labels) + (1 - ce_weight) * T^2 * KL(q || softmax(s / T))

"Baby Llama" (Timiryasov & Tastet 2023, arXiv 2308.02019, section 3) with what its released code
adds: the factor T^2 and the mean of the logits before the softmax. CE is in nats per predicted
token. KL is summed over the positions of the CE and divided by their number (`token`), or summed
over all positions and divided by the number of sequences (`sequence`: the released code, in
which the KL of a chunk of 128 weighs some 128 times as much). An id that the teachers rule out
(q = 0, a logit of -inf) adds nothing to the KL, the limit of q log q.

This is the divergence `forward`. `reverse` has KL(softmax(s / T) || q) in its place: the student is
kept from what its teachers hold unlikely, and need not cover all that they hold likely ("MiniLLM",
Gu et al. 2023, arXiv 2306.08543, section 2.1; there on text that the student writes, here on the
text it reads). That is infinite where the student gives a probability to an id that the teachers
rule out, so log q is taken for `LEAST_LOG` where it is less: a finite loss, whose gradient drives
the student away from there.
"""

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from babyllama.tokens.batches import IGNORED, Counts

Pool = Literal["logits", "probabilities"]
Reduction = Literal["token", "sequence"]
Divergence = Literal["forward", "reverse"]

LEAST_LOG = math.log(torch.finfo(torch.float32).tiny)
"""What the reverse KL takes log q for where it is less: that of the least normal float32, -87.3."""


class LossTerms(NamedTuple):
    """The scalar to differentiate, and its two parts before weighting, detached."""

    loss: Tensor
    cross_entropy: Tensor
    """Nats per predicted token."""
    kl: Tensor
    """Nats per predicted token or per sequence, at the temperature, without its square."""


def pooled_log_probabilities(
    teacher_logits: Sequence[Tensor],
    *,
    temperature: float = 1.0,
    pool: Pool = "logits",
    weights: Sequence[float] | None = None,
) -> Tensor:
    """Log-probabilities [..., V] of the pooled teachers; weights are normalised to sum to one.

    Raises:
        ValueError: no teachers, an unknown pool, or not one positive, finite weight a teacher.
    """
    shares = normalised(weights, len(teacher_logits))
    _check_choice("pool", pool, get_args(Pool))
    wide = [at_least_float32(logits) for logits in teacher_logits]
    if pool == "logits":
        pooled = wide[0] * (shares[0] / temperature)
        for share, logits in zip(shares[1:], wide[1:], strict=True):
            pooled.add_(logits, alpha=share / temperature)
        return functional.log_softmax(pooled, dim=-1)
    logs = [functional.log_softmax(z / temperature, dim=-1) for z in wide]
    weighted = [log + math.log(w) for w, log in zip(shares, logs, strict=True)]
    return torch.stack(weighted).logsumexp(dim=0) if len(logs) > 1 else logs[0]


def at_least_float32(tensor: Tensor) -> Tensor:
    """The tensor itself in float32 or float64, otherwise a copy in float32."""
    return tensor if tensor.dtype == torch.float64 else tensor.float()


def normalised(weights: Sequence[float] | None, teachers: int) -> list[float]:
    """One share a teacher, equal by default, that sum to one.

    Raises:
        ValueError: no teachers, or not one positive, finite weight a teacher.
    """
    weights = [1.0] * teachers if weights is None else list(weights)
    if not teachers or len(weights) != teachers or not all(0 < w < math.inf for w in weights):
        raise ValueError(
            f"{teachers} teachers with weights {weights}: give one positive weight each"
        )
    return [w / sum(weights) for w in weights]


def _check_choice(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ValueError(f"{name} {value!r} must be one of {', '.join(known)}")


def _check_settings(
    temperature: float, ce_weight: float, pool: str, kl_reduction: str, divergence: str
) -> None:
    if not 0 < temperature < math.inf or not 0 <= ce_weight <= 1:
        raise ValueError(f"temperature {temperature} must be > 0, ce_weight {ce_weight} in [0, 1]")
    _check_choice("pool", pool, get_args(Pool))
    _check_choice("kl_reduction", kl_reduction, get_args(Reduction))
    _check_choice("divergence", divergence, get_args(Divergence))


def _check_shapes(student: Tensor, teachers: Sequence[Tensor]) -> None:
    for number, logits in enumerate(teachers, 1):
        if logits.shape != student.shape:
            raise ValueError(
                f"logits of teacher {number} have the shape {list(logits.shape)}, the student's"
                f" {list(student.shape)}: they must be the same"
            )


def distillation_loss(
    student_logits: Tensor,
    labels: Tensor,
    teacher_logits: Sequence[Tensor] | Tensor,
    *,
    temperature: float = 2.0,
    ce_weight: float = 0.5,
    pool: Pool = "logits",
    kl_reduction: Reduction = "token",
    teacher_weights: Sequence[float] | None = None,
    divergence: Divergence = "forward",
    counts: Counts | None = None,
    ce_weights: Tensor | None = None,
    kl_weights: Tensor | None = None,
) -> LossTerms:
    """Weighted cross-entropy and KL of a batch, or of one micro-batch of it.

    Args:
        student_logits: [B, T, V], raw logits; narrower types than float32 are widened to it.
        labels: [B, T], the id that each position predicts (already shifted); -100 is ignored.
        teacher_logits: K tensors [B, T, V], or the one tensor of one teacher; no gradient flows to
            them.
        temperature: T, above 0.
        ce_weight: weight of the cross-entropy in [0, 1]; the KL has the rest.
        pool: what is averaged over the teachers, logits or probabilities.
        kl_reduction: how the KL is summed and divided, see above.
        teacher_weights: K positive weights; equal by default.
        divergence: KL(teachers || student), or with `reverse` KL(student || teachers).
        counts: what the sums are divided by; by default the counts of this batch. With the counts
            of the whole step, the losses of its micro-batches add up to the loss of the step.
        ce_weights: [B, T], what the cross-entropy of each position is multiplied by, 1 by default;
            the counts stay what they are.
        kl_weights: [B, T], what the KL of each position is multiplied by, 1 by default.

    Raises:
        ValueError: a setting out of its range, weights that do not fit the teachers, or a teacher
            whose logits have another shape than the student's.
    """
    _check_settings(temperature, ce_weight, pool, kl_reduction, divergence)
    teachers = [teacher_logits] if isinstance(teacher_logits, Tensor) else [*teacher_logits]
    _check_shapes(student_logits, teachers)
    student = at_least_float32(student_logits)
    predicted = labels != IGNORED
    if counts is None:
        counts = Counts(int(predicted.sum()), len(labels))
    nats = functional.cross_entropy(
        student.flatten(0, -2), labels.flatten(), ignore_index=IGNORED, reduction="none"
    ).view(labels.shape)
    nats = nats if ce_weights is None else nats * ce_weights
    cross_entropy = nats.sum() / max(1, counts.tokens)
    with torch.no_grad():
        target = pooled_log_probabilities(
            teachers,
            temperature=temperature,
            pool=pool,
            weights=teacher_weights,
        )
    log_student = functional.log_softmax(student / temperature, dim=-1)
    if divergence == "forward":
        per_position = _kl(target, log_student)
    else:
        per_position = _kl(log_student, target.clamp(min=LEAST_LOG))
    per_position = per_position if kl_weights is None else per_position * kl_weights
    if kl_reduction == "token":
        kl = (per_position * predicted).sum() / max(1, counts.tokens)
    else:
        kl = per_position.sum() / counts.sequences
    loss = ce_weight * cross_entropy + (1 - ce_weight) * temperature**2 * kl
    return LossTerms(loss, cross_entropy.detach(), kl.detach())


def _kl(log_p: Tensor, log_q: Tensor) -> Tensor:
    """KL(p || q) over the last dimension."""
    p = log_p.exp()
    # Where p is 0 its logarithm is -inf, and 0 times that is not a number.
    return (p * (log_p - log_q).masked_fill(p == 0, 0.0)).sum(dim=-1)


def cross_entropy_share(
    cross_entropy: float, kl: float, *, temperature: float, ce_weight: float
) -> float:
    """The part of the loss's value that is cross-entropy, in [0, 1]."""
    ce_term = ce_weight * cross_entropy
    kl_term = (1 - ce_weight) * temperature**2 * kl
    return ce_term / (ce_term + kl_term) if ce_term + kl_term > 0 else 1.0


class DistillationLoss(nn.Module):
    """`distillation_loss` with its settings held, for any training loop.

    >>> loss = DistillationLoss(temperature=2.0, ce_weight=0.5)
    >>> logits, labels = torch.zeros(1, 3, 5), torch.tensor([[1, 2, -100]])
    >>> round(float(loss(logits, labels, [logits]).loss), 4)  # half of log(5)
    0.8047
    """

    def __init__(
        self,
        *,
        temperature: float = 2.0,
        ce_weight: float = 0.5,
        pool: Pool = "logits",
        kl_reduction: Reduction = "token",
        teacher_weights: Sequence[float] | None = None,
        divergence: Divergence = "forward",
    ) -> None:
        super().__init__()
        _check_settings(temperature, ce_weight, pool, kl_reduction, divergence)
        self.temperature = temperature
        self.ce_weight = ce_weight
        self.pool: Pool = pool
        self.kl_reduction: Reduction = kl_reduction
        self.teacher_weights = teacher_weights
        self.divergence: Divergence = divergence

    def forward(
        self,
        student_logits: Tensor,
        labels: Tensor,
        teacher_logits: Sequence[Tensor] | Tensor,
        counts: Counts | None = None,
        *,
        ce_weights: Tensor | None = None,
        kl_weights: Tensor | None = None,
    ) -> LossTerms:
        """See `distillation_loss`."""
        return distillation_loss(
            student_logits,
            labels,
            teacher_logits,
            temperature=self.temperature,
            ce_weight=self.ce_weight,
            pool=self.pool,
            kl_reduction=self.kl_reduction,
            teacher_weights=self.teacher_weights,
            divergence=self.divergence,
            counts=counts,
            ce_weights=ce_weights,
            kl_weights=kl_weights,
        )
