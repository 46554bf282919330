"""One cleaner a source: a pure function from raw text to clean text.

A cleaner puts every line of a text through its source's rules, again and again until nothing
changes, drops the lines that end up empty and ends every line with a newline. So it is
idempotent, and two lines are never glued. Blank lines go: a newline starts every utterance here,
and a document's end is not a line but the end of its text (see `documents`).

What the rules do for a source, in one line each:

* `aochildes`: spaced punctuation and contractions joined, codes for unheard words out.
* `childes`: notes, comments and codes out; labels kept without the star.
* `bnc_spoken`, `switchboard`: the stops around removed words; Switchboard's labels kept.
* `open_subtitles`, `qed`: tags, cues, music signs, credits, speakers and leading dashes out;
  l read for I, lines in capitals recased.
* `cbt`: Penn Treebank tokens joined; with `children_stories` and `gutenberg`: illustrations,
  emphasis marks, ornaments, page numbers and licence text out.
* `wikipedia`, `simple_wikipedia` (`simple_wiki` in 2024): HTML, references, links, templates,
  TeX and table cells out; headings stay as text.
* `generic`, for any other text: invisible characters and runs of spaces only.
"""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from babyllama.corpus import markup, rules, transcripts

Rule = Callable[[str], str]
"""From one line without its line end to one line without a line end."""

PASSES = 8
"""A line that still changes after so many passes is not text (or is out to stall us): dropped."""


def settle(line: str, line_rules: Sequence[Rule]) -> str:
    """Put a line through the rules until none changes it any more.

    >>> settle("a  b .", [rules.squeeze_spaces, rules.join_punctuation])
    'a b.'
    """
    for _ in range(PASSES):
        before = line
        for rule in line_rules:
            line = rule(line)
        if line == before:
            return line
    return ""


def line_cleaner(*line_rules: Rule) -> Callable[[str], str]:
    """Make a cleaner of the rules, in this order, with the rules for characters around them."""
    ends = (rules.drop_invisible, rules.squeeze_spaces)
    ordered = (rules.mend_windows, rules.squeeze_spaces, *line_rules, *ends)

    def clean(text: str) -> str:
        settled = (settle(line, ordered) for line in text.split("\n"))
        return "".join(line + "\n" for line in settled if line)

    return clean


_SPOKEN: tuple[Rule, ...] = (rules.squeeze_spaces, rules.join_punctuation, rules.join_contractions)

_CAPTIONS: tuple[Rule, ...] = (
    transcripts.drop_credits,
    markup.drop_tags,
    transcripts.mend_lost_apostrophe,
    transcripts.drop_overrides,
    transcripts.drop_cues,
    transcripts.drop_music,
    rules.mend_backticks,
    rules.mend_quotes,
    rules.join_ellipses,
    *_SPOKEN,
    transcripts.drop_leading_dash,
    transcripts.drop_caption_speakers,
    transcripts.read_l_as_i,
    rules.recase_shouting,
    rules.drop_wordless,
)

_BOOKS: tuple[Rule, ...] = (
    markup.drop_boilerplate,
    markup.drop_illustrations,
    markup.drop_note_marks,
    markup.drop_page_numbers,
    markup.drop_ornaments,
    markup.drop_emphasis,
    rules.mend_quotes,
    rules.mend_backticks,
    rules.drop_wordless,
)

_WIKI: tuple[Rule, ...] = (
    markup.unescape_entities,
    markup.drop_references,
    markup.drop_tags,
    markup.drop_latex,
    markup.drop_templates,
    markup.unlink,
    markup.drop_note_marks,
    markup.drop_table_cells,
    markup.strip_heading,
    markup.drop_identifiers,
    rules.drop_invisible,
    rules.squeeze_spaces,
    rules.tighten_brackets,
    markup.drop_empty_brackets,
    rules.join_punctuation,
    rules.drop_wordless,
)

clean_generic = line_cleaner()

clean_aochildes = line_cleaner(
    transcripts.drop_unintelligible,
    *_SPOKEN,
    rules.join_clitics,
    rules.drop_wordless,
)

clean_childes = line_cleaner(
    transcripts.drop_tiers,
    transcripts.drop_notes,
    transcripts.drop_overlaps,
    transcripts.mend_shortenings,
    transcripts.join_compounds,
    transcripts.drop_unintelligible,
    transcripts.join_quotation,
    rules.squeeze_spaces,
    transcripts.drop_gaps,
    *_SPOKEN,
    transcripts.plain_label,
    transcripts.drop_silent,
    rules.drop_wordless,
)

clean_bnc_spoken = line_cleaner(
    transcripts.drop_gaps,
    *_SPOKEN,
    rules.drop_wordless,
)

clean_switchboard = line_cleaner(
    transcripts.drop_remarks,
    transcripts.drop_gaps,
    *_SPOKEN,
    transcripts.drop_silent,
    rules.drop_wordless,
)

clean_open_subtitles = line_cleaner(*_CAPTIONS)

clean_qed = line_cleaner(markup.unescape_entities, *_CAPTIONS)

clean_children_stories = line_cleaner(*_BOOKS)

_clean_books = line_cleaner(*_BOOKS)

clean_cbt = line_cleaner(
    rules.mend_brackets,
    rules.tighten_brackets,
    *_BOOKS,
    *_SPOKEN,
    rules.join_clitics,
)

clean_wikipedia = line_cleaner(*_WIKI)


def clean_gutenberg(text: str) -> str:
    """Clean a book of Project Gutenberg: cut the licence around it, then go line by line."""
    return _clean_books(markup.cut_licence(text))


CLEANERS: Mapping[str, Callable[[str], str]] = MappingProxyType(
    {
        "aochildes": clean_aochildes,
        "bnc_spoken": clean_bnc_spoken,
        "cbt": clean_cbt,
        "childes": clean_childes,
        "children_stories": clean_children_stories,
        "generic": clean_generic,
        "gutenberg": clean_gutenberg,
        "open_subtitles": clean_open_subtitles,
        "qed": clean_qed,
        "simple_wiki": clean_wikipedia,
        "simple_wikipedia": clean_wikipedia,
        "switchboard": clean_switchboard,
        "wikipedia": clean_wikipedia,
    }
)
"""The cleaner of every source that is known by name; `generic` serves the others."""
