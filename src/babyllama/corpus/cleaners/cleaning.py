"""One cleaner a source: from raw lines to clean lines, and an account of what each rule did.

A cleaner puts every line of a text through its source's rules, again and again until nothing
changes, drops the lines that end up empty and ends every line with a newline. So it is
idempotent (expressions of one's own may not be, see `own_cleaner`), a line is cleaned the same
wherever it stands, and two lines are never glued. Blank lines go: a newline starts every
utterance here, and a document's end is not a line but the end of its text (see `documents`).

What the rules do for a source, in one line each:

* `aochildes`: spaced punctuation and contractions joined, codes for unheard words out.
* `childes`: notes, comments and codes out; labels kept without the star.
* `bnc_spoken`, `switchboard`: the stops around removed words; Switchboard's labels kept.
* `open_subtitles`, `qed`: tags, time codes, cues, music signs, credits, speakers and leading
  dashes out; l read for I and I read for l mended, lines in capitals recased.
* `cbt`: Penn Treebank tokens joined; with `children_stories` and `gutenberg`: illustrations,
  emphasis marks, ornaments, page numbers and licence text out.
* `wikipedia`, `simple_wikipedia` (`simple_wiki` in 2024): HTML, references, links, templates,
  TeX and table cells out; headings stay as text.
* `generic`, for any other text: invisible characters and runs of spaces only.

`settle` says what cleaning a line is. A `Cleaner` does the same to many lines at once, rule by
rule: it looks up which lines hold what a rule needs (see `rules.needs`) and leaves the others.
"""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from types import MappingProxyType

from babyllama.corpus.cleaners import books, captions, markup, rules, transcripts
from babyllama.corpus.cleaners.effects import Change, Effect, effect_of
from babyllama.corpus.cleaners.rules import NEEDS, Rule
from babyllama.errors import RecipeError, did_you_mean

PASSES = 8
"""A line that still changes after so many passes is not text (or is out to stall us): dropped."""

UNSETTLED = "drop_unsettled"
"""The name under which such lines are counted."""

Changes = Mapping[str, list[Change]]


@dataclass(frozen=True)
class Cleaner:
    """The rules of a source, in the order in which a line goes through them."""

    name: str
    rules: tuple[Rule, ...]
    once: tuple[Rule, ...] = ()
    """Rules that a line goes through before the others, and a single time."""

    def __call__(self, text: str) -> str:
        """Clean a run of whole lines."""
        return _clean([text], self, defaultdict(list))[0]

    def traced(self, text: str) -> tuple[str, dict[str, Effect]]:
        """Clean a run of whole lines and tell what every rule did, in the order of the rules."""
        cleaned, effects = self.traced_texts([text])
        return cleaned[0], effects

    def traced_texts(self, texts: Sequence[str]) -> tuple[list[str], dict[str, Effect]]:
        """Do the same to several texts, with one account of all: quicker where they are short."""
        changes: dict[str, list[Change]] = {rule.__name__: [] for rule in (*self.once, *self.rules)}
        changes[UNSETTLED] = []
        cleaned = _clean(texts, self, changes)
        return cleaned, {name: effect_of(found) for name, found in changes.items()}


def settle(line: str, line_rules: Sequence[Rule], once: Sequence[Rule] = ()) -> str:
    """Put a line through the rules of `once`, then the others until none changes it any more.

    >>> settle("a  b .", [rules.squeeze_spaces, rules.join_punctuation])
    'a b.'
    """
    line = line.strip(" ")
    for rule in once:
        line = _applied(rule, line)
    for _ in range(PASSES):
        before = line
        for rule in line_rules:
            line = _applied(rule, line)
        if line == before:
            return line
    return ""


def _applied(rule: Rule, line: str) -> str:
    after = rule(line)
    if after == line:
        return line
    after = after.strip()
    return rules.squeeze_spaces(after) if "  " in after else after


def _clean(texts: Sequence[str], cleaner: Cleaner, changes: Changes) -> list[str]:
    """Settle the lines of all texts together, note every change, give the texts again."""
    raw = [text.split("\n") for text in texts]
    lines = [line.strip(" ") for text in raw for line in text]
    _pass_over(lines, cleaner.once, changes)
    _settle_all(lines, cleaner.rules, changes)
    bounds = pairwise(accumulate(map(len, raw), initial=0))
    return ["\n".join([*filter(None, lines[start:stop]), ""]) for start, stop in bounds]


def _settle_all(lines: list[str], line_rules: Sequence[Rule], changes: Changes) -> None:
    """Do to every line, in place, what `settle` does to one."""
    pending: Sequence[int] = range(len(lines))
    for _ in range(PASSES):
        part = [lines[number] for number in pending]
        moved = [(pending[n], part[n]) for n in _pass_over(part, line_rules, changes)]
        for number, line in moved:
            lines[number] = line
        pending = [number for number, line in moved if line]
        if not pending:
            return
    for number in pending:
        changes[UNSETTLED].append((lines[number], ""))
        lines[number] = ""


def _pass_over(lines: list[str], line_rules: Sequence[Rule], changes: Changes) -> list[int]:
    """Put all lines, in place, through one rule after the other; say which are new in the end."""
    text = ""
    old: dict[int, str] = {}
    for rule in line_rules:
        text = text or "\n" + "\n".join(lines)
        found = []
        for number in _numbers(text, rule) if rule in NEEDS else range(len(lines)):
            before = lines[number]
            after = _applied(rule, before)
            if after != before:
                found.append((before, after))
                lines[number] = after
                old.setdefault(number, before)
        if found:
            changes[rule.__name__].extend(found)
            text = ""
    return [number for number, before in old.items() if lines[number] != before]


def _numbers(text: str, rule: Rule) -> set[int]:
    """The numbers of the lines that hold what the rule needs; each has a newline before it."""
    numbers = set()
    for pattern in NEEDS[rule]:
        number, counted = -1, 0
        for match in pattern.finditer(text):
            start = match.start() + 1
            number += text.count("\n", counted, start)
            counted = start
            numbers.add(number)
    return numbers


def _with_ends(*line_rules: Rule) -> tuple[Rule, ...]:
    """Put the rules for characters, which every source has, around the others."""
    return (rules.plain_characters, rules.squeeze_spaces, *line_rules, rules.drop_lost_characters)


_SPOKEN: tuple[Rule, ...] = (rules.join_punctuation, rules.join_contractions)

_CAPTIONS: tuple[Rule, ...] = (
    captions.drop_credits,
    markup.drop_tags,
    captions.mend_lost_apostrophe,
    captions.drop_overrides,
    captions.drop_time_codes,
    captions.drop_cues,
    captions.drop_music,
    rules.mend_backticks,
    rules.mend_quotes,
    captions.mend_doubled_apostrophe,
    rules.join_ellipses,
    *_SPOKEN,
    captions.mend_chevrons,
    captions.join_dashes,
    captions.drop_leading_dash,
    captions.drop_caption_speakers,
    captions.read_l_as_i,
    captions.read_i_as_l,
    rules.recase_shouting,
    rules.drop_wordless,
)

_BOOKS: tuple[Rule, ...] = (
    books.drop_boilerplate,
    books.drop_illustrations,
    books.drop_transcriber_notes,
    markup.drop_note_marks,
    books.drop_page_numbers,
    books.drop_emphasis,
    books.drop_stars,
    books.drop_ornaments,
    rules.mend_quotes,
    rules.mend_backticks,
    rules.close_ellipses,
    rules.drop_wordless,
)

_WIKI: tuple[Rule, ...] = (
    markup.unescape_entities,
    markup.drop_references,
    markup.drop_tags,
    markup.drop_latex,
    markup.drop_formula_codes,
    markup.drop_templates,
    markup.unlink,
    markup.drop_note_marks,
    markup.drop_page_references,
    markup.drop_table_cells,
    markup.strip_heading,
    markup.drop_identifiers,
    rules.tighten_brackets,
    markup.drop_empty_quotes,
    markup.drop_empty_brackets,
    markup.drop_loose_commas,
    rules.join_punctuation,
    rules.drop_wordless,
)

_RULES: Mapping[str, tuple[Rule, ...]] = {
    "aochildes": (
        transcripts.drop_unintelligible,
        *_SPOKEN,
        rules.join_clitics,
        rules.drop_wordless,
    ),
    "bnc_spoken": (transcripts.drop_gaps, *_SPOKEN, rules.drop_wordless),
    "cbt": (
        rules.mend_brackets,
        rules.tighten_brackets,
        *_BOOKS,
        *_SPOKEN,
        rules.join_clitics,
    ),
    "childes": (
        transcripts.drop_tiers,
        transcripts.drop_notes,
        transcripts.drop_overlaps,
        transcripts.mend_shortenings,
        transcripts.join_compounds,
        transcripts.drop_unintelligible,
        transcripts.join_quotation,
        transcripts.plain_label,
        transcripts.drop_gaps,
        *_SPOKEN,
        transcripts.drop_silent,
        rules.drop_wordless,
    ),
    "children_stories": _BOOKS,
    "generic": (),
    "gutenberg": _BOOKS,
    "open_subtitles": _CAPTIONS,
    "qed": (markup.unescape_entities, *_CAPTIONS),
    "simple_wiki": _WIKI,
    "simple_wikipedia": _WIKI,
    "switchboard": (
        transcripts.drop_remarks,
        transcripts.drop_gaps,
        *_SPOKEN,
        transcripts.drop_silent,
        rules.drop_wordless,
    ),
    "wikipedia": _WIKI,
}

CLEANERS: Mapping[str, Cleaner] = MappingProxyType(
    {name: Cleaner(name, _with_ends(*line_rules)) for name, line_rules in _RULES.items()}
)
"""The cleaner of every source that is known by name; `generic` serves the others."""


def own_cleaner(
    name: str,
    *,
    drop_lines: Sequence[str] = (),
    drop: Sequence[str] = (),
    replace: Sequence[tuple[str, str]] = (),
    base: str = "generic",
) -> Cleaner:
    r"""Make a cleaner of regular expressions, which come before the rules of the cleaner `base`.

    Lines in which an expression of `drop_lines` is found are dropped, what one of `drop` matches
    is cut out, and what the first of a pair of `replace` matches becomes the second, in which
    `\1` stands for a group. Each is a rule that bears its expression as a name.

    A line goes through them once, with its characters made plain, and then through the base's
    rules until nothing changes. So no expression can go on for ever, and cleaning twice is
    cleaning once only as far as the expressions are so themselves: what swaps two words swaps
    them back. Errors begin with `name`, the setting that holds the expressions.

    >>> clean = own_cleaner("letters", drop_lines=["^Page"], replace=[(r"(\d+)st", r"\1.")])
    >>> clean("Page 3\nthe  1st of May\n")
    'the 1. of May\n'

    Raises:
        RecipeError: an expression or a replacement that is none, or a `base` that is not known.
    """
    if base not in CLEANERS:
        hint = did_you_mean(base, CLEANERS)
        raise RecipeError(f"{name}: there is no cleaner {base!r} to build on{hint}")
    own = (
        *(_line_dropper(_expression(name, text)) for text in drop_lines),
        *(_replacer(name, _expression(name, text), "") for text in drop),
        *(_replacer(name, _expression(name, text), new) for text, new in replace),
    )
    once = (rules.plain_characters, rules.squeeze_spaces, *own)
    return Cleaner(name, CLEANERS[base].rules, once)


def _expression(name: str, text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error as error:
        raise RecipeError(
            f"{name}: {text!r} is not a regular expression ({error}): mend it; a sign"
            " that stands for itself wants a backslash before it"
        ) from error


def _line_dropper(pattern: re.Pattern[str]) -> Rule:
    def rule(line: str) -> str:
        return "" if pattern.search(line) else line

    rule.__name__ = pattern.pattern
    return rule


def _replacer(name: str, pattern: re.Pattern[str], new: str) -> Rule:
    def rule(line: str) -> str:
        # What was blank, or has been dropped, stays so, whatever `new` would put there.
        return rules.squeeze_spaces(pattern.sub(new, line)) if line else ""

    try:
        pattern.sub(new, "")
    except (re.error, IndexError) as error:
        raise RecipeError(
            f"{name}: {new!r} cannot replace {pattern.pattern!r} ({error}): write \\1 for"
            " its first group, and two backslashes for one"
        ) from error
    rule.__name__ = pattern.pattern
    return rule
