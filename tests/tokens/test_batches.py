"""What a step sees is a pure function of (seed, epoch, step)."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from babyllama.errors import RecipeError
from babyllama.tokens.batches import (
    IGNORED,
    Batch,
    ChunkOrder,
    Counts,
    counts,
    held_out_starts,
    make_batch,
    shuffled,
    validation_batches,
    validation_starts,
)
from babyllama.tokens.packing import Ids

LENGTH = 5
IDS: Ids = np.arange(103, dtype=np.uint16)
"""20 chunks of 5 and 3 tokens over."""


def order(ids: Ids = IDS, **changes: Any) -> ChunkOrder:
    return ChunkOrder(**{"ids": ids, "chunk_length": LENGTH, "batch_size": 3, "seed": 1} | changes)


def batch_of(rows: int) -> Batch:
    return make_batch(IDS, np.arange(rows) * LENGTH, LENGTH, "dev")


def epoch_rows(chunks: ChunkOrder, epoch: int) -> list[list[int]]:
    steps = range(chunks.steps_per_epoch)
    return [row for step in steps for row in chunks.batch(epoch, step).input_ids.tolist()]


@given(seed=st.integers(0, 9), epoch=st.integers(0, 5), step=st.integers(0, 5), shift=st.booleans())
def test_a_batch_depends_on_seed_epoch_and_step_alone(
    seed: int, epoch: int, step: int, shift: bool
) -> None:
    used = order(seed=seed, random_offsets=shift)
    used.batch(epoch + 1, 0)
    used.batch(0, 1)
    expected = used.batch(epoch, step).input_ids
    shuffled.cache_clear()
    fresh = order(seed=seed, random_offsets=shift)
    assert torch.equal(fresh.batch(epoch, step).input_ids, expected)


def test_seed_epoch_and_step_all_matter() -> None:
    different = [
        order().batch(0, 0),
        order(seed=2).batch(0, 0),
        order().batch(1, 0),
        order().batch(0, 1),
    ]
    assert len({str(batch.input_ids.tolist()) for batch in different}) == 4


def test_every_chunk_is_seen_once_an_epoch_each_time_in_another_order() -> None:
    chunks = order(batch_size=1)
    epochs = [epoch_rows(chunks, epoch) for epoch in range(3)]
    grid = [list(range(start, start + LENGTH)) for start in range(0, 100, LENGTH)]
    assert [sorted(rows) for rows in epochs] == [grid] * 3
    assert len({str(rows) for rows in epochs}) == 3


@pytest.mark.parametrize("shift", [False, True])
def test_a_batch_knows_where_its_chunks_start(shift: bool) -> None:
    batch = order(random_offsets=shift).batch(3, 1)
    assert batch.split == "train"
    assert batch.starts.tolist() == batch.input_ids[:, 0].tolist()  # the ids count from 0


def test_given_offsets_come_in_turn() -> None:
    chunks = order(batch_size=1, random_offsets=True, offsets=(3, 0))
    assert [min(epoch_rows(chunks, epoch))[0] for epoch in range(5)] == [3, 0, 3, 0, 3]


def test_what_does_not_fill_a_batch_is_left_out_and_changes_from_epoch_to_epoch() -> None:
    chunks = order(batch_size=3)
    assert (chunks.chunks, chunks.steps_per_epoch) == (20, 6)
    seen = [{row[0] for row in epoch_rows(chunks, epoch)} for epoch in range(3)]
    assert [len(starts) for starts in seen] == [18] * 3
    assert len({frozenset(starts) for starts in seen}) > 1


def test_the_order_is_the_same_whatever_the_batch_size() -> None:
    one, four = (epoch_rows(order(batch_size=size), 0) for size in (1, 4))
    assert one == four


def test_random_offsets_shift_the_grid_by_less_than_a_chunk() -> None:
    chunks = order(batch_size=1, random_offsets=True)
    offsets = set()
    for epoch in range(30):
        starts = sorted(row[0] for row in epoch_rows(chunks, epoch))
        assert starts == list(range(starts[0], starts[0] + len(starts) * LENGTH, LENGTH))
        offsets.add(starts[0])
    assert offsets == set(range(LENGTH))


@given(tokens=st.integers(2 * LENGTH - 1, 60), epoch=st.integers(0, 20))
def test_random_offsets_leave_every_epoch_with_as_many_whole_chunks(
    tokens: int, epoch: int
) -> None:
    chunks = order(IDS[:tokens], batch_size=1, random_offsets=True)
    rows = epoch_rows(chunks, epoch)
    assert len(rows) == chunks.chunks
    assert {len(row) for row in rows} == {LENGTH}
    assert len(rows) in {tokens // LENGTH, tokens // LENGTH - 1}


def test_labels_are_the_next_ids_and_the_last_is_ignored() -> None:
    batch = make_batch(IDS, np.array([7, 4]), 3, "train")
    assert batch.input_ids.tolist() == [[7, 8, 9], [4, 5, 6]]
    assert batch.labels.tolist() == [[8, 9, IGNORED], [5, 6, IGNORED]]
    assert batch.input_ids.dtype == batch.labels.dtype == torch.int64


@pytest.mark.parametrize("dtype", [np.uint16, np.uint32])
def test_ids_of_either_width_keep_their_value(dtype: Any) -> None:
    top = np.iinfo(np.uint16).max
    batch = make_batch(np.array([1, top, 3, 4], dtype), np.array([2, 0]), 2, "train")
    assert batch.input_ids.tolist() == [[3, 4], [1, top]]


@given(rows=st.integers(1, 9), size=st.integers(1, 10))
def test_micro_batches_hold_the_rows_of_the_batch_in_order(rows: int, size: int) -> None:
    batch = batch_of(rows)
    parts = batch.micro_batches(size)
    assert torch.equal(torch.cat([part.input_ids for part in parts]), batch.input_ids)
    assert torch.equal(torch.cat([part.labels for part in parts]), batch.labels)
    assert torch.equal(torch.cat([part.starts for part in parts]), batch.starts)
    assert {part.split for part in parts} == {"dev"}
    assert all(len(part.labels) == size for part in parts[:-1])
    assert 1 <= len(parts[-1].labels) <= size


@given(rows=st.integers(1, 9), size=st.integers(1, 10))
def test_counts_of_micro_batches_add_up_to_those_of_the_step(rows: int, size: int) -> None:
    batch = batch_of(rows)
    parts = [counts(part) for part in batch.micro_batches(size)]
    assert counts(batch) == Counts(tokens=rows * (LENGTH - 1), sequences=rows)
    assert counts(batch).tokens == sum(part.tokens for part in parts)
    assert counts(batch).sequences == sum(part.sequences for part in parts)


def test_a_batch_goes_to_a_device_whole() -> None:
    moved = batch_of(1).to(torch.device("meta"))
    assert moved.input_ids.device.type == moved.labels.device.type == "meta"


def test_a_chunk_longer_than_the_corpus_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"tokens\.chunk_length: .* 104 tokens .* 103 tokens"):
        order(chunk_length=104)
    assert order(chunk_length=103, batch_size=1).steps_per_epoch == 1


def test_a_chunk_that_fits_at_some_offsets_alone_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"60 tokens at a random offset fits .* 103 tokens"):
        order(chunk_length=60, batch_size=1, random_offsets=True)
    assert order(chunk_length=60, batch_size=1).steps_per_epoch == 1


def test_a_batch_larger_than_the_corpus_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"training\.batch_size: .* 21 sequences .* 20 chunks"):
        order(batch_size=21)
    assert order(batch_size=20).steps_per_epoch == 1


def test_the_validation_subset_knows_where_its_chunks_start() -> None:
    for batch in validation_batches(IDS, LENGTH, chunks=6, seed=1, batch_size=4):
        assert batch.split == "dev"
        assert batch.starts.tolist() == batch.input_ids[:, 0].tolist()


def validation_rows(**changes: Any) -> list[list[int]]:
    options = {"chunks": 6, "seed": 1, "batch_size": 4} | changes
    parts: list[Batch] = validation_batches(IDS, LENGTH, **options)
    assert all(len(part.labels) <= options["batch_size"] for part in parts)
    return [row for batch in parts for row in batch.input_ids.tolist()]


def test_the_validation_subset_is_drawn_by_the_seed_alone() -> None:
    expected = validation_rows()
    np.random.default_rng(3).permutation(9)
    assert validation_rows() == validation_rows(batch_size=1) == validation_rows(batch_size=6)
    assert validation_rows() == expected != validation_rows(seed=2)


def test_the_validation_subset_is_distinct_chunks_in_corpus_order() -> None:
    starts = [row[0] for row in validation_rows()]
    assert len(starts) == 6
    assert starts == sorted(set(starts))
    assert starts != list(range(0, 30, LENGTH))


def test_more_validation_chunks_hold_those_of_fewer() -> None:
    few, many = validation_rows(chunks=4), validation_rows(chunks=9)
    assert all(row in many for row in few)


def test_a_dev_split_smaller_than_the_subset_is_taken_whole() -> None:
    assert [row[0] for row in validation_rows(chunks=999)] == list(range(0, 100, LENGTH))


def test_a_chunk_longer_than_the_dev_split_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"tokens\.chunk_length: .* 104 tokens .* dev split"):
        validation_batches(IDS, 104, chunks=1, seed=1, batch_size=1)


@given(st.integers(2, 300), st.integers(1, 40), st.integers(0, 9))
def test_held_out_chunks_are_none_that_is_validated_on(chunks: int, taken: int, seed: int) -> None:
    tokens, settings = chunks * 7 + 3, {"chunks": min(taken, chunks - 1), "seed": seed}
    validated = validation_starts(tokens, 7, **settings)
    held_out = held_out_starts(tokens, 7, most=chunks, **settings)
    assert sorted([*validated, *held_out]) == [7 * k for k in range(chunks)]
    few = held_out_starts(tokens, 7, most=3, **settings)
    assert len(few) == min(3, len(held_out))
    assert {*few} <= {*held_out}


@pytest.mark.parametrize("chunks", [20, 21])
def test_where_all_chunks_are_validated_on_none_is_held_out(chunks: int) -> None:
    with pytest.raises(RecipeError, match="all 20 chunks of the dev split are validated on"):
        held_out_starts(140, 7, chunks=chunks, seed=1, most=5)
