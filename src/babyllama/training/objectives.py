"""What a model is trained for: a module that holds it and returns one normalised scalar.

An objective takes a micro-batch, the counts of the whole step and the teachers' signal, and
returns the micro-batch's part of the step's loss with detached parts beside it: the parts of a
step's micro-batches add up.
"""

from collections.abc import Sequence

from torch import Tensor, nn
from transformers import PreTrainedModel

from babyllama.distillation.compiling import Kernel
from babyllama.distillation.fused import fused_loss
from babyllama.distillation.loss import DistillationLoss
from babyllama.models.readout import Readout, read_out
from babyllama.tokens.batches import Batch, Counts

Parts = dict[str, Tensor]


class CrossEntropy(nn.Module):
    """Next-token prediction alone: teachers, and the control."""

    kernel: Kernel = "plain"
    """Which form of the loss computes the gradient."""

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, batch: Batch, counts: Counts, signal: Sequence[Readout] = ()
    ) -> tuple[Tensor, Parts]:
        """Cross-entropy in nats per predicted token of the step."""
        del signal
        terms = fused_loss(
            read_out(self.model, batch.input_ids),
            batch.labels.flatten(),
            counts=counts,
            kernel=self.kernel,
        )
        parts = {"cross_entropy": terms.cross_entropy}
        return _with_auxiliary(self.model, batch, counts, terms.loss, parts)


class Distilled(nn.Module):
    """Cross-entropy and KL to the teachers, see `babyllama.distillation.loss`."""

    kernel: Kernel = "plain"
    """Which form of the loss computes the gradient."""

    def __init__(self, model: PreTrainedModel, loss: DistillationLoss) -> None:
        super().__init__()
        self.model = model
        self.loss = loss

    def forward(
        self, batch: Batch, counts: Counts, signal: Sequence[Readout]
    ) -> tuple[Tensor, Parts]:
        """Weighted loss; its parts are in nats, before weighting."""
        terms = fused_loss(
            read_out(self.model, batch.input_ids),
            batch.labels.flatten(),
            signal,
            counts=counts,
            temperature=self.loss.temperature,
            ce_weight=self.loss.ce_weight,
            pool=self.loss.pool,
            kl_reduction=self.loss.kl_reduction,
            teacher_weights=self.loss.teacher_weights,
            kernel=self.kernel,
        )
        parts = {"cross_entropy": terms.cross_entropy, "kl": terms.kl}
        return _with_auxiliary(self.model, batch, counts, terms.loss, parts)


def _with_auxiliary(
    model: PreTrainedModel, batch: Batch, counts: Counts, loss: Tensor, parts: Parts
) -> tuple[Tensor, Parts]:
    """Add what a model with experts asks for in training, as it is added: `load_balance`.

    It is a mean over the tokens of a micro-batch, so it counts by its part of the step's tokens,
    which is that of its sequences: all have one length.
    """
    take = getattr(model, "auxiliary_loss", None)
    asked: Tensor | None = take() if take else None
    if asked is None:
        return loss, parts
    asked = asked * (len(batch.input_ids) / counts.sequences)
    return loss + asked, {**parts, "load_balance": asked.detach()}


Objective = CrossEntropy | Distilled
