"""Log-probability of sentences: every rule about prefix, space, length and batches in one place.

A sentence is encoded as it stands, or with a leading space, behind an explicit prefix. Its score is
the sum, or the mean, of the log-probabilities, in nats, of all its tokens given the prefix and the
tokens before them. With the prefix `none` the first token is not scored: nothing comes before it.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from babyllama.errors import BabyllamaError, CorruptDataError
from babyllama.evaluation.scorers import Scorer
from babyllama.evaluation.trees import Row, as_trees, by_length
from babyllama.recipe import Normalise, Prefix
from babyllama.tokens.tokenizer import plain_encoder

Nats = npt.NDArray[np.float64]
TOKENS = {"cpu": 1 << 11}
"""Tokens of a batch: what fits a processor's cache, more where kernels are wider."""
# Elements of a batch's logits, for models that give them all at once.
LOGITS_BUDGET = 1 << 25


def prefix_ids(tokenizer: Any, prefix: Prefix) -> list[int]:
    """Token ids of a prefix.

    Raises:
        BabyllamaError: the tokenizer has no such token.
    """
    if prefix == "none":
        return []
    if prefix == "newline":
        return list(plain_encoder(tokenizer).encode("\n", add_special_tokens=False).ids)
    token = tokenizer.bos_token_id if prefix == "<s>" else tokenizer.eos_token_id
    if token is None:
        other, its = ("</s>", "eos") if prefix == "<s>" else ("<s>", "bos")
        offered = "" if getattr(tokenizer, f"{its}_token_id") is None else f"{other}, "
        raise BabyllamaError(
            f"the tokenizer has no {prefix}: give {offered}newline or none as evaluation.prefix or"
            " --prefix"
        )
    return [token]


def encode(
    tokenizer: Any, sentences: Sequence[str], prefix: Prefix, *, leading_space: bool = False
) -> list[Row]:
    """Ids of each sentence, with a space before its first word or not, behind the prefix.

    Raises:
        CorruptDataError: a sentence without text.
    """
    start = tuple(prefix_ids(tokenizer, prefix))
    texts = [f" {text}" for text in sentences] if leading_space else list(sentences)
    encodings = plain_encoder(tokenizer).encode_batch_fast(texts, add_special_tokens=False)
    for sentence, encoding in zip(sentences, encodings, strict=True):
        if not encoding.ids:
            raise CorruptDataError(f"sentence {sentence!r} has no tokens: remove it from the suite")
    return [start + tuple(encoding.ids) for encoding in encodings]


def too_long(texts: Sequence[str], rows: Sequence[Row], positions: int) -> str:
    """The longest text and the positions that its row takes, in words; empty if it fits."""
    longest = max(range(len(rows)), key=lambda index: len(rows[index]), default=None)
    # The last token is scored and not read: nothing comes behind it.
    needed = 0 if longest is None else len(rows[longest]) - 1
    if longest is None or needed <= positions:
        return ""
    return f"the sentence {texts[longest][:60]!r} takes {needed} positions, prefix included"


def score(
    scorer: Scorer,
    rows: Sequence[Row],
    *,
    vocabulary: int,
    positions: int,
    device: torch.device,
    normalise: Normalise = "sum",
) -> Nats:
    """Log-probability, in nats, of each row's tokens behind its first one: summed, or a token.

    Raises:
        BabyllamaError: a row longer than the model's positions, or a score that is not finite.
    """
    scores: dict[Row, float] = {}
    for row, nats in _scored(
        scorer, rows, vocabulary=vocabulary, positions=positions, device=device
    ):
        scores[row] = float(nats.sum()) / (max(1, len(nats)) if normalise == "tokens" else 1)
    return np.array([scores[row] for row in rows])


def token_scores(
    scorer: Scorer, rows: Sequence[Row], *, vocabulary: int, positions: int, device: torch.device
) -> list[Nats]:
    """Log-probabilities, in nats, of each row's tokens behind its first one [T - 1].

    Raises:
        BabyllamaError: as `score`.
    """
    found = dict(_scored(scorer, rows, vocabulary=vocabulary, positions=positions, device=device))
    return [found[row] for row in rows]


def _scored(
    scorer: Scorer, rows: Sequence[Row], *, vocabulary: int, positions: int, device: torch.device
) -> Iterator[tuple[Row, Nats]]:
    """Each different row once, and the nats of its tokens behind the first [T - 1]."""
    # The last token is scored and not read: nothing comes behind it.
    longest = max((len(row) - 1 for row in rows), default=0)
    if longest > positions:
        raise BabyllamaError(
            f"a sentence of {longest + 1} tokens, the prefix included, does not fit the model's"
            f" {positions} positions and the one behind them: raise architecture.positions or"
            " leave the sentence out"
        )
    tokens = min(TOKENS.get(device.type, 1 << 15), LOGITS_BUDGET // vocabulary)
    for part in (as_trees if scorer.trees else by_length)(rows, tokens):
        # In float64 on the CPU: Apple's GPUs have none.
        nats = scorer.nats(part.batch.to(device)).cpu().double().numpy()
        each = [nats[steps] for steps in part.steps]
        broken = sum(not np.isfinite(own).all() for own in each)
        if broken:
            raise BabyllamaError(
                f"{broken} of {len(each)} sentences have no finite log-probability: the model's"
                " weights are damaged or its training diverged"
            )
        yield from zip(part.rows, each, strict=True)
