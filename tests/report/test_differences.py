from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from babyllama.corpus.cleaners.effects import EXAMPLE_LENGTH, effect_of
from babyllama.report.differences import Piece, differences, marked

line = st.text(st.sampled_from("ab  .<>&'猫\u0301\u200b\u202e\x01"), max_size=40)


class Marks(HTMLParser):
    """Collects the text of a line, and the tags around it."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, _attrs: object) -> None:
        self.tags.add(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


def text_of(pieces: list[Piece], *, changed: bool | None = None) -> str:
    return "".join(text for text, new in pieces if changed is None or new is changed)


def example(before: str, after: str) -> tuple[list[Piece], list[Piece]]:
    """The differences of a pair that was cut as examples are."""
    ((old, new),) = effect_of([(before, after)])["examples"]
    return differences(old, new)


@given(line, line)
def test_the_unchanged_parts_of_both_lines_are_the_same(before: str, after: str) -> None:
    old, new = differences(before, after)
    assert (text_of(old), text_of(new)) == (before, after)
    assert text_of(old, changed=False) == text_of(new, changed=False)


@given(line, line)
def test_a_line_is_shown_as_text_with_marks_and_nothing_else(before: str, after: str) -> None:
    for html, text, mark in zip(
        marked(before, after), (before, after), ("del", "ins"), strict=True
    ):
        found = Marks(str(html))
        assert found.tags <= {mark, "span"}
        assert found.text.isprintable()
        assert found.text == "".join(c if c.isprintable() else f"U+{ord(c):04X}" for c in text)


@pytest.mark.parametrize(
    ("before", "after", "gone", "come"),
    [
        ("wiII do", "will do", "wiII", "will"),
        ("He  said", "He said", " ", ""),
        ("well , no .", "well, no.", "  ", ""),
        ("HELLO THERE.", "Hello there.", "HELLO THERE", "Hello there"),
        ("猫が三匹いる", "猫が二匹いる", "三", "二"),
        ("same", "same", "", ""),
    ],
)
def test_whole_words_and_single_signs_are_marked(
    before: str, after: str, gone: str, come: str
) -> None:
    old, new = differences(before, after)
    assert (text_of(old, changed=True), text_of(new, changed=True)) == (gone, come)


def test_a_dropped_line_is_not_marked() -> None:
    assert marked("<i> \x01", "") == ('&lt;i&gt; <span class="code">U+0001</span>', "")


def test_spaces_and_joiners_are_shown_by_number_only_where_they_change() -> None:
    old, new = marked("a\xa0b\xa0c \u200d.", "a\xa0b c \u200d.")
    assert old == 'a\xa0b<del><span class="code">U+00A0</span></del>c \u200d.'
    assert new == "a\xa0b<ins> </ins>c \u200d."


WORDS = " ".join(f"word{number}" for number in range(100))
NOTE = "(" + " ".join(f"note{number}" for number in range(10)) + ")"


def test_what_a_window_shows_beyond_the_other_is_not_called_new() -> None:
    old, new = example(f"see {NOTE} {WORDS}", f"see {WORDS}")
    assert text_of(old, changed=True).strip() == NOTE
    assert text_of(new, changed=True) == ""
    old, new = example(f"see {WORDS}", f"see {NOTE} {WORDS}")
    assert text_of(old, changed=True) == ""
    assert text_of(new, changed=True).strip() == NOTE


def test_where_all_that_is_seen_went_what_came_up_is_not_called_new() -> None:
    old, new = example(f"see {'x-' * 200} {WORDS}", f"see {WORDS}")
    assert text_of(old, changed=True).startswith("x-x-")
    assert text_of(new, changed=True) == ""


def test_dots_of_the_text_itself_do_not_make_a_window() -> None:
    assert len("yes, so he said…") < EXAMPLE_LENGTH
    _, new = differences("yes…", "yes, so he said…")
    assert text_of(new, changed=True) == ", so he said"
