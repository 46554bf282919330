"""Surprisal of words, for psycholinguists: how unexpected is each word of a line, in bits?

A word is what stands between white space, and the words of a line are read with one space between
them, behind the prefix. A byte-level token carries the space before its word, so the space counts
to the word behind it; the first word of a line has none. A token counts to the word that holds its
first character that is not a space, and a token of nothing but space to the next word. So the words
of a line sum to the surprisal of the line, and a word that lies wholly within the token of the word
before it has 0 bits. With the prefix `none` nothing predicts the first token of a line: its word
is `nan`.
"""

import math
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import accumulate
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from torch import Tensor
from transformers import PreTrainedModel

from babyllama.errors import CorruptDataError, RecipeError
from babyllama.evaluation.scorers import Scorer, model_scorer
from babyllama.evaluation.scoring import prefix_ids, token_scores, too_long
from babyllama.evaluation.trees import Batch, Row
from babyllama.models.architectures import longest_input
from babyllama.recipe import Prefix
from babyllama.tokens.tokenizer import plain_encoder

Alignment = Literal["before", "same-position"]
"""Which prediction a token is looked up in: the one made before it is read, which is its surprisal,
or the one made after, which is the surprisal of the same token coming once more."""
BLOCK = 1000
"""Lines that are held at a time."""
Block = tuple[list[tuple[int, Sequence[str]]], list[str], list[Any], list[Row]]
"""Numbered words of some lines, the lines as text, their encodings, their ids behind the prefix."""


class Word(NamedTuple):
    """A word of a file; lines and words count from 1."""

    line: int
    number: int
    text: str
    bits: float


def read_lines(file: Path) -> list[list[str]]:
    """The words of every line.

    Raises:
        RecipeError: there is no such file.
        CorruptDataError: it is not UTF-8, or holds no word.
    """
    if not file.is_file():
        raise RecipeError(f"{file} is no file: give a text of one utterance or sentence a line")
    try:
        lines = [line.split() for line in file.read_text("utf-8-sig").split("\n")]
    except UnicodeDecodeError as error:
        raise CorruptDataError(f"{file} is not UTF-8 at byte {error.start}: mend it") from None
    if not any(lines):
        raise CorruptDataError(f"{file} holds no word: give a text of one sentence a line")
    return lines


def surprisals(
    model: PreTrainedModel,
    tokenizer: Any,
    lines: Sequence[Sequence[str]],
    prefix: Prefix,
    alignment: Alignment = "before",
) -> Iterator[Word]:
    """The words of lines, in order, each line by itself; a line without words gives none.

    All lines are held against the model's positions now, before the first word is asked for.

    Raises:
        RecipeError: a line that is longer than the model's positions.
    """
    start, positions = prefix_ids(tokenizer, prefix), longest_input(model)
    for _, texts, _, rows in _blocks(tokenizer, lines, start, alignment):
        if long := too_long(texts, rows, positions):
            raise RecipeError(f"{long}, and the model has {positions}: break that line in two")
    return _scored(model, tokenizer, lines, start, alignment)


def _blocks(
    tokenizer: Any, lines: Sequence[Sequence[str]], start: Sequence[int], alignment: Alignment
) -> Iterator[Block]:
    """The lines that have words, `BLOCK` at a time."""
    encoder = plain_encoder(tokenizer)
    numbered = [(number, words) for number, words in enumerate(lines, 1) if words]
    for first in range(0, len(numbered), BLOCK):
        block = numbered[first : first + BLOCK]
        texts = [" ".join(words) for _, words in block]
        encodings = encoder.encode_batch(texts, add_special_tokens=False)
        rows = [(*start, *encoding.ids) for encoding in encodings]
        if alignment == "same-position":  # one more, so that the last token is read too
            rows = [(*row, row[-1]) for row in rows]
        yield block, texts, encodings, rows


def _scored(
    model: PreTrainedModel,
    tokenizer: Any,
    lines: Sequence[Sequence[str]],
    start: Sequence[int],
    alignment: Alignment,
) -> Iterator[Word]:
    scorer, positions = model_scorer(model), longest_input(model)
    for block, _, encodings, rows in _blocks(tokenizer, lines, start, alignment):
        scores = token_scores(
            _aligned(scorer, alignment),
            rows,
            vocabulary=len(tokenizer),
            positions=positions,
            device=model.device,
        )
        for (number, words), encoding, nats in zip(block, encodings, scores, strict=True):
            unread = [math.nan] if alignment == "before" and not start else []
            own = np.concatenate((unread, nats))[-len(encoding.ids) :]
            bits = _by_word(words, encoding.offsets, own / -math.log(2))
            for index, (text, each) in enumerate(zip(words, bits, strict=True), 1):
                yield Word(number, index, text, each)


def _aligned(scorer: Scorer, alignment: Alignment) -> Scorer:
    """A scorer of the tokens that follow, or of the tokens at which it reads."""
    if alignment == "before":
        return scorer

    def nats(batch: Batch) -> Tensor:
        return scorer.nats(replace(batch, follows=batch.ids.flatten()[batch.reads]))

    return Scorer(nats, trees=scorer.trees)


def _by_word(
    words: Sequence[str], spans: Sequence[tuple[int, int]], bits: npt.NDArray[np.float64]
) -> list[float]:
    """Sum the bits of tokens, which lie at `spans` of the joined words, by word."""
    text = " ".join(words)
    starts = [0, *accumulate(len(word) + 1 for word in words[:-1])]
    sums = [0.0] * len(words)
    for (begin, end), each in zip(spans, bits, strict=True):
        spaces = len(text[begin:end]) - len(text[begin:end].lstrip())
        sums[bisect_right(starts, begin + spaces) - 1] += float(each)
    return sums
