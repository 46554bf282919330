"""Sentences as rows of ids for models that are not causal: what fits, and batches of equal length.

Rows of equal length share a batch, so that nothing is padded, and equal rows are scored once: their
scores are the same to the last bit, whatever the batches.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, groupby
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from transformers import PreTrainedModel

from babyllama.errors import BabyllamaError, RecipeError
from babyllama.models.architectures import longest_input
from babyllama.tokens.tokenizer import plain_encoder

Row = tuple[int, ...]

# Numbers of a batch: small enough for a CPU's memory traffic, large enough to be fast.
BUDGET = 1 << 23


def special_ends(tokenizer: Any, sentence: str) -> tuple[Row, Row]:
    """Ids that a tokenizer puts by itself before and behind a sentence, the same for all."""
    encoder = plain_encoder(tokenizer)
    encoder.post_processor = tokenizer.backend_tokenizer.post_processor
    encoding = encoder.encode(sentence)
    own = [place for place, special in enumerate(encoding.special_tokens_mask) if not special]
    return tuple(encoding.ids[: own[0]]), tuple(encoding.ids[own[-1] + 1 :])


def check_fits(
    model: PreTrainedModel, texts: Sequence[str], rows: Sequence[Row], *, beside: int, others: Row
) -> None:
    """Refuse rows that a model does not take: with some tokens beside each, and other ids.

    Raises:
        RecipeError: a row longer than the model's positions, or ids behind its last embedding.
    """
    name, positions = model.name_or_path, longest_input(model)
    longest = max(range(len(rows)), key=lambda index: len(rows[index]))
    needed = len(rows[longest]) + beside
    if needed > positions:
        raise RecipeError(
            f"the sentence {texts[longest][:60]!r} takes {needed} positions, special tokens"
            f" included, and {name} has {positions}: leave the sentence out"
        )
    check_ids(str(name), model, [*rows, others])


def check_ids(name: str, model: PreTrainedModel, rows: Iterable[Row]) -> None:
    """Refuse ids behind a model's last embedding.

    Raises:
        RecipeError: there is such an id.
    """
    known = cast(torch.nn.Embedding, model.get_input_embeddings()).weight.shape[0]
    if max(chain.from_iterable(rows)) >= known:
        raise RecipeError(
            f"{name} has {known} embeddings, and its tokenizer gives larger ids: it is not the"
            " tokenizer that the model was trained with"
        )


def score_rows(
    rows: Sequence[Row],
    score: Callable[[Tensor], Tensor],
    rows_at_once: Callable[[int], int],
    device: torch.device,
) -> npt.NDArray[np.float64]:
    """One number a row, of `score`: rows [B, T] -> nats [B], for parts of equal length T.

    Raises:
        BabyllamaError: a score that is not finite.
    """
    found: dict[Row, float] = {}
    for part in _equal_lengths(rows, rows_at_once):
        with torch.inference_mode():
            nats = score(torch.tensor(part, device=device))
        found.update(zip(part, nats.tolist(), strict=True))
    scores = np.array([found[row] for row in rows])
    if broken := int((~np.isfinite(scores)).sum()):
        raise BabyllamaError(
            f"{broken} of {len(rows)} sentences have no finite log-probability: the model's weights"
            " are damaged or its training diverged"
        )
    return scores


def _equal_lengths(rows: Sequence[Row], rows_at_once: Callable[[int], int]) -> Iterator[list[Row]]:
    """Distinct rows of one length, at most as many as that length allows."""
    unique = sorted(set(rows), key=lambda row: (len(row), row))
    for length, group in groupby(unique, key=len):
        alike, size = [*group], max(1, rows_at_once(length))
        for begin in range(0, len(alike), size):
            yield alike[begin : begin + size]


def summed(nats: Tensor, normalise: str) -> Tensor:
    """Log-probabilities of tokens [B, T] -> of sentences [B]: their sum, or their mean a token.

    In float64 on the CPU: Apple's GPUs have none.
    """
    exact = nats.cpu().double()
    return exact.mean(1) if normalise == "tokens" else exact.sum(1)
