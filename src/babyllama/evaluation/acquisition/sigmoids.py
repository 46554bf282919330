"""When is a word acquired? Where a sigmoid through its curve passes half-way.

As `AoAEvaluator` of the BabyLM 2025 pipeline (evaluation_pipeline/utils.py, commit 0552258; the
2026 pipeline has the same lines), after Chang and Bergen (2022). f(x) = a / (1 + exp(-b (x - c))) +
d is fitted by least squares, to children with bounds, to models without. There is no age where the
fit fails or falls, where it never passes the level, or passes it outside the measured range.
"""

import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import OptimizeWarning, curve_fit

Vector = npt.NDArray[np.float64]
PARAMETERS = 4
EVALUATIONS = 1000
"""Of the curve, at most, before a fit counts as failed."""
HALF = 0.5


def child_age(months: Vector, shares: Vector) -> float | None:
    """The month at which half of the children say a word; None without one.

    Both are [months], rising in months; shares lie between 0 and 1.
    """
    start = [1.0, 0.1, float(months.mean()), 0.0]
    bounds = ([0.0, 0.0, months[0], -0.5], [2.0, 1.0, months[-1], 0.5])
    return _crossing(months, shares, HALF, start, bounds=bounds)


def model_age(words_seen: Vector, surprisal: Vector, chance: float) -> float | None:
    """The log10 of the words seen at which surprisal is half-way from chance to its minimum.

    Both are [points], rising in words seen, which may come several times; surprisal and chance are
    in one unit, which the pipeline's are not. Points without a surprisal (nan) are left out.
    """
    known = ~np.isnan(surprisal)
    if known.sum() < PARAMETERS:
        return None
    logs, falling = np.log10(words_seen[known] + 1), -surprisal[known]
    level = -(chance - HALF * (chance + falling.max()))
    spread = float(falling.max() - falling.min())
    start = [spread, 1.0, float(logs.mean()), float(falling.min())]
    return _crossing(logs, falling, level, start)


def _crossing(
    x: Vector, y: Vector, level: float, start: Sequence[float], **limits: Any
) -> float | None:
    """Where a rising sigmoid through the points passes a level, if it does so between them."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore", OptimizeWarning)
        try:
            found, _ = curve_fit(sigmoid, x, y, p0=start, maxfev=EVALUATIONS, **limits)
        except (RuntimeError, ValueError):
            return None
    a, b, c, d = map(float, found)
    if a <= 0 or b <= 0 or not d < level < a + d:
        return None
    at = c - math.log(a / (level - d) - 1) / b
    return at if x[0] <= at <= x[-1] else None


def sigmoid(x: Vector, a: float, b: float, c: float, d: float) -> Vector:
    """The curve: a / (1 + exp(-b (x - c))) + d."""
    return np.asarray(a / (1 + np.exp(-b * (x - c))) + d)
