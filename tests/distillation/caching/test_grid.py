"""Which chunks a cache holds, and where."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from babyllama.distillation.caching import grid as grids
from babyllama.distillation.caching.grid import Grid, cached_offsets
from babyllama.errors import CorruptDataError

GRID = Grid(length=5, chunks=4, offsets=(3, 0), dev=(0, 10, 15))


def test_rows_go_grid_after_grid() -> None:
    assert GRID.starts("train").tolist() == [3, 8, 13, 18, 0, 5, 10, 15]
    assert GRID.starts("dev").tolist() == [0, 10, 15]
    assert (GRID.rows_in("train"), GRID.rows_in("dev"), GRID.tokens) == (8, 3, 55)


@given(
    length=st.integers(2, 9),
    chunks=st.integers(1, 30),
    number=st.integers(1, 9),
    dev=st.sets(st.integers(0, 20), min_size=1),
)
def test_every_chunk_is_found_in_the_row_of_its_start(
    length: int, chunks: int, number: int, dev: set[int]
) -> None:
    grid = Grid(
        length, chunks, cached_offsets(1, length, number), tuple(length * n for n in sorted(dev))
    )
    for split in ("train", "dev"):
        starts = grid.starts(split)  # type: ignore[arg-type]
        assert grid.rows(split, starts).tolist() == [*range(len(starts))]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("split", "start"), [("train", 1), ("train", 20), ("train", 23), ("dev", 5), ("dev", 20)]
)
def test_a_chunk_that_is_not_there_is_named(split: str, start: int) -> None:
    known = int(GRID.starts(split)[0])  # type: ignore[arg-type]
    with pytest.raises(CorruptDataError, match=f"no chunk of {split} that starts at token {start}"):
        GRID.rows(split, np.array([known, start]))  # type: ignore[arg-type]


def test_shards_hold_every_row_once_and_the_split_of_the_certificate_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(grids, "LEAST_TOKENS", 11)  # three chunks a shard
    shards = [*GRID.shards()]
    assert [(s.split, s.first, s.rows) for s in shards] == [
        ("dev", 0, 3),
        ("train", 0, 3),
        ("train", 3, 3),
        ("train", 6, 2),
    ]
    assert shards[2].name == "train-rank0-00001.bin"


def test_a_long_text_has_no_more_shards_than_are_wanted() -> None:
    grid = Grid(128, 1_000_003, (0,), (0,))
    assert sum(shard.split == "train" for shard in grid.shards()) <= grids.SHARDS


def test_offsets_differ_and_depend_on_the_seed_alone() -> None:
    found = cached_offsets(1, 128, 4)
    assert found == cached_offsets(1, 128, 4) != cached_offsets(2, 128, 4)
    assert len(set(found)) == 4
    assert found[:2] == cached_offsets(1, 128, 2)
