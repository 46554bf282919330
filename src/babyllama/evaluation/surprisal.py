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
from babyllama.evaluation.lines import read_text
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
"""Lines that are encoded, and then scored, at a time."""


class Word(NamedTuple):
    """A word of a file; lines and words count from 1."""

    line: int
    number: int
    text: str
    bits: float


class _Line(NamedTuple):
    """A line that has words, as a model reads it."""

    number: int
    words: Sequence[str]
    row: Row
    """The ids of its tokens behind those of the prefix."""
    owners: npt.NDArray[np.int32]
    """The index of the word that each of its tokens counts to, [tokens]."""


def read_lines(file: Path) -> list[list[str]]:
    """The words of every line.

    Raises:
        RecipeError: there is no such file.
        CorruptDataError: it is not UTF-8, or holds no word.
    """
    if not file.is_file():
        raise RecipeError(f"{file} is no file: give a text of one utterance or sentence a line")
    lines = [line.split() for line in read_text(file).split("\n")]
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
    encoded = [*_encoded(tokenizer, lines, start, alignment)]
    texts, rows = [" ".join(line.words) for line in encoded], [line.row for line in encoded]
    if long := too_long(texts, rows, positions):
        raise RecipeError(f"{long}, and the model has {positions}: break that line in two")
    return _scored(model, len(tokenizer), encoded, alignment)


def _encoded(
    tokenizer: Any, lines: Sequence[Sequence[str]], start: Sequence[int], alignment: Alignment
) -> Iterator[_Line]:
    """The lines that have words, behind the ids of a prefix."""
    encoder = plain_encoder(tokenizer)
    numbered = [(number, words) for number, words in enumerate(lines, 1) if words]
    for first in range(0, len(numbered), BLOCK):
        block = numbered[first : first + BLOCK]
        texts = [" ".join(words) for _, words in block]
        encodings = encoder.encode_batch(texts, add_special_tokens=False)
        for (number, words), encoding in zip(block, encodings, strict=True):
            # One more, so that the last token is read too.
            more = encoding.ids[-1:] if alignment == "same-position" else []
            owners = np.array([*_owners(words, encoding.offsets)], dtype=np.int32)
            yield _Line(number, words, (*start, *encoding.ids, *more), owners)


def _owners(words: Sequence[str], spans: Sequence[tuple[int, int]]) -> Iterator[int]:
    """The indices of the words that tokens, which lie at `spans` of the joined words, count to."""
    text = " ".join(words)
    starts = [0, *accumulate(len(word) + 1 for word in words[:-1])]
    for begin, end in spans:
        spaces = len(text[begin:end]) - len(text[begin:end].lstrip())
        yield bisect_right(starts, begin + spaces) - 1


def _scored(
    model: PreTrainedModel, vocabulary: int, lines: Sequence[_Line], alignment: Alignment
) -> Iterator[Word]:
    scorer, positions = _aligned(model_scorer(model), alignment), longest_input(model)
    for first in range(0, len(lines), BLOCK):
        block = lines[first : first + BLOCK]
        scores = token_scores(
            scorer,
            [line.row for line in block],
            vocabulary=vocabulary,
            positions=positions,
            device=model.device,
        )
        for line, nats in zip(block, scores, strict=True):
            # The first token is not scored where nothing stands before it.
            own = np.concatenate(([math.nan], nats))[1 + len(nats) - len(line.owners) :]
            bits = np.bincount(line.owners, own / -math.log(2), len(line.words))
            for index, (text, each) in enumerate(zip(line.words, bits.tolist(), strict=True), 1):
                yield Word(line.number, index, text, each)


def _aligned(scorer: Scorer, alignment: Alignment) -> Scorer:
    """A scorer of the tokens that follow, or of the tokens at which it reads."""
    if alignment == "before":
        return scorer

    def nats(batch: Batch) -> Tensor:
        return scorer.nats(replace(batch, follows=batch.ids.flatten()[batch.reads]))

    return Scorer(nats, trees=scorer.trees)
