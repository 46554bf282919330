"""Seeded parts of a corpus: a stratified sample of it, and a development split cut off it.

A source is drawn piece by piece (see `pieces`); a permutation that depends on the seed and the
source's name alone (not on the other sources or their order) says in which order. The last piece
is cut at the line end nearest to the quota. What is drawn keeps its order, and what follows a gap
starts a document. With the same seed, a larger sample holds the smaller one, up to that last
piece.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from babyllama.corpus.pieces import cut_lines
from babyllama.errors import RecipeError

Row = tuple[str, bool]
"""A piece's text, and whether a document starts with it."""


def quotas(counts: Mapping[str, int], words: int) -> dict[str, int]:
    """Say how many words to take from every source: its share, rounded so that the sum is `words`.

    Raises RecipeError where the corpus has fewer words.

    >>> quotas({"b": 200, "a": 100}, 100)
    {'a': 33, 'b': 67}
    """
    total = sum(counts.values())
    if not 0 < words <= total:
        raise RecipeError(
            f"corpus.words is {words:,}: expected 1 to {total:,}, the words that the corpus has;"
            " lower it, or set corpus.words=null to take all"
        )
    shares = {source: divmod(counts[source] * words, total) for source in sorted(counts)}
    quota = {source: whole for source, (whole, _) in shares.items()}
    missing = words - sum(quota.values())
    for source in sorted(shares, key=lambda name: (-shares[name][1], name))[:missing]:
        quota[source] += 1
    return quota


def draw(counts: Sequence[int], words: int, *, seed: int, stream: str) -> dict[int, int]:
    """Draw pieces until they have `words` words: index of a piece -> how many to take of it.

    `counts` are the words of the pieces. `stream` names the source and the purpose: other streams
    of the same seed draw independently.
    """
    drawn: dict[int, int] = {}
    missing = words
    for index in _generator(seed, stream).permutation(len(counts)).tolist():
        if missing <= 0:
            break
        drawn[index] = min(counts[index], missing)
        missing -= counts[index]
    return drawn


def parted(
    rows: Iterable[Row], counts: Sequence[int], drawn: Mapping[int, int]
) -> Iterator[tuple[bool, Row]]:
    """Every row with the side that it goes to, True for what is drawn, in text order."""
    before: bool | None = None
    for index, (text, starts) in enumerate(rows):
        inside, outside = "", text
        if index in drawn:
            whole = drawn[index] == counts[index]
            inside, outside = (text, "") if whole else cut_lines(text, drawn[index])
        opens = starts
        for side, part in ((True, inside), (False, outside)):
            if part:
                yield side, (part, opens or side is not before)
                before, opens = side, False


def _generator(seed: int, stream: str) -> np.random.Generator:
    name = int.from_bytes(hashlib.sha256(stream.encode()).digest()[:8], "big")
    return np.random.default_rng(np.random.SeedSequence([seed, name]))
