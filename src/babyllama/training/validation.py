"""Cross-entropy and bits per byte on the seeded validation subset, the same for every model."""

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

import torch
from torch import Tensor

from babyllama.models.readout import Readout
from babyllama.tokens.batches import Batch, counts
from babyllama.training.objectives import CrossEntropy, Objective

Autocast = Callable[[], AbstractContextManager[object]]
Signal = Callable[[Batch], list[Readout]]
CROSS_ENTROPY = CrossEntropy.quantity


@torch.no_grad()
def validate(
    objective: Objective,
    batches: Sequence[Batch],
    bytes_of_token: Tensor,
    *,
    autocast: Autocast,
    signal: Signal,
    device: torch.device,
) -> dict[str, float]:
    """Cross-entropy (nats per predicted token), bits per byte, and the objective's own value.

    Bits per byte divides by the bytes of the predicted tokens, so that it does not depend on the
    tokenizer. `bytes_of_token` is [V], 0 for special tokens: their nats count, their bytes are
    none. A masked model or an encoder-decoder, which predicts a part of a text and sees the rest,
    has a loss of its own name and no bits per byte.
    """
    objective.eval()
    nats = objective_sum = 0.0
    tokens = text_bytes = 0
    for batch in (b.to(device) for b in batches):
        whole = counts(batch)
        with autocast():
            loss, parts = objective(batch, whole, signal(batch))
        nats += float(parts[objective.quantity]) * whole.tokens
        objective_sum += float(loss) * whole.tokens
        tokens += whole.tokens
        if objective.quantity == CROSS_ENTROPY:
            text_bytes += int(bytes_of_token[batch.labels[batch.labels >= 0].cpu()].sum())
    objective.train()
    found = {objective.quantity: nats / tokens}
    if objective.quantity == CROSS_ENTROPY:
        found["bits_per_byte"] = nats / math.log(2) / max(1, text_bytes)
    return found | {"objective": objective_sum / tokens}
