"""What a model is trained for: a module that holds it and returns one normalised scalar.

An objective takes a micro-batch, the counts of the whole step and the teachers' signal, and
returns the micro-batch's part of the step's loss with detached parts beside it: the parts of a
step's micro-batches add up.
"""

from collections.abc import Callable, Mapping, Sequence

from torch import Tensor, nn
from transformers import PreTrainedModel

from babyllama.distillation.compiling import Kernel
from babyllama.distillation.fused import fused_loss
from babyllama.distillation.loss import DistillationLoss, cross_entropy_share
from babyllama.models.readout import Readout, read_out
from babyllama.tokens.batches import Batch, Counts

Parts = dict[str, Tensor]


class Objective(nn.Module):
    """A model, and what it is trained for."""

    kernel: Kernel = "plain"
    """Which form of the loss computes the gradient."""
    quantity = "cross_entropy"
    """What it is called in logs and tables that a model is measured by."""

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model = model

    def begin(self, step: int) -> None:
        """What follows is of this step, counted from 0, until the next one begins."""

    def weights(self, values: Mapping[str, float]) -> dict[str, float]:  # noqa: ARG002 (of a mixed loss)
        """How much the parts of a step's loss, which has these values, weigh in it."""
        return {}


class CrossEntropy(Objective):
    """Next-token prediction alone: teachers, and the control."""

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


class Distilled(Objective):
    """Cross-entropy and KL to the teachers, see `babyllama.distillation.loss`."""

    def __init__(
        self,
        model: PreTrainedModel,
        loss: DistillationLoss,
        *,
        ce_weight: Callable[[int], float] | None = None,
        inputs: Callable[[Batch, int], Tensor] | None = None,
    ) -> None:
        """A student; what changes with the step, counted from 0, is a function of it.

        Args:
            model: the student.
            loss: with its weight of the cross-entropy, unless `ce_weight` gives it by the step.
            ce_weight: of a step.
            inputs: the ids that the student reads of a batch at a step of its training, where
                they are not the text.
        """
        super().__init__(model)
        self.loss = loss
        self.ce_weight = ce_weight
        self.inputs = inputs
        self.step = 0

    def begin(self, step: int) -> None:
        """What follows, until the next one begins, is of this step; validation, too."""
        self.step = step
        if self.ce_weight:
            self.loss.ce_weight = self.ce_weight(step)

    def forward(
        self, batch: Batch, counts: Counts, signal: Sequence[Readout]
    ) -> tuple[Tensor, Parts]:
        """Weighted loss; its parts are in nats, before weighting."""
        own = self.inputs if self.training else None
        ids = own(batch, self.step) if own else batch.input_ids
        terms = fused_loss(
            read_out(self.model, ids),
            batch.labels.flatten(),
            signal,
            counts=counts,
            temperature=self.loss.temperature,
            ce_weight=self.loss.ce_weight,
            pool=self.loss.pool,
            kl_reduction=self.loss.kl_reduction,
            teacher_weights=self.loss.teacher_weights,
            divergence=self.loss.divergence,
            kernel=self.kernel,
        )
        parts = {"cross_entropy": terms.cross_entropy, "kl": terms.kl}
        return _with_auxiliary(self.model, batch, counts, terms.loss, parts)

    def weights(self, values: Mapping[str, float]) -> dict[str, float]:
        """The step's weight of the cross-entropy, and the share that this has in a loss."""
        weight = self.loss.ce_weight
        share = cross_entropy_share(
            values["cross_entropy"],
            values["kl"],
            temperature=self.loss.temperature,
            ce_weight=weight,
        )
        return {"ce_weight": weight, "cross_entropy_share": share}


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
