import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from babyllama.corpus.sampling import Row, draw, parted, quotas
from babyllama.corpus.words import count_words
from babyllama.errors import RecipeError

rows_of_text = st.lists(
    st.tuples(st.lists(st.sampled_from(["a", "b c", "d e f"]), min_size=1), st.booleans()),
    max_size=8,
).map(lambda rows: [("".join(line + "\n" for line in lines), starts) for lines, starts in rows])


def counts(rows: list[Row]) -> list[int]:
    return [count_words(text) for text, _ in rows]


def sides(rows: list[Row], words: int, seed: int = 0) -> dict[bool, list[Row]]:
    found: dict[bool, list[Row]] = {True: [], False: []}
    drawn = draw(counts(rows), words, seed=seed, stream="s")
    for side, row in parted(rows, counts(rows), drawn):
        found[side].append(row)
    return found


def lines(rows: list[Row]) -> list[str]:
    return [line for text, _ in rows for line in text.splitlines()]


ROWS = [(f"{n} " + "w " * 8 + "end\n") for n in range(4_000)]
PIECES: list[Row] = [("".join(ROWS[at : at + 100]), at % 400 == 0) for at in range(0, 4_000, 100)]


@pytest.mark.parametrize("words", [50, 5_000, 20_000, 40_000])
def test_so_many_words_are_drawn_to_the_nearest_line(words: int) -> None:
    assert sum(counts(sides(PIECES, words)[True])) == pytest.approx(words, abs=5)


@settings(max_examples=150)
@given(rows=rows_of_text, words=st.integers(0, 40), seed=st.integers(0, 2**32))
def test_both_sides_are_the_text_in_order(rows: list[Row], words: int, seed: int) -> None:
    found = sides([(f"{n}{text}", starts) for n, (text, starts) in enumerate(rows)], words, seed)
    whole = [line for n, (text, _) in enumerate(rows) for line in f"{n}{text}".splitlines()]
    assert sorted(lines(found[True]) + lines(found[False])) == sorted(whole)
    for rows_of_side in found.values():
        rest = iter(whole)
        assert all(line in rest for line in lines(rows_of_side))
        assert all(text.endswith("\n") for text, _ in rows_of_side)


def test_what_follows_a_gap_starts_a_document() -> None:
    rows = [("a\n", True), ("b\n", False), ("c\n", False), ("d\n", True)]
    drawn = list(parted(rows, [1, 1, 1, 1], {0: 1, 2: 1, 3: 1}))
    assert drawn == [
        (True, ("a\n", True)),
        (False, ("b\n", True)),
        (True, ("c\n", True)),
        (True, ("d\n", True)),
    ]


def test_neighbours_stay_one_document_and_a_cut_piece_opens_one_behind_the_cut() -> None:
    rows = [("a\n", True), ("b c\nd\n", False), ("e\n", False)]
    assert list(parted(rows, [1, 3, 1], {0: 1, 1: 2})) == [
        (True, ("a\n", True)),
        (True, ("b c\n", False)),
        (False, ("d\n", True)),
        (False, ("e\n", False)),
    ]


def test_all_words_are_the_whole_text() -> None:
    assert sides(PIECES, sum(counts(PIECES)))[True] == PIECES


def test_a_larger_sample_holds_the_smaller_one() -> None:
    small, large = (set(lines(sides(PIECES, words)[True])) for words in (5_000, 20_000))
    assert small < large


def test_a_sample_depends_on_the_seed_and_the_stream() -> None:
    sizes = counts(PIECES)
    found = [
        tuple(draw(sizes, 9_000, seed=seed, stream=stream))
        for seed, stream in ((1, "a"), (1, "a"), (2, "a"), (1, "b"))
    ]
    assert found[0] == found[1]
    assert len(set(found)) == 3


def test_a_sample_is_the_same_in_another_process() -> None:
    code = (
        "from babyllama.corpus.sampling import draw;print(draw([2] * 50, 20, seed=7, stream='a'))"
    )
    command = [sys.executable, "-c", code]
    outputs = {subprocess.run(command, capture_output=True, check=True).stdout for _ in range(2)}
    assert outputs == {f"{draw([2] * 50, 20, seed=7, stream='a')}\n".encode()}


@pytest.mark.parametrize("words", [301, 0, -5])
def test_words_that_are_not_there_are_refused_with_the_number_that_is(words: int) -> None:
    with pytest.raises(RecipeError, match="1 to 300"):
        quotas({"a": 100, "b": 200}, words)


@given(st.dictionaries(st.text(max_size=3), st.integers(0, 50), min_size=1), st.data())
def test_quotas_add_up_and_stay_within_the_sources(
    sizes: dict[str, int], data: st.DataObject
) -> None:
    total = sum(sizes.values())
    if total == 0:
        return
    words = data.draw(st.integers(1, total))
    quota = quotas(sizes, words)
    assert sum(quota.values()) == words
    assert all(0 <= quota[source] <= sizes[source] for source in sizes)
    assert all(abs(quota[source] - words * sizes[source] / total) < 1 for source in sizes)
