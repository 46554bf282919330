r"""Clean text on disk: JSON lines, each a piece of a document.

    <split>/<source>.jsonl      {"text": "whole lines\n", "starts": true}

A piece has at most `PIECE_WORDS` words (unless a single line has more), so that whoever reads a
corpus holds little of it; `starts` says that a document begins with the piece.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple, TypeVar

from babyllama.corpus.words import count_words
from babyllama.errors import CorruptDataError

T = TypeVar("T")

PIECE_WORDS = 2_000
_LINE = re.compile(r"[^\n]*\n|[^\n]+")


class Piece(NamedTuple):
    """Some lines of a document."""

    source: str
    text: str
    starts: bool
    """Whether the document begins here."""


def read_pieces(folder: Path, split: str) -> Iterator[Piece]:
    """Every piece of a split, sorted by source, in text order.

    Raises CorruptDataError where the split is missing or a line is not a piece.
    """
    files = sorted((folder / split).glob("*.jsonl"), key=lambda file: file.stem)
    if not files:
        raise CorruptDataError(f"{folder / split} holds no text: build the corpus again")
    for file in files:
        for text, starts in read_rows(file):
            yield Piece(file.stem, text, starts)


def read_rows(file: Path) -> Iterator[tuple[str, bool]]:
    """Text and `starts` of every row of one file."""
    with file.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                row = json.loads(line.decode("utf-8"))
                yield str(row["text"]), bool(row["starts"])
            except (ValueError, KeyError, TypeError, RecursionError) as error:
                raise CorruptDataError(
                    f'{file} line {number} is not {{"text": ..., "starts": ...}}:'
                    " build the corpus again"
                ) from error


def write_rows(file: Path, rows: Iterable[tuple[str, bool]]) -> None:
    """Write one source of one split."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", encoding="utf-8", newline="\n") as out:
        for text, starts in rows:
            row = {"text": text, "starts": starts}
            out.write(json.dumps(row, ensure_ascii=False) + "\n")


def in_groups(items: Iterable[T], size: Callable[[T], int], limit: int) -> Iterator[list[T]]:
    """Items in lists whose sizes add up to more than a limit; the last one may have less.

    >>> list(in_groups(["ab", "c", "d"], len, 2))
    [['ab', 'c'], ['d']]
    """
    group: list[T] = []
    total = 0
    for item in items:
        group.append(item)
        total += size(item)
        if total > limit:
            yield group
            group, total = [], 0
    if group:
        yield group


def cut_pieces(text: str) -> Iterator[str]:
    r"""Cut a text at line ends into pieces of at most `PIECE_WORDS` words.

    >>> list(cut_pieces("a b\nc\n"))
    ['a b\nc\n']
    """
    lines: list[str] = []
    total = 0
    # A word has two bytes at least, its space included: a short text needs no count.
    whole = [text] if len(text) <= PIECE_WORDS else _LINE.findall(text)
    for line in whole:
        words = count_words(line) if len(whole) > 1 else 0
        if lines and total + words > PIECE_WORDS:
            yield "".join(lines)
            lines, total = [], 0
        lines.append(line)
        total += words
    if text:
        yield "".join(lines)


def cut_lines(text: str, words: int) -> tuple[str, str]:
    r"""Cut a text at the line end where the words before it come nearest to `words`.

    >>> cut_lines("a b\nc d\ne\n", 3)
    ('a b\n', 'c d\ne\n')
    """
    lines = _LINE.findall(text)
    best = total = at = 0
    for number, line in enumerate(lines, start=1):
        total += count_words(line)
        if abs(total - words) < abs(best - words):
            best, at = total, number
    return "".join(lines[:at]), "".join(lines[at:])
