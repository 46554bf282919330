"""Contexts and children's curves: what is read, what is refused, what is cut."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from babyllama.errors import CorruptDataError
from babyllama.evaluation.acquisition.contexts import (
    COLUMNS,
    Context,
    fitted,
    read_contexts,
    read_curves,
)

HEADER = f",{','.join(COLUMNS)}"
RISING = [round(0.05 * n, 2) for n in range(15)]


def line(word: str, shares: list[Any]) -> str:
    return ",".join(["0", word, *map(str, shares)])


def test_a_word_stands_behind_each_of_its_contexts(tmp_path: Path) -> None:
    contexts = {"ball": [{"context": " a  red "}, {"context": "", "more": 1}], "dog": [], "a": [{}]}
    (tmp_path / "c.json").write_text(json.dumps(contexts))
    found = read_contexts(tmp_path / "c.json")
    assert found == {"ball": [Context("ball", ("a", "red")), Context("ball", ())], "dog": []}
    assert Context("ice cream", ("an",)).words == ("an", "ice", "cream")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[]", "is no mapping of words to contexts"),
        ("{}", "holds no contexts"),
        ('{"ball": [], "a": [{"context": "x"}]}', "holds no contexts"),
        ('{"ball": [{"text": "x"}]}', "word 'ball' has something else than objects of 'context'"),
        ('{"ball": ["x"]}', "word 'ball' has something else"),
        ('{"ball": "x"}', "word 'ball' has something else"),
        ('{"  ": [{"context": "x"}]}', "word '  ' has something else"),
    ],
)
def test_bad_contexts_are_refused(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "c.json").write_text(content)
    with pytest.raises(CorruptDataError, match=message):
        read_contexts(tmp_path / "c.json")


def test_shares_are_read_by_month(tmp_path: Path) -> None:
    (tmp_path / "h.csv").write_text("\n".join([HEADER, line("ball", RISING)]))
    found = read_curves(tmp_path / "h.csv")
    assert list(found) == ["ball"]
    assert found["ball"] == pytest.approx(np.array(RISING))


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([HEADER.replace(",30", "")], "has no column '30'"),
        ([HEADER], "holds no rows"),
        ([HEADER, line("ball", [*RISING[:-1], "x"])], "line 2 has 'x' under '30': give a number"),
        ([HEADER, line("ball", RISING[:-1])], "line 2 has nothing under '30'"),
        ([HEADER, line("ball", [*RISING[:-1], 70])], "has a share below 0 or above 1"),
        ([HEADER, *[line("ball", RISING)] * 2], "line 3 has 'ball' again"),
    ],
)
def test_bad_curves_are_refused(tmp_path: Path, lines: list[str], message: str) -> None:
    (tmp_path / "h.csv").write_text("\n".join(lines))
    with pytest.raises(CorruptDataError, match=message):
        read_curves(tmp_path / "h.csv")


def test_a_long_line_loses_its_earliest_words_and_no_more(tokenizer: Any) -> None:
    words = ["zebra", "the", "heron", "waits"]
    sizes = [len(tokenizer(" ".join(words[n:]))["input_ids"]) for n in range(4)]
    assert [*fitted([words], tokenizer, sizes[0])] == [words]
    assert [*fitted([words], tokenizer, sizes[0] - 1)] == [words[1:]]
    assert [*fitted([words, ["x"]], tokenizer, sizes[2])] == [words[2:], ["x"]]
    assert [*fitted([words], tokenizer, 0)] == [words[3:]]
