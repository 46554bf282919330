"""Rows as trees: a token sees what it sees in its own row, and a beginning is read once."""

from collections.abc import Callable, Iterable, Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from babyllama.evaluation.trees import TREE, Batch, Part, Row, as_trees, by_length

rows_of_few_tokens = st.lists(
    st.lists(st.integers(0, 3), min_size=1, max_size=7).map(tuple), max_size=30
)


def seen(batch: Batch, place: int) -> Row:
    """What a token looks at, itself included, by position."""
    sequence, at = divmod(place, batch.ids.shape[1])
    if batch.ancestors is None or batch.positions is None:
        return tuple(batch.ids[sequence, : at + 1].tolist())
    looks = batch.ancestors[sequence, 0, at]
    order = batch.positions[sequence, looks].argsort()
    assert batch.positions[sequence, looks].sort().values.tolist() == list(range(int(looks.sum())))
    return tuple(batch.ids[sequence, looks][order].tolist())


def predictions(parts: Iterable[Part]) -> dict[Row, list[tuple[Row, int]]]:
    """Row -> for each token behind the first one, what it is predicted from, and it."""
    found: dict[Row, list[tuple[Row, int]]] = {}
    for part in parts:
        for row, steps in zip(part.rows, part.steps, strict=True):
            assert row not in found
            batch = part.batch
            found[row] = [
                (seen(batch, int(batch.reads[step])), int(batch.follows[step])) for step in steps
            ]
    return found


@pytest.mark.parametrize("layout", [as_trees, by_length])
@pytest.mark.parametrize("tokens", [1, 400])
@given(rows=rows_of_few_tokens)
@settings(max_examples=60)
def test_every_token_is_predicted_from_those_before_it_in_its_row(
    layout: Callable[[Sequence[Row], int], Iterable[Part]], tokens: int, rows: list[Row]
) -> None:
    found = predictions(layout(rows, tokens))
    expected = {
        row: [(row[:at], row[at]) for at in range(1, len(row))] for row in dict.fromkeys(rows)
    }
    assert found == expected


@given(rows=rows_of_few_tokens)
@settings(max_examples=60)
def test_in_one_tree_a_beginning_is_read_once_and_a_prediction_made_once(rows: list[Row]) -> None:
    parts = list(as_trees(rows, 1 << 20))
    assert len(parts) == (1 if rows else 0)
    for part in parts:
        beginnings = {row[:at] for row in rows for at in range(1, len(row))}
        assert part.batch.ids.shape[0] <= 1 + len(beginnings) // (TREE - 6)
        if part.batch.ids.shape[0] == 1:
            assert len(part.batch.reads) == len({row[:at] for row in rows for at in range(2, 8)}
                                                - {row[:1] for row in rows})  # fmt: skip
            assert part.batch.reads.unique().numel() == len(beginnings)


def test_trees_hold_so_many_tokens_and_a_batch_so_many_trees() -> None:
    rows = [(first, second, 7) for first in range(60) for second in range(9)]
    parts = list(as_trees(rows, 3 * TREE))
    assert [part.batch.ids.shape for part in parts][:-1] == [(3, TREE)] * (len(parts) - 1)
    assert len(parts) == 2
    read = sum(part.batch.reads.unique().numel() for part in parts)
    assert read < 60 * 10 + 10 * len(parts)  # each of the 60 beginnings once, but at edges


def test_a_row_longer_than_a_tree_makes_trees_longer() -> None:
    long = tuple(range(TREE + 50))
    [part] = as_trees([long, (0, 1, 9)], 10)
    assert part.batch.ids.shape == (1, TREE + 49)
    assert predictions([part])[long][-1] == (long[:-1], TREE + 49)


def test_what_fills_up_a_tree_looks_at_itself() -> None:
    [part] = as_trees([(5, 6, 7)], 1)
    assert part.batch.ancestors is not None
    assert part.batch.ancestors.any(-1).all()
    torch.testing.assert_close(part.batch.ancestors[0, 0, 2:], torch.eye(TREE).bool()[2:])


def test_rows_of_one_length_share_a_batch_and_nothing_is_padded() -> None:
    parts = list(by_length([(1, 2, 3), (4, 5, 6), (1, 2)], 1 << 10))
    assert [part.batch.ids.tolist() for part in parts] == [[[1]], [[1, 2], [4, 5]]]
    assert all(part.batch.ancestors is None for part in parts)
