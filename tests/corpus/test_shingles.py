import pytest
from hypothesis import given
from hypothesis import strategies as st

from babyllama.corpus.shingles import ngrams, read_words, text_lines


def same(left: str, right: str) -> bool:
    return read_words(left).hashes.tolist() == read_words(right).hashes.tolist()


def test_case_punctuation_and_line_ends_make_no_other_word() -> None:
    assert same("The cat,\n sat!", "the CAT sat")
    assert not same("the cat sat", "the cats at")


def test_equal_characters_of_unicode_are_the_same_word() -> None:
    assert same("cafe\u0301 ﬁn", "CAFÉ fin")
    assert same("İstanbul", "i\u0307stanbul")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("don't", 2),
        ("नमस्ते दुनिया", 2),
        ("猫がいる。", 4),
        ("กี่", 1),
        ("我 love 猫", 3),
        ("--- ♪", 0),
        ("", 0),
    ],
)
def test_words_of_many_scripts(text: str, words: int) -> None:
    assert len(read_words(text).hashes) == words


def test_numbers_are_the_same_in_every_process() -> None:
    assert read_words("a cat").hashes.tolist() == [
        3405396810240292928,
        3429664268601861939,
    ]
    assert ngrams(read_words("a cat sat").hashes, 2).tolist()[0] == 454505115820134767


@given(st.lists(st.sampled_from("abc"), max_size=12), st.integers(1, 6))
def test_runs_have_the_same_number_where_their_words_are_the_same(words: list[str], n: int) -> None:
    numbers = ngrams(read_words(" ".join(words)).hashes, n).tolist()
    runs = [tuple(words[at : at + n]) for at in range(len(words) - n + 1)]
    assert len(numbers) == len(runs)
    pairs = list(zip(runs, numbers, strict=True))
    assert all((a == b) == (x == y) for a, x in pairs for b, y in pairs)


@given(st.text(alphabet="aé猫 \n\u2028.", max_size=30))
def test_every_line_has_its_words(text: str) -> None:
    words, lines = read_words(text), text_lines(text)
    starts = [0, *words.ends.tolist()]
    assert len(words.ends) == len(lines)
    for line, begin, end in zip(lines, starts, starts[1:], strict=False):
        assert read_words(line).hashes.tolist() == words.hashes[begin:end].tolist()
