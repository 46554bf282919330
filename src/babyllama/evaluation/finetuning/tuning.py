"""Hyper-parameters tried on the selection split, as a small grid around a preset.

Three learning rates x two numbers of epochs x two batch sizes (`GRID`). The best try is the one
with the highest selection score, of equal ones that with the lowest selection loss. The reported
split takes no part.
"""

import itertools
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import chi2

from babyllama.errors import CorruptDataError, DivergedError
from babyllama.evaluation.finetuning.presets import Settings
from babyllama.evaluation.finetuning.training import Fit
from babyllama.store import write_json

GRID: dict[str, Sequence[float]] = {
    "learning_rate": (1 / 3, 1, 3),
    "max_epochs": (1 / 2, 1),
    "batch_size": (1 / 2, 1),
}
"""Factors on the preset's value; epochs and batches are rounded up to whole numbers."""
CONFIDENCE = 0.99
"""With which scores must be rougher than the sample of items makes them, to be called erratic."""
_ROUNDING = 1e-18  # a sum of squares that floating point leaves of nothing


@dataclass(frozen=True, kw_only=True)
class Roughness:
    """How far the selection scores are from a smooth function of the hyper-parameters."""

    residual: float
    """Root mean square, per degree of freedom, of what the smooth function leaves."""
    standard_error: float
    """Of one selection score: root mean square over the tries."""
    freedom: int
    diverged: int
    """Tries without a score."""
    erratic: bool


def grid(settings: Settings) -> list[Settings]:
    """The settings to try, once each; a value that cannot be halved stands alone."""
    found = []
    for rate, epochs, batch in itertools.product(*GRID.values()):
        found.append(
            replace(
                settings,
                learning_rate=float(f"{settings.learning_rate * rate:.4g}"),
                max_epochs=math.ceil(settings.max_epochs * epochs),
                batch_size=math.ceil(settings.batch_size * batch),
            )
        )
    return list(dict.fromkeys(found))


def tune(
    settings: Settings, fit: Callable[[Settings], Fit], folder: Path
) -> tuple[Settings, dict[str, Any]]:
    """The best settings of the grid, and all tries as JSON, with their curves.

    A try that is in `folder` already, in a file of its own, is not made again.

    Raises:
        DivergedError: every try diverged.
    """
    tries = [_tried(each, fit, folder / f"{n:02d}.json") for n, each in enumerate(grid(settings))]
    scored = [each for each in tries if each["best"]]
    if not scored:
        raise DivergedError(f"all {len(tries)} tries diverged, the first: {tries[0]['diverged']}")
    best = max(scored, key=lambda each: (each["best"]["score"], -each["best"]["loss"]))
    told = {"grid": GRID, "best": best["settings"], "roughness": asdict(roughness(tries))}
    return Settings(**best["settings"]), told | {"tries": tries}


def _tried(settings: Settings, fit: Callable[[Settings], Fit], file: Path) -> dict[str, Any]:
    """One try as JSON: from its file, or made and written there."""
    if file.exists():
        return _read(file)
    found: dict[str, Any] = {"settings": asdict(settings), "best": None, "curve": []}
    try:
        fitted = fit(settings)
        found |= {"best": asdict(fitted.best), "curve": [asdict(each) for each in fitted.curve]}
    except DivergedError as error:
        found["diverged"] = str(error)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_json(file, found)
    return found


def _read(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text("utf-8"))
        if {"settings", "best", "curve"} <= found.keys():
            return dict(found)
        reason = "it is no try"
    except (ValueError, AttributeError) as error:
        reason = str(error)
    raise CorruptDataError(f"{file} cannot be read ({reason}): delete it and run again")


def roughness(tries: Sequence[Mapping[str, Any]]) -> Roughness:
    """Whether the scores of tries move erratically, and the figures that say so.

    A least-squares fit explains the scores [tries] by a quadratic in the logarithm of the learning
    rate, linear terms in those of epochs and batch size, and the three products of two of them
    (one may trade for another). What it leaves is compared with the standard errors of the scores,
    a chi-squared test: erratic where its sum of squares is above the 99 % quantile of what errors
    of that size would leave, or where a try diverged. All tries are scored on the same items, so
    the standard errors are an upper bound and fewer than 1 % of smooth tasks are marked.
    """
    scored = [each for each in tries if each["best"]]
    diverged = len(tries) - len(scored)
    scores = np.array([each["best"]["score"] for each in scored])
    errors = np.array([each["best"]["standard_error"] for each in scored])
    terms = _terms([each["settings"] for each in scored])
    rank = int(np.linalg.matrix_rank(terms))
    left = scores - terms @ np.linalg.lstsq(terms, scores, rcond=None)[0]
    squares, freedom = float(left @ left), len(scores) - rank
    error = float(np.sqrt(np.mean(errors**2)))
    rough = freedom > 0 and squares > _ROUNDING + error**2 * chi2.ppf(CONFIDENCE, freedom)
    return Roughness(
        residual=math.sqrt(squares / max(1, freedom)),
        standard_error=error,
        freedom=freedom,
        diverged=diverged,
        erratic=bool(rough or diverged),
    )


def _terms(settings: Sequence[Mapping[str, Any]]) -> np.typing.NDArray[np.float64]:
    """The terms of the smooth function [tries, 8], of logarithms around their means."""
    logs = np.log([[each[name] for name in GRID] for each in settings])
    rate, epochs, batch = (logs - logs.mean(0)).T
    terms = [np.ones_like(rate), rate, rate**2, epochs, batch]
    return np.column_stack([*terms, rate * epochs, rate * batch, epochs * batch])
