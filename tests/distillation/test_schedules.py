"""The weight of the cross-entropy as a function of the step."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from babyllama.distillation.schedules import ce_weight
from babyllama.recipe_distillation import Distillation

SHARES = st.floats(0, 1)


def series(total_steps: int, **settings: Any) -> list[float]:
    return [ce_weight(step, total_steps, Distillation(**settings)) for step in range(total_steps)]


def test_constant_is_the_weight_of_every_step() -> None:
    assert series(5, ce_weight=0.3) == [0.3] * 5


def test_linear_goes_from_the_first_step_to_the_last() -> None:
    found = series(5, ce_weight=0.2, ce_weight_schedule="linear", ce_weight_end=0.6)
    assert found == pytest.approx([0.2, 0.3, 0.4, 0.5, 0.6], rel=1e-12)


def test_without_an_end_of_its_own_a_schedule_ends_with_cross_entropy_alone() -> None:
    assert series(3, ce_weight=0, ce_weight_schedule="linear") == [0, 0.5, 1]


def test_wsd_lets_the_teachers_in_for_a_tenth_holds_and_leaves_for_a_tenth() -> None:
    found = series(41, ce_weight=0.2, ce_weight_schedule="wsd", ce_weight_end=0.6)
    assert found[:5] == pytest.approx([1, 0.8, 0.6, 0.4, 0.2], rel=1e-12)
    assert found[4:37] == [0.2] * 33
    assert found[36:] == pytest.approx([0.2, 0.3, 0.4, 0.5, 0.6], rel=1e-12)


@given(st.integers(2, 500), SHARES, SHARES)
def test_a_schedule_starts_and_ends_exactly_and_never_leaves_its_range(
    total: int, weight: float, end: float
) -> None:
    settings = {"ce_weight": weight, "ce_weight_end": end}
    linear = series(total, ce_weight_schedule="linear", **settings)
    assert (linear[0], linear[-1]) == (weight, end)
    assert min(weight, end) <= min(linear) <= max(linear) <= max(weight, end)
    held = series(total, ce_weight_schedule="wsd", **settings)
    assert (held[0], held[-1]) == (1, end)
    assert min(weight, end) <= min(held)
    assert max(held) <= 1


def test_a_training_of_one_step_is_at_the_start() -> None:
    settings = {"ce_weight": 0.2, "ce_weight_end": 0.6}
    assert series(1, ce_weight_schedule="linear", **settings) == [0.2]
    assert series(1, ce_weight_schedule="wsd", **settings) == [1]


@pytest.mark.parametrize(
    ("settings", "alone"),
    [
        ({"ce_weight": 1}, True),
        ({"ce_weight": 0.9}, False),
        ({"ce_weight": 1, "ce_weight_schedule": "linear"}, True),
        ({"ce_weight": 1, "ce_weight_schedule": "wsd"}, True),
        ({"ce_weight": 1, "ce_weight_schedule": "linear", "ce_weight_end": 0.9}, False),
        ({"ce_weight": 1, "ce_weight_schedule": "wsd", "ce_weight_end": 0.9}, False),
        ({"ce_weight": 0.9, "ce_weight_schedule": "linear"}, False),
        ({"ce_weight": 1, "ce_weight_schedule": "constant", "ce_weight_end": 0.5}, True),
    ],
)
def test_the_teachers_say_nothing_only_where_the_weight_is_one_at_every_step(
    settings: dict[str, Any], alone: bool
) -> None:
    assert Distillation(**settings).cross_entropy_alone == alone
    assert (set(series(200, **settings)) == {1.0}) == alone
