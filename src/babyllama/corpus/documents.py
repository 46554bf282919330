"""What a document is, source by source; the raw text is cut before anything cleans it.

`<s>` starts every document, so the cut decides what the model takes for one text.

| source | a document is | its boundary in the raw file |
| --- | --- | --- |
| `wikipedia`, `simple_wikipedia`, `simple_wiki` | an article | a title line, `= Title =` or \
`= = = Title = = =`, which opens the document: the shallowest level that has at least 1 % of the \
file's title lines, so that a stray `= 5 =` is none |
| `gutenberg` | a book | `= = = PG1234 = = =`, anywhere in a line. The mark names a file: dropped. |
| `childes` | a recording | `= = = childes/....cha = = =`, anywhere in a line. Dropped. |
| every other source | the file | none |

A source of one's own may give a regular expression: a line that it matches opens a document.
Blank lines are no boundary anywhere: where the sources have them, they part paragraphs or
utterances. What precedes the first boundary is a document too (files may start mid-article).

In `gutenberg` the lines `*** START OF THE PROJECT GUTENBERG ...` and `*** END OF ...` part books
too. START opens a document; what precedes the first START of a document is its licence and is
dropped, unless it is longer than `LICENCE_HEAD` or holds an END: then it is text. END drops
everything up to the next START or boundary. A file without these lines loses nothing.

Text comes and goes in blocks of whole lines, so that a file of any size fits in memory.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import pairwise

Blocks = Callable[[], Iterable[str]]
"""Reads a raw text from its beginning, in blocks of whole lines."""
Part = tuple[str, bool]
"""A piece of raw text and whether a document starts with it."""

_TITLE_LINE = re.compile(r"^[ \t]*=.*=[ \t]*$", re.MULTILINE)
_BOOK = re.compile(r"= = = PG\d+ = = =")
_RECORDING = re.compile(r"= = = [^=\n]*\.cha = = =")
_LICENCE = re.compile(
    r"^\*\*\* ?(START|END) OF TH(?:E|IS) PROJECT GUTENBERG.*\n?", re.MULTILINE | re.IGNORECASE
)
LICENCE_HEAD = 1 << 16
"""The most characters before a START that are taken for a licence."""
_TITLE_SHARE = 0.01

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
    >>> marked = "Terms.\n*** START OF THE PROJECT GUTENBERG EBOOK A ***\nOnce.\n"
    >>> list(document_parts("gutenberg", lambda: [marked]))
    [('Once.\n', True)]
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
    """The starts of the lines that hold a match; no line starts behind the last newline."""
    lines = {block.rfind("\n", 0, m.start()) + 1 for m in opening.finditer(block)}
    for line in sorted(lines - {len(block)}):
        yield line, line


def _title_starts(block: str, level: int) -> Iterator[tuple[int, int]]:
    for match in _TITLE_LINE.finditer(block):
        if level and _title_level(match[0]) == level:
            yield match.start(), match.start()


def _marks(mark: re.Pattern[str], block: str) -> Iterator[tuple[int, int]]:
    return (match.span() for match in mark.finditer(block))


def _top_level(blocks: Iterable[str]) -> int:
    """The shallowest level that has its share of the title lines; 0 where there are none."""
    found = (_title_level(line) for block in blocks for line in _TITLE_LINE.findall(block))
    counts = Counter(level for level in found if level)
    least = _TITLE_SHARE * counts.total()
    return min((level for level, count in counts.items() if count >= least), default=0)


def _title_level(line: str) -> int:
    """Count the `=` on each side of a title; 0 for a line that is no title."""
    bare = line.strip()
    left = bare[: len(bare) - len(bare.lstrip("= "))]
    right = bare[len(bare.rstrip("= ")) :]
    spaced = left.endswith(" ") and right.startswith(" ") and len(left) < len(bare)
    return left.count("=") if spaced and left.count("=") == right.count("=") else 0


def _without_licences(parts: Iterable[Part]) -> Iterator[Part]:
    """Drop what stands outside START and END, never holding more than the head of a document."""
    held, last, opens = "", "DOCUMENT", True
    for mark, text in _between_licences(parts):
        if mark:
            # No START came for what is held: it is text, not a licence.
            if mark != "START":
                yield from _unless_blank(held)
            held, last, opens = "", mark, True
        if last == "END":
            continue
        held += text
        if last == "START" or len(held) > LICENCE_HEAD:
            for part, _ in _unless_blank(held):
                yield part, opens
                opens = False
            held, last = "", "START"
    yield from _unless_blank(held)


def _between_licences(parts: Iterable[Part]) -> Iterator[tuple[str, str]]:
    """Every run of text and what precedes it: DOCUMENT, START, END, or nothing new."""
    for part, starts in parts:
        mark, begin = "DOCUMENT" if starts else "", 0
        for match in _LICENCE.finditer(part):
            yield mark, part[begin : match.start()]
            mark, begin = match[1].upper(), match.end()
        yield mark, part[begin:]


def _unless_blank(text: str) -> list[Part]:
    return [] if not text or text.isspace() else [(text, True)]
