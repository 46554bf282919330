"""Differences between two models on the same items, and what they may be called.

Items lie in strata (the paradigms of a suite), and the statistic is a weighted mean of the strata's
means, so that the macro mean over phenomena and the one over paradigms are the same code. Equal
values of a stratum are drawn together: how often each of a few comes in a resample of n items is
multinomial, and how many of m equal differences keep their sign is binomial. That is the same
distribution as drawing item by item, at a cost that hardly grows with the items.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import norm, spearmanr, t

from babyllama.seeds import generator

Vector = npt.NDArray[np.float64]
RESAMPLES = 9999
LEVEL = 0.95
UNDECIDED = "not told apart"
ROUNDING = 1e-12
"""Two resamples whose statistics differ by less are the same one, summed in another order."""
_BLOCK = 1 << 20  # items that are drawn at a time
_MANY = 32  # different values from which on drawing the items themselves is faster


@dataclass(frozen=True)
class Strata:
    """Consecutive blocks of items, and the weight of each block's mean in the statistic."""

    sizes: tuple[int, ...]
    weights: tuple[float, ...]
    """They sum to one."""

    def means(self, values: Vector) -> Vector:
        """The mean of each stratum, [strata], of values [items]."""
        return np.array([part.mean() for part, _ in self.parts(values)])

    def mean(self, values: Vector) -> float:
        """The statistic: the weighted mean of the strata's means."""
        return float(self.means(values) @ np.array(self.weights))

    def parts(self, values: Vector) -> Iterator[tuple[Vector, float]]:
        """The values of each stratum, and its weight."""
        parts = np.split(values, np.cumsum(self.sizes)[:-1])
        return zip(parts, self.weights, strict=True)


def by_paradigm(sizes: Sequence[int]) -> Strata:
    """Every paradigm counts the same."""
    return Strata(tuple(sizes), (1 / len(sizes),) * len(sizes))


def by_phenomenon(sizes: Sequence[int], phenomena: Sequence[str]) -> Strata:
    """Every phenomenon counts the same, its paradigms by their sizes (pooled pairs).

    `phenomena` names the one of each paradigm. Items are still drawn within paradigms.
    """
    pooled: dict[str, int] = {}
    for size, name in zip(sizes, phenomena, strict=True):
        pooled[name] = pooled.get(name, 0) + size
    shares = (size / pooled[name] for size, name in zip(sizes, phenomena, strict=True))
    return Strata(tuple(sizes), tuple(share / len(pooled) for share in shares))


def reading(low: float, high: float) -> str:
    """What the interval of a difference allows to be said: higher, lower, or not told apart."""
    return "higher" if low > 0 else "lower" if high < 0 else UNDECIDED


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What stands beside a difference: its standard error, its interval and its p-value."""

    standard_error: float
    low: float
    high: float
    p: float

    @property
    def reading(self) -> str:
        """What the interval allows to be said."""
        return reading(self.low, self.high)

    def verdict(self, p_holm: float) -> str:
        """The reading, and whether the p-value stands by it when it is corrected as by `holm`."""
        if self.reading != UNDECIDED and p_holm >= 1 - LEVEL:
            return f"{self.reading}, but not after Holm's correction"
        return self.reading


@dataclass(frozen=True, kw_only=True)
class Paired(Evidence):
    """One model minus another: the statistic, its bootstrap interval, its permutation p-value."""

    difference: float


def paired(a: Vector, b: Vector, strata: Strata, *, seed: int = 1) -> Paired:
    """Compare what two models made of the same items, [items] each, in the order of the strata.

    The interval is the 95 % percentile interval of the stratified bootstrap.
    """
    differences = a - b
    resampled = bootstrap(differences, strata, seed=seed)
    low, high = interval(resampled)
    return Paired(
        difference=strata.mean(differences),
        standard_error=float(resampled.std(ddof=1)),
        low=low,
        high=high,
        p=sign_flip_p(differences, strata, seed=seed),
    )


def bootstrap(
    values: Vector, strata: Strata, *, resamples: int = RESAMPLES, seed: int = 1
) -> Vector:
    """The statistic of resamples with replacement within each stratum, [resamples]."""
    draw = generator(seed, "bootstrap")
    found = np.zeros(resamples)
    for part, weight in strata.parts(values):
        block = max(1, _BLOCK // len(part))
        for begin in range(0, resamples, block):
            rows = found[begin : begin + block]
            rows += weight * _resampled_means(draw, part, len(rows))
    return found


def _resampled_means(draw: np.random.Generator, part: Vector, resamples: int) -> Vector:
    """Means of resamples of one stratum, [resamples]."""
    levels, counts = np.unique(part, return_counts=True)
    if len(levels) > _MANY:
        means: Vector = part[draw.integers(len(part), size=(resamples, len(part)))].mean(axis=1)
        return means
    drawn = draw.multinomial(len(part), counts / len(part), size=resamples)
    return np.asarray(drawn @ levels / len(part))


def interval(resampled: Vector, level: float = LEVEL) -> tuple[float, float]:
    """The percentile interval of a bootstrap.

    >>> interval(np.arange(1001.0), level=0.5)
    (250.0, 750.0)
    """
    low, high = np.quantile(resampled, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def sign_flip_p(
    differences: Vector, strata: Strata, *, resamples: int = RESAMPLES, seed: int = 1
) -> float:
    """Two-sided p-value of the permutation test that swaps the two models, item by item.

    Under the null hypothesis every difference is as likely with the other sign. The observed
    signs count as one of the permutations (Phipson and Smyth, 2010), so p is never 0.
    """
    draw = generator(seed, "sign flips")
    flipped = np.zeros(resamples)
    for part, weight in strata.parts(differences):
        levels, counts = np.unique(np.abs(part[part != 0]), return_counts=True)
        for level, count in zip(levels, counts, strict=True):
            kept = draw.binomial(count, 0.5, size=resamples)
            flipped += weight / len(part) * level * (2 * kept - count)
    extreme = np.abs(flipped) >= abs(strata.mean(differences)) - ROUNDING
    return float((1 + extreme.sum()) / (1 + resamples))


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values adjusted for the number of comparisons (Holm, 1979), in the given order.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(np.argsort(p_values, kind="stable")):
        largest = max(largest, min(1.0, p_values[index] * (len(p_values) - rank)))
        adjusted[index] = largest
    return adjusted


def over_seeds(values: Sequence[float]) -> tuple[float, float]:
    """Mean and standard deviation (n - 1) of one figure over seeds; a single one deviates by nan.

    >>> over_seeds([1.0, 2.0, 3.0])
    (2.0, 1.0)
    """
    mean = math.fsum(values) / len(values)
    deviation = np.std(values, ddof=1) if len(values) > 1 else math.nan
    return mean, float(deviation)


@dataclass(frozen=True, kw_only=True)
class MeanOverSeeds(Evidence):
    """The mean of one difference over n seeds, with Student's interval and p-value.

    A single value, and values that do not vary at all, have no interval: it is nan, and p too.
    """

    mean: float
    n: int


def mean_over_seeds(values: Sequence[float]) -> MeanOverSeeds:
    """The mean of [n] values, its standard error, the 95 % t interval and the two-sided p.

    The standard error is the deviation over sqrt(n); t has n - 1 degrees of freedom. The values
    are taken as drawn from a normal distribution: with few seeds nothing else can be done.
    """
    n = len(values)
    mean, deviation = over_seeds(values)
    error = deviation / math.sqrt(n)
    reach = p = math.nan
    if deviation > ROUNDING:
        reach = error * float(t.ppf((1 + LEVEL) / 2, n - 1))
        p = 2 * float(t.sf(abs(mean) / error, n - 1))
    return MeanOverSeeds(
        mean=mean, standard_error=error, low=mean - reach, high=mean + reach, p=p, n=n
    )


@dataclass(frozen=True, kw_only=True)
class RankCorrelation:
    """Spearman's rho over n points, with its 95 % interval."""

    rho: float
    low: float
    high: float
    n: int


def rank_correlation(x: Sequence[float], y: Sequence[float]) -> RankCorrelation:
    """Spearman's rho, and Fisher's interval with the standard error of Bonett and Wright (2000).

    That error is sqrt((1 + rho^2 / 2) / (n - 3)), so at least four points are needed. A perfect
    order has no finite z: its interval is that of the nearest smaller rho that n points can have,
    open to the perfect one. Where all values on a side are equal, all of it is nan.
    """
    n = len(x)
    if n < 4:
        raise ValueError(f"{n} points have no interval: give at least 4")
    if min(x) == max(x) or min(y) == max(y):
        return RankCorrelation(rho=math.nan, low=math.nan, high=math.nan, n=n)
    rho = float(spearmanr(x, y).statistic)
    perfect = abs(rho) > 1 - ROUNDING
    near = math.copysign(1 - 12 / (n * (n * n - 1)), rho) if perfect else rho
    reach = float(norm.ppf((1 + LEVEL) / 2)) * math.sqrt((1 + near * near / 2) / (n - 3))
    low, high = (math.tanh(math.atanh(near) + sign * reach) for sign in (-1, 1))
    if perfect:
        rho = math.copysign(1, rho)
        low, high = min(low, rho), max(high, rho)
    return RankCorrelation(rho=rho, low=low, high=high, n=n)
