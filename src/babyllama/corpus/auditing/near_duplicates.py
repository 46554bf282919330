"""Passages of the training split that are nearly the same as an earlier one.

A passage is a run of whole lines of a piece, of about 100 words. Where it ends depends on its own
lines, so that a copied text is cut the same way wherever it stands, from its second or third
passage on. Two passages are near duplicates where their sets of 5-word shingles have a Jaccard
similarity of at least 0.8.

MinHash (Broder 1997; of the library datasketch) finds the candidates: 20 bands of 6 values, which
meet with a chance of 99.8 % at a similarity of 0.8 and of 27 % at 0.5. A passage is compared
with the first one of each of its 20 buckets, exactly: nothing listed is a mere estimate. The
buckets are sorted arrays, as the library's dictionaries take 7 kB a passage; these take
160 bytes, and the shingles of passages that have a candidate are held while the others are read.

What a word is: see `shingles`.
"""

from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from datasketch import MinHash

from babyllama.corpus.pieces import Piece
from babyllama.corpus.shingles import Hashes, Words, ngrams, read_words, repeats, text_lines

SHINGLE = 5
SIMILARITY = 0.8
BANDS, ROWS = 20, 6
SEED = 1
LEAST, USUAL, MOST = 50, 50, 200
"""Words before a passage may end, words that it has on average after that, and words at which it
ends."""
SHORTEST = 20
"""Words that the last passage of a piece must have to be looked at."""
EXCERPT = 160


class Passage(NamedTuple):
    """Lines `first` to `last`, the last one not included, and words in the same way."""

    first: int
    last: int
    begin: int
    end: int


def passages(words: Words) -> Iterator[Passage]:
    """Cut a text into passages; a rest of fewer than `SHORTEST` words is left out."""
    sums = np.concatenate((np.zeros(1, np.uint64), words.hashes.cumsum(dtype=np.uint64)))
    ends = words.ends.tolist()
    # A line of w words ends a passage with a chance of w / USUAL, its own words are the dice.
    line_sums = sums[words.ends] - sums[np.concatenate(([0], words.ends[:-1]))]
    dice = ((line_sums >> np.uint64(32)) % np.uint64(USUAL)).tolist()
    first = begin = before = 0
    for line, end in enumerate(ends):
        length, chance = end - begin, end - before
        if length >= MOST or (length >= LEAST and dice[line] < chance):
            yield Passage(first, line + 1, begin, end)
            first, begin = line + 1, end
        before = end
    if before - begin >= SHORTEST:
        yield Passage(first, len(ends), begin, before)


@dataclass(frozen=True, kw_only=True)
class NearDuplicate:
    """A passage, and the earlier one that is nearly the same. Texts are cut to `EXCERPT`."""

    source: str
    document: int
    """Counted from 1 in its source."""
    text: str
    words: int
    similarity: float
    earlier_source: str
    earlier_document: int
    earlier_text: str


class _Kept(NamedTuple):
    """A passage while others are compared with it."""

    source: str
    document: int
    text: str
    words: int
    shingles: Hashes


class NearDuplicates:
    """Takes the pieces of the training split in text order; then lists what is nearly the same."""

    def __init__(self) -> None:
        self._minhash = MinHash(num_perm=BANDS * ROWS, seed=SEED, hashfunc=int)
        self._bands, self._first_passage = array("Q"), array("Q")
        self.passages = 0
        """Passages looked at."""
        self.words = 0
        """Their words."""

    def add(self, words: Words) -> None:
        """Take the words of the next piece."""
        self._first_passage.append(self.passages)
        shingles = ngrams(words.hashes, SHINGLE)
        for passage in passages(words):
            signature = self._signature(shingles[_of(passage)])
            self._bands.frombytes(signature.tobytes())
            self.passages += 1
            self.words += passage.end - passage.begin

    def listed(self, pieces: Callable[[], Iterable[Piece]]) -> Iterator[NearDuplicate]:
        """Every passage with the most similar earlier one, in text order; reads the split again."""
        candidates = self._candidates()
        originals = {earlier for found in candidates.values() for earlier in found}
        kept: dict[int, _Kept] = {}
        for number, passage in self._passages_again(pieces, originals | set(candidates)):
            if found := [kept[earlier] for earlier in candidates.get(number, ())]:
                alike = [_jaccard(passage.shingles, earlier.shingles) for earlier in found]
                best = alike.index(max(alike))
                if alike[best] >= SIMILARITY:
                    yield _near_duplicate(passage, alike[best], found[best])
            if number in originals:
                kept[number] = passage

    def _signature(self, shingles: Hashes) -> Hashes:
        """Mix the MinHash values of every band into one number: [BANDS]."""
        self._minhash.clear()
        self._minhash.update_batch((shingles >> np.uint64(32)).tolist())
        values = self._minhash.hashvalues.astype(np.uint64)
        return ngrams(values, ROWS)[::ROWS]

    def _candidates(self) -> Mapping[int, list[int]]:
        """The passages that share a bucket with an earlier one, and the first ones in these."""
        bands = np.frombuffer(self._bands, np.uint64).reshape(-1, BANDS)
        pairs = np.concatenate([np.stack(repeats(band), axis=1) for band in bands.T])
        candidates: dict[int, list[int]] = {}
        for later, earlier in np.unique(pairs, axis=0).tolist():
            candidates.setdefault(later, []).append(earlier)
        return candidates

    def _passages_again(
        self, pieces: Callable[[], Iterable[Piece]], wanted: set[int]
    ) -> Iterator[tuple[int, _Kept]]:
        """The passages of these numbers, with their numbers."""
        starts = np.frombuffer(self._first_passage, np.uint64).astype(np.int64)
        holds = set((np.searchsorted(starts, sorted(wanted), side="right") - 1).tolist())
        documents: dict[str, int] = {}
        for at, piece in enumerate(pieces()):
            documents[piece.source] = documents.get(piece.source, 0) + piece.starts
            if at not in holds:
                continue
            words, lines = read_words(piece.text), text_lines(piece.text)
            shingles = ngrams(words.hashes, SHINGLE)
            for number, passage in enumerate(passages(words), start=int(starts[at])):
                if number in wanted:
                    yield (
                        number,
                        _Kept(
                            source=piece.source,
                            document=documents[piece.source],
                            text=_excerpt(lines[passage.first : passage.last]),
                            words=passage.end - passage.begin,
                            shingles=np.unique(shingles[_of(passage)]),
                        ),
                    )


def _of(passage: Passage) -> slice:
    """Where the shingles of a passage are among those of its piece."""
    return slice(passage.begin, passage.end - SHINGLE + 1)


def _excerpt(lines: Iterable[str]) -> str:
    return " ".join(" ".join(lines).split())[:EXCERPT]


def _jaccard(left: Hashes, right: Hashes) -> float:
    both = len(np.intersect1d(left, right, assume_unique=True))
    return both / (len(left) + len(right) - both)


def _near_duplicate(passage: _Kept, similarity: float, earlier: _Kept) -> NearDuplicate:
    return NearDuplicate(
        source=passage.source,
        document=passage.document,
        text=passage.text,
        words=passage.words,
        similarity=similarity,
        earlier_source=earlier.source,
        earlier_document=earlier.document,
        earlier_text=earlier.text,
    )
