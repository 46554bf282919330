import time
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from babyllama.corpus.cleaners import markup, rules
from babyllama.corpus.cleaners.cleaning import (
    CLEANERS,
    PASSES,
    UNSETTLED,
    Cleaner,
    own_cleaner,
    settle,
)
from babyllama.corpus.words import count_words
from corpus.cleaners.awkward import awkward_text, law

SOURCES = sorted(CLEANERS)
DATA = Path(__file__).parents[4] / "shared" / "data"


@pytest.mark.parametrize(
    ("source", "raw", "clean"),
    [
        ("aochildes", "it 's big , is n't it ?", "it's big, isn't it?"),
        ("aochildes", "you got ta see xxx .", "you gotta see."),
        ("aochildes", "xxx .", ""),
        ("aochildes", "get 'em .", "get 'em."),
        ("aochildes", "i 'm gon na say the letter 's' .", "i'm gonna say the letter 's'."),
        ("aochildes", "the dogs ' tails www .", "the dogs ' tails."),
        ("bnc_spoken", "please. .", "please."),
        ("bnc_spoken", "I sa , I took it .", "I sa, I took it."),
        ("bnc_spoken", "No,. Mm..", "No. Mm."),
        ("bnc_spoken", "Mr 's report ?", "Mr's report?"),
        ("bnc_spoken", "and then we... went", "and then we... went"),
        ("bnc_spoken", ". , Yes, [sic] *that*", "Yes, [sic] *that*"),
        (
            "cbt",
            "`` Oh dear ! '' said the cat -LRB- black -RRB- .",
            '"Oh dear!" said the cat (black).',
        ),
        ("cbt", "she did _not_ go", "she did not go"),
        ("cbt", "He did n't wan na . . . so ?", "He didn't wanna... so?"),
        ("cbt", "'T was St. Mary 's | |", "'T was St. Mary's"),
        ("cbt", "-LCB- so -RCB- -- well ; `` oh !", '{ so } -- well; "oh!'),
        ("cbt", "- 12 -", ""),
        ("childes", "*MOT:\tis it you [laughs] ? %add: CHI", "MOT: is it you?"),
        ("childes", "*CHI: [laughs].", ""),
        ("childes", "*CHI: xxx dat one.", "CHI: dat one."),
        ("childes", '*MOT: " come+on," said Santa_Claus.', 'MOT: "come-on," said Santa Claus.'),
        ("childes", "*MOT: hello, xxx.", "MOT: hello."),
        ("childes", "*CHI: , look at (h)im,,", "CHI: look at him,"),
        ("childes", '*FAT: " one thing. "', 'FAT: "one thing."'),
        ("childes", "*KN: *R: ⌈go⌉!", "KN: R: go!"),
        ("children_stories", "The end.[2]", "The end."),
        ("children_stories", "* * * * *", ""),
        ("children_stories", "The [12] cat,* said _Tom_ -- 'Yes'", "The cat, said Tom -- 'Yes'"),
        ("children_stories", "{xii}Once in 1812 -----", "Once in 1812"),
        ("children_stories", "[Footnote 1: Not so", ""),
        ("children_stories", "He said [sic] ''No''.", 'He said [sic] "No".'),
        ("gutenberg", "[Illustration: A cat] He sat.", "He sat."),
        ("gutenberg", "- 112 -", ""),
        ("gutenberg", "_The_ =Cat= sat.--Page 12.]", "The Cat sat."),
        ("gutenberg", "THE END. * * * Transcriber's Notes: so", "THE END."),
        ("gutenberg", "End of the Project Gutenberg EBook of Cats, by A. Cat", ""),
        ("gutenberg", "Mrs. ---- came, like +C+ats.", "Mrs. ---- came, like Cats."),
        ("open_subtitles", "<i>Well,</i> you 're late !", "Well, you're late!"),
        ("open_subtitles", "♪ la la ♪ # la #", "la la la"),
        ("open_subtitles", "(SIGHS) - [door slams] - No.", "No."),
        ("open_subtitles", "(...)", ""),
        ("open_subtitles", ">> I\"ll go . . . - - lsn't it?", "I'll go... - Isn't it?"),
        ("open_subtitles", "9 00:00:01,000 --> 00:00:02,000 Late?", "Late?"),
        ("open_subtitles", "Man #2: wouId you, AII of you?", "would you, All of you?"),
        (
            "open_subtitles",
            "Milo: see you in World War II, at 5:30.",
            "Milo: see you in World War II, at 5:30.",
        ),
        ("open_subtitles", "(SCREAMS] He read ''Emma'' .", 'He read "Emma".'),
        ("open_subtitles", "(Nobody heard me.)", "Nobody heard me."),
        ("open_subtitles", "Subtitles by Someone", ""),
        ("open_subtitles", "OLD MAN 2: l'll see it!", "I'll see it!"),
        ("open_subtitles", "WHAT ARE YOU DOING? I SEE YOU.", "What are you doing? I see you."),
        ("open_subtitles", "Well, all is lost.", "Well, all is lost."),
        ("open_subtitles", "Man #2 can\x92t", "Man #2 can’t"),
        ("qed", "(Applause) This is Q&amp;A.", "This is Q&A."),
        ("qed", "THlS lS A LlTTLE TALE, AND I TELL IT", "This is a little tale, and I tell it"),
        ("qed", "&amp;gt;&amp;gt; MR. LlT: [Music] l think it&#39;s", "I think it's"),
        ("qed", "(\u266a music \u266a)", ""),
        ("qed", "{\\an8}''So'' he said == sync by x == ok", '"So" he said ok'),
        ("qed", "- 5 l of milk, 6 ll.", "5 l of milk, 6 ll."),
        ("simple_wikipedia", "= = = Cat = = =", "Cat"),
        (
            "simple_wikipedia",
            'The Moon (Latin: ; ) is "" at formula_1 , formula_2 .',
            "The Moon (Latin) is at.",
        ),
        ("simple_wikipedia", "[[Category:Cats]]", ""),
        ("simple_wikipedia", "5 = 5, x == y, a <b>c</b>&nbsp;d", "5 = 5, x == y, a c d"),
        ("simple_wikipedia", "so.[2] == Notes == He (born 1990 ; )", "so. Notes He (born 1990)"),
        ("simple_wiki", "= = = Cat = = =", "Cat"),
        ("simple_wiki", 'A{{cite web|x}} {| class="a" || 3 |}', "A 3"),
        ("simple_wiki", "1 < 2 && <ref>x", "1 < 2 &&"),
        ("simple_wiki", "A &lt;br&gt; B&amp;amp;C", "A B&C"),
        ("simple_wiki", "Harosheth* and [John] in [1999]", "Harosheth* and [John] in [1999]"),
        ("simple_wikipedia", "Cats &amp; dogs&lt;br&gt; (; born 1990)", "Cats & dogs (born 1990)"),
        ("simple_wiki", "33||4 33||4 Career. !Total||8||1", "Career."),
        ("switchboard", "A:\tUh, well , yes .", "A: Uh, well, yes."),
        ("switchboard", "B: too for from us. *sp: far", "B: too for from us."),
        ("switchboard", "A: .", ""),
        ("switchboard", "B: I , uh , . *b", "B: I, uh."),
        ("switchboard", "@A: [laughter] it 's ok", "@A: [laughter] it's ok"),
        ("switchboard", "A: , where I live... is", "A: where I live... is"),
        ("wikipedia", " == History == ", "History"),
        ("wikipedia", "if 1 < 2 and 3 > 2, then", "if 1 < 2 and 3 > 2, then"),
        ("wikipedia", 'a<ref name="x">Note</ref> [[cat|pet]][3]', "a pet"),
        ("wikipedia", "g {\\displaystyle g_{1}} is {\\textstyle x", "g is"),
        ("wikipedia", "month.\nAugust", "month.\nAugust"),
        ("wikipedia", 'He said so.": 12–14, 20 And.', 'He said so." And.'),
        ("wikipedia", "Retrieved 3 May 2010.", ""),
        ("wikipedia", "Ratio 3: 4 and ISBN 0-00-000000-0 , ok", "Ratio 3: 4 and, ok"),
        ("generic", " a\tb \x0c", "a b"),
        ("generic", "<i>(xxx)</i> [1] * = l", "<i>(xxx)</i> [1] * = l"),
        ("generic", "co\xadoper\u200bate\ufffd", "cooperate"),
        ("generic", "it\x92s \xa0 5\u2009km\ufeff", "it’s 5 km"),
        ("generic", "می\u200cخواهم", "می\u200cخواهم"),
        ("generic", " \t\xa0 ", ""),
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
    for source in SOURCES:
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


OWN = own_cleaner(
    "own",
    drop_lines=["ISBN"],
    drop=["cat", r"\[[^]]*"],
    replace=[(r"(\w+) (\w+)", r"\2 \1"), ("o", "oo"), ("^", "- "), ("l", "( l")],
    base="open_subtitles",
)


@law
@given(text=awkward_text)
def test_cleaning_many_lines_is_settling_each(text: str) -> None:
    cleaners = {**CLEANERS, "own": OWN}
    fast = {name: clean(text) for name, clean in cleaners.items()}
    assert fast == {name: settled(clean, text) for name, clean in cleaners.items()}


@pytest.mark.parametrize("source", ["open_subtitles", "qed"])
@pytest.mark.parametrize(
    "line",
    """
    Subtitles by Nobody|SUBS BY NOBODY|Sub made possible by Nobody|Subtitles: Nobody|Transcript: me
    Synced by Nobody|resync: x|sync, corrected by Nobody|Synchronized by x|Corrected By Nobody
    Translated by Nobody|TRANSLATION: Nobody|Ripped by x|Encoded By x|Captioned by x|(see x)
    Captioning sponsored by x|ADDIC7ED|yify-torrents|YIFY|at http://a.b|HTTPS://a.b|www.a.b|WWW.A.B
    """.strip()
    .replace("\n", "|")
    .split("|"),
)
def test_credits_of_every_kind_go(source: str, line: str) -> None:
    assert CLEANERS[source](line) == ""


@pytest.mark.slow
@pytest.mark.skipif(not DATA.exists(), reason="wants the data beside the checkout")
@pytest.mark.parametrize("source", SOURCES)
def test_cleaning_real_text_is_settling_its_lines(source: str) -> None:
    for file in sorted(DATA.glob(f"babylm_*/{source}.*")):
        text = file.read_text(encoding="utf-8")
        assert CLEANERS[source](text) == settled(CLEANERS[source], text)


def settled(clean: Cleaner, text: str) -> str:
    """Clean the obvious way: every line through every rule."""
    lines = (settle(line, clean.rules, clean.once) for line in text.split("\n"))
    return "".join(line + "\n" for line in lines if line)


@law
@given(first=awkward_text, second=awkward_text)
def test_the_words_that_rules_took_are_the_words_that_a_text_lost(first: str, second: str) -> None:
    for source in SOURCES:
        cleaned, effects = CLEANERS[source].traced_texts([first, second])
        assert cleaned == [CLEANERS[source](first), CLEANERS[source](second)]
        lost = sum(effect["words_before"] - effect["words_after"] for effect in effects.values())
        assert count_words("\n".join([first, second])) - count_words("".join(cleaned)) == lost


def test_every_rule_is_told_of_in_order_even_where_it_had_nothing_to_do() -> None:
    text, effects = CLEANERS["aochildes"].traced("see  me .\nxxx .\nso?\n")
    assert text == "see me.\nso?\n"
    lines = {name: (effect["lines"], effect["dropped"]) for name, effect in effects.items()}
    assert lines == {
        "plain_characters": (0, 0),
        "squeeze_spaces": (1, 0),
        "drop_unintelligible": (1, 0),
        "join_punctuation": (1, 0),
        "join_contractions": (0, 0),
        "join_clitics": (0, 0),
        "drop_wordless": (1, 1),
        "drop_lost_characters": (0, 0),
        UNSETTLED: (0, 0),
    }
    assert effects["squeeze_spaces"]["examples"] == [("see  me .", "see me .")]


def test_the_licence_is_no_business_of_a_line_cleaner() -> None:
    lines = "Terms.\nOnce.\n"
    assert CLEANERS["gutenberg"](lines) == lines


def longer(line: str) -> str:
    return line + "a" if line.startswith("x") else line


def test_a_line_that_never_settles_is_dropped_and_counted() -> None:
    assert settle("x", [longer]) == ""
    text, effects = Cleaner("odd", (longer,)).traced("x\ny\n")
    assert text == "y\n"
    assert effects["longer"]["lines"] == PASSES
    assert effects[UNSETTLED]["dropped"] == 1


def test_a_line_that_is_changed_to_and_fro_is_settled() -> None:
    there, back = (own_cleaner("x", replace=[pair]).once[2] for pair in [("a", "b"), ("b", "a")])
    assert settle("a", (there, back)) == "a"
    assert Cleaner("odd", (there, back))("a\n") == "a\n"


NESTED = ["<" * 3_000 + "i>" * 3_000, "(" * 4_000 + ")" * 4_000, "&" + "amp;" * 2_000, "Al" * 4_000]
LONG = ["{" + "-" * 20_000, "* " * 20_000 + "a transcriber's note", "—" * 20_000 + "page 1.]"]
MORE = ["- ", ">> ", '"ll', "1:11:11,", "== A", ".: 1", "(,", "wouId", "A: ,", "(a]", '" ', ",,"]
REPEATED = (
    "{\\displaystyle|! style=a |= a |<ref>|'' | .|[a |[[|_|= |`|*|l|-|' |{|a+|(x|&amp;|x\t|\"|ISBN "
)


@pytest.mark.parametrize(
    "part", [*NESTED, *LONG, *MORE, *REPEATED.split("|"), "|"], ids=lambda part: part[:6]
)
def test_hostile_lines_do_not_stall(part: str) -> None:
    start = time.perf_counter()
    for source in SOURCES:
        CLEANERS[source](part * max(1, 8_000 // len(part)) + "\x01z")
    assert time.perf_counter() - start < 3


def test_penn_brackets_and_entities_survive_their_own_output() -> None:
    assert rules.mend_brackets("-LRB--RRB-") == "()"
    assert markup.unescape_entities("&amp;amp;lt;") == "<"
