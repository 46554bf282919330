"""What a document is, source by source; the raw text is cut before anything cleans it.

`<s>` starts every document, so the cut decides what the model takes for one text.

| source | a document is | its boundary in the raw file |
| --- | --- | --- |
| `wikipedia`, `simple_wikipedia`, `simple_wiki` | an article | a title line, `= Title =` or \
`= = = Title = = =`: the shallowest level in the file. The line opens the document. |
| `gutenberg` | a book | `= = = PG1234 = = =`, anywhere in a line. The mark names a file: dropped. |
| `childes` | a recording | `= = = childes/....cha = = =`, anywhere in a line. Dropped. |
| every other source | the file | none |

A source of one's own may give a regular expression: a line that it matches opens a document.
Blank lines are no boundary anywhere: where the sources have them, they part paragraphs or
utterances. What precedes the first boundary is a document too (files may start mid-article).

Text comes and goes in blocks of whole lines, so that a file of any size fits in memory.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import pairwise

from babyllama.corpus.cleaners.markup import cut_licence

Blocks = Callable[[], Iterable[str]]
"""Reads a raw text from its beginning, in blocks of whole lines."""
Part = tuple[str, bool]
"""A piece of raw text and whether a document starts with it."""

_TITLE_LINE = re.compile(r"^[ \t]*=.*=[ \t]*$", re.MULTILINE)
_BOOK = re.compile(r"= = = PG\d+ = = =")
_RECORDING = re.compile(r"= = = [^=\n]*\.cha = = =")

_TITLED = frozenset({"wikipedia", "simple_wikipedia", "simple_wiki"})
_MARKED = {"gutenberg": _BOOK, "childes": _RECORDING}


def document_parts(kind: str, blocks: Blocks, opening: str | None = None) -> Iterator[Part]:
    r"""Cut a raw text into parts, none of which bridges two documents; blank parts are left out.

    `kind` is the name of a source or of the cleaner chosen for it; names that are not in the
    table above have one document a text. `opening` is the regular expression of one's own.

    >>> list(document_parts("simple_wiki", lambda: ["end.\n= Cat =\nA cat\n", "is a pet.\n"]))
    [('end.\n', True), ('= Cat =\nA cat\n', True), ('is a pet.\n', False)]
    >>> list(document_parts("gutenberg", lambda: ["The end. = = = PG12 = = = A BOOK\n"]))
    [('The end. ', True), (' A BOOK\n', True)]
    """
    if opening is not None:
        parts = _cut(blocks(), partial(_line_starts, re.compile(opening, re.MULTILINE)))
    elif kind in _TITLED:
        parts = _cut(blocks(), partial(_title_starts, level=_top_level(blocks())))
    elif kind in _MARKED:
        parts = _cut(blocks(), partial(_marks, _MARKED[kind]))
    else:
        parts = _cut(blocks(), lambda _: [])
    return _without_licences(parts) if kind == "gutenberg" else parts


Cuts = Callable[[str], Iterable[tuple[int, int]]]
"""Where documents end and start in a block: what lies between the two is dropped."""


def _cut(blocks: Iterable[str], cuts: Cuts) -> Iterator[Part]:
    starts = True
    for block in blocks:
        ends = [(0, 0), *cuts(block), (len(block), len(block))]
        for number, ((_, begin), (end, _)) in enumerate(pairwise(ends)):
            starts = starts or number > 0
            part = block[begin:end]
            if part and not part.isspace():
                yield part, starts
                starts = False


def _line_starts(opening: re.Pattern[str], block: str) -> Iterator[tuple[int, int]]:
    """The starts of the lines that hold a match."""
    for line in sorted({block.rfind("\n", 0, m.start()) + 1 for m in opening.finditer(block)}):
        yield line, line


def _title_starts(block: str, level: int) -> Iterator[tuple[int, int]]:
    for match in _TITLE_LINE.finditer(block):
        if level and _title_level(match[0]) == level:
            yield match.start(), match.start()


def _marks(mark: re.Pattern[str], block: str) -> Iterator[tuple[int, int]]:
    return (match.span() for match in mark.finditer(block))


def _top_level(blocks: Iterable[str]) -> int:
    """The shallowest level of title lines; 0 where there are none."""
    found = (_title_level(line) for block in blocks for line in _TITLE_LINE.findall(block))
    return min((level for level in found if level), default=0)


def _title_level(line: str) -> int:
    """Count the `=` on each side of a title; 0 for a line that is no title."""
    bare = line.strip()
    left = bare[: len(bare) - len(bare.lstrip("= "))]
    right = bare[len(bare.rstrip("= ")) :]
    spaced = left.endswith(" ") and right.startswith(" ") and len(left) < len(bare)
    return left.count("=") if spaced and left.count("=") == right.count("=") else 0


def _without_licences(parts: Iterable[Part]) -> Iterator[Part]:
    """Books whole, without the licence around them: its two ends may lie far apart."""
    for book in _joined(parts):
        text = cut_licence(book)
        if text and not text.isspace():
            yield text, True


def _joined(parts: Iterable[Part]) -> Iterator[str]:
    book: list[str] = []
    for text, starts in parts:
        if starts and book:
            yield "".join(book)
            book = []
        book.append(text)
    if book:
        yield "".join(book)
