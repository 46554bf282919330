from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from babyllama.training.ledger import Ledger, crossed, words_grid

LEDGER = Ledger(
    tokens_per_step=1000,
    words_per_token=0.75,
    flops_per_token=60.0,
    teacher_flops_per_token=40.0,
)


def test_steps_become_tokens_words_and_operations() -> None:
    assert LEDGER.words(4) == 3000
    assert LEDGER.totals(4) == {
        "tokens_seen": 4000,
        "words_seen": 3000,
        "teacher_words_seen": 0,
        "flops": 240_000,
        "teacher_flops": 160_000,
        "teacher_training_flops": 0,
        "ancestors": {},
    }


def test_teachers_of_teachers_count() -> None:
    grandparent = LEDGER.totals(10)
    parent = replace(LEDGER, teachers={"grandparent": grandparent}).totals(20)
    student = replace(LEDGER, teachers={"parent": parent}).totals(1)
    assert parent["teacher_words_seen"] == 7500
    assert student["words_seen"] == 750
    assert student["teacher_words_seen"] == 7500 + 15_000
    ran = grandparent["teacher_flops"] + parent["teacher_flops"]
    trained = grandparent["flops"] + parent["flops"]
    assert student["teacher_training_flops"] == ran + trained


def test_a_teacher_that_is_reached_by_two_paths_counts_once() -> None:
    grandparent = LEDGER.totals(10)
    parent = replace(LEDGER, teachers={"grandparent": grandparent}).totals(20)
    both = {"parent": parent, "grandparent": grandparent}
    by_parent = replace(LEDGER, teachers={"parent": parent}).totals(1)
    assert replace(LEDGER, teachers=both).totals(1) == by_parent
    assert list(by_parent["ancestors"]) == ["grandparent", "parent"]


def test_a_teacher_from_outside_counts_as_nothing_known() -> None:
    totals = replace(LEDGER, teachers={"outside": {}}).totals(1)
    assert totals["teacher_words_seen"] == 0
    assert totals["ancestors"] == {}


def test_a_start_from_a_checkpoint_counts_what_that_has_seen() -> None:
    teacher = LEDGER.totals(10)
    start = replace(LEDGER, teachers={"teacher": teacher}).totals(20)
    continued = replace(LEDGER, start=start)
    assert continued.words(4) == start["words_seen"] + 3000
    totals = continued.totals(4)
    assert totals["flops"] == start["flops"] + 240_000
    assert totals["teacher_flops"] == start["teacher_flops"] + 160_000
    assert totals["teacher_words_seen"] == teacher["words_seen"]
    assert totals["tokens_seen"] == 4000


def test_the_babylm_grid_is_1m_to_9m_then_10m_to_100m() -> None:
    millions = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100]
    assert words_grid("babylm") == [n * 1_000_000 for n in millions]


def test_an_own_grid_is_sorted() -> None:
    assert words_grid([300, 20]) == [20, 300]
    assert words_grid([]) == []


@given(
    st.lists(st.integers(1, 50), unique=True),
    st.lists(st.integers(0, 60), min_size=1).map(sorted),
)
def test_every_mark_up_to_the_last_step_is_crossed_once(grid: list[int], words: list[int]) -> None:
    steps = zip([0, *words], words, strict=False)
    found = [mark for before, after in steps for mark in crossed(sorted(grid), before, after)]
    assert found == sorted(mark for mark in grid if mark <= words[-1])


def test_words_seen_counts_repetitions() -> None:
    assert LEDGER.words(30) == pytest.approx(3 * LEDGER.words(10))
