"""The audit of a built corpus: what is in it, what is there twice, what it shares with the tests.

The training split is read once for all counts, and once more for the texts of what was found.
`sizes` counts words as everything here does (`words`); overlap, near duplicates and vocabulary
compare words without case and punctuation (`shingles`).
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from itertools import chain

from babyllama.corpus.auditing.exact_duplicates import ExactDuplicates, RepeatedLine, Repeats
from babyllama.corpus.auditing.near_duplicates import NearDuplicate, NearDuplicates
from babyllama.corpus.auditing.oddities import Oddities, Oddity
from babyllama.corpus.auditing.vocabulary import Growth, Vocabulary
from babyllama.corpus.overlap import N, Overlap, Pieces, Run, Search, collect, measure, runs
from babyllama.corpus.pieces import Piece
from babyllama.corpus.shingles import Words, text_lines
from babyllama.corpus.words import count_words

LISTED = 2_000
"""The most lines, and the most near duplicates, that are listed; the first ones in text order."""


@dataclass(frozen=True, kw_only=True)
class Size:
    """What a source holds in a split."""

    split: str
    source: str
    documents: int
    lines: int
    words: int
    characters: int
    distinct: int
    """Different words, without case and punctuation."""
    hapaxes: int
    """Those that are there once."""


@dataclass(frozen=True, kw_only=True)
class NearCount:
    """Passages of a source that are near duplicates of earlier passages of a source."""

    source: str
    earlier_source: str
    passages: int
    words: int


@dataclass(frozen=True, kw_only=True)
class Near:
    """The near duplicates of the training split."""

    passages: int
    """Passages looked at."""
    words: int
    """Their words."""
    counts: tuple[NearCount, ...]
    listed: tuple[NearDuplicate, ...]


@dataclass(frozen=True, kw_only=True)
class Overlapping:
    """What `corpus.drop_overlap` would drop from a training source."""

    source: str
    lines: int
    words: int


@dataclass(frozen=True, kw_only=True)
class OverlappingLine:
    """A training line that shares a run of words with dev or an evaluation set."""

    source: str
    document: int
    """Counted from 1 in its source."""
    text: str


@dataclass(frozen=True, kw_only=True)
class Audit:
    """All that the audit found. `near`, `repeats` and `oddities` are of the training split."""

    n: int
    """Words in a row that make an overlap."""
    sizes: tuple[Size, ...]
    vocabulary: Growth
    """Of the training split, its sources read one after the other in the order of `sizes`."""
    oddities: tuple[Oddity, ...]
    repeats: tuple[Repeats, ...]
    repeated_lines: tuple[RepeatedLine, ...]
    near: Near
    dev: tuple[Overlap, ...]
    """How much of every dev source is in the training split."""
    suites: Mapping[str, tuple[Overlap, ...]]
    """The same for every evaluation set, by paradigm."""
    overlapping: tuple[Overlapping, ...]
    overlapping_lines: tuple[OverlappingLine, ...]


def audit(train: Pieces, dev: Pieces, suites: Mapping[str, Pieces], *, n: int = N) -> Audit:
    """Audit a corpus; every evaluation set has a document a sentence (`overlap.as_documents`)."""
    reference = collect(chain(dev(), *(suite() for suite in suites.values())), n)
    search, shared = Search(reference), _Shared()
    sizes, vocabulary, oddities = _Sizes("train"), Vocabulary(), Oddities()
    exact, near = ExactDuplicates(), NearDuplicates()
    for run in runs(train(), n):
        sizes.add(run.piece, run.words)
        vocabulary.add(run.words.hashes)
        oddities.add(run.piece)
        exact.add(run.piece)
        near.add(run.words)
        shared.add(run.piece, search.add(run))
    found = search.found()
    return Audit(
        n=n,
        sizes=(*sizes.found(), *_sizes("dev", runs(dev(), n))),
        vocabulary=vocabulary.growth(),
        oddities=tuple(oddities.found()),
        repeats=tuple(exact.counts()),
        repeated_lines=tuple(exact.most_repeated(train)),
        near=_near(near, train),
        dev=tuple(measure(dev(), found)),
        suites={name: tuple(measure(suite(), found)) for name, suite in suites.items()},
        overlapping=shared.found(),
        overlapping_lines=tuple(shared.listed),
    )


def to_json(found: Audit) -> str:
    """Write the audit, lists and all."""
    return json.dumps(asdict(found), ensure_ascii=False, indent=1) + "\n"


class _Sizes:
    """Counts a split by source."""

    def __init__(self, split: str) -> None:
        self.split = split
        self._counts: dict[str, Counter[str]] = defaultdict(Counter)
        self._vocabularies: dict[str, Vocabulary] = defaultdict(Vocabulary)

    def add(self, piece: Piece, words: Words) -> None:
        counts = self._counts[piece.source]
        counts["documents"] += piece.starts
        counts["lines"] += len(words.ends)
        counts["words"] += count_words(piece.text)
        counts["characters"] += len(piece.text)
        self._vocabularies[piece.source].add(words.hashes)

    def found(self) -> list[Size]:
        rows = []
        for source, counts in self._counts.items():
            growth = self._vocabularies[source].growth()
            rows.append(
                Size(
                    split=self.split,
                    source=source,
                    documents=counts["documents"],
                    lines=counts["lines"],
                    words=counts["words"],
                    characters=counts["characters"],
                    distinct=growth.distinct,
                    hapaxes=growth.hapaxes,
                )
            )
        return rows


def _sizes(split: str, read: Iterable[Run]) -> list[Size]:
    sizes = _Sizes(split)
    for run in read:
        sizes.add(run.piece, run.words)
    return sizes.found()


class _Shared:
    """Counts and lists the training lines that overlap."""

    def __init__(self) -> None:
        self.listed: list[OverlappingLine] = []
        self._documents: Counter[str] = Counter()
        self._lines: Counter[str] = Counter()
        self._words: Counter[str] = Counter()

    def add(self, piece: Piece, flags: list[bool]) -> None:
        self._documents[piece.source] += piece.starts
        if not any(flags):
            return
        for line, flagged in zip(text_lines(piece.text), flags, strict=True):
            if flagged:
                self._lines[piece.source] += 1
                self._words[piece.source] += count_words(line)
                if len(self.listed) < LISTED:
                    document = self._documents[piece.source]
                    row = OverlappingLine(source=piece.source, document=document, text=line)
                    self.listed.append(row)

    def found(self) -> tuple[Overlapping, ...]:
        return tuple(
            Overlapping(source=source, lines=lines, words=self._words[source])
            for source, lines in self._lines.items()
        )


def _near(near: NearDuplicates, train: Pieces) -> Near:
    passages: Counter[tuple[str, str]] = Counter()
    words: Counter[tuple[str, str]] = Counter()
    listed: list[NearDuplicate] = []
    for found in near.listed(train):
        pair = (found.source, found.earlier_source)
        passages[pair] += 1
        words[pair] += found.words
        if len(listed) < LISTED:
            listed.append(found)
    counts = tuple(
        NearCount(source=later, earlier_source=earlier, passages=count, words=words[later, earlier])
        for (later, earlier), count in passages.items()
    )
    return Near(passages=near.passages, words=near.words, counts=counts, listed=tuple(listed))
