"""Laws of single rules; what each does is said in the examples of its docstring."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from babyllama.corpus.cleaners import books, captions, markup, transcripts
from babyllama.corpus.cleaners import rules as general
from babyllama.corpus.cleaners.rules import NEEDS, Rule, any_case, needs, squeeze_spaces
from corpus.cleaners.awkward import RULES, awkward_text, law

RESPELL = {
    captions.read_i_as_l,
    captions.read_l_as_i,
    general.recase_shouting,
    markup.unescape_entities,
}
"""The rules that put other letters."""

REMOVE = {
    books.drop_boilerplate,
    books.drop_illustrations,
    books.drop_page_numbers,
    books.drop_transcriber_notes,
    captions.drop_caption_speakers,
    captions.drop_credits,
    captions.drop_cues,
    captions.drop_overrides,
    captions.drop_time_codes,
    general.mend_brackets,
    markup.drop_formula_codes,
    markup.drop_identifiers,
    markup.drop_latex,
    markup.drop_note_marks,
    markup.drop_page_references,
    markup.drop_references,
    markup.drop_table_cells,
    markup.drop_tags,
    markup.drop_templates,
    markup.unlink,
    transcripts.drop_notes,
    transcripts.drop_overlaps,
    transcripts.drop_remarks,
    transcripts.drop_silent,
    transcripts.drop_tiers,
    transcripts.drop_unintelligible,
}
"""The rules that take letters or digits out, with what they were a part of."""

KEEP = [rule for rule in RULES if rule not in RESPELL | REMOVE]

line_of_text = awkward_text.map(lambda text: squeeze_spaces(text.replace("\n", " ")))


def spelling(line: str) -> str:
    return re.sub(r"[\W_]", "", line)


def is_subsequence(part: str, whole: str) -> bool:
    characters = iter(whole)
    return all(character in characters for character in part)


@law
@given(line=line_of_text)
def test_rules_for_spaces_signs_and_quotes_keep_every_letter_and_digit(line: str) -> None:
    assert {r.__name__: spelling(r(line)) for r in KEEP} == {
        r.__name__: spelling(line) for r in KEEP
    }


@law
@given(line=line_of_text)
def test_rules_that_take_out_put_nothing_in(line: str) -> None:
    for rule in REMOVE:
        assert is_subsequence(spelling(rule(line)), spelling(line)), rule.__name__


@law
@given(line=line_of_text)
def test_letters_are_only_recased_or_exchanged_for_their_likes(line: str) -> None:
    assert spelling(general.recase_shouting(line)).casefold() == spelling(line).casefold()
    for rule in (captions.read_i_as_l, captions.read_l_as_i):
        assert rule(line).replace("I", "l") == line.replace("I", "l")


@law
@given(line=line_of_text)
def test_a_rule_changes_no_line_without_what_it_says_that_it_needs(line: str) -> None:
    for rule in RULES:
        if rule not in NEEDS or changes(rule, line):
            found = [p for p in NEEDS.get(rule, ()) if p.search(f"\n{line}\n")]
            assert found, rule.__name__


def changes(rule: Rule, line: str) -> bool:
    return squeeze_spaces(rule(line)) != line


@law
@given(lines=st.lists(line_of_text, max_size=4))
def test_what_a_rule_needs_never_reaches_over_a_line_end(lines: list[str]) -> None:
    text = "\n" + "\n".join(lines)
    for rule in RULES:
        for pattern in NEEDS[rule]:
            assert not any("\n" in match[0][1:] for match in pattern.finditer(text)), rule.__name__


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_a_rule_is_shown_by_two_examples_or_more_and_makes_nothing_of_nothing(rule: Rule) -> None:
    calls = re.findall(rf"\b{rule.__name__}\(", rule.__doc__ or "")
    assert len(calls) >= 2
    assert rule("") == ""


def test_a_pattern_for_any_case_begins_with_a_plain_letter() -> None:
    first, second = any_case("sub by")
    assert re.search(first, "sUB By")
    assert re.search(second, "SUB by")
    assert not re.search(first, "SUB by")


def test_needs_leaves_the_rule_a_plain_function() -> None:
    def rule(line: str) -> str:
        return line

    assert needs("a")(rule) is rule
    assert [match[0] for match in NEEDS.pop(rule)[0].finditer("b\nbab\nc")] == ["ab"]


@pytest.mark.parametrize(
    ("line", "clean"),
    [
        ("l", "I"),
        ("l'd say lf l were ln lndia", "I'd say If I were In India"),
        ("Nat'l, d'l'eau, l'art, lloyd, lhasa", "Nat'l, d'l'eau, l'art, lloyd, lhasa"),
        ("AlL HELLO FlLM lT", "AIL HELLO FILM IT"),
    ],
)
def test_l_is_read_as_i_where_no_l_can_stand(line: str, clean: str) -> None:
    assert captions.read_l_as_i(line) == clean


@pytest.mark.parametrize(
    ("line", "clean"),
    [
        ("PauI WeIIs wiII caII you'II", "Paul Wells will call you'll"),
        ("PIease, Ieave me my Iast Iove Ietter", "Please, leave me my last love letter"),
        ("MacIntyre, McIver, AIs, CIAs, Iowa, Ian, Iona, Henry II", None),
        ("I, Ivy, Iris, In Italy, II. and III", None),
    ],
)
def test_i_is_read_as_l_where_no_i_can_stand(line: str, clean: str | None) -> None:
    assert captions.read_i_as_l(line) == (line if clean is None else clean)


@pytest.mark.parametrize(
    ("line", "clean"),
    [
        ("'' So '' said '' he", '"So" said "he'),
        ("he said , '' So.''", 'he said , "So."'),
        ("NOW: ''So'', yes", 'NOW: "So", yes'),
        ("say ''''now''''", 'say ""now""'),
        ("`` so , '' he", '"so ," he'),
    ],
)
def test_double_marks_open_and_close(line: str, clean: str) -> None:
    assert general.mend_quotes(line) == clean
