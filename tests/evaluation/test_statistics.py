"""Statistics against closed forms, exact enumeration and laws."""

import itertools
import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr

from babyllama.evaluation.statistics import (
    Strata,
    Vector,
    bootstrap,
    by_paradigm,
    by_phenomenon,
    holm,
    interval,
    over_seeds,
    paired,
    rank_correlation,
    sign_flip_p,
)

OUTCOMES = st.sampled_from([0.0, 0.5, 1.0])


def answers(seed: int, n: int, accuracy: float = 0.7) -> Vector:
    return (np.random.default_rng(seed).random(n) < accuracy).astype(float)


@st.composite
def two_models(draw: st.DrawFn) -> tuple[Vector, Vector, Strata]:
    sizes = draw(st.lists(st.integers(2, 12), min_size=1, max_size=5))
    labels = draw(st.lists(st.sampled_from("xyz"), min_size=len(sizes), max_size=len(sizes)))
    n = sum(sizes)
    one, two = (np.array(draw(st.lists(OUTCOMES, min_size=n, max_size=n))) for _ in range(2))
    return one, two, by_phenomenon(sizes, labels)


def test_the_macro_over_paradigms_is_the_plain_mean_of_their_means() -> None:
    values = np.array([1.0, 0.0, 1.0, 1.0, 1.0, 0.0])
    assert by_paradigm([2, 4]).mean(values) == pytest.approx((1 / 2 + 3 / 4) / 2)


def test_the_macro_over_phenomena_pools_the_pairs_of_each() -> None:
    values = np.array([1.0, 0.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0])
    strata = by_phenomenon([2, 4, 2], ["a", "a", "b"])
    assert strata.mean(values) == pytest.approx((4 / 6 + 0) / 2)
    assert sum(strata.weights) == pytest.approx(1)
    apart = by_phenomenon([2, 4, 2], ["a", "b", "a"])
    assert apart.mean(values) == pytest.approx((1 / 4 + 3 / 4) / 2)


def test_the_bootstrap_of_one_paradigm_has_the_binomial_standard_error() -> None:
    values = answers(1, 400)
    resampled = bootstrap(values, by_paradigm([400]), resamples=20_000)
    p = values.mean()
    assert resampled.std() == pytest.approx(math.sqrt(p * (1 - p) / 400), rel=0.03)
    assert resampled.mean() == pytest.approx(p, abs=1e-3)
    low, high = interval(resampled)
    assert (low, high) == pytest.approx(
        (p - 1.96 * resampled.std(), p + 1.96 * resampled.std()), abs=3e-3
    )


def test_the_bootstrap_keeps_the_sizes_of_the_strata_and_weighs_them() -> None:
    values = np.concatenate([answers(1, 50, 0.9), answers(2, 500, 0.5), answers(3, 80, 0.2)])
    strata = by_phenomenon([50, 500, 80], ["a", "b", "b"])
    variances = [
        (weight**2) * part.var() / len(part)
        for part, weight in zip(np.split(values, [50, 550]), strata.weights, strict=True)
    ]
    found = bootstrap(values, strata, resamples=20_000)
    assert found.std() == pytest.approx(math.sqrt(sum(variances)), rel=0.03)


def test_drawing_equal_items_together_is_drawing_item_by_item() -> None:
    values, strata = np.array([-1.0, -0.5, 0.0, 0.0, 1.0, 1.0, 0.5, 1.0]), by_paradigm([3, 5])
    draw = np.random.default_rng(5)
    one = draw.choice(values[:3], (20_000, 3)).mean(axis=1)
    two = draw.choice(values[3:], (20_000, 5)).mean(axis=1)
    slow, fast = (one + two) / 2, bootstrap(values, strata, resamples=20_000)
    quantiles = [0.05, 0.25, 0.5, 0.75, 0.95]
    assert np.quantile(fast, quantiles) == pytest.approx(np.quantile(slow, quantiles), abs=0.06)
    assert fast.std() == pytest.approx(slow.std(), rel=0.03)


def test_values_that_are_all_different_are_resampled_in_blocks() -> None:
    values = np.random.default_rng(1).normal(size=3_000)  # blocks of 349 resamples
    found = bootstrap(values, by_paradigm([3_000]), resamples=1_000)
    assert found.std() == pytest.approx(values.std() / math.sqrt(3_000), rel=0.1)
    assert len(set(found)) == 1_000


@pytest.mark.parametrize("values", [[1, 1, 1, 1, 1, -1, 0.5, 1], [1, -1, 1, 0, 0, 0.5, 0, 1]])
def test_the_permutation_p_value_is_that_of_all_sign_flips(values: list[float]) -> None:
    differences, strata = np.array(values), by_paradigm([3, 5])
    observed = abs(strata.mean(differences))
    flips = [
        abs(strata.mean(differences * np.array(signs)))
        for signs in itertools.product([-1, 1], repeat=len(values))
    ]
    exact = np.mean([flip >= observed - 1e-12 for flip in flips])
    assert sign_flip_p(differences, strata, resamples=40_000) == pytest.approx(exact, abs=0.01)


def test_a_p_value_is_never_zero() -> None:
    assert sign_flip_p(np.ones(100), by_paradigm([100]), resamples=999) == 1 / 1000


def test_p_values_of_models_that_do_not_differ_are_uniform() -> None:
    strata = by_paradigm([40, 60])
    p_values = [
        sign_flip_p(answers(2 * n, 100) - answers(2 * n + 1, 100), strata, resamples=199, seed=n)
        for n in range(400)
    ]
    assert np.mean(np.array(p_values) <= 0.05) == pytest.approx(0.05, abs=0.03)


def test_the_interval_covers_the_true_difference_nineteen_times_in_twenty() -> None:
    draw, strata, covered = np.random.default_rng(1), by_paradigm([150, 250]), 0
    for n in range(500):
        one, two = draw.random((2, 400)) < [[0.7], [0.6]]
        differences = one.astype(float) - two
        low, high = interval(bootstrap(differences, strata, resamples=499, seed=n))
        covered += low <= 0.1 <= high
    assert covered / 500 == pytest.approx(0.95, abs=0.03)


def test_pairing_narrows_the_interval_of_models_that_miss_the_same_items() -> None:
    two = answers(1, 1000)
    one = np.where(np.arange(1000) < 30, 1.0, two)
    strata = by_paradigm([1000])
    apart = math.hypot(*(math.sqrt(x.mean() * (1 - x.mean()) / 1000) for x in (one, two)))
    assert paired(one, two, strata).standard_error < apart / 3


@given(two_models())
def test_swapping_the_models_swaps_the_answer(case: tuple[Vector, Vector, Strata]) -> None:
    one, two, strata = case
    there, back = paired(one, two, strata), paired(two, one, strata)
    assert there.difference == pytest.approx(-back.difference)
    assert there.p == pytest.approx(back.p)
    assert there.low - 1e-9 <= there.difference <= there.high + 1e-9 or there.low == there.high
    assert there.low == pytest.approx(-back.high, abs=0.1)


@given(two_models(), st.integers(0, 3))
def test_the_same_seed_gives_the_same_answer(
    case: tuple[Vector, Vector, Strata], seed: int
) -> None:
    assert paired(*case, seed=seed) == paired(*case, seed=seed)


@given(two_models())
def test_a_model_does_not_differ_from_itself(case: tuple[Vector, Vector, Strata]) -> None:
    one, _, strata = case
    found = paired(one, one, strata)
    assert (found.difference, found.low, found.high, found.p) == (0, 0, 0, 1)
    assert found.reading == "not told apart"


def test_the_reading_follows_the_interval() -> None:
    strata = by_paradigm([500])
    good, bad = answers(1, 500, 0.8), answers(2, 500, 0.5)
    assert paired(good, bad, strata).reading == "higher"
    assert paired(bad, good, strata).reading == "lower"
    other = np.roll(good, 1)  # as often right, on other items
    other[np.flatnonzero(other == 0)[0]] = 1.0
    for one, two in ((good, other), (other, good)):
        assert paired(one, two, strata).difference != 0
        assert paired(one, two, strata).reading == "not told apart"


def test_sixty_thousand_items_take_little_memory() -> None:
    sizes = [900] * 67
    strata = by_paradigm(sizes)
    one, two = answers(1, sum(sizes)), answers(2, sum(sizes))
    real = np.random.default_rng(3).normal(size=60_000)
    tracemalloc.start()
    paired(one, two, strata)
    bootstrap(real, by_paradigm([60_000]), resamples=20)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 50e6


def test_holms_correction_is_that_of_his_paper() -> None:
    assert holm([0.01, 0.02, 0.03, 0.005]) == pytest.approx([0.03, 0.04, 0.04, 0.02])
    assert holm([0.9, 0.6]) == [1, 1]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holms_p_values_lie_between_the_raw_and_bonferronis_in_the_same_order(
    p_values: list[float],
) -> None:
    adjusted = holm(p_values)
    for raw, found in zip(p_values, adjusted, strict=True):
        assert raw <= found <= min(1, raw * len(p_values)) or found == pytest.approx(raw)
    order = np.argsort(p_values, kind="stable")
    assert [adjusted[n] for n in order] == sorted(adjusted)


def test_one_seed_has_no_deviation() -> None:
    mean, deviation = over_seeds([0.7])
    assert mean == 0.7
    assert math.isnan(deviation)


def test_a_rank_correlation_and_its_interval() -> None:
    found = rank_correlation([1, 2, 3, 4, 5, 6], [1, 3, 2, 4, 6, 5])
    assert found.rho == pytest.approx(1 - 6 * 4 / (6 * 35))
    reach = 1.959964 * math.sqrt((1 + found.rho**2 / 2) / 3)
    expected = [math.tanh(math.atanh(found.rho) + sign * reach) for sign in (-1, 1)]
    assert [found.low, found.high] == pytest.approx(expected)
    assert found.n == 6


@pytest.mark.parametrize("n", [4, 6, 12])
def test_a_perfect_order_is_not_certain(n: int) -> None:
    up = rank_correlation([*range(n)], [*range(n)])
    down = rank_correlation([*range(n)], [*reversed(range(n))])
    assert (up.rho, up.high) == (1, 1)
    assert -1 < up.low < 1
    assert (down.rho, down.low, down.high) == pytest.approx((-1, -1, -up.low))
    assert (up.low < 0) == (n == 4)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=4, max_size=12))
def test_a_rank_correlation_is_in_its_interval_and_blind_to_scale(
    points: list[tuple[int, int]],
) -> None:
    x, y = zip(*points, strict=True)
    found = rank_correlation(x, y)
    if len({*x}) == 1 or len({*y}) == 1:
        assert math.isnan(found.rho)
        return
    assert found.rho == pytest.approx(spearmanr(x, y).statistic)
    assert -1 <= found.low <= found.rho + 1e-9
    assert found.rho - 1e-9 <= found.high <= 1
    assert rank_correlation([math.exp(value) for value in x], y) == found


def test_the_interval_of_a_rank_correlation_covers() -> None:
    draw, covered = np.random.default_rng(1), 0
    true = 6 / math.pi * math.asin(0.6 / 2)  # of two normal variables that correlate by 0.6
    for _ in range(400):
        x, y = draw.multivariate_normal([0, 0], [[1, 0.6], [0.6, 1]], 20).T
        found = rank_correlation(x.tolist(), y.tolist())
        covered += found.low <= true <= found.high
    assert covered / 400 == pytest.approx(0.95, abs=0.035)


def test_three_points_have_no_interval() -> None:
    with pytest.raises(ValueError, match="at least 4"):
        rank_correlation([1, 2, 3], [1, 2, 3])
