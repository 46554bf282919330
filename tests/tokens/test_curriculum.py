"""A curriculum sees all of the buckets so far, and nothing of a bucket before its phase."""

from itertools import accumulate, pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from babyllama.errors import RecipeError
from babyllama.tokens.batches import ChunkOrder
from babyllama.tokens.curriculum import Curriculum, Mixed, absent_names, match_buckets

LENGTH, EPOCHS = 5, 3
NAMES = "abcdef"


def laid_out(lengths: list[int]) -> dict[str, range]:
    bounds = pairwise(accumulate(lengths, initial=0))
    return {name: range(*ends) for name, ends in zip(NAMES, bounds, strict=False)}


def curriculum(lengths: list[int], buckets: list[str], **changes: Any) -> Curriculum:
    """A text whose ids are their own places, of sources a, b, ... of so many."""
    ids = np.arange(sum(lengths), dtype=np.uint16)
    given = {"ids": ids, "chunk_length": LENGTH, "batch_size": 1, "seed": 1, "epochs": EPOCHS}
    return Curriculum(**given | {"buckets": buckets, "sources": laid_out(lengths)} | changes)


def epochs_of(order: ChunkOrder, epochs: int = EPOCHS) -> dict[int, list[list[int]]]:
    """What each epoch sees, by way of the steps of the training."""
    seen: dict[int, list[list[int]]] = {}
    for step in range(order.total_steps(epochs)):
        epoch, within = order.place(step)
        rows = seen.setdefault(epoch, [])
        assert within * order.batch_size == len(rows)
        rows += order.batch(epoch, within).input_ids.tolist()
    return seen


# Sources b and d are shorter than a chunk or empty, and lie between others.
EXAMPLE: dict[str, Any] = {"lengths": [33, 3, 24, 0, 41], "buckets": ["c", "abd", "e"]}


def test_every_phase_sees_each_chunk_of_its_buckets_once_an_epoch_and_no_other() -> None:
    seen = epochs_of(curriculum(**EXAMPLE))
    # a is 0 to 32, b to 35, c to 59, e to 100; of 20 chunks the one from 35 has b and c.
    first = set(range(40, 60, 5))
    second = first | set(range(0, 40, 5))
    everything = set(range(0, 100, 5))
    expected = [first] * 3 + [second] * 3 + [everything] * 3
    assert [{row[0] for row in rows} for rows in seen.values()] == expected
    assert [len(rows) for rows in seen.values()] == [*map(len, expected)]
    assert [*seen] == [*range(9)]


def test_a_source_without_tokens_holds_no_chunk_back() -> None:
    order = curriculum([7, 0, 8], ["ac", "b"])
    assert order.phase_chunks == (3, 3)


def test_the_order_is_new_in_every_epoch_and_another_with_every_seed() -> None:
    orders = [epochs_of(curriculum(**EXAMPLE, seed=seed)) for seed in (1, 2)]
    # Those of the first phase have so few chunks that two may be equal by chance.
    assert len({str(seen[epoch]) for seen in orders for epoch in range(3, 9)}) == 12


@given(
    lengths=st.lists(st.integers(0, 37), min_size=1, max_size=6),
    drawn=st.lists(st.integers(0, 3), min_size=6, max_size=6),
    length=st.integers(2, 7),
    shift=st.booleans(),
)
def test_nothing_of_a_bucket_is_seen_before_its_phase(
    lengths: list[int], drawn: list[int], length: int, shift: bool
) -> None:
    phase_of_source = dict(zip(NAMES[: len(lengths)], drawn, strict=False))
    numbers = sorted(set(phase_of_source.values()))
    buckets = ["".join(s for s, p in phase_of_source.items() if p == n) for n in numbers]
    at = {source: n for n, bucket in enumerate(buckets) for source in bucket}
    phase_of_token = [at[s] for s, n in zip(NAMES, lengths, strict=False) for _ in range(n)]
    try:
        order = curriculum(lengths, buckets, chunk_length=length, random_offsets=shift)
    except RecipeError:
        return  # a phase without a chunk
    for epoch, rows in epochs_of(order).items():
        phase = epoch // EPOCHS
        offset = order.offset(epoch)
        grid = range(offset, offset + order.chunks * length, length)
        whole = [s for s in grid if max(phase_of_token[s : s + length]) <= phase]
        starts = [row[0] for row in rows]
        assert len(set(starts)) == len(starts)
        assert set(starts) <= set(whole)
        # The chunks of a phase are as many in every epoch, whatever the offset.
        assert len(whole) - len(lengths) <= len(starts) <= len(whole)
        assert shift or sorted(starts) == whole
        assert phase < len(buckets) - 1 or sorted(starts) == whole


def test_a_batch_depends_on_seed_epoch_and_step_alone() -> None:
    used, fresh = (curriculum(**EXAMPLE, batch_size=2) for _ in range(2))
    for epoch in (7, 0, 4):
        used.batch(epoch, 0)
    assert torch.equal(used.batch(5, 1).input_ids, fresh.batch(5, 1).input_ids)


@pytest.mark.parametrize("size", [1, 2, 3])
def test_what_does_not_fill_a_batch_is_left_out_of_its_epoch(size: int) -> None:
    order = curriculum(**EXAMPLE, batch_size=size)
    assert [len(rows) // size for rows in epochs_of(order).values()] == [
        *[4 // size] * 3,
        *[12 // size] * 3,
        *[20 // size] * 3,
    ]
    assert order.phase_chunks == (4, 12, 20)
    assert order.total_steps(EPOCHS) == 3 * sum(n // size for n in (4, 12, 20))


def test_epochs_and_steps_run_on_from_phase_to_phase_and_beyond_the_last() -> None:
    order = curriculum(**EXAMPLE, batch_size=2)
    places = [order.place(step) for step in range(order.total_steps(EPOCHS) + 11)]
    steps = [2] * 3 + [6] * 3 + [10] * 4
    assert places == [(e, s) for e, n in enumerate(steps) for s in range(n)] + [(10, 0)]
    assert order.batch(9, 9).input_ids.shape == (2, LENGTH)


def test_the_log_knows_the_phase_and_the_summary_what_each_adds() -> None:
    order = curriculum(**EXAMPLE, batch_size=2)
    assert [order.described(epoch) for epoch in (0, 2, 3, 8, 9)] == [
        {"phase": number} for number in (1, 1, 2, 3, 3)
    ]
    assert order.phases(order.total_steps(3)) == [
        {"adds": ["c"], "chunks": 4, "steps": 6},
        {"adds": ["a", "b", "d"], "chunks": 12, "steps": 18},
        {"adds": ["e"], "chunks": 20, "steps": 30},
    ]
    assert order.phases(7) == [
        {"adds": ["c"], "chunks": 4, "steps": 6},
        {"adds": ["a", "b", "d"], "chunks": 12, "steps": 1},
    ]
    assert order.phases(6) == order.phases(7)[:1]
    assert [phase["steps"] for phase in order.phases(60)] == [6, 18, 36]
    plain = ChunkOrder(order.ids, LENGTH, 2, 1)
    assert (plain.described(3), plain.phases(9)) == ({}, [])


def test_a_curriculum_of_one_bucket_is_none() -> None:
    order = curriculum([33, 24], ["ab"], batch_size=2, random_offsets=True)
    plain = ChunkOrder(order.ids, LENGTH, 2, 1, random_offsets=True)
    assert epochs_of(order) == epochs_of(plain)


def test_given_offsets_come_in_turn_and_those_alone_count() -> None:
    order = curriculum(**EXAMPLE, random_offsets=True, offsets=(0, 4))
    assert [order.offset(epoch) for epoch in range(4)] == [0, 4, 0, 4]
    # From 4 on: c has the chunks from 39, 44, 49 and 54, at 0 those from 40, 45, 50 and 55.
    assert order.phase_chunks[0] == 4
    assert curriculum(**EXAMPLE, random_offsets=True).phase_chunks[0] == 4
    # b begins at 3: at 0 to 2 it has the second of two chunks, at 3 and 4 both.
    order = curriculum([3, 15], ["b", "a"], random_offsets=True)
    assert order.phase_chunks == (1, 2)
    assert {len(order.order(epoch)) for epoch in range(3)} == {1, 2}


def test_the_control_has_as_many_steps_on_the_whole_text() -> None:
    rising = curriculum(**EXAMPLE, batch_size=3)
    plain = ChunkOrder(rising.ids, LENGTH, 3, 1)
    mixed = Mixed(rising.ids, LENGTH, 3, 1, curriculum=rising)
    assert mixed.total_steps(EPOCHS) == rising.total_steps(EPOCHS) == 3 * (1 + 4 + 6)
    assert [mixed.place(step) for step in range(33)] == [plain.place(step) for step in range(33)]
    assert mixed.place(32) == (5, 2)  # five epochs and a half
    for step in range(6):
        assert torch.equal(mixed.batch(4, step).input_ids, plain.batch(4, step).input_ids)


def test_a_phase_smaller_than_a_batch_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"the phase that adds c has 4 chunks, fewer than .* 5:"):
        curriculum(**EXAMPLE, batch_size=5)
    assert curriculum(**EXAMPLE, batch_size=4).total_steps(1) == 1 + 3 + 5


def test_sources_are_matched_by_their_letters_and_digits() -> None:
    named = [["AO-CHILDES", "qed"], ["OpenSubtitles"], ["simple wiki", "bnc.2"]]
    sources = ["open_subtitles", "simple_wiki", "aochildes", "bnc-2"]
    found = [["aochildes"], ["open_subtitles"], ["bnc-2", "simple_wiki"]]
    assert match_buckets(named, sources) == found
    assert absent_names(named, sources) == ["qed"]


def test_a_bucket_of_which_the_corpus_has_nothing_falls_away() -> None:
    assert match_buckets([["x"], ["a"], ["y", "z"], ["b"]], ["a", "b"]) == [["a"], ["b"]]


def test_a_source_that_is_in_no_bucket_is_refused_with_what_to_do() -> None:
    message = r"curriculum\.buckets: the source 'b' of the corpus is in none .* add it .* number"
    with pytest.raises(RecipeError, match=message):
        match_buckets([["a"]], ["a", "b"])


def test_a_source_that_is_in_two_buckets_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"the source 'a_b' is in 2 of them"):
        match_buckets([["a_b"], ["A-B"]], ["a_b"])
