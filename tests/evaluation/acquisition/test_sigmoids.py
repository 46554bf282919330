"""Ages from sigmoids: where a curve passes half-way, and where there is none."""

import math

import numpy as np
import pytest

from babyllama.evaluation.acquisition.sigmoids import child_age, model_age, sigmoid

MONTHS = np.arange(16.0, 31.0)
WORDS = np.array([n * 1e6 for n in (*range(1, 10), *range(10, 101, 10))])


def test_children_know_a_word_at_the_month_at_which_half_of_them_say_it() -> None:
    assert child_age(MONTHS, sigmoid(MONTHS, 1.0, 0.5, 22.25, 0.0)) == pytest.approx(22.25)
    # 0.8 / (1 + e^-x) + 0.1 is one half at x = 0 as well; 0.6 / (1 + e^-x) only at x = log 5.
    assert child_age(MONTHS, sigmoid(MONTHS, 0.8, 0.4, 21.0, 0.1)) == pytest.approx(21.0)
    expected = 20 + math.log(5) / 0.5
    assert child_age(MONTHS, sigmoid(MONTHS, 0.6, 0.5, 20.0, 0.0)) == pytest.approx(expected)


@pytest.mark.parametrize(
    "shares",
    [
        sigmoid(MONTHS, 0.4, 0.5, 22.0, 0.0),  # half of the children never say it
        sigmoid(MONTHS, 0.3, 0.5, 22.0, 0.6),  # more than half do at 16 months
        sigmoid(MONTHS, 0.7, 0.2, 28.0, 0.0),  # half of them would at 32
        np.linspace(0.9, 0.1, 15),  # ever fewer
        np.full(15, 0.2),
    ],
)
def test_children_have_no_age_for_a_curve_that_does_not_pass_one_half(
    shares: np.typing.NDArray[np.float64],
) -> None:
    assert child_age(MONTHS, shares) is None


def falling(midpoint: float, low: float, high: float) -> np.typing.NDArray[np.float64]:
    """Surprisal that falls from high to low around a log10 of words."""
    return high - sigmoid(np.log10(WORDS + 1), high - low, 6.0, midpoint, 0.0)


def test_a_model_knows_a_word_half_way_between_chance_and_its_minimum() -> None:
    surprisal = falling(7.0, 4.0, 16.0)
    least = float(surprisal.min())
    found = model_age(WORDS, surprisal, chance=16.0)
    level = (16.0 + least) / 2
    at = 7.0 - math.log(12 / (16 - level) - 1) / 6.0
    assert found == pytest.approx(at, abs=1e-5)
    assert model_age(WORDS, surprisal, chance=14.0) > found  # type: ignore[operator]


def test_points_without_surprisal_are_left_out() -> None:
    surprisal = falling(7.0, 4.0, 16.0)
    known = np.delete(np.arange(len(WORDS)), 3)
    expected = model_age(WORDS[known], surprisal[known], 16.0)
    surprisal[3] = np.nan
    assert model_age(WORDS, surprisal, 16.0) == pytest.approx(expected)
    assert model_age(WORDS, np.full(len(WORDS), np.nan), 16.0) is None


@pytest.mark.parametrize(
    ("surprisal", "chance"),
    [
        (falling(7.0, 4.0, 16.0)[:3], 16.0),  # three points and four parameters
        (falling(7.0, 4.0, 16.0)[::-1], 16.0),  # rising
        (falling(7.0, 4.0, 16.0), 40.0),  # known better from the first checkpoint on
        (np.full(len(WORDS), 9.0), 16.0),
    ],
)
def test_a_model_has_no_age_for_a_curve_that_does_not_pass_half_way(
    surprisal: np.typing.NDArray[np.float64], chance: float
) -> None:
    assert model_age(WORDS[: len(surprisal)], surprisal, chance) is None


def test_a_point_may_come_several_times() -> None:
    surprisal = falling(7.0, 4.0, 16.0)
    twice = model_age(np.repeat(WORDS, 2), np.repeat(surprisal, 2), 16.0)
    assert twice == pytest.approx(model_age(WORDS, surprisal, 16.0), abs=1e-6)
