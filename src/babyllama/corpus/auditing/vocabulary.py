"""How the vocabulary of a text grows with its length (Heaps' law).

A word is what `shingles` says: case and punctuation make no new word.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

from babyllama.corpus.shingles import Hashes


@dataclass(frozen=True, kw_only=True)
class Growth:
    """The vocabulary of a text read from its beginning."""

    words: int
    distinct: int
    hapaxes: int
    """Distinct words that are there once."""
    curve: tuple[tuple[int, int], ...]
    """Words read, and how many of them were distinct, at 1, 2, 4 and 8 thousand, ten thousand,
    ..., and at the end."""


class Vocabulary:
    """Counts the words of a text, piece after piece."""

    def __init__(self) -> None:
        self._times: Counter[int] = Counter()
        self._words = 0
        self._marks = marks()
        self._mark = next(self._marks)
        self._curve: list[tuple[int, int]] = []

    def add(self, hashes: Hashes) -> None:
        """Take the next words."""
        words = hashes.tolist()
        while self._words + len(words) >= self._mark:
            before = self._mark - self._words
            self._times.update(words[:before])
            self._curve.append((self._mark, len(self._times)))
            self._words, words, self._mark = self._mark, words[before:], next(self._marks)
        self._times.update(words)
        self._words += len(words)

    def growth(self) -> Growth:
        """Sum up what was read."""
        curve, last = list(self._curve), (self._words, len(self._times))
        if last not in curve:
            curve.append(last)
        return Growth(
            words=self._words,
            distinct=len(self._times),
            hapaxes=sum(times == 1 for times in self._times.values()),
            curve=tuple(curve),
        )


def marks() -> Iterator[int]:
    """1, 2, 4 and 8 times every power of ten from a thousand on.

    >>> numbers = marks()
    >>> [next(numbers) for _ in range(6)]
    [1000, 2000, 4000, 8000, 10000, 20000]
    """
    for power in count(3):
        for factor in (1, 2, 4, 8):
            yield factor * 10**power
