"""Parts of the items: shares of labels, order, seeds."""

from collections import Counter
from collections.abc import Sequence

import pytest

from babyllama.errors import CorruptDataError
from babyllama.evaluation.finetuning.files import Example
from babyllama.evaluation.finetuning.splits import held_out, limited

ITEMS = [Example(str(n), (f"text {n}",), int(n % 10 < 3)) for n in range(200)]


def ids(examples: object) -> list[str]:
    assert isinstance(examples, list)
    return [example.id for example in examples]


def test_a_share_with_the_labels_shares_is_held_out() -> None:
    train, out = held_out(ITEMS, 0.1, seed=1)
    assert Counter(example.label for example in out) == {0: 14, 1: 6}
    assert sorted(ids(train) + ids(out), key=int) == ids(ITEMS)
    assert ids(train) == sorted(ids(train), key=int)
    assert ids(out) == sorted(ids(out), key=int)


def test_the_seed_decides_what_is_held_out() -> None:
    assert held_out(ITEMS, 0.1, seed=1) == held_out(ITEMS, 0.1, seed=1)
    assert held_out(ITEMS, 0.1, seed=1) != held_out(ITEMS, 0.1, seed=2)


def test_items_without_passages_are_held_out_as_they_always_were() -> None:
    assert ids(held_out(ITEMS[:60], 0.1, seed=1)[1]) == ["5", "17", "19", "38", "42", "52"]


def passages(sizes: Sequence[int]) -> list[Example]:
    """Items of passages of these sizes, in turns, three of ten with the label 1."""
    names = [
        f"passage {at}"
        for turn in range(max(sizes))
        for at in range(len(sizes))
        if turn < sizes[at]
    ]
    return [Example(str(n), (f"q {n}", name), int(n % 10 < 3)) for n, name in enumerate(names)]


@pytest.mark.parametrize("sizes", [[1] * 200, [4] * 50, [1, 2, 5, 12] * 20], ids=["1", "4", "1-12"])
def test_a_passage_is_held_out_whole_or_not_at_all(sizes: list[int]) -> None:
    items = passages(sizes)
    train, out = held_out(items, 0.1, seed=1, passage=1)
    assert not {each.parts[1] for each in train} & {each.parts[1] for each in out}
    assert sorted(ids(train) + ids(out), key=int) == ids(items)
    assert ids(out) == sorted(ids(out), key=int)
    counts = Counter(each.label for each in out)
    near = max(sizes) / 2 + 0.01
    assert counts[0] == pytest.approx(0.07 * len(items), abs=near)
    assert counts[1] == pytest.approx(0.03 * len(items), abs=near)
    assert held_out(items, 0.1, seed=1, passage=1) == (train, out)
    assert held_out(items, 0.1, seed=2, passage=1) != (train, out)


def test_of_passages_that_are_all_too_large_the_closest_is_held_out() -> None:
    items = passages([9, 4, 9])
    out = held_out(items, 0.1, seed=1, passage=1)[1]
    assert {each.parts[1] for each in out} == {"passage 1"}
    assert len(out) == 4
    with pytest.raises(CorruptDataError, match="5 training items share one passage"):
        held_out(passages([5]), 0.1, seed=1, passage=1)


def test_two_items_are_one_and_one_and_a_single_one_is_refused() -> None:
    assert [len(part) for part in held_out(ITEMS[:2], 0.1, seed=1)] == [1, 1]
    with pytest.raises(CorruptDataError, match="1 training items cannot be split"):
        held_out(ITEMS[:1], 0.1, seed=1)


def test_a_limit_keeps_shares_and_order_and_all_that_is_less() -> None:
    few = list(limited(ITEMS, 20))
    assert Counter(example.label for example in few) == {0: 14, 1: 6}
    assert ids(few) == sorted(ids(few), key=int)
    assert limited(ITEMS, 200) is ITEMS
    assert limited(ITEMS, None) is ITEMS


def test_a_limit_takes_scored_items() -> None:
    mixed = [Example(str(n), ("x",), n % 2, scored=n >= 150) for n in range(200)]
    assert all(example.scored for example in limited(mixed, 30))
    assert len(limited(mixed, 30)) == 30
