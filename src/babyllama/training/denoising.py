"""What masked models and encoder-decoders are trained for: to find what was taken out of a text.

The corruption is part of the batch (see `tokens.corruption`), so that what is predicted is counted
before the first forward pass, as for causal models.
"""

from collections.abc import Sequence

from torch import Tensor
from transformers import PreTrainedModel

from babyllama.distillation.fused import fused_loss
from babyllama.models.kinds import added_tokens, kind_of_config
from babyllama.models.readout import Readout, read_masked, read_spans
from babyllama.tokens.batches import IGNORED, Batch, Counts
from babyllama.tokens.corruption import Corruption, Masking, SpanCorruption, masked_tokens
from babyllama.training.objectives import CrossEntropy, Objective

QUANTITIES = {"masked": "masked_cross_entropy", "encoder-decoder": "span_cross_entropy"}
"""Kind -> what its loss is called: none of them is a causal model's cross-entropy."""


class Denoising(Objective):
    """Cross-entropy of what was taken out: masked tokens, or spans with their sentinels and end."""

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__(model)
        self.quantity = QUANTITIES[kind_of_config(model.config)]

    def forward(
        self, batch: Batch, counts: Counts, signal: Sequence[Readout] = ()
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Nats per predicted token of the step, on a corrupted batch."""
        del signal
        if self.quantity == "masked_cross_entropy":
            readout, labels = _read_masked(self.model, batch)
        else:
            readout = read_spans(self.model, batch.input_ids, batch.labels)
            labels = batch.labels.flatten()
        terms = fused_loss(readout, labels, counts=counts, kernel=self.kernel)
        return terms.loss, {self.quantity: terms.cross_entropy}


def _read_masked(model: PreTrainedModel, batch: Batch) -> tuple[Readout, Tensor]:
    """The read-out where something is predicted [B*P, D], and the labels there [B*P].

    As many places of every row as a row can have, so that the device need not be asked how many
    there are: of a row with special tokens in it some have no label.
    """
    most = masked_tokens(batch.labels.shape[1] - 2)
    predicted = (batch.labels != IGNORED).int()
    places = predicted.topk(most, dim=1).indices.sort(dim=1).values
    readout = read_masked(model, batch.input_ids, places)
    return readout, batch.labels.gather(1, places).flatten()


def corruption_for(model: PreTrainedModel, seed: int) -> Corruption | None:
    """What makes a model's batches of a text; none for a causal model, which reads it as it is."""
    config = model.config
    kind = kind_of_config(config)
    vocabulary = int(config.vocab_size) - added_tokens(kind)
    special = (config.pad_token_id, config.bos_token_id, config.eos_token_id)
    if kind == "masked":
        return Masking(seed, vocabulary, special, mask=vocabulary)
    if kind == "encoder-decoder":
        return SpanCorruption(seed, sentinel=vocabulary, end=config.eos_token_id)
    return None


def as_validated(model: PreTrainedModel, batches: Sequence[Batch], seed: int) -> list[Batch]:
    """A validation text as a model reads it: with one corruption, whenever and whoever asks."""
    corruption = corruption_for(model, seed)
    return [corruption(batch, 0) for batch in batches] if corruption else [*batches]


def plain_objective(model: PreTrainedModel) -> Objective:
    """What a model without teachers is trained for: its kind says it."""
    causal = kind_of_config(model.config) == "causal"
    return CrossEntropy(model) if causal else Denoising(model)
