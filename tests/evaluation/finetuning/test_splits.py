"""Parts of the items: shares of labels, order, seeds."""

from collections import Counter

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
