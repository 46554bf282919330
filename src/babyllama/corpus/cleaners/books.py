"""Cleaning rules for books, above all those of Project Gutenberg."""

import re

from babyllama.corpus.cleaners.rules import any_case, needs

_ILLUSTRATION = re.compile(
    r"\[[^\[\]]{0,12}(?:Illustration|Sidenote|Footnote|Transcriber|Frontispiece|Decoration|Page"
    r"|Pg\.?)\b[^\]]*(?:\]|$)",
    re.IGNORECASE,
)
_EMPHASIS = re.compile(r"(?<![^\W_])_+|_+(?![^\W_])")
_BOLD = re.compile(
    r"(?<![\w=])=([^\s=](?:[^=]*[^\s=])?)=(?!=)|(?<!\S)\*([^\s*][^*]*)\*(?!\w)|\+(\w)\+"
)
_ORNAMENT = re.compile(r"(?:\*\s*){2,}|[-=+_~]{5,}|[|☚☛]")
_STAR = re.compile(r"(?<=[^\s*])\*(?=[\s.,;:!?)]|$)|^\* ?(?=\w)")
# What begins a run of marks is looked at once, not again at each of the marks: lines can be huge.
_PAGE = re.compile(
    r"^\W*(?:\d{1,4}|(?:page|pg)\.? \d{1,4})\W*$|\{(?:\d{1,4}|[ivxlc]{1,7})\}"
    r"|(?<![—-])[—-]*\s?\bpage \d{1,4}\.?\]",
    re.IGNORECASE,
)
_BOILERPLATE = re.compile(
    r"project gutenberg|distributed proofread|\bpgdp|gutenberg\.org|small print!"
    r"|images generously made available|free plain vanilla electronic texts|@pobox\.com"
    r"|^\W*(?:produced|transcribed|(?:html|e-?text) prepared) by\b",
    re.IGNORECASE,
)
_TRANSCRIBER = re.compile(
    r"(?<![\s*|+=~-])[\s*|+=~-]*\b(?:Additional )?Transcriber['’]s [Nn]otes?\b.*$"
)


@needs(
    *any_case("gutenberg", "generously made", "fread", "pgdp", "vanilla electronic"),
    *("!(?<=(?i:small print)!)", "@(?i:pobox)"),
    r"\n[^\w\n]*(?i:produced|transcribed|html|e-?text)",
)
def drop_boilerplate(line: str) -> str:
    """Drop a line about the making of the electronic text.

    >>> drop_boilerplate("End of Project Gutenberg's A Book, by Nobody")
    ''
    >>> drop_boilerplate("Produced by Nobody"), drop_boilerplate("a play produced by Nobody")
    ('', 'a play produced by Nobody')
    """
    return "" if _BOILERPLATE.search(line) else line


@needs("ranscriber['’]s")
def drop_transcriber_notes(line: str) -> str:
    """Drop the transcriber's notes, from their title to the end of the line.

    >>> drop_transcriber_notes("THE END. Transcriber's Notes: Obvious errors were mended.")
    'THE END.'
    >>> drop_transcriber_notes("the transcriber's art")
    "the transcriber's art"
    """
    return _TRANSCRIBER.sub("", line)


@needs(r"\[")
def drop_illustrations(line: str) -> str:
    """Drop captions, sidenotes and footnotes in brackets, also where the bracket never closes.

    >>> drop_illustrations("so [Illustration: THE CAT] he [said]. [Footnote 3: Or not.")
    'so   he [said].  '
    >>> drop_illustrations("[Frontispiece] an [illustrated] book")
    '  an [illustrated] book'
    """
    return _ILLUSTRATION.sub(" ", line)


@needs("_", "=", r"\*", r"\+")
def drop_emphasis(line: str) -> str:
    """Drop marks for italics and bold type; an underscore inside a word stays.

    >>> drop_emphasis("I _do_ like the =Big= *Cat*, my_word +A+")
    'I do like the Big Cat, my_word A'
    >>> drop_emphasis("a = b, 2 * 3 * 4, [*] and __very__ so")
    'a = b, 2 * 3 * 4, [*] and very so'
    """
    return _BOLD.sub(lambda m: m[1] or m[2] or m[3], _EMPHASIS.sub("", line))


@needs(r"\*")
def drop_stars(line: str) -> str:
    """Drop the star that points to a footnote, and the one that opens it.

    >>> drop_stars("He was Polendina,* they said."), drop_stars("* A military man")
    ('He was Polendina, they said.', 'A military man')
    >>> drop_stars("2 * 3")
    '2 * 3'
    """
    return _STAR.sub("", line)


@needs(r"\*", r"\|", "☚", "☛", *(rf"\{mark}[-=+_~]{{4}}" for mark in "-=+_~"))
def drop_ornaments(line: str) -> str:
    """Drop rows of stars and rules, frames, pointing hands.

    >>> drop_ornaments("The end. * * * * * |Next")
    'The end.   Next'
    >>> drop_ornaments("Well---- so ☛ look")
    'Well---- so   look'
    """
    return _ORNAMENT.sub(" ", line)


@needs(r"\n[^\w\n]*(?:\d|(?i:page|pg))", r"\{", r"\](?<=[\d.]\])")
def drop_page_numbers(line: str) -> str:
    """Drop a line that is a number, and page numbers in braces.

    >>> drop_page_numbers("- 12 -"), drop_page_numbers("{xi}Once, in 1812")
    ('', 'Once, in 1812')
    >>> drop_page_numbers("the cat sat.--Page 12.] 1812 was cold")
    'the cat sat. 1812 was cold'
    """
    return _PAGE.sub("", line)
