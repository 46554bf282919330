"""What the training split has in common with texts that it must not hold: dev, evaluation sets.

Two texts overlap where `n` words in a row (12 by default) are the same. Runs go over line ends,
never from one document into the next. A reference document of fewer than `n` words, as most
sentences of minimal pairs are, is looked up whole; below `SHORTEST` words it is not looked up at
all, as people say such things again and again ("what do you want").

The reference texts are in memory, with 16 to 24 bytes a word while they are looked up; the training
split is streamed. What a word is: see `shingles`.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from typing import NamedTuple

import numpy as np

from babyllama.corpus.pieces import Piece
from babyllama.corpus.shingles import Flags, Hashes, Words, ngrams, read_words, text_lines

N = 12
SHORTEST = 5
EXAMPLES = 3

_NO_WORDS: Hashes = np.empty(0, np.uint64)

Pieces = Callable[[], Iterable[Piece]]
"""Reads a split, or an evaluation set with a document a sentence, from its beginning."""


class Ngrams:
    """Numbers of n-grams, `n` words long or shorter, to look others up in."""

    def __init__(self, n: int, hashes: Mapping[int, Iterable[Hashes]]) -> None:
        self.n = n
        self.hashes = {
            length: np.unique(np.concatenate(list(arrays))) for length, arrays in hashes.items()
        }
        self._rough = {length: _rough(hashes) for length, hashes in self.hashes.items()}

    def __len__(self) -> int:
        return sum(map(len, self.hashes.values()))

    def contain(self, length: int, hashes: Hashes) -> Flags:
        """Say of each of these n-grams of one length whether it is among them."""
        if length not in self.hashes:
            return np.zeros(len(hashes), np.bool_)
        rough, known = self._rough[length], self.hashes[length]
        found: Flags = rough[hashes >> _shift(rough)]
        maybe = np.flatnonzero(found)
        nearest = np.searchsorted(known, hashes[maybe]).clip(max=len(known) - 1)
        found[maybe] = known[nearest] == hashes[maybe]
        return found


def _rough(hashes: Hashes) -> Flags:
    """Which leading bits occur: one look here spares the search for most of what is not there."""
    table = np.zeros(1 << min(26, max(12, (8 * len(hashes)).bit_length())), np.bool_)
    table[hashes >> _shift(table)] = True
    return table


def _shift(table: Flags) -> np.uint64:
    return np.uint64(65 - len(table).bit_length())


class Run(NamedTuple):
    """A piece, its words, and the words that follow it in its document: at most n - 1."""

    piece: Piece
    words: Words
    following: Hashes
    ends: bool
    """Whether the document ends with them."""

    @property
    def hashes(self) -> Hashes:
        """The words in which every n-gram lies that begins in this piece."""
        if not len(self.following):
            return self.words.hashes
        return np.concatenate((self.words.hashes, self.following))


def runs(pieces: Iterable[Piece], n: int = N) -> Iterator[Run]:
    """Every piece with the words that follow it."""
    pending: list[tuple[Piece, Words]] = []
    for piece in pieces:
        if piece.starts:
            yield from _run_out(pending, n, ended=True)
        pending.append((piece, read_words(piece.text)))
        yield from _run_out(pending, n, ended=False)
    yield from _run_out(pending, n, ended=True)


def _run_out(pending: list[tuple[Piece, Words]], n: int, *, ended: bool) -> Iterator[Run]:
    """Take out the pieces that enough words follow, or all where the document has ended."""
    while pending:
        following = np.concatenate([_NO_WORDS, *(words.hashes for _, words in pending[1:])])
        if len(following) < n and not ended:
            return
        yield Run(*pending.pop(0), following[: n - 1], ended and len(following) < n)


Hit = tuple[int, Flags]
"""The length of some n-grams, and whether the one that begins at each word was found."""


class _Coverage:
    """Which words take part in a match, also in one that began in an earlier piece.

    Nothing is carried into another document: no match reaches beyond the end of its own.
    """

    def __init__(self, n: int) -> None:
        self.n = n
        self._carried = np.zeros(n - 1, np.bool_)

    def add(self, run: Run, hits: Iterable[Hit]) -> Flags:
        """Flag the words of the piece: [words]."""
        own = len(run.words.hashes)
        change = np.zeros(own + self.n, np.int64)
        for length, found in hits:
            at = np.flatnonzero(found)
            change[at] += 1
            change[at + length] -= 1
        covered = change.cumsum()[:-1] > 0
        covered[: self.n - 1] |= self._carried
        self._carried = covered[own:]
        return covered[:own]


def collect(texts: Iterable[Piece], n: int = N) -> Ngrams:
    """Gather the n-grams of reference texts, and their short documents whole."""
    found: dict[int, list[Hashes]] = defaultdict(list)
    for run in runs(texts, n):
        if own := _own_ngrams(run, n):
            found[own[0]].append(own[1])
    return Ngrams(n, found)


def _own_ngrams(run: Run, n: int) -> tuple[int, Hashes] | None:
    """What is looked up of a reference text, and its length; None for a very short document."""
    hashes = run.hashes
    short = run.piece.starts and run.ends and len(hashes) < n
    if short and len(hashes) < SHORTEST:
        return None
    length = len(hashes) if short else n
    return length, ngrams(hashes, length)


class Search:
    """Looks for the n-grams of a reference in runs of the training split, in text order."""

    def __init__(self, reference: Ngrams) -> None:
        self.reference = reference
        self._found: dict[int, list[Hashes]] = defaultdict(list)
        self._coverage = _Coverage(reference.n)

    def add(self, run: Run) -> list[bool]:
        """Look in a run; say of every line of its piece whether it takes part in a match."""
        return _line_flags(self._coverage.add(run, list(self._hits(run))), run.words)

    def found(self) -> Ngrams:
        """The part of the reference that was met."""
        return Ngrams(self.reference.n, self._found)

    def _hits(self, run: Run) -> Iterator[Hit]:
        hashes = run.hashes
        for length in self.reference.hashes:
            candidates = ngrams(hashes, length)
            found = self.reference.contain(length, candidates)
            if found.any():
                self._found[length].append(np.unique(candidates[found]))
                yield length, found


def _line_flags(covered: Flags, words: Words) -> list[bool]:
    """Flag the lines that hold a covered word; a line without words goes with the one above it."""
    ends = words.ends.tolist()
    if not covered.any():
        return [False] * len(ends)
    before = np.concatenate(([0], covered.cumsum()))[[0, *ends]].tolist()
    flags: list[bool] = []
    for number, end in enumerate(ends):
        wordless = end == (ends[number - 1] if number else 0)
        above = bool(flags) and flags[-1]
        flags.append(above if wordless else before[number + 1] > before[number])
    return flags


def flag_lines(pieces: Iterable[Piece], reference: Ngrams) -> Iterator[tuple[Piece, list[bool]]]:
    """Say of every line of the training split whether it takes part in a match."""
    search = Search(reference)
    for run in runs(pieces, reference.n):
        yield run.piece, search.add(run)


def drop_overlap(pieces: Iterable[Piece], reference: Ngrams) -> Iterator[Piece]:
    """Leave out the lines that take part in a match; what follows a gap is a document of its own.

    So nothing of the reference is left: lines that were apart do not come together.
    """
    broken = False
    for piece, flags in flag_lines(pieces, reference):
        broken = broken or piece.starts
        for flagged, lines in groupby(
            zip(flags, text_lines(piece.text), strict=True), key=lambda pair: pair[0]
        ):
            if not flagged:
                text = "".join(line + "\n" for _, line in lines)
                yield Piece(piece.source, text, broken)
            broken = flagged


@dataclass(kw_only=True)
class Overlap:
    """How much of one reference source, or of one paradigm, was found in the training split."""

    source: str
    documents: int = 0
    """Documents; of an evaluation set: sentences."""
    too_short: int = 0
    """Those of fewer than `SHORTEST` words, which are not looked up."""
    documents_found: int = 0
    """Those with a run of n words, or as a whole where they are shorter, in the training split."""
    words: int = 0
    words_found: int = 0
    """Words that are part of a run that was found."""
    ngrams: int = 0
    """Runs looked up; a short document is one."""
    ngrams_found: int = 0
    examples: list[str] = field(default_factory=list)
    """The first line of the first few matches."""


def measure(texts: Iterable[Piece], found: Ngrams) -> list[Overlap]:
    """Count what was found, by the source of the reference texts, in order of first mention."""
    tallies: dict[str, Overlap] = {}
    coverage, matched = _Coverage(found.n), False
    for run in runs(texts, found.n):
        tally = tallies.setdefault(run.piece.source, Overlap(source=run.piece.source))
        own = _own_ngrams(run, found.n)
        tally.words += len(run.words.hashes)
        if run.piece.starts:
            matched = False
            tally.documents += 1
            tally.too_short += own is None
        length, hashes = own or (found.n, _NO_WORDS)
        flags = found.contain(length, hashes)
        covered = coverage.add(run, [(length, flags)])
        tally.ngrams += len(flags)
        tally.ngrams_found += int(flags.sum())
        tally.words_found += int(covered.sum())
        if covered.any() and not matched:
            matched = True
            tally.documents_found += 1
            if len(tally.examples) < EXAMPLES:
                tally.examples.append(_first_line(run, covered))
    return list(tallies.values())


def _first_line(run: Run, covered: Flags) -> str:
    return text_lines(run.piece.text)[_line_flags(covered, run.words).index(True)].strip()


def as_documents(texts: Iterable[tuple[str, str]]) -> Iterator[Piece]:
    r"""Make a document of every sentence, from pairs of a paradigm's name and a sentence.

    >>> list(as_documents([("wh_island", "Who left?")]))
    [Piece(source='wh_island', text='Who left?\n', starts=True)]
    """
    return (Piece(name, sentence + "\n", True) for name, sentence in texts)
