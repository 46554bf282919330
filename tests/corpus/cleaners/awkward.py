"""Text that is hard on cleaning rules: all that they look for, in any order, glued together."""

import ast
import doctest
import re
from collections.abc import Iterator

from hypothesis import settings
from hypothesis import strategies as st

from babyllama.corpus.cleaners import books, captions, markup, rules, transcripts
from babyllama.corpus.cleaners.cleaning import CLEANERS
from babyllama.corpus.cleaners.rules import Rule

FRAGMENTS = """
<i> </i> <br> <ref>x</ref> <ref &amp; amp;lt; &lt;b&gt; &#10; ( ) [ ] [[ ]] [[a|b]] { } {{ }} = ==
{\\displaystyle {\\pos(1,2)} (...) [laughs] (Go.) xxx yyy *MOT: *CHI: A: B: NARRATOR: Retrieved ISBN
'' `` ` ' ’s 's n't gon na got ta . , ; : ! ? ... . l l'm lt SHERlFF HELLO STRASSE İ ß _ __ _so_ *
** ♪ # #2 ~ - -- ----- -LRB- -RRB- %add: || | ! colspan=2| style=a 12 1. [1] {iv} + / ⌈ ⌉ ↫ é ñ 漢字
ไทย क्षि\u200dय I"ll wouId AII lsn't I' >> 1: 00:01:02,5 formula_1 "" Page Transcriber's note ſ K ı
word cat \x92 \x99 \ufffd \u200b \u2060 \0 [Illustration [Illustration:A] ISBN:1
"""
SPACES = [" ", "  ", "\n", "\n\n", "\r", "\f", "\v", "\x85", "\xa0", "\u2028"]
PHRASES = ["Project Gutenberg", "Subtitles by", "= = =", "*** START OF THE PROJECT GUTENBERG"]
PARTS = [*FRAGMENTS.split(), *SPACES, *PHRASES]


def example_lines(rule: Rule) -> Iterator[str]:
    """Give the lines on which a rule's docstring shows what it does."""
    for example in doctest.DocTestParser().get_examples(rule.__doc__ or ""):
        for node in ast.walk(ast.parse(example.source)):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value


RULES = sorted(
    {rule for c in CLEANERS.values() for rule in c.rules}, key=lambda rule: rule.__name__
)
EXAMPLES = sorted({line for rule in RULES for line in example_lines(rule)})

PATTERNS = [
    pattern
    for module in (books, captions, markup, rules, transcripts)
    for pattern in vars(module).values()
    if isinstance(pattern, re.Pattern)
]
"""What the rules look for themselves."""

pieces = st.sampled_from([*EXAMPLES, *PARTS])
matches = st.sampled_from(PATTERNS).flatmap(st.from_regex)

awkward_text = (
    st.lists(st.sampled_from(PARTS), max_size=24).map("".join)
    | st.lists(pieces, max_size=4).map("".join)
    | st.tuples(pieces, matches, pieces).map("".join)
    | matches
    | st.text(max_size=60)
)
law = settings(max_examples=100)
