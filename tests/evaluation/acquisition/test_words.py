"""The list of words: what is read, and what is refused by name."""

from pathlib import Path

import pytest

from babyllama.errors import CorruptDataError, RecipeError
from babyllama.evaluation.acquisition.words import read_words
from evaluation.acquisition.conftest import make_words, write_words

HEADER = "word_clean,aoa,lexical_category,concreteness,frequency"
PUBLISHED = Path(__file__).parents[4] / "shared/data/evaluation/aoa/babylm2023/word_list.csv"


def test_a_list_is_read_as_it_was_written(tmp_path: Path) -> None:
    words = make_words()
    assert read_words(write_words(tmp_path / "words.csv", words)) == words


def test_a_form_is_in_lower_case_with_single_spaces(tmp_path: Path) -> None:
    (tmp_path / "words.csv").write_text(f"{HEADER}\nIce  Cream,20,nouns,5,7\n")
    [word] = read_words(tmp_path / "words.csv")
    assert (word.form, word.definition) == ("ice cream", "ice cream")


@pytest.mark.slow
def test_the_published_list_is_591_words() -> None:
    if not PUBLISHED.exists():
        pytest.skip("the word list of BabyLM 2023 is not beside the checkout")
    words = read_words(PUBLISHED)
    sizes = [sum(w.category == c for w in words) for c in ("nouns", "predicates", "function_words")]
    assert sizes == [322, 167, 102]
    assert len({word.form for word in words}) == 577


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no column 'word_clean': its first line must name word_clean, aoa"),
        (HEADER.replace("aoa,", ""), "has no column 'aoa'"),
        (HEADER, "holds no rows"),
        (f"{HEADER}\nball,20,nouns,5,many\n", "line 2 has 'many' under 'frequency': give a number"),
        (f"{HEADER}\nball,nan,nouns,5,7\n", "line 2 has 'nan' under 'aoa': give a number"),
        (f"{HEADER}\nball,20,nouns,5,0\n", "line 2 has the frequency 0, which has no logarithm"),
        (f"{HEADER}\nball,20,,5,7\n", "line 2 has nothing under 'lexical_category'"),
        (f"{HEADER}\nball,20,nouns,5\n", "line 2 has nothing under 'frequency'"),
        (f"{HEADER}\nball,20,verbs,5,7\n", "has the lexical category 'verbs': give one of nouns"),
        (
            f"{HEADER}\nball,20,nouns,5,7\nBall,21,nouns,5,7\n",
            "line 3 has 'ball' again, which stands in .*line 2",
        ),
    ],
)
def test_a_bad_list_is_refused_by_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "words.csv").write_text(text)
    with pytest.raises(CorruptDataError, match=message):
        read_words(tmp_path / "words.csv")


def test_a_list_that_is_not_there_or_not_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"gone.csv is no file"):
        read_words(tmp_path / "gone.csv")
    (tmp_path / "words.csv").write_bytes(b"\xff\xff")
    with pytest.raises(CorruptDataError, match="not UTF-8 at byte 0"):
        read_words(tmp_path / "words.csv")
