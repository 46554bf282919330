"""Cleaning rules for markup: Wikipedia's (HTML, TeX, templates, links, tables, headings)."""

import html
import re

from babyllama.corpus.cleaners.rules import needs

_ENTITY = re.compile(r"&(?:amp;)*(#?\w{1,31};)")
_REFERENCE = re.compile(r"<ref\b[^<>]*/>|<ref\b[^<>]*>.*?(?:</ref>|$)", re.IGNORECASE)
_BREAK = re.compile(r"<(?:br|hr|p|div|li|td|tr|/p|/div|/li|/td|/tr)\b[^<>]*>", re.IGNORECASE)
_TAG = re.compile(
    r"</? ?(?:a|abbr|b|big|blockquote|center|cite|code|dd|del|dl|dt|em|font|gallery|h[1-6]|i|img"
    r"|includeonly|ins|mapframe|maplink|math|noinclude|nowiki|ol|onlyinclude|poem|pre|ref"
    r"|references|s|section|small|source|span|strike|strong|sub|sup|syntaxhighlight|table|tbody|th|timeline|tt|u|ul"
    r"|var)\b[^<>]*>",
    re.IGNORECASE,
)
_LATEX = re.compile(r"\{\\(?:display|text|script)style\b")
_TEMPLATE = re.compile(r"\{\{[^{}]*\}\}|\{\||\|\}")
_CATEGORY = re.compile(r"\[\[? ?(?:Category|File|Image):[^\]]*\]{0,2}", re.IGNORECASE)
_LINK = re.compile(r"\[\[(?:[^\[\]|]*\|)?([^\[\]|]*)\]\]")
_ATTRIBUTE = re.compile(
    r"\b(?:colspan|rowspan|scope|style|align|width|bgcolor|class|abbr) ?= ?(?:\"[^\"]*\"|[^|\s!]*)"
    r"|\btext-align:\w+"
)
_CELLS = re.compile(r"(?<!\S)\S*\|\|\S*|(?<!\S)![^|!]{0,40}(?=\||$)|\|")
_MARK = re.compile(
    r"\[\s*(?:\d{1,3}|\*|edit|note \d+|citation needed)\s*\]|(?<=\S)\[[A-Z]\](?!\w)", re.IGNORECASE
)
_LEVEL_MARKS = re.compile(r"(?<!\S)(?:= )+=(?!\S)")
_INLINE_HEADING = re.compile(r"(?<!\S)={2,5} ([^\W\d_a-z][^=]{0,80}) ={2,5}(?!\S)")
_PAGES = r"\d{1,4}(?:[–-]\d{1,4})?"
_PAGE_REFERENCE = re.compile(rf"(?<=[.!?])([\"”’]?)(?:: {_PAGES}(?:, {_PAGES})*)+(?=[\s.,;]|$)")
_LOOSE_COMMA = re.compile(r",(?=\s*[,.](?:\s|$))")
_FORMULA = re.compile(r"\bformula_\d+\b")
_EMPTY_QUOTES = re.compile(r"(?<![^\s(])\"\"(?=[\s.,;:!?)]|$)")
_EMPTY_BRACKETS = re.compile(r"\s*\([\s,;:]*\)|\s*\[\s*\]")
_HOLLOW_END = re.compile(r"\(([^()]*[^()\s,;:])[\s,;:]*[,;:]\s*\)")
_HOLLOW_START = re.compile(r"(?<=\()[\s,;:]+(?=\S)")
_IDENTIFIER = re.compile(
    r"\b(?:ISBN|ISSN|OCLC|JSTOR|S2CID|PMID|PMC|[Bb]ibcode|arXiv|doi)[:\s]\s*[\w./():-]*\d[\w./():-]*"
    r"|^\W*(?:Retrieved|Archived|Accessed)\s[^.;]{0,40}?\b\d{4}\b(?:-\d\d?-\d\d?)?[.\s]*"
)


@needs("&")
def unescape_entities(line: str) -> str:
    """Put characters for HTML entities, also those escaped twice.

    >>> unescape_entities("R&amp;B &lt;i&gt; &amp;quot; AT&T")
    'R&B <i> " AT&T'
    >>> unescape_entities("It&#39;s 5 &euro; &nosuch;")
    "It's 5 € &nosuch;"
    """
    return _ENTITY.sub(lambda m: re.sub(r"[\r\n]", " ", html.unescape("&" + m[1])), line)


@needs("<[rR][eE][fF]")
def drop_references(line: str) -> str:
    """Drop the footnotes of a wiki page with what they hold.

    >>> drop_references('in 2015.<ref name="a">Book, p. 3</ref> Later')
    'in 2015. Later'
    >>> drop_references('born here.<ref name="b"/> She left <ref>Somebody, the')
    'born here. She left '
    """
    return _REFERENCE.sub("", line)


@needs("<")
def drop_tags(line: str) -> str:
    """Drop HTML tags by name, so that `a < b` and linguists' `<John>` stay.

    >>> drop_tags("H<sub>2</sub>O<br>is <b>wet</b>, 1 < 2, <John>")
    'H2O is wet, 1 < 2, <John>'
    >>> drop_tags('<font color="red">Red</font> <small>note</small>')
    'Red note'
    """
    return _TAG.sub("", _BREAK.sub(" ", line))


def _closing_brace(line: str, start: int) -> int:
    depth = 0
    for position in range(start, len(line)):
        depth += {"{": 1, "}": -1}.get(line[position], 0)
        if depth == 0:
            return position + 1
    return len(line)


@needs(r"\{\\")
def drop_latex(line: str) -> str:
    r"""Drop TeX source that stands beside the formula it renders.

    >>> drop_latex(r"where g {\displaystyle g_{1}} is small")
    'where g   is small'
    >>> drop_latex(r'if {\textstyle x} or {x}')
    'if   or {x}'
    """
    kept, position = [], 0
    while (match := _LATEX.search(line, position)) is not None:
        kept += [line[position : match.start()], " "]
        position = _closing_brace(line, match.start())
    return "".join([*kept, line[position:]])


@needs(r"\{[{|]", r"\|\}")
def drop_templates(line: str) -> str:
    """Drop templates and the braces of tables.

    >>> drop_templates("so. {{cite book}} Then")
    'so.   Then'
    >>> drop_templates("{| ! A |} {plain}")
    '  ! A   {plain}'
    """
    return _TEMPLATE.sub(" ", line)


@needs(r"\[\[", r"\[ ?(?i:category|file|image):")
def unlink(line: str) -> str:
    """Leave of a link the text that it shows; categories and files show none.

    >>> unlink("a [[cat|black cat]] and [[dogs]] [[Category:Pets]]")
    'a black cat and dogs  '
    >>> unlink("see [1] and [note], [[File:a.png|thumb|A cat]]")
    'see [1] and [note],  '
    """
    return _LINK.sub(r"\1", _CATEGORY.sub(" ", line))


@needs(r"\|")
def drop_table_cells(line: str) -> str:
    """Drop what tables left behind: cells, their attributes and head lines.

    >>> drop_table_cells("33||4 12||0 Career. !Total||8||1")
    '    Career.  '
    >>> drop_table_cells('P(A|B) is left, colspan=2|Total 5|4')
    'P(A B) is left,   Total 5 4'
    """
    if "|" not in line or ("||" not in line and not _ATTRIBUTE.search(line)):
        return line
    return _CELLS.sub(" ", _ATTRIBUTE.sub(" ", line))


@needs(r"\[")
def drop_note_marks(line: str) -> str:
    """Drop marks that point to a note.

    >>> drop_note_marks("of all time.[2] The [sic] one [edit]")
    'of all time. The [sic] one '
    >>> drop_note_marks("born there[a] in [1999], died[citation needed] at [12 noon]")
    'born there in [1999], died at [12 noon]'
    """
    return _MARK.sub("", line)


@needs("=")
def strip_heading(line: str) -> str:
    """Leave of a heading its title, as text.

    >>> strip_heading("= = = Confetti = = ="), strip_heading("== Early life ==")
    ('Confetti', 'Early life')
    >>> strip_heading("the Shooting (movie) = = = The Shooting is a movie. == Notes == See x == y.")
    'the Shooting (movie)   The Shooting is a movie. Notes See x == y.'
    """
    bare = line.strip()
    if bare.startswith("=") and bare.endswith("="):
        return bare.strip("= ")
    return _INLINE_HEADING.sub(r"\1", _LEVEL_MARKS.sub(" ", line))


@needs(r": \d")
def drop_page_references(line: str) -> str:
    """Drop the page of a source that is cited behind a sentence.

    >>> drop_page_references('so he said.": 182 The note ends.: 19–21: 3, 5–7')
    'so he said." The note ends.'
    >>> drop_page_references("in chapter 3: 12 men. Vol. 35: 51–70.")
    'in chapter 3: 12 men. Vol. 35: 51–70.'
    """
    return _PAGE_REFERENCE.sub(r"\1", line)


@needs("formula_")
def drop_formula_codes(line: str) -> str:
    """Drop the names that an extractor puts for formulas.

    >>> drop_formula_codes("where formula_12 is the mass")
    'where  is the mass'
    >>> drop_formula_codes("a formula_name or formula 1")
    'a formula_name or formula 1'
    """
    return _FORMULA.sub("", line)


@needs('""')
def drop_empty_quotes(line: str) -> str:
    """Drop quotes whose content was a template.

    >>> drop_empty_quotes('She wrote "" and ("") a ""B" song')
    'She wrote  and () a ""B" song'
    >>> drop_empty_quotes('the word ""')
    'the word '
    """
    return _EMPTY_QUOTES.sub("", line)


@needs(",(?= ?[,.])")
def drop_loose_commas(line: str) -> str:
    """Drop the comma before a template that is gone, where another stop follows.

    >>> drop_loose_commas("the area , , and the axis, . So 1,000")
    'the area  , and the axis . So 1,000'
    >>> drop_loose_commas("so, 5,6, ...")
    'so, 5,6, ...'
    """
    return _LOOSE_COMMA.sub("", line)


@needs(r"\([ ,;:)]", r"\[[ \]]", r"\)(?<=[,;:]\))", r"\)(?<=[,;:] \))")
def drop_empty_brackets(line: str) -> str:
    """Drop brackets whose content was a template.

    >>> drop_empty_brackets("The Party (, PCF) of France () [] (Gaelic: ; ) is (so)")
    'The Party (PCF) of France (Gaelic) is (so)'
    >>> drop_empty_brackets("f(x, y) and (a; b) :)")
    'f(x, y) and (a; b) :)'
    """
    line = _HOLLOW_START.sub("", _EMPTY_BRACKETS.sub("", line))
    return _HOLLOW_END.sub(r"(\1)", line)


@needs(
    *("IS[BS]N", "OCLC", "JSTOR", "S2CID", "PM(?:ID|C)", "ibcode", "arXiv", "doi"),
    r"\n[^\w\n]*(?:Retrieved|Archived|Accessed)",
)
def drop_identifiers(line: str) -> str:
    """Drop the numbers of books and papers, and the day on which a page was read.

    >>> drop_identifiers("A Book. ISBN 0-00-000000-0. An ISBN is a number.")
    'A Book.  An ISBN is a number.'
    >>> drop_identifiers("Retrieved 5 March 2007."), drop_identifiers("Retrieved 2013-12-10.")
    ('', '')
    """
    return _IDENTIFIER.sub("", line)
