"""Seeded parts of a corpus: a stratified sample of it, and a development split cut off it.

Documents are cut at line ends into pieces of at most `PIECE_WORDS` words; a permutation that
depends on the seed and the source's name alone (not on the other sources or their order) says in
which order pieces are drawn. The last one is cut at the line end nearest to the quota. What is
drawn keeps its order, and neighbours of one document are joined again. With the same seed, a
larger sample holds the smaller one, up to that last piece.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby

import numpy as np

from babyllama.errors import RecipeError

PIECE_WORDS = 2_000
"""The most words of a piece, except where a single line is longer."""


_LINE = re.compile(r"[^\n]*\n|[^\n]+")


def count_words(text: str) -> int:
    """Count words: what `str.split()` gives."""
    return len(text.split())


def sample(
    documents_by_source: Mapping[str, Sequence[str]], words: int, seed: int
) -> dict[str, list[str]]:
    """Draw about `words` words of the corpus, every source with the share that it has in it.

    Raises RecipeError where the corpus has fewer words.
    """
    counts = {
        source: sum(map(count_words, documents))
        for source, documents in documents_by_source.items()
    }
    return {
        source: part(documents_by_source[source], quota, seed=seed, stream=f"sample/{source}")[0]
        for source, quota in quotas(counts, words).items()
    }


def quotas(counts: Mapping[str, int], words: int) -> dict[str, int]:
    """Say how many words to take from every source: its share, rounded so that the sum is `words`.

    >>> quotas({"b": 200, "a": 100}, 100)
    {'a': 33, 'b': 67}
    """
    total = sum(counts.values())
    if not 0 < words <= total:
        raise RecipeError(
            f"corpus.words is {words:,}: expected 1 to {total:,}, the words that the corpus has;"
            " lower it, or leave it out to take all"
        )
    shares = {source: divmod(counts[source] * words, total) for source in sorted(counts)}
    quota = {source: whole for source, (whole, _) in shares.items()}
    missing = words - sum(quota.values())
    for source in sorted(shares, key=lambda name: (-shares[name][1], name))[:missing]:
        quota[source] += 1
    return quota


def pieces(document: str) -> Iterator[str]:
    r"""Cut a document at line ends into pieces of at most `PIECE_WORDS` words.

    >>> list(pieces("a b\nc\n"))
    ['a b\nc\n']
    """
    lines: list[str] = []
    words = 0
    for line in _LINE.findall(document):
        line_words = count_words(line)
        if lines and words + line_words > PIECE_WORDS:
            yield "".join(lines)
            lines, words = [], 0
        lines.append(line)
        words += line_words
    if lines:
        yield "".join(lines)


def part(
    documents: Sequence[str], words: int, *, seed: int, stream: str
) -> tuple[list[str], list[str]]:
    """Cut documents in two: a random part of about `words` words, and the rest.

    Both keep the order of the text. `stream` names the source and the purpose: other streams of
    the same seed draw independently.
    """
    numbered = [(n, piece) for n, document in enumerate(documents) for piece in pieces(document)]
    drawn: dict[int, tuple[str, str]] = {}
    missing = words
    for index in _generator(seed, stream).permutation(len(numbered)).tolist():
        drawn[index] = inside, outside = _cut(numbered[index][1], missing)
        missing -= count_words(inside)
        if outside or missing <= 0:
            break
    marked = []
    for index, (document, piece) in enumerate(numbered):
        inside, outside = drawn.get(index, ("", piece))
        marked += [(document, True, inside), (document, False, outside)]
    return _joined(marked, True), _joined(marked, False)


def _joined(marked: list[tuple[int, bool, str]], side: bool) -> list[str]:
    runs = groupby((m for m in marked if m[2]), key=lambda m: (m[0], m[1]))
    return ["".join(text for _, _, text in run) for (_, drawn), run in runs if drawn is side]


def _cut(piece: str, words: int) -> tuple[str, str]:
    """Cut a piece at the line end where the words before it come nearest to `words`."""
    lines = _LINE.findall(piece)
    counts = np.cumsum([0, *map(count_words, lines)])
    nearest = int(np.abs(counts - words).argmin())
    return "".join(lines[:nearest]), "".join(lines[nearest:])


def _generator(seed: int, stream: str) -> np.random.Generator:
    name = int.from_bytes(hashlib.sha256(stream.encode()).digest()[:8], "big")
    return np.random.default_rng(np.random.SeedSequence([seed, name]))
