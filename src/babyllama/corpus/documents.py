"""What a document is, source by source; the raw text is cut before anything cleans it.

`<s>` starts every document, so the cut decides what the model takes for one text.

| source | a document is | its boundary in the raw file |
| --- | --- | --- |
| `wikipedia`, `simple_wikipedia`, `simple_wiki` | an article | a title line, `= Title =` or \
`= = = Title = = =`: the shallowest level in the file. The line opens the document. |
| `gutenberg` | a book | `= = = PG1234 = = =`, anywhere in a line. The mark names a file: dropped. |
| `childes` | a recording | `= = = childes/....cha = = =`, anywhere in a line. Dropped. |
| every other source | the file | none |

Blank lines are no boundary anywhere: where the sources have them, they part paragraphs or
utterances. What precedes the first boundary is a document too (files may start mid-article).
"""

import re
from collections.abc import Iterator
from itertools import pairwise

_TITLE_LINE = re.compile(r"^[ \t]*=.*=[ \t]*$", re.MULTILINE)
_BOOK = re.compile(r"= = = PG\d+ = = =")
_RECORDING = re.compile(r"= = = [^=\n]*\.cha = = =")

_TITLED = frozenset({"wikipedia", "simple_wikipedia", "simple_wiki"})
_MARKED = {"gutenberg": _BOOK, "childes": _RECORDING}


def split_documents(source: str, raw_text: str) -> list[str]:
    r"""Cut a raw text into its documents, in order; those without any text are left out.

    `source` is the name of a source or of the cleaner chosen for it; names that are not in the
    table above have one document a text.

    >>> split_documents("simple_wiki", "end.\n= = = Cat = = =\nA cat is a pet.\n")
    ['end.\n', '= = = Cat = = =\nA cat is a pet.\n']
    >>> split_documents("gutenberg", "The end. = = = PG12 = = = A BOOK\n")
    ['The end. ', ' A BOOK\n']
    """
    if source in _TITLED:
        parts = list(_articles(raw_text))
    elif source in _MARKED:
        parts = _MARKED[source].split(raw_text)
    else:
        parts = [raw_text]
    return [part for part in parts if part and not part.isspace()]


def _articles(text: str) -> Iterator[str]:
    titles = [(match.start(), _title_level(match[0])) for match in _TITLE_LINE.finditer(text)]
    top = min((level for _, level in titles if level), default=0)
    cuts = [0, *(start for start, level in titles if level and level == top), len(text)]
    for start, stop in pairwise(cuts):
        yield text[start:stop]


def _title_level(line: str) -> int:
    """Count the `=` on each side of a title; 0 for a line that is no title."""
    bare = line.strip()
    left = bare[: len(bare) - len(bare.lstrip("= "))]
    right = bare[len(bare.rstrip("= ")) :]
    spaced = left.endswith(" ") and right.startswith(" ") and len(left) < len(bare)
    return left.count("=") if spaced and left.count("=") == right.count("=") else 0
