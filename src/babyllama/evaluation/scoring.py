"""Log-probability of sentences: every rule about prefix, space, length and batches in one place.

A sentence is encoded as it stands, or with a leading space, behind an explicit prefix. Its score is
the sum, or the mean, of the log-probabilities, in nats, of all its tokens given the prefix and the
tokens before them. With the prefix `none` the first token is not scored: nothing comes before it.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from transformers import PreTrainedModel

from babyllama.distillation.loss import Pool, pooled_log_probabilities
from babyllama.distillation.teachers import Teachers
from babyllama.errors import BabyllamaError, CorruptDataError
from babyllama.evaluation.conventions import Normalise
from babyllama.models.readout import Readout, has_linear_head, read_out, row_chunks
from babyllama.recipe import Prefix
from babyllama.tokens.tokenizer import plain_encoder

Scorer = Callable[[Tensor, Tensor], Tensor]
"""Token ids [B, T], the ids that follow each of them [B, T] -> their log-probabilities [B, T]."""

# Elements of a batch's logits: small enough for a CPU's memory traffic, large enough to be fast.
LOGITS_BUDGET = 1 << 23


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
        raise BabyllamaError(
            f"evaluation.prefix: the tokenizer has no {prefix}; use prefix newline or none"
        )
    return [token]


def encode(
    tokenizer: Any, sentences: Sequence[str], prefix: Prefix, *, leading_space: bool = False
) -> list[tuple[int, ...]]:
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


def too_long(texts: Sequence[str], rows: Sequence[tuple[int, ...]], positions: int) -> str:
    """The longest text and the positions that its row takes, in words; empty if it fits."""
    longest = max(range(len(rows)), key=lambda index: len(rows[index]), default=None)
    # The last token is scored and not read: nothing comes behind it.
    needed = 0 if longest is None else len(rows[longest]) - 1
    if longest is None or needed <= positions:
        return ""
    return f"the sentence {texts[longest][:60]!r} takes {needed} positions, prefix included"


def score(
    model: Scorer,
    rows: Sequence[tuple[int, ...]],
    *,
    vocabulary: int,
    positions: int,
    device: torch.device,
    normalise: Normalise = "sum",
) -> npt.NDArray[np.float64]:
    """Log-probability, in nats, of each row's tokens behind its first one: summed, or a token.

    Raises:
        BabyllamaError: a row longer than the model's positions, or a score that is not finite.
    """
    scores: dict[tuple[int, ...], float] = {}
    batches = _batches(model, rows, vocabulary=vocabulary, positions=positions, device=device)
    for part, nats in batches:
        sums = nats.sum(1)
        if normalise == "tokens":
            sums /= max(1, nats.shape[1])
        scores.update(zip(part, sums.tolist(), strict=True))
    return np.array([scores[row] for row in rows])


def token_scores(
    model: Scorer,
    rows: Sequence[tuple[int, ...]],
    *,
    vocabulary: int,
    positions: int,
    device: torch.device,
) -> list[npt.NDArray[np.float64]]:
    """Log-probabilities, in nats, of each row's tokens behind its first one [T - 1].

    Raises:
        BabyllamaError: as `score`.
    """
    found: dict[tuple[int, ...], npt.NDArray[np.float64]] = {}
    batches = _batches(model, rows, vocabulary=vocabulary, positions=positions, device=device)
    for part, nats in batches:
        found.update(zip(part, nats, strict=True))
    return [found[row] for row in rows]


def _batches(
    model: Scorer,
    rows: Sequence[tuple[int, ...]],
    *,
    vocabulary: int,
    positions: int,
    device: torch.device,
) -> Iterator[tuple[list[tuple[int, ...]], npt.NDArray[np.float64]]]:
    """Rows [B] of one length T, and the nats of their tokens behind the first [B, T - 1].

    Rows of equal length share a batch, so that nothing is padded; equal rows are scored once.
    """
    # The last token is scored and not read: nothing comes behind it.
    longest = max((len(row) - 1 for row in rows), default=0)
    if longest > positions:
        raise BabyllamaError(
            f"a sentence of {longest + 1} tokens, the prefix included, does not fit the model's"
            f" {positions} positions and the one behind them: raise architecture.positions or"
            " leave the sentence out"
        )
    by_length: dict[int, list[tuple[int, ...]]] = {}
    for row in sorted(set(rows), key=lambda r: (len(r), r)):
        by_length.setdefault(len(row), []).append(row)
    for length, group in by_length.items():
        size = max(1, LOGITS_BUDGET // (vocabulary * length))
        for begin in range(0, len(group), size):
            part = group[begin : begin + size]
            yield part, _token_nats(model, part, device)


@torch.inference_mode()
def _token_nats(
    model: Scorer, rows: Sequence[tuple[int, ...]], device: torch.device
) -> npt.NDArray[np.float64]:
    """Rows [B] of one length T -> nats [B, T - 1].

    Raises:
        BabyllamaError: a sentence whose score is not finite.
    """
    ids = torch.tensor(rows, device=device)
    if ids.shape[1] < 2:
        return np.zeros((len(rows), 0))
    # In float64 on the CPU: Apple's GPUs have none.
    nats: npt.NDArray[np.float64] = model(ids[:, :-1], ids[:, 1:]).cpu().double().numpy()
    broken = ~np.isfinite(nats).all(axis=1)
    if broken.any():
        raise BabyllamaError(
            f"{int(broken.sum())} of {len(rows)} sentences have no finite log-probability: the"
            " model's weights are damaged or its training diverged"
        )
    return nats


def model_scorer(model: PreTrainedModel, precision: str = "fp32") -> Scorer:
    """One model as a scorer: an ensemble of one."""
    return ensemble_scorer(Teachers({"model": model}), "logits", precision)


def ensemble_scorer(teachers: Teachers, pool: Pool, precision: str = "fp32") -> Scorer:
    """Pooled teachers as a scorer, at temperature 1.

    With `bf16` the layers run in autocast; the head and the softmax are in float32 always, since
    rounding a logit to bf16 moves a sentence's score by tenths of a nat. A model that scales or
    caps its logits is not taken apart, so all of it is in float32.
    """

    def read(model: PreTrainedModel, ids: Tensor) -> Readout:
        narrow = precision == "bf16" and has_linear_head(model)
        with torch.autocast(ids.device.type, torch.bfloat16, enabled=narrow):
            return read_out(model, ids).to(torch.float32)

    def log_probabilities(ids: Tensor, following: Tensor) -> Tensor:
        signal = [read(model, ids) for model in teachers.models.values()]
        target = following.flatten()
        parts = [
            pooled_log_probabilities(
                [readout.logits(rows) for readout in signal], pool=pool, weights=teachers.weights
            ).gather(1, target[rows, None])
            for rows in row_chunks(signal[0])
        ]
        return torch.cat(parts).view_as(following)

    return log_probabilities
