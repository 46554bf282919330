"""Cleaning rules for the markup of Wikipedia and of Project Gutenberg's books."""

import html
import re

_ENTITY = re.compile(r"&(?:amp;)*(#?\w{1,31};)")
_REFERENCE = re.compile(r"<ref\b[^<>]*/>|<ref\b[^<>]*>.*?(?:</ref>|$)", re.IGNORECASE)
_BREAK = re.compile(r"<(?:br|hr|p|div|li|td|tr|/p|/div|/li|/td|/tr)\b[^<>]*>", re.IGNORECASE)
_TAG = re.compile(
    r"</? ?(?:a|abbr|b|big|blockquote|center|cite|code|dd|del|dl|dt|em|font|gallery|h[1-6]|i|img"
    r"|includeonly|ins|math|noinclude|nowiki|ol|onlyinclude|poem|pre|ref|references|s|section"
    r"|small|source|span|strike|strong|sub|sup|syntaxhighlight|table|tbody|th|timeline|tt|u|ul"
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
    r"\[\s*(?:\d+|\*|edit|note \d+|citation needed)\s*\]|(?<=\S)\[[A-Z]\](?!\w)", re.IGNORECASE
)
_EQUALS = re.compile(r"(?<!\S)(?:= ?){2,}")
_EMPTY_BRACKETS = re.compile(r"\s*\([\s,;:]*\)|\s*\[\s*\]")
_HOLLOW_START = re.compile(r"(?<=\()[\s,;:]+(?=\S)")
_IDENTIFIER = re.compile(
    r"\b(?:ISBN|ISSN|OCLC|JSTOR|S2CID|PMID|PMC|[Bb]ibcode|arXiv|doi)[:\s]\s*[\w./():-]*\d[\w./():-]*"
    r"|^\W*(?:Retrieved|Archived|Accessed)\s[^.;]{0,40}\b\d{4}\b[.\s]*"
)
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
_PAGE = re.compile(r"^\W*(?:\d{1,4}|(?:page|pg)\.? \d{1,4})\W*$|\{(?:\d{1,4}|[ivxlc]{1,7})\}", re.I)
_BOILERPLATE = re.compile(
    r"project gutenberg|distributed proofread|\bpgdp|gutenberg\.org|small print!"
    r"|^\W*(?:produced|transcribed|(?:html|e-?text) prepared) by\b",
    re.IGNORECASE,
)
_LICENCE_START = re.compile(r"^\*\*\* ?START OF TH(?:E|IS) PROJECT GUTENBERG.*\n", re.M | re.I)
_LICENCE_END = re.compile(r"^\*\*\* ?END OF TH(?:E|IS) PROJECT GUTENBERG", re.M | re.I)


def unescape_entities(line: str) -> str:
    """Put characters for HTML entities, also those escaped twice.

    >>> unescape_entities("R&amp;B &lt;i&gt; &amp;quot; AT&T")
    'R&B <i> " AT&T'
    """
    if "&" not in line:
        return line
    return _ENTITY.sub(lambda m: re.sub(r"[\r\n]", " ", html.unescape("&" + m[1])), line)


def drop_references(line: str) -> str:
    """Drop the footnotes of a wiki page with what they hold.

    >>> drop_references('in 2015.<ref name="a">Book, p. 3</ref> Later')
    'in 2015. Later'
    """
    return _REFERENCE.sub("", line) if "<" in line else line


def drop_tags(line: str) -> str:
    """Drop HTML tags by name, so that `a < b` and linguists' `<John>` stay.

    >>> drop_tags("H<sub>2</sub>O<br>is <b>wet</b>, 1 < 2, <John>")
    'H2O is wet, 1 < 2, <John>'
    """
    return _TAG.sub("", _BREAK.sub(" ", line)) if "<" in line else line


def _closing_brace(line: str, start: int) -> int:
    depth = 0
    for position in range(start, len(line)):
        depth += {"{": 1, "}": -1}.get(line[position], 0)
        if depth == 0:
            return position + 1
    return len(line)


def drop_latex(line: str) -> str:
    r"""Drop TeX source that stands beside the formula it renders.

    >>> drop_latex(r"where g {\displaystyle g_{1}} is small")
    'where g   is small'
    """
    kept, position = [], 0
    while (match := _LATEX.search(line, position)) is not None:
        kept += [line[position : match.start()], " "]
        position = _closing_brace(line, match.start())
    return "".join([*kept, line[position:]])


def drop_templates(line: str) -> str:
    """Drop templates and the braces of tables.

    >>> drop_templates("so. {{cite book}} Then")
    'so.   Then'
    """
    return _TEMPLATE.sub(" ", line)


def unlink(line: str) -> str:
    """Leave of a link the text that it shows; categories and files show none.

    >>> unlink("a [[cat|black cat]] and [[dogs]] [[Category:Pets]]")
    'a black cat and dogs  '
    """
    return _LINK.sub(r"\1", _CATEGORY.sub(" ", line)) if "[" in line else line


def drop_table_cells(line: str) -> str:
    """Drop what tables left behind: cells, their attributes and head lines.

    >>> drop_table_cells("33||4 12||0 Career. !Total||8||1")
    '    Career.  '
    """
    if "|" not in line or ("||" not in line and not _ATTRIBUTE.search(line)):
        return line
    return _CELLS.sub(" ", _ATTRIBUTE.sub(" ", line))


def drop_note_marks(line: str) -> str:
    """Drop marks that point to a note.

    >>> drop_note_marks("of all time.[2] The [sic] one [edit]")
    'of all time. The [sic] one '
    """
    return _MARK.sub("", line)


def strip_heading(line: str) -> str:
    """Leave of a heading its title, as text.

    >>> strip_heading("= = = Confetti = = ="), strip_heading("== Early life ==")
    ('Confetti', 'Early life')
    >>> strip_heading("the Shooting (movie) = = = The Shooting is a movie.")
    'the Shooting (movie)  The Shooting is a movie.'
    """
    if "=" not in line:
        return line
    bare = line.strip()
    if bare.startswith("=") and bare.endswith("="):
        return bare.strip("= ")
    return _EQUALS.sub(" ", line)


def drop_empty_brackets(line: str) -> str:
    """Drop brackets whose content was a template.

    >>> drop_empty_brackets("The Party (, PCF) of France () [] is")
    'The Party (PCF) of France is'
    """
    if "(" not in line and "[" not in line:
        return line
    return _HOLLOW_START.sub("", _EMPTY_BRACKETS.sub("", line))


def drop_identifiers(line: str) -> str:
    """Drop the numbers of books and papers, and the day on which a page was read.

    >>> drop_identifiers("A Book. ISBN 0-00-000000-0. An ISBN is a number.")
    'A Book.  An ISBN is a number.'
    >>> drop_identifiers("Retrieved 5 March 2007.")
    ''
    """
    return _IDENTIFIER.sub("", line)


def cut_licence(text: str) -> str:
    r"""Keep what stands between the start and the end mark of a Project Gutenberg file.

    The one rule that sees a whole text and not a line.

    >>> cut_licence("Terms.\n*** START OF THE PROJECT GUTENBERG EBOOK A ***\nOnce.\n")
    'Once.\n'
    """
    if (start := _LICENCE_START.search(text)) is not None:
        text = text[start.end() :]
    if (end := _LICENCE_END.search(text)) is not None:
        text = text[: end.start()]
    return text


def drop_boilerplate(line: str) -> str:
    """Drop a line about the making of the electronic text.

    >>> drop_boilerplate("End of Project Gutenberg's A Book, by Nobody")
    ''
    """
    return "" if _BOILERPLATE.search(line) else line


def drop_illustrations(line: str) -> str:
    """Drop captions, sidenotes and footnotes in brackets, also where the bracket never closes.

    >>> drop_illustrations("so [Illustration: THE CAT] he [said]. [Footnote 3: Or not.")
    'so   he [said].  '
    """
    return _ILLUSTRATION.sub(" ", line) if "[" in line else line


def drop_emphasis(line: str) -> str:
    """Drop marks for italics and bold type; an underscore inside a word stays.

    >>> drop_emphasis("I _do_ like the =Big= *Cat*, my_word +A+")
    'I do like the Big Cat, my_word A'
    """
    return _BOLD.sub(lambda m: m[1] or m[2] or m[3], _EMPHASIS.sub("", line))


def drop_ornaments(line: str) -> str:
    """Drop rows of stars and rules, frames, pointing hands.

    >>> drop_ornaments("The end. * * * * * |Next")
    'The end.  Next'
    """
    return _ORNAMENT.sub(" ", line).replace("  ", " ")


def drop_page_numbers(line: str) -> str:
    """Drop a line that is a number, and page numbers in braces.

    >>> drop_page_numbers("- 12 -"), drop_page_numbers("{xi}Once, in 1812")
    ('', 'Once, in 1812')
    """
    return _PAGE.sub("", line)
