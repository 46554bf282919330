"""Cleaning rules for any text: characters, spaces, punctuation, quotes and capitals.

A rule takes one line without its line end and returns one line without a line end; an empty
line is dropped by the cleaner. So no rule can glue two lines together, whatever it does.
"""

import re

_WINDOWS = str.maketrans("\x85\x91\x92\x93\x94\x96\x97", "…‘’“”–—")
_INVISIBLE = re.compile(
    "[\x00-\x08\x0e-\x1b\x7f-\x9f\u00ad\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064"
    "\u2066-\u2069\ufeff\ufff9-\ufffd]"
)
_SPACE_BEFORE = re.compile(r"(?<=\S) +(?=[,.!?]+(?:[\s\"'”’)\]]|$)|[;:]+(?:[\s\"'”’]|$))")
_ELLIPSIS = re.compile(r"\.(?: ?\.){2,}")
_CONTRACTION = re.compile(r"(?<=[^\W\d_]) +(['’](?:s|m|d|re|ll|ve)|n['’]t)\b", re.IGNORECASE)
_CLITIC = re.compile(r"\b(?:(gon|wan) (?=na\b)|(got) (?=ta\b)|(gim|lem) (?=me\b))", re.IGNORECASE)
_PENN = {"LRB": "(", "RRB": ")", "LSB": "[", "RSB": "]", "LCB": "{", "RCB": "}"}
_PENN_BRACKET = re.compile(r"-(" + "|".join(_PENN) + r")-", re.IGNORECASE)
_LOOSE_BRACKET = re.compile(r"(?<=[(\[]) +| +(?=[)\]])")
_OPENING_QUOTE = re.compile(r"`` *")
_CLOSING_QUOTE = re.compile(r" +''(?=[\s.,;:!?]|$)|''")
_BACKTICK = re.compile(r"` *(?=\w)|`")
_SENTENCE_START = re.compile(r"(?:^|[.!?]\s)[^\w]*\w|\bi\b(?!\.\w)")
_WORD = re.compile(r"[^\W_]")


def mend_windows(line: str) -> str:
    r"""Restore Windows-1252 quotes and dashes that were read as Latin-1 control characters.

    >>> mend_windows("it\x92s \x93so\x94")
    'it’s “so”'
    """
    return line if line.isascii() else line.translate(_WINDOWS)


def drop_invisible(line: str) -> str:
    r"""Drop control characters, soft hyphens, direction marks and the sign for a lost character.

    The joiners of Persian, Indic scripts and emoji (U+200C, U+200D) are spelling and stay.

    >>> drop_invisible("co\xadoper\u200bate\x07")
    'cooperate'
    """
    return _INVISIBLE.sub("", line)


def squeeze_spaces(line: str) -> str:
    r"""Make every run of white space (tabs, form feeds, no-break spaces) one space, none outside.

    >>> squeeze_spaces("  a\t\xa0b\f ")
    'a b'
    """
    return " ".join(line.split())


def join_punctuation(line: str) -> str:
    """Drop the space before closing punctuation.

    >>> join_punctuation("see , who is that ?")
    'see, who is that?'
    >>> join_punctuation("costs .5 or :)")
    'costs .5 or :)'
    """
    return _SPACE_BEFORE.sub("", line)


def join_ellipses(line: str) -> str:
    """Make three stops or more, also spaced out, an ellipsis.

    >>> join_ellipses("an attack. . . . . .at once.....")
    'an attack...at once...'
    """
    return _ELLIPSIS.sub("...", line) if ". ." in line or "...." in line else line


def join_contractions(line: str) -> str:
    """Make a contraction one word; what only begins with an apostrophe stays apart.

    >>> join_contractions("it 's his , I do n't know")
    "it's his , I don't know"
    >>> join_contractions("get 'em")
    "get 'em"
    """
    return _CONTRACTION.sub(r"\1", line) if "'" in line or "’" in line else line


def join_clitics(line: str) -> str:
    """Join the words that the Penn Treebank cuts in two.

    >>> join_clitics("you got ta wait, I am gon na look")
    'you gotta wait, I am gonna look'
    """
    return _CLITIC.sub(lambda m: m[0].rstrip(), line)


def mend_brackets(line: str) -> str:
    """Put brackets for the codes of the Penn Treebank.

    >>> mend_brackets("the cat -LRB- black -RRB- sat")
    'the cat ( black ) sat'
    """
    return _PENN_BRACKET.sub(lambda m: _PENN[m[1].upper()], line)


def tighten_brackets(line: str) -> str:
    """Drop spaces inside round and square brackets.

    >>> tighten_brackets("f ( x ) and [ a ]")
    'f (x) and [a]'
    """
    return _LOOSE_BRACKET.sub("", line)


def mend_quotes(line: str) -> str:
    """Put one sign for quotes typed as two (Penn Treebank, old subtitles).

    >>> mend_quotes("`` Oh dear ! '' she said")
    '"Oh dear !" she said'
    >>> mend_quotes("you go, ''What?''")
    'you go, "What?"'
    """
    return _CLOSING_QUOTE.sub('"', _OPENING_QUOTE.sub('"', line))


def mend_backticks(line: str) -> str:
    """Put an apostrophe for a grave accent standing for an apostrophe or an opening quote.

    >>> mend_backticks("Can`t you? ` Yes'")
    "Can't you? 'Yes'"
    """
    return _BACKTICK.sub("'", line) if "`" in line else line


def recase_shouting(line: str) -> str:
    """Lower-case a line in capitals; sentence starts and the pronoun I keep theirs.

    Names are lost to lower case: a small vocabulary gains more from one spelling a word. Lines
    under 12 letters are left, they are mostly abbreviations.

    >>> recase_shouting("WELL, I HOPE SO. DO YOU?")
    'Well, I hope so. Do you?'
    >>> recase_shouting("NASA AND US")
    'NASA AND US'
    """
    letters = [c for c in line if c.isalpha()]
    if len(letters) < 12 or sum(c.isupper() for c in letters) < 0.9 * len(letters):
        return line
    return _SENTENCE_START.sub(lambda m: m[0].upper(), line.lower())


def drop_wordless(line: str) -> str:
    """Drop a line without a letter or a digit: it says nothing.

    >>> drop_wordless("* * *"), drop_wordless("(...)"), drop_wordless("né 5")
    ('', '', 'né 5')
    """
    return line if _WORD.search(line) else ""
