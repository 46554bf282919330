"""Suites of pairs as they are read, and the accuracies that scores of them give."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from babyllama.errors import CorruptDataError, RecipeError
from babyllama.evaluation.conventions import Ties
from babyllama.evaluation.minimal_pairs import (
    Paradigm,
    choices,
    read_suite,
    sentences,
    suite_digest,
    summarise,
)


def pair(good: str = "Herons wait.", bad: str = "Herons waits.", **names: Any) -> dict[str, Any]:
    return {"sentence_good": good, "sentence_bad": bad, **names}


def write(path: Path, *rows: dict[str, Any]) -> None:
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
    path.write_text("".join(lines), "utf-8")


def suite_of(*paradigms: tuple[str, str, str]) -> tuple[list[Paradigm], np.ndarray[Any, Any]]:
    """Paradigms as (name, phenomenon, outcomes), and scores that lead to those outcomes.

    An outcome is + where the good sentence wins, - where the bad one does, = for a tie.
    """
    margins = {"+": 1.0, "-": -1.0, "=": 0.0}
    suite = [Paradigm(name, of, [("g", "b")] * len(marks)) for name, of, marks in paradigms]
    scores = [x for *_, marks in paradigms for mark in marks for x in (margins[mark] - 9, -9.0)]
    return suite, np.array(scores)


def accuracies(rows: list[dict[str, Any]], key: str) -> dict[str, float]:
    return {row[key]: row["accuracy"] for row in rows}


def deviation(p: float, n: int) -> float:
    return math.sqrt(p * (1 - p) / n)


def test_a_suite_is_its_files_in_the_order_of_their_names(tmp_path: Path) -> None:
    write(tmp_path / "b.jsonl", pair("b good", "b bad"), pair("b best", "b worst"))
    write(tmp_path / "a.jsonl", pair("a good", "a bad"))
    (tmp_path / "README.md").write_text("not pairs")
    suite = read_suite(tmp_path)
    assert [paradigm.name for paradigm in suite] == ["a", "b"]
    assert sentences(suite) == ["a good", "a bad", "b good", "b bad", "b best", "b worst"]


def test_names_come_from_the_rows_and_else_from_the_file(tmp_path: Path) -> None:
    write(tmp_path / "1.jsonl", pair(UID="waiting", linguistics_term="agreement"))
    write(tmp_path / "2.jsonl", pair(UID="standing"))
    write(tmp_path / "3.jsonl", pair())
    found = [(paradigm.name, paradigm.phenomenon) for paradigm in read_suite(tmp_path)]
    assert found == [("waiting", "agreement"), ("standing", "standing"), ("3", "3")]


def test_a_file_of_a_whole_phenomenon_gives_its_paradigms(tmp_path: Path) -> None:
    """As the files of BabyLM 2023."""
    rows = [pair(str(n), "x", UID=name, linguistics_term="t") for n, name in enumerate("babac")]
    write(tmp_path / "agreement.jsonl", *rows)
    found = {paradigm.name: paradigm for paradigm in read_suite(tmp_path)}
    assert [*found] == ["b", "a", "c"]
    assert found["b"].pairs == [("0", "x"), ("2", "x")]
    assert found["a"].pairs == [("1", "x"), ("3", "x")]
    assert {paradigm.phenomenon for paradigm in found.values()} == {"t"}


def test_without_a_term_a_file_of_several_paradigms_is_the_phenomenon(tmp_path: Path) -> None:
    write(tmp_path / "agreement.jsonl", pair(UID="a"), pair(UID="b"), pair())
    found = [(paradigm.name, paradigm.phenomenon) for paradigm in read_suite(tmp_path)]
    names = ("a", "b", "agreement")
    assert found == [(name, "agreement") for name in names]


def test_a_paradigm_in_two_files_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "1.jsonl", pair(UID="a"), pair(UID="b"))
    write(tmp_path / "2.jsonl", pair(UID="c"), pair(UID="b"))
    message = r"2\.jsonl and 1\.jsonl both hold pairs of 'b': put them into one file$"
    with pytest.raises(CorruptDataError, match=message):
        read_suite(tmp_path)


def test_s_selection_counts_as_argument_structure(tmp_path: Path) -> None:
    write(tmp_path / "1.jsonl", pair(linguistics_term="s-selection"))
    write(tmp_path / "2.jsonl", pair(linguistics_term="argument_structure"))
    assert {paradigm.phenomenon for paradigm in read_suite(tmp_path)} == {"argument_structure"}


def test_blank_lines_windows_line_ends_and_a_byte_order_mark_are_no_pairs(tmp_path: Path) -> None:
    row = json.dumps(pair()).encode()
    (tmp_path / "a.jsonl").write_bytes(b"\xef\xbb\xbf\n" + row + b"\r\n\r\n" + row)
    assert len(read_suite(tmp_path)[0].pairs) == 2


@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\x85"])
def test_a_line_separator_within_a_sentence_ends_no_line(tmp_path: Path, separator: str) -> None:
    write(tmp_path / "a.jsonl", pair(f"one{separator}line", "another"))
    assert read_suite(tmp_path)[0].pairs == [(f"one{separator}line", "another")]


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"folder .*gone does not exist: check evaluation\.suite"):
        read_suite(tmp_path / "gone")


def test_a_folder_without_pair_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "pairs.txt").write_text("{}")
    with pytest.raises(RecipeError, match=r"holds no \.jsonl or \.json files"):
        read_suite(tmp_path)


def test_a_folder_is_no_pair_file(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").mkdir()
    with pytest.raises(RecipeError, match=r"holds no \.jsonl or \.json files"):
        read_suite(tmp_path)
    write(tmp_path / "a.json", pair())
    assert [paradigm.name for paradigm in read_suite(tmp_path)] == ["a"]


def test_files_of_json_lines_may_be_called_json_as_in_babylm_2023(tmp_path: Path) -> None:
    write(tmp_path / "agreement.json", pair("a", "b", UID="x"), pair("c", "d", UID="y"))
    found = [(paradigm.name, paradigm.pairs) for paradigm in read_suite(tmp_path)]
    assert found == [("x", [("a", "b")]), ("y", [("c", "d")])]


def test_beside_jsonl_a_json_file_is_a_note_and_no_pairs(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", pair())
    before = suite_digest(tmp_path)
    write(tmp_path / "b.json", pair())
    assert [paradigm.name for paradigm in read_suite(tmp_path)] == ["a"]
    assert suite_digest(tmp_path) == before


@pytest.mark.parametrize("suffix", ["json", "jsonl"])
def test_a_suite_has_another_digest_where_a_pair_file_differs(tmp_path: Path, suffix: str) -> None:
    found = []
    for name, row in (("a", pair()), ("b", pair()), ("b", pair("other"))):
        for old in tmp_path.iterdir():
            old.unlink()
        write(tmp_path / f"{name}.{suffix}", row)
        found.append(suite_digest(tmp_path))
    assert len(set(found)) == 3


@pytest.mark.parametrize(("ties", "accuracy"), [("half", 0.5), ("good", 2 / 3)])
def test_ties_count_as_the_convention_has_it_and_are_told(ties: Ties, accuracy: float) -> None:
    suite, scores = suite_of(("a", "x", "+=-"))
    [row] = summarise(suite, scores, ties)["paradigms"]
    assert row["accuracy"] == pytest.approx(accuracy)
    assert row["ties"] == 1


GOOD = json.dumps(pair()).encode() + b"\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"holds no pairs"),
        (b"\n \n", r"holds no pairs"),
        (GOOD + b"{sentence_good}\n", r", line 2 is not JSON: "),
        (GOOD + b'{"sentence_good": "x"}\n', r", line 2 has no text under 'sentence_bad'"),
        (b'{"sentence_bad": "x"}\n', r", line 1 has no text under 'sentence_good'"),
        (b'{"sentence_good": "x", "sentence_bad": " "}', r"no text under 'sentence_bad'"),
        (b'{"sentence_good": 3, "sentence_bad": "x"}', r"no text under 'sentence_good'"),
        (b'["x", "y"]\n', r"line 1 has no text under 'sentence_good'"),
        (b'{"sentence_good": "\\ud800 x", "sentence_bad": "y"}', r", line 1 has half a surrogate"),
        (GOOD + GOOD[:-2] + b', "UID": 3}', r", line 2 has 3 under 'UID': give text"),
        (
            GOOD[:-2] + b', "linguistics_term": ["x"]}',
            r'line 1 has \["x"\] under .linguistics_term',
        ),
        (GOOD + b"\xff\xfe\n", rf"is not UTF-8 at byte {len(GOOD)}"),
    ],
)
def test_a_file_that_holds_no_pairs_is_corrupt_and_names_the_line(
    tmp_path: Path, content: bytes, message: str
) -> None:
    write(tmp_path / "a.jsonl", pair())
    (tmp_path / "b.jsonl").write_bytes(content)
    with pytest.raises(CorruptDataError, match=rf"b\.jsonl.*{message}[^\n]*$"):
        read_suite(tmp_path)


def test_the_more_probable_sentence_wins_and_a_tie_is_half() -> None:
    [row] = summarise(*suite_of(("p", "f", "++-=")))["paradigms"]
    assert row["accuracy"] == (1 + 1 + 0 + 0.5) / 4
    assert (row["paradigm"], row["phenomenon"], row["n"], row["ties"]) == ("p", "f", 4, 1)


def test_the_sentence_that_scores_higher_is_chosen_and_of_two_that_tie_the_good_one() -> None:
    pairs = [("good a", "bad a"), ("good b", "bad b"), ("good c", "bad c")]
    suite = [Paradigm("x", "x", pairs[:2]), Paradigm("y", "y", pairs[2:])]
    found = choices(suite, np.array([1.0, 2.0, 2.0, 1.0, 3.0, 3.0]))
    assert found == {pairs[0]: "bad a", pairs[1]: "good b", pairs[2]: "good c"}


def test_a_scorer_that_always_ties_is_at_chance() -> None:
    result = summarise(*suite_of(("p", "f", "===="), ("q", "g", "==")))
    assert result["macro_phenomena"]["accuracy"] == result["macro_paradigms"]["accuracy"] == 0.5


HAND_MADE = suite_of(("a1", "A", "++"), ("a2", "A", "++--++--"), ("b1", "B", "+---"))
"""a1 2 of 2, a2 4 of 8, b1 1 of 4: phenomenon A 6 of 10, B 1 of 4."""


def test_a_phenomenon_pools_its_pairs() -> None:
    result = summarise(*HAND_MADE)
    assert accuracies(result["paradigms"], "paradigm") == {"a1": 1.0, "a2": 0.5, "b1": 0.25}
    assert accuracies(result["phenomena"], "phenomenon") == pytest.approx({"A": 0.6, "B": 0.25})
    assert [row["n"] for row in result["phenomena"]] == [10, 4]


def test_the_two_macros_are_plain_means_over_phenomena_and_over_paradigms() -> None:
    result = summarise(*HAND_MADE)
    assert result["macro_phenomena"]["accuracy"] == pytest.approx((0.6 + 0.25) / 2)
    assert result["macro_paradigms"]["accuracy"] == pytest.approx((1 + 0.5 + 0.25) / 3)
    assert (result["macro_phenomena"]["n"], result["macro_paradigms"]["n"]) == (2, 3)


def test_standard_errors_are_those_of_independent_pairs() -> None:
    result = summarise(*HAND_MADE)
    a1, a2, b1 = 0.0, deviation(0.5, 8), deviation(0.25, 4)
    pooled = math.sqrt((2 / 10 * a1) ** 2 + (8 / 10 * a2) ** 2)
    errors = [row["standard_error"] for row in result["paradigms"]]
    assert errors == pytest.approx([a1, a2, b1])
    assert [row["standard_error"] for row in result["phenomena"]] == pytest.approx([pooled, b1])
    over_two = math.sqrt(pooled**2 + b1**2) / 2
    over_three = math.sqrt(a1**2 + a2**2 + b1**2) / 3
    assert result["macro_phenomena"]["standard_error"] == pytest.approx(over_two)
    assert result["macro_paradigms"]["standard_error"] == pytest.approx(over_three)


def test_a_tie_that_counts_half_adds_no_spread_of_its_own() -> None:
    suite, scores = suite_of(("a", "x", "="), ("b", "y", "+=-="))
    alone, mixed = summarise(suite, scores)["paradigms"]
    assert alone["standard_error"] == 0.0
    # Outcomes 1, 1/2, 0, 1/2 with the mean 1/2.
    assert mixed["standard_error"] == pytest.approx(math.sqrt((0.25 + 0.25) / 4 / 4))


@given(st.lists(st.text("+-=", min_size=1, max_size=9), min_size=1, max_size=5))
def test_every_pair_counts_in_the_paradigm_that_it_is_in(outcomes: list[str]) -> None:
    suite, scores = suite_of(*((str(i), "f", marks) for i, marks in enumerate(outcomes)))
    result = summarise(suite, scores)
    worth = {"+": 1.0, "=": 0.5, "-": 0.0}
    expected = [sum(worth[mark] for mark in marks) / len(marks) for marks in outcomes]
    assert [row["accuracy"] for row in result["paradigms"]] == pytest.approx(expected)
    everything = "".join(outcomes)
    total = sum(worth[mark] for mark in everything) / len(everything)
    assert result["phenomena"][0]["accuracy"] == pytest.approx(total)


def test_the_result_is_json() -> None:
    result = summarise(*HAND_MADE)
    assert json.loads(json.dumps(result)) == result
