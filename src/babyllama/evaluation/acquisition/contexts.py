"""What the 2025 variant reads: contexts that end before a word, and how many children say it when.

The layouts are `cdi_childes.json` (word -> list of objects with `context`) and `cdi_human.csv` (a
row a word, a column a month) of the BabyLM 2025 pipeline; the contexts are web text, in spite of
the name.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from babyllama.errors import CorruptDataError
from babyllama.evaluation.acquisition.files import cell, number, read_json, read_table
from babyllama.tokens.tokenizer import plain_encoder

Vector = npt.NDArray[np.float64]
MONTHS = tuple(range(16, 31))
COLUMNS = ("word", *map(str, MONTHS))


@dataclass(frozen=True)
class Context:
    """A listed word behind what was said before it."""

    word: str
    before: tuple[str, ...]

    @property
    def words(self) -> tuple[str, ...]:
        """All of it, the listed word last."""
        return (*self.before, *self.word.split())


def read_contexts(file: Path) -> dict[str, list[Context]]:
    """Word -> its contexts, of which there may be none.

    A word of one letter is left out, as in `load_eval` of the pipeline (AoA_word/eval_util.py).

    Raises:
        RecipeError: there is no such file.
        CorruptDataError: it is no mapping of words to lists of contexts, or holds none.
    """
    found = read_json(file)
    if not isinstance(found, dict):
        raise CorruptDataError(f"{file} is no mapping of words to contexts: give a JSON object")
    contexts = {
        word: _contexts(f"{file}, word {word!r}", word, items)
        for word, items in found.items()
        if len(word) > 1
    }
    if not any(contexts.values()):
        raise CorruptDataError(f"{file} holds no contexts: give objects of 'context' a word")
    return contexts


def _contexts(where: str, word: str, items: Any) -> list[Context]:
    listed = items if isinstance(items, list) else [None]
    texts = [item.get("context") if isinstance(item, dict) else None for item in listed]
    if not word.strip() or not all(isinstance(text, str) for text in texts):
        raise CorruptDataError(f"{where} has something else than objects of 'context': mend it")
    return [Context(word, tuple(text.split())) for text in texts if text is not None]


def read_curves(file: Path) -> dict[str, Vector]:
    """Word -> the share of children, 0 to 1, who say it in each of `MONTHS`.

    Raises:
        RecipeError: there is no such file.
        CorruptDataError: a missing column, a share that is none, a word twice, or no words.
    """
    curves: dict[str, Vector] = {}
    for where, row in read_table(file, COLUMNS):
        word = cell(where, row, "word")
        if word in curves:
            raise CorruptDataError(f"{where} has {word!r} again: remove one")
        shares = np.array([number(where, row, str(month)) for month in MONTHS])
        if shares.min() < 0 or shares.max() > 1:
            raise CorruptDataError(f"{where} has a share below 0 or above 1: give shares, not %")
        curves[word] = shares
    return curves


def fitted(lines: Sequence[Sequence[str]], tokenizer: Any, tokens: int) -> list[Sequence[str]]:
    """Lines without the earliest words that make them longer than so many tokens.

    The last word stays, even where it does not fit by itself.
    """
    encoder = plain_encoder(tokenizer)

    def length(words: Sequence[str]) -> int:
        return len(encoder.encode(" ".join(words), add_special_tokens=False).ids)

    fitting = []
    for line in lines:
        words = line
        while len(words) > 1 and length(words) > tokens:
            words = words[1:]
        fitting.append(words)
    return fitting
