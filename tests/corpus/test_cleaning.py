import time
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from babyllama.corpus import markup, rules
from babyllama.corpus.cleaning import CLEANERS, settle

SOURCES = sorted(CLEANERS)
BY_LINE = [source for source in SOURCES if source != "gutenberg"]  # its licence rule sees the text

FRAGMENTS = """
<i> </i> <br> <ref>x</ref> <ref &amp; amp;lt; &lt;b&gt; &#10; ( ) [ ] [[ ]] [[a|b]] { } {{ }} = ==
{\\displaystyle {\\pos(1,2)} (...) [laughs] (Go.) xxx yyy *MOT: *CHI: A: B: NARRATOR: Retrieved ISBN
'' `` ` ' ’s 's n't gon na got ta . , ; : ! ? ... . l l'm lt SHERlFF HELLO STRASSE İ ß _ __ _so_ *
** ♪ # #2 ~ - -- ----- -LRB- -RRB- %add: || | ! colspan=2| style=a 12 1. [1] {iv} + / ⌈ ⌉ ↫ é ñ 漢字
ไทย क्षि\u200dय word cat \x92 \x99 \ufffd \u200b \u2060 \0 [Illustration [Illustration:A] ISBN:1
"""
SPACES = [" ", "  ", "\n", "\n\n", "\r", "\f", "\v", "\x85", "\xa0", "\u2028"]
PHRASES = ["Project Gutenberg", "Subtitles by", "= = =", "*** START OF THE PROJECT GUTENBERG"]
PARTS = [*FRAGMENTS.split(), *SPACES, *PHRASES]

awkward_text = st.lists(st.sampled_from(PARTS), max_size=24).map("".join) | st.text(max_size=60)
law = settings(max_examples=100, deadline=None)


@pytest.mark.parametrize(
    ("source", "raw", "clean"),
    [
        ("aochildes", "it 's big , is n't it ?", "it's big, isn't it?"),
        ("aochildes", "you got ta see xxx .", "you gotta see."),
        ("aochildes", "xxx .", ""),
        ("aochildes", "get 'em .", "get 'em."),
        ("bnc_spoken", "please. .", "please."),
        ("bnc_spoken", "I sa , I took it .", "I sa, I took it."),
        (
            "cbt",
            "`` Oh dear ! '' said the cat -LRB- black -RRB- .",
            '"Oh dear!" said the cat (black).',
        ),
        ("cbt", "she did _not_ go", "she did not go"),
        ("childes", "*MOT:\tis it you [laughs] ? %add: CHI", "MOT: is it you?"),
        ("childes", "*CHI: [laughs].", ""),
        ("childes", "*CHI: xxx dat one.", "CHI: dat one."),
        ("childes", '*MOT: " come+on," said Santa_Claus.', 'MOT: "come-on," said Santa Claus.'),
        ("childes", "*MOT: hello, xxx.", "MOT: hello."),
        ("children_stories", "The end.[2]", "The end."),
        ("children_stories", "* * * * *", ""),
        ("gutenberg", "[Illustration: A cat] He sat.", "He sat."),
        ("gutenberg", "- 112 -", ""),
        ("gutenberg", "End of the Project Gutenberg EBook of Cats, by A. Cat", ""),
        ("gutenberg", "Mrs. ---- came, like +C+ats.", "Mrs. ---- came, like Cats."),
        ("open_subtitles", "<i>Well,</i> you 're late !", "Well, you're late!"),
        ("open_subtitles", "♪ la la ♪ # la #", "la la la"),
        ("open_subtitles", "(SIGHS) - [door slams] - No.", "No."),
        ("open_subtitles", "(...)", ""),
        ("open_subtitles", "(Nobody heard me.)", "Nobody heard me."),
        ("open_subtitles", "Subtitles by Someone", ""),
        ("open_subtitles", "OLD MAN 2: l'll see it!", "I'll see it!"),
        ("open_subtitles", "WHAT ARE YOU DOING? I SEE YOU.", "What are you doing? I see you."),
        ("open_subtitles", "Well, all is lost.", "Well, all is lost."),
        ("open_subtitles", "Man #2 can\x92t", "Man #2 can’t"),
        ("qed", "(Applause) This is Q&amp;A.", "This is Q&A."),
        ("qed", "THlS lS A LlTTLE TALE, AND I TELL IT", "This is a little tale, and I tell it"),
        ("simple_wikipedia", "= = = Cat = = =", "Cat"),
        ("simple_wikipedia", "Cats &amp; dogs&lt;br&gt; (; born 1990)", "Cats & dogs (born 1990)"),
        ("simple_wiki", "33||4 33||4 Career. !Total||8||1", "Career."),
        ("switchboard", "A:\tUh, well , yes .", "A: Uh, well, yes."),
        ("switchboard", "B: too for from us. *sp: far", "B: too for from us."),
        ("switchboard", "A: .", ""),
        ("wikipedia", " == History == ", "History"),
        ("wikipedia", "if 1 < 2 and 3 > 2, then", "if 1 < 2 and 3 > 2, then"),
        ("wikipedia", 'a<ref name="x">Note</ref> [[cat|pet]][3]', "a pet"),
        ("wikipedia", "g {\\displaystyle g_{1}} is {\\textstyle x", "g is"),
        ("wikipedia", "month.\nAugust", "month.\nAugust"),
        ("generic", " a\tb \x0c", "a b"),
        ("generic", "<i>(xxx)</i> [1] * = l", "<i>(xxx)</i> [1] * = l"),
    ],
)
def test_awkward_line(source: str, raw: str, clean: str) -> None:
    assert CLEANERS[source](raw + "\n") == (clean + "\n" if clean else "")


@law
@given(text=awkward_text)
def test_cleaning_twice_is_cleaning_once(text: str) -> None:
    once = {source: CLEANERS[source](text) for source in SOURCES}
    assert {source: CLEANERS[source](once[source]) for source in SOURCES} == once


@law
@given(first=awkward_text, second=awkward_text)
def test_lines_are_cleaned_apart_and_never_glued(first: str, second: str) -> None:
    for source in BY_LINE:
        clean = CLEANERS[source]
        assert clean(f"{first}\n\n\n{second}") == clean(first) + clean(second), source


@law
@given(text=awkward_text)
def test_output_is_lines_without_blanks_and_controls(text: str) -> None:
    for source in SOURCES:
        lines = CLEANERS[source](text).split("\n")
        assert lines.pop() == ""
        assert all(line and line == line.strip() for line in lines), source
        assert not any(unicodedata.category(char) == "Cc" for char in "".join(lines)), source


letters = st.characters(categories=["Lo", "Ll"], min_codepoint=0xC0)


@law
@given(words=st.lists(st.text(letters, min_size=1, max_size=8), min_size=1, max_size=8))
def test_letters_of_every_script_are_kept(words: list[str]) -> None:
    line = " ".join(words) + "\n"
    assert {source: CLEANERS[source](line) for source in SOURCES} == dict.fromkeys(SOURCES, line)


PROSE = "the cat's little Alice didn't see it all, for well-known reasons; I said: «Où?» “yes” 7"


@law
@given(words=st.lists(st.sampled_from(PROSE.split()), min_size=1, max_size=12))
def test_ordinary_prose_is_left_alone(words: list[str]) -> None:
    line = " ".join(["It", *words, "went."]) + "\n"
    assert {source: CLEANERS[source](line) for source in SOURCES} == dict.fromkeys(SOURCES, line)


def test_gutenberg_licence_is_cut_once_and_no_story_with_it() -> None:
    book = "*** START OF THE PROJECT GUTENBERG EBOOK {0} ***\nStory {0}.\n"
    text = f"Terms of use.\n{book.format('A')}{book.format('B')}"
    text += "*** END OF THE PROJECT GUTENBERG EBOOK B ***\nMore terms.\n"
    assert CLEANERS["gutenberg"](text) == "Story A.\nStory B.\n"


def test_a_line_that_never_settles_is_dropped() -> None:
    assert settle("a", [lambda line: line + "a"]) == ""


NESTED = ["<" * 3_000 + "i>" * 3_000, "(" * 4_000 + ")" * 4_000, "&" + "amp;" * 2_000, "Al" * 4_000]
REPEATED = (
    "{\\displaystyle|! style=a |= a |<ref>|'' | .|[a |[[|_|= |`|*|l|-|' |{|a+|(x|&amp;|x\t|\"|ISBN "
)


@pytest.mark.parametrize("part", [*NESTED, *REPEATED.split("|"), "|"], ids=lambda part: part[:6])
def test_hostile_lines_do_not_stall(part: str) -> None:
    start = time.perf_counter()
    for source in SOURCES:
        CLEANERS[source](part * (8_000 // len(part)) + "\x01z")
    assert time.perf_counter() - start < 3


def test_penn_brackets_and_entities_survive_their_own_output() -> None:
    assert rules.mend_brackets("-LRB--RRB-") == "()"
    assert markup.unescape_entities("&amp;amp;lt;") == "<"
