"""Two versions of a line as HTML that shows where they differ, and nothing that acts or hides.

The lines are text of a corpus, so anything: all is escaped, and characters that cannot be seen
or would turn the text around are shown by their number.
"""

import re
from difflib import SequenceMatcher

from markupsafe import Markup, escape

from babyllama.corpus.cleaners.effects import EXAMPLE_LENGTH
from babyllama.corpus.words import SPACELESS

Piece = tuple[str, bool]
"""A stretch of a line, and whether the other line lacks it."""

_WORD = rf"[^\W{SPACELESS}]"
_TOKEN = re.compile(rf"{_WORD}+|.", re.DOTALL)
_CUT_END = re.compile(rf"{_WORD}*…$")
_HARMLESS = "\xa0\u200c\u200d"  # no-break space and joiners, where nothing changed
_NUMBER = Markup('<span class="code">U+{:04X}</span>')
_OLD = Markup("<del>{}</del>")
_NEW = Markup("<ins>{}</ins>")


def marked(before: str, after: str) -> tuple[Markup, Markup]:
    """Write a line before and after, with what went in `<del>` and what came in `<ins>`.

    A line that was dropped is left without marks.

    >>> for line in marked("it 's <b>", "it's"):
    ...     print(line)
    it<del> </del>&#39;s<del> &lt;b&gt;</del>
    it&#39;s
    """
    if not after:
        return _visible(before, _HARMLESS), Markup("")
    old, new = differences(before, after)
    return _written(old, _OLD), _written(new, _NEW)


def differences(before: str, after: str) -> tuple[list[Piece], list[Piece]]:
    """Compare two lines word by word and sign by sign; scripts without spaces, by letters.

    Of long lines only a window is known (see `effects`). Where one window ends earlier, what
    the other has beyond it is not new.

    >>> differences("l am .", "I am.")
    ([('l', True), (' am', False), (' ', True), ('.', False)], [('I', True), (' am.', False)])
    """
    (old, old_rest), (new, new_rest) = _tokens(before), _tokens(after)
    steps = SequenceMatcher(str.isspace, old, new, autojunk=False).get_opcodes()
    gone: list[Piece] = []
    come: list[Piece] = []
    for step, old_start, old_end, new_start, new_end in steps:
        last = old_end == len(old) and new_end == len(new)
        beyond_new = last and bool(new_rest) and step == "delete"
        beyond_old = last and bool(old_rest) and step != "equal"
        changed = step != "equal"
        gone.append(("".join(old[old_start:old_end]), changed and not beyond_new))
        come.append(("".join(new[new_start:new_end]), changed and not beyond_old))
    return _joined([*gone, (old_rest, False)]), _joined([*come, (new_rest, False)])


def _tokens(line: str) -> tuple[list[str], str]:
    """The words and signs of a line, and the half word and the dots at the end of a window."""
    cut = _CUT_END.search(line) if len(line) >= EXAMPLE_LENGTH - 1 else None
    end = cut.start() if cut else len(line)
    return _TOKEN.findall(line[:end]), line[end:]


def _joined(pieces: list[Piece]) -> list[Piece]:
    """Put neighbours of the same kind together, and leave empty ones out."""
    found: list[Piece] = []
    for text, changed in pieces:
        if found and found[-1][1] == changed:
            found[-1] = (found[-1][0] + text, changed)
        elif text:
            found.append((text, changed))
    return found


def _written(pieces: list[Piece], mark: Markup) -> Markup:
    return Markup("").join(
        mark.format(_visible(text)) if changed else _visible(text, _HARMLESS)
        for text, changed in pieces
    )


def _visible(text: str, harmless: str = "") -> Markup:
    if text.isprintable():
        return escape(text)
    return Markup("").join(
        c if c.isprintable() or c in harmless else _NUMBER.format(ord(c)) for c in text
    )
