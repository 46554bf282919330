"""Text with something taken out, and what was: the inputs of masked models and encoder-decoders.

What is taken out of a sequence is a function of (seed, split, epoch, its place in the text): it
does not depend on the batch, the micro-batch or the process that the sequence comes in, and it is
another every epoch.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from babyllama.seeds import generator
from babyllama.tokens.batches import IGNORED, Batch

Row = npt.NDArray[np.int64]

RATE = 0.15
"""The part of the tokens that is taken out, of BERT, RoBERTa and T5 alike."""
MASKED, REPLACED = 0.8, 0.1
"""Of the tokens that a masked model predicts: made the mask, made another; the rest stand."""
SPAN = 3
"""Tokens of a span of T5, on average."""


@dataclass(frozen=True)
class Masking:
    """Tokens to predict in their place (Devlin et al. 2019, section 3.1).

    Of a sequence 15 % of the tokens are to be predicted, special ones never; of these 80 % are
    masked, 10 % replaced by a token drawn from the vocabulary without its special tokens, and 10 %
    left. They are drawn anew every epoch (Liu et al. 2019, section 4.1), and `<s>` and `</s>` stand
    around the sequence, as around every text that RoBERTa reads.
    """

    seed: int
    vocabulary: int
    """Ids of the text; the first ones are special."""
    special: tuple[int, int, int]
    """Of padding, start and end: the first ids of the vocabulary."""
    mask: int

    def __call__(self, batch: Batch, epoch: int) -> Batch:
        """Inputs and labels [B, T + 2] of the sequences [B, T] of a batch."""
        return _corrupted(batch, self.seed, "mask", epoch, self._row)

    def _row(self, ids: Row, draw: np.random.Generator) -> tuple[Row, Row]:
        _, start, end = self.special
        whole = np.concatenate([[start], ids, [end]])
        text = np.flatnonzero(~np.isin(whole, self.special))
        picked = draw.permutation(text)[: masked_tokens(len(text))]
        labels = np.full_like(whole, IGNORED)
        labels[picked] = whole[picked]
        share = draw.random(len(picked))
        others = draw.integers(len(self.special), self.vocabulary, len(picked))
        whole[picked] = np.where(
            share < MASKED,
            self.mask,
            np.where(share < MASKED + REPLACED, others, whole[picked]),
        )
        return whole, labels


def masked_tokens(length: int) -> int:
    """How many of so many tokens a masked model predicts: 15 %, rounded, but one at least.

    >>> masked_tokens(128), masked_tokens(2)
    (19, 1)
    """
    return min(length, max(1, round(RATE * length)))


class SpanLengths(NamedTuple):
    """What becomes of a sequence of some length: the same for all of them."""

    noise: int
    """Tokens that are taken out."""
    spans: int
    """Spans that these are in, a sentinel each."""
    read: int
    """Tokens of the encoder: what is left, the sentinels, the end."""
    written: int
    """Tokens of the decoder: the sentinels, what was taken out, the end."""


def span_lengths(length: int) -> SpanLengths:
    """As `random_spans_noise_mask` of T5's public code has it, plus the end on both sides.

    >>> span_lengths(512)
    SpanLengths(noise=77, spans=26, read=462, written=104)
    """
    noise = min(length - 1, max(1, round(RATE * length)))
    spans = max(1, round(noise / SPAN))
    return SpanLengths(noise, spans, length - noise + spans + 1, noise + spans + 1)


@dataclass(frozen=True)
class SpanCorruption:
    """Spans to write out (Raffel et al. 2020, sections 3.1.4 and 3.3.4).

    15 % of the tokens are taken out in spans of 3 on average. Each is a sentinel in the input; the
    target is every sentinel and what it stands for. Where the spans lie is drawn as in T5's public
    code: tokens left and tokens taken out are cut into as many parts at random, and these alternate
    from the former on, so that a sequence ends with a span. Both sides end with `</s>`.
    """

    seed: int
    sentinel: int
    """Id of the first one; the others follow."""
    end: int

    def __call__(self, batch: Batch, epoch: int) -> Batch:
        """Encoder inputs [B, E] and decoder labels [B, D] of the sequences [B, T] of a batch."""
        return _corrupted(batch, self.seed, "spans", epoch, self._row)

    def _row(self, ids: Row, draw: np.random.Generator) -> tuple[Row, Row]:
        sizes = span_lengths(len(ids))
        left = _parts(len(ids) - sizes.noise, sizes.spans, draw)
        out = _parts(sizes.noise, sizes.spans, draw)
        ends = np.cumsum(np.stack([left, out], axis=1).ravel())
        pieces = np.split(ids, ends[:-1])
        sentinels = self.sentinel + np.arange(sizes.spans)[:, None]
        return (
            np.concatenate([*_alternating(pieces[::2], sentinels), [self.end]]),
            np.concatenate([*_alternating(sentinels, pieces[1::2]), [self.end]]),
        )


def _parts(items: int, parts: int, draw: np.random.Generator) -> Row:
    """Sizes of so many parts, none empty, every way to cut as likely as any other."""
    cuts = np.sort(draw.permutation(items - 1)[: parts - 1]) + 1
    return np.diff(np.concatenate([[0], cuts, [items]]))


def _alternating(first: Any, second: Any) -> list[Row]:
    return [row for pair in zip(first, second, strict=True) for row in pair]


Corruption = Masking | SpanCorruption


def _corrupted(
    batch: Batch,
    seed: int,
    stream: str,
    epoch: int,
    corrupt: Callable[[Row, np.random.Generator], tuple[Row, Row]],
) -> Batch:
    """A batch whose rows are corrupted one by one, each with numbers of its own place."""
    starts = batch.starts.tolist()
    rows = [
        corrupt(ids, generator(seed, f"{stream}-{batch.split}", epoch, start))
        for ids, start in zip(batch.input_ids.numpy(), starts, strict=True)
    ]
    inputs, labels = (torch.from_numpy(np.stack(side)) for side in zip(*rows, strict=True))
    return Batch(inputs, labels, batch.starts, batch.split)
