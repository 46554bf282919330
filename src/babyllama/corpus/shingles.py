"""Words and runs of words as 64-bit numbers, to look texts up in one another.

A word here is a run of letters and digits in lower case (`don't` is two), so that case and
punctuation do not hide a copy; in scripts without spaces every letter is a word. What Unicode
holds to be the same (NFKC) is the same word. The numbers depend on the text alone: they are the
same in every process. Two of a billion different runs share a number with a chance of 1 in 40.
"""

import re
import unicodedata
from functools import cache
from hashlib import blake2b
from itertools import chain
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from babyllama.corpus.words import SPACELESS

Hashes = npt.NDArray[np.uint64]
Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

_PLAIN_WORD = re.compile(r"[a-z0-9]+")
_WORD = re.compile(r"[^\W_]+")
_REMEMBERED = 500_000
_LONGEST = 64
_POWERS: Hashes = np.cumprod(np.full(_LONGEST, 0x9E3779B97F4A7C15, np.uint64), dtype=np.uint64)[
    ::-1
]


class Words(NamedTuple):
    """The words of a text."""

    hashes: Hashes
    """[words]"""
    ends: Ints
    """[lines]: how many words there are up to the end of each line."""


def text_lines(text: str) -> list[str]:
    r"""The lines of a text, without their ends (`str.splitlines` would also cut at others).

    >>> text_lines("a\n\nb\n")
    ['a', '', 'b']
    """
    return text.removesuffix("\n").split("\n")


def read_words(text: str) -> Words:
    r"""Find the words of a text and give them their numbers.

    >>> read_words("Don't!\n\nA cat.\n").ends.tolist()
    [2, 2, 4]
    """
    text = (text if text.isascii() else unicodedata.normalize("NFKC", text)).lower()
    pattern = _word_pattern(text)
    lines = [pattern.findall(line) for line in text_lines(text)]
    ends = np.cumsum([len(line) for line in lines], dtype=np.int64)
    numbers = map(_NUMBERS.__getitem__, chain.from_iterable(lines))
    return Words(np.fromiter(numbers, np.uint64, int(ends[-1])), ends)


def ngrams(hashes: Hashes, length: int) -> Hashes:
    """Number every run of `length` words (64 at most): [words - length + 1], or none.

    A number is a polynomial of the words' numbers modulo 2^64.
    """
    if len(hashes) < length:
        return np.empty(0, np.uint64)
    powers = _POWERS[_LONGEST - length :]
    if len(hashes) == length:
        return np.asarray((hashes * powers).sum(keepdims=True))
    return np.asarray(np.lib.stride_tricks.sliding_window_view(hashes, length) @ powers)


def repeats(numbers: Hashes) -> tuple[Ints, Ints]:
    """Positions of the numbers that were there before, and where each was first.

    >>> later, first = repeats(np.array([7, 5, 7, 7], np.uint64))
    >>> later.tolist(), first.tolist()
    ([2, 3], [0, 0])
    """
    order = np.argsort(numbers, kind="stable")
    same = np.concatenate(([False], numbers[order][1:] == numbers[order][:-1]))[: len(order)]
    first = np.maximum.accumulate(np.where(same, 0, np.arange(len(order))))
    return order[same], order[first[same]]


def _word_pattern(text: str) -> re.Pattern[str]:
    """The cheapest pattern that finds the words of this text."""
    if text.isascii():
        return _PLAIN_WORD
    special, any_word = _patterns()
    return any_word if special.search(text) else _WORD


@cache
def _patterns() -> tuple[re.Pattern[str], re.Pattern[str]]:
    """What `_WORD` gets wrong, and words of any script: letters with the marks that follow them."""
    marks = (chr(number) for number in range(0x300, 0x10000))
    marked = "".join(mark for mark in marks if unicodedata.category(mark) in ("Mn", "Mc"))
    letter = rf"[^\W_{SPACELESS}]"
    word = rf"[{SPACELESS}]|{letter}(?:{letter}|[{marked}])*"
    return re.compile(f"[{SPACELESS}{marked}]"), re.compile(word)


class _Numbers(dict[str, int]):
    """The number of every word met, forgotten when there are too many of them."""

    def __missing__(self, word: str) -> int:
        if len(self) >= _REMEMBERED:
            self.clear()
        number = int.from_bytes(blake2b(word.encode(), digest_size=8).digest(), "little")
        self[word] = number
        return number


_NUMBERS = _Numbers()
