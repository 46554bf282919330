"""Cleaning rules for any text: characters, spaces, punctuation, quotes and capitals.

A rule takes one line without its line end and returns one line without a line end; an empty
line is dropped by the cleaner. So no rule can glue two lines together, whatever it does. A rule
may leave double or outer spaces behind: the cleaner squeezes what a rule has changed.

Most rules have nothing to do in most lines, so each says with `needs` what a line must hold for
the rule to change it, and the cleaner passes the other lines by.
"""

import re
from collections.abc import Callable

Rule = Callable[[str], str]
"""From one line without its line end to one line without a line end."""

NEEDS: dict[Rule, tuple[re.Pattern[str], ...]] = {}
"""The patterns of every rule that has any: a line without a match of one is left as it is."""


def needs(*patterns: str) -> Callable[[Rule], Rule]:
    r"""Say what a line must hold for the rule to change it: a match of one of the patterns.

    A pattern sees many squeezed lines at once, each with a newline before it: `\n` stands for
    the start of a line, `$` for its end, and nothing else in it may match a newline. A pattern
    that begins with a plain character, the rarer the better, is looked up ten times faster than
    any other, a `[set]` included: hence several patterns, and what stands before the rare
    character in a look-behind.
    """
    compiled = tuple(re.compile(f"(?:{pattern}).*", re.MULTILINE) for pattern in patterns)

    def note(rule: Rule) -> Rule:
        NEEDS[rule] = compiled
        return rule

    return note


def any_case(*words: str) -> tuple[str, ...]:
    """Patterns for words in any mixture of capitals and small letters.

    >>> any_case("ub")
    ('u(?i:b)', 'U(?i:b)')
    """
    return tuple(f"{c}(?i:{word[1:]})" for word in words for c in (word[0], word[0].upper()))


_WINDOWS = dict(zip("\x85\x91\x92\x93\x94\x96\x97", "…‘’“”–—", strict=True))
_SPACES = "\t\v-\r\x1c-\x1f\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
_ODD = (
    f"[{_SPACES}\x00-\x08\x0e-\x1b\x7f-\x9f\u00ad\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064"
    "\u2066-\u2069\ufeff\ufff9-\ufffc]"
)
_ODD_CHARACTER = re.compile(_ODD)
_SPACE_BEFORE = re.compile(r" (?=[,.!?]+(?:[\s\"'”’)\]]|$)|[;:]+(?:[\s\"'”’]|$))")
_ELLIPSIS = re.compile(r"\.(?: ?\.){2,}")
_CONTRACTION = re.compile(
    r"(?:(?<=[^\W\d_]) +(['’](?:s|m|d|re|ll|ve)|n['’]t)"
    r"|(?<=[A-Z]) +(['’](?:S|M|D|RE|LL|VE)|N['’]T))(?![\w'’-])(?!\.\w)"
)
_CLITIC = re.compile(r"\b(?:(gon|wan) (?=na\b)|(got) (?=ta\b)|(gim|lem) (?=me\b))", re.IGNORECASE)
_PENN = {"LRB": "(", "RRB": ")", "LSB": "[", "RSB": "]", "LCB": "{", "RCB": "}"}
_PENN_BRACKET = re.compile(r"-(" + "|".join(_PENN) + r")-", re.IGNORECASE)
_LOOSE_BRACKET = re.compile(r"(?<=[(\[]) +| +(?=[)\]])")
_OPENING_QUOTE = re.compile(r"`` *")
_TWO_MARKS = re.compile(r"( *)''( *)")
_BACKTICK = re.compile(r"` *(?=\w)|`")
_CAPITALS = re.compile("[A-Z][A-Z]")
_SENTENCE_START = re.compile(r"(?:^|[.!?]\s)[^\w]*\w|\bi\b(?!\.\w)")
_WORD = re.compile(r"[^\W_]")


def _plain(match: re.Match[str]) -> str:
    char = match[0]
    return _WINDOWS.get(char, " " if char.isspace() else "")


@needs(_ODD)
def plain_characters(line: str) -> str:
    r"""Make any white space a space, drop control characters, soft hyphens and direction marks.

    Windows-1252 quotes and dashes that were read as Latin-1 control characters are restored. The
    joiners of Persian, Indic scripts and emoji (U+200C, U+200D) are spelling and stay.

    >>> plain_characters("it\x92s \x93so\x94"), plain_characters("co\xadoper\u200bate\tno\xa01\x07")
    ('it’s “so”', 'cooperate no 1')
    >>> plain_characters("می\u200cخواهم")
    'می\u200cخواهم'
    """
    return _ODD_CHARACTER.sub(_plain, line)


@needs("\ufffd")
def drop_lost_characters(line: str) -> str:
    r"""Drop the sign for a character that an earlier conversion destroyed.

    >>> drop_lost_characters("26\xb0 30 \ufffd")
    '26° 30 '
    >>> drop_lost_characters("�ou know")
    'ou know'
    """
    return line.replace("\ufffd", "")


@needs("  ")
def squeeze_spaces(line: str) -> str:
    r"""Make every run of white space (tabs, form feeds, no-break spaces) one space, none outside.

    >>> squeeze_spaces("  a\t\xa0b\f ")
    'a b'
    >>> squeeze_spaces("nothing to do")
    'nothing to do'
    """
    return " ".join(line.split())


@needs(r" [,.!?;:]")
def join_punctuation(line: str) -> str:
    """Drop the space before closing punctuation.

    >>> join_punctuation("see , who is that ?")
    'see, who is that?'
    >>> join_punctuation("costs .5 or :)")
    'costs .5 or :)'
    """
    return _SPACE_BEFORE.sub("", line)


@needs(r"\. \.", r"\.\.\.\.")
def join_ellipses(line: str) -> str:
    """Make three stops or more, also spaced out, an ellipsis.

    >>> join_ellipses("an attack. . . . . .at once.....")
    'an attack...at once...'
    >>> join_ellipses("the end. .5 is a half")
    'the end. .5 is a half'
    """
    return _ELLIPSIS.sub("...", line)


@needs(r"\. \.")
def close_ellipses(line: str) -> str:
    """Drop the spaces inside an ellipsis.

    >>> close_ellipses("pi, pi . . .zum. . . .")
    'pi, pi ...zum....'
    >>> close_ellipses("the end. .5 is a half")
    'the end. .5 is a half'
    """
    return _ELLIPSIS.sub(lambda m: m[0].replace(" ", ""), line)


@needs(r"'(?:(?<= ')|(?<= [nN]'))", r"’(?:(?<= ’)|(?<= [nN]’))")
def join_contractions(line: str) -> str:
    """Make a contraction one word; what only begins with an apostrophe or a quote stays apart.

    >>> join_contractions("it 's his , I do n't know, IT 'S SO")
    "it's his , I don't know, IT'S SO"
    >>> join_contractions("get 'em from the film 'M', the 's' or 'M.A.S.H.', 're-lease'")
    "get 'em from the film 'M', the 's' or 'M.A.S.H.', 're-lease'"
    """
    return _CONTRACTION.sub(lambda m: m[1] or m[2], line)


@needs(*any_case("gon na", "got ta", "gim me", "wan na", "lem me"))
def join_clitics(line: str) -> str:
    """Join the words that the Penn Treebank cuts in two.

    >>> join_clitics("you got ta wait, I am gon na look")
    'you gotta wait, I am gonna look'
    >>> join_clitics("he got me a hat")
    'he got me a hat'
    """
    return _CLITIC.sub(lambda m: m[0].rstrip(), line)


@needs("-(?i:[lr][rsc]b)-")
def mend_brackets(line: str) -> str:
    """Put brackets for the codes of the Penn Treebank.

    >>> mend_brackets("the cat -LRB- black -RRB- sat")
    'the cat ( black ) sat'
    >>> mend_brackets("-lsb- sic -rsb-, an LRB-like code")
    '[ sic ], an LRB-like code'
    """
    return _PENN_BRACKET.sub(lambda m: _PENN[m[1].upper()], line)


@needs(r"\( ", r"\[ ", r" \)", r" \]")
def tighten_brackets(line: str) -> str:
    """Drop spaces inside round and square brackets.

    >>> tighten_brackets("f ( x ) and [ a ]")
    'f (x) and [a]'
    >>> tighten_brackets("left ( at noon )and right")
    'left (at noon)and right'
    """
    return _LOOSE_BRACKET.sub("", line)


def _one_mark(match: re.Match[str]) -> str:
    """The quote, at the word before it or after it; an even number of quotes before it opens."""
    line, (before, after) = match.string, match.groups()
    quoted = line.count('"', 0, match.start()) + line.count("''", 0, match.start())
    if quoted % 2 == 0 and (before or not match.start()):
        return f'{before}"'
    if before and (after or line[match.end() :][:1] in ("", *".,;:!?")):
        return f'"{after}'
    return f'{before}"{after}'


@needs("``", "''")
def mend_quotes(line: str) -> str:
    """Put one sign for quotes typed as two (Penn Treebank, old subtitles).

    >>> mend_quotes("`` Oh dear ! '' she said")
    '"Oh dear !" she said'
    >>> mend_quotes("you go, ''What?''")
    'you go, "What?"'
    >>> mend_quotes("I find '' My Life '' there")
    'I find "My Life" there'
    """
    return _TWO_MARKS.sub(_one_mark, _OPENING_QUOTE.sub('"', line))


@needs("`")
def mend_backticks(line: str) -> str:
    """Put an apostrophe for a grave accent standing for an apostrophe or an opening quote.

    >>> mend_backticks("Can`t you? ` Yes'")
    "Can't you? 'Yes'"
    >>> mend_backticks("`Hurrah!' he said")
    "'Hurrah!' he said"
    """
    return _BACKTICK.sub("'", line)


@needs("[A-Z][A-Z]")
def recase_shouting(line: str) -> str:
    """Lower-case a line in capitals; sentence starts and the pronoun I keep theirs.

    A line is in capitals if nine letters in ten are, and two ASCII ones stand together. Names
    are lost to lower case: a small vocabulary gains more from one spelling a word. Lines under
    12 letters are left, they are mostly abbreviations.

    >>> recase_shouting("WELL, I HOPE SO. DO YOU? I'M FINE.")
    "Well, I hope so. Do you? I'm fine."
    >>> recase_shouting("NASA AND US"), recase_shouting("The BBC and ITV and CNN said so")
    ('NASA AND US', 'The BBC and ITV and CNN said so')
    """
    if not _CAPITALS.search(line):
        return line
    letters = [c for c in line if c.isalpha()]
    if len(letters) < 12 or sum(c.isupper() for c in letters) < 0.9 * len(letters):
        return line
    return _SENTENCE_START.sub(lambda m: m[0].upper(), line.lower())


@needs(r"\n(?:[^\w\n]|_)*$")
def drop_wordless(line: str) -> str:
    """Drop a line without a letter or a digit: it says nothing.

    >>> drop_wordless("* * *"), drop_wordless("(...)"), drop_wordless("né 5")
    ('', '', 'né 5')
    """
    return line if _WORD.search(line) else ""
