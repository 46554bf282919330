import pytest
from hypothesis import given
from hypothesis import strategies as st

from babyllama.corpus.words import count_words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", 0),
        (" \n\t", 0),
        ("Où est-il, l'été ?", 4),
        ("мама мыла раму", 3),
        ("我爱北京", 4),
        ("我爱 Python 3", 4),
        ("iPhoneを買う。", 4),
        ("ไปไหน", 5),  # the vowel sign ไ is written as a letter of its own
        ("กี่", 1),  # one letter, a vowel sign above and a tone mark
        ("ｶﾞｷﾞ", 2),  # half-width, with a voicing mark each
        ("ﾊﾟa", 2),
        ("ភាសា", 2),
        ("བོད་སྐད་ ཡིན", 2),  # Tibetan goes by its spaces
        ("한국어 말", 2),  # Korean has spaces
        ("नमस्ते दुनिया", 2),
    ],
)
def test_words_of_many_scripts(text: str, words: int) -> None:
    assert count_words(text) == words


@given(st.text(alphabet="ab é\n\tж'", max_size=40))
def test_with_spaces_a_word_is_what_split_gives(text: str) -> None:
    assert count_words(text) == len(text.split())


@given(st.lists(st.text(alphabet="a 猫が\n。ไ", max_size=20), max_size=4))
def test_lines_add_up(lines: list[str]) -> None:
    assert count_words("\n".join(lines)) == sum(map(count_words, lines))
