"""What a model is trained for: a module that holds it and returns one normalised scalar.

An objective takes a micro-batch, the counts of the whole step and the teachers' logits, and
returns the micro-batch's part of the step's loss with detached parts beside it: the parts of a
step's micro-batches add up.
"""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedModel

from babyllama.distillation.loss import DistillationLoss
from babyllama.tokens.batches import IGNORED, Batch, Counts

Parts = dict[str, Tensor]


class CrossEntropy(nn.Module):
    """Next-token prediction alone: teachers, and the control."""

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, batch: Batch, counts: Counts, teacher_logits: Sequence[Tensor] = ()
    ) -> tuple[Tensor, Parts]:
        """Cross-entropy in nats per predicted token of the step."""
        del teacher_logits
        logits = self.model(input_ids=batch.input_ids, use_cache=False).logits
        loss = cross_entropy_sum(logits, batch.labels) / counts.tokens
        return loss, {"cross_entropy": loss.detach()}


class Distilled(nn.Module):
    """Cross-entropy and KL to the teachers, see `babyllama.distillation.loss`."""

    def __init__(self, model: PreTrainedModel, loss: DistillationLoss) -> None:
        super().__init__()
        self.model = model
        self.loss = loss

    def forward(
        self, batch: Batch, counts: Counts, teacher_logits: Sequence[Tensor]
    ) -> tuple[Tensor, Parts]:
        """The weighted loss; its parts are in nats, before weighting."""
        logits = self.model(input_ids=batch.input_ids, use_cache=False).logits.float()
        terms = self.loss(logits, batch.labels, teacher_logits, counts)
        return terms.loss, {"cross_entropy": terms.cross_entropy, "kl": terms.kl}


Objective = CrossEntropy | Distilled


def cross_entropy_sum(logits: Tensor, labels: Tensor) -> Tensor:
    """Nats over all predicted positions; the softmax is in float32 at least."""
    wide = logits if logits.dtype.itemsize > 4 else logits.float()
    return functional.cross_entropy(
        wide.flatten(0, -2), labels.flatten(), ignore_index=IGNORED, reduction="sum"
    )
