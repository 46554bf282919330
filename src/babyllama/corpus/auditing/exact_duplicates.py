"""Documents and lines of the training split that are there more than once, to the letter.

The first copy in text order is the original, the others are repeats. Short lines recur in any
dialogue, so lines of `LONG` words and more are counted apart. Memory: 20 bytes a line.
"""

from array import array
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np

from babyllama.corpus.pieces import Piece
from babyllama.corpus.shingles import Ints, repeats, text_lines
from babyllama.corpus.words import count_words

LONG = 8
LISTED = 50


@dataclass(frozen=True, kw_only=True)
class Repeats:
    """What one source repeats of itself or of a source before it."""

    source: str
    documents: int
    document_words: int
    lines: int
    line_words: int
    long_lines: int
    long_line_words: int


@dataclass(frozen=True, kw_only=True)
class RepeatedLine:
    """A long line and how often it is there."""

    text: str
    source: str
    """Where it is first."""
    times: int
    words: int
    """Words of one copy."""


class _Log:
    """What was met, in order: its number, words, source and piece."""

    def __init__(self) -> None:
        self.hashes, self.words = array("Q"), array("I")
        self.sources, self.pieces = array("I"), array("I")

    def add(self, hashed: int, words: int, source: int, piece: int) -> None:
        self.hashes.append(hashed)
        self.words.append(words)
        self.sources.append(source)
        self.pieces.append(piece)

    def repeats(self) -> tuple[Ints, Ints]:
        """Positions of the repeats, and of the original of each."""
        return repeats(np.frombuffer(self.hashes, np.uint64))


class ExactDuplicates:
    """Takes the pieces of the training split in text order; then says what is repeated."""

    def __init__(self) -> None:
        self._sources: dict[str, int] = {}
        self._pieces = 0
        self._lines, self._documents = _Log(), _Log()
        self._document, self._words, self._source = blake2b(digest_size=8), 0, 0

    def add(self, piece: Piece) -> None:
        """Take the next piece."""
        source = self._sources.setdefault(piece.source, len(self._sources))
        if piece.starts:
            self._end_document()
        for line in text_lines(piece.text):
            if bare := line.strip():
                words = count_words(bare)
                self._words += words
                self._lines.add(_number(bare), words, source, self._pieces)
        self._document.update(piece.text.encode())
        self._source = source
        self._pieces += 1

    def counts(self) -> list[Repeats]:
        """Count the repeats of every source, in text order."""
        self._end_document()
        documents = self._tally(self._documents, least=0)
        lines, long_lines = self._tally(self._lines, least=0), self._tally(self._lines, least=LONG)
        return [
            Repeats(
                source=source,
                documents=documents[number][0],
                document_words=documents[number][1],
                lines=lines[number][0],
                line_words=lines[number][1],
                long_lines=long_lines[number][0],
                long_line_words=long_lines[number][1],
            )
            for source, number in self._sources.items()
        ]

    def most_repeated(self, pieces: Callable[[], Iterable[Piece]]) -> list[RepeatedLine]:
        """List the long lines whose repeats take up the most words; reads the split once more."""
        later, first = self._lines.repeats()
        words = np.frombuffer(self._lines.words, np.uint32).astype(np.int64)
        lines, copies = np.unique(first[words[later] >= LONG], return_counts=True)
        most = np.lexsort((lines, -copies * words[lines]))[:LISTED]
        wanted = {
            self._lines.hashes[line]: (times + 1, int(words[line]), self._lines.pieces[line])
            for line, times in zip(lines[most].tolist(), copies[most].tolist(), strict=True)
        }
        holds = {piece for _, _, piece in wanted.values()}
        found: dict[int, RepeatedLine] = {}
        for number, piece in enumerate(pieces()):
            for line in text_lines(piece.text) if number in holds else ():
                hashed = _number(line.strip())
                if hashed in wanted and hashed not in found:
                    times, length, _ = wanted[hashed]
                    found[hashed] = RepeatedLine(
                        text=line.strip(), source=piece.source, times=times, words=length
                    )
        return [found[hashed] for hashed in wanted if hashed in found]

    def _end_document(self) -> None:
        if self._words:
            number = int.from_bytes(self._document.digest(), "little")
            self._documents.add(number, self._words, self._source, 0)
        self._document, self._words = blake2b(digest_size=8), 0

    def _tally(self, log: _Log, least: int) -> list[tuple[int, int]]:
        """Count the repeats of at least so many words, and their words, by source."""
        later, _ = log.repeats()
        words = np.frombuffer(log.words, np.uint32)[later]
        later, words = later[words >= least], words[words >= least]
        sources = np.frombuffer(log.sources, np.uint32)[later]
        size = len(self._sources)
        counts = np.bincount(sources, minlength=size)
        sums = np.bincount(sources, weights=words, minlength=size)
        return [(int(count), int(total)) for count, total in zip(counts, sums, strict=True)]


def _number(line: str) -> int:
    return int.from_bytes(blake2b(line.encode(), digest_size=8).digest(), "little")
