"""Does the validation loss rank models as a suite of minimal pairs does?"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from babyllama.errors import BabyllamaError, RecipeError
from babyllama.evaluation.comparing.answers import unlike
from babyllama.evaluation.comparing.comparison import Over, Side, open_runs
from babyllama.evaluation.statistics import RankCorrelation, rank_correlation

FEWEST = 4
"""Models below which a rank correlation has no interval."""


@dataclass(frozen=True, kw_only=True)
class Point:
    """One model: nats per token on the validation text, and an accuracy between 0 and 1."""

    side: Side
    cross_entropy: float
    accuracy: float


@dataclass(frozen=True, kw_only=True)
class Correlation:
    """The models of some runs, and how well their two orders agree.

    A negative rho is agreement: a lower cross-entropy goes with a higher accuracy.
    """

    suite: str
    over: Over
    points: tuple[Point, ...]
    found: RankCorrelation


def correlate(
    runs: Sequence[Path], *, suite: str | None = None, over: Over = "phenomena"
) -> Correlation:
    """Correlate validation cross-entropy with the macro accuracy on a suite, by ranks.

    A model that several runs share counts once. Without `suite` it is the one called blimp, or
    the only one there is.

    Raises:
        RecipeError: no runs with scores.
        BabyllamaError: fewer than four models with both figures, figures that are not of the same
            validation tokens, pairs and convention, or no difference between the models.
    """
    models = [Side(run, name) for run in open_runs(runs) for name in run.scored()]
    chosen = suite or _default_suite(models)
    measured = [*_once(side for side in models if chosen in side.suites())]
    sides = [side for side in measured if "cross_entropy" in side.validation()]
    if len(sides) < FEWEST:
        raise BabyllamaError(
            f"--correlate: {len(sides)} models with a validation cross-entropy and scores on"
            f" {chosen}, expected at least {FEWEST}: give more runs"
        )
    answers = [side.answers(chosen) for side in sides]
    for side, theirs in zip(sides, answers, strict=True):
        _check_alike(sides[0], side, unlike(answers[0], theirs))
    points = tuple(
        Point(
            side=side,
            cross_entropy=side.validation()["cross_entropy"],
            accuracy=theirs.strata(over).mean(theirs.outcomes),
        )
        for side, theirs in zip(sides, answers, strict=True)
    )
    losses = [point.cross_entropy for point in points]
    accuracies = [point.accuracy for point in points]
    if len(set(losses)) == 1 or len(set(accuracies)) == 1:
        raise BabyllamaError(
            f"--correlate: all {len(points)} models have the same cross-entropy or accuracy on"
            f" {chosen}: give runs that differ"
        )
    return Correlation(
        suite=chosen, over=over, points=points, found=rank_correlation(losses, accuracies)
    )


def check_all_models(*chosen: object) -> None:
    """Refuse a choice of models: a correlation is over all of them.

    Raises:
        RecipeError: some were chosen.
    """
    if any(chosen):
        raise RecipeError("--correlate is over all models of the runs: leave out --model, --models")


def _default_suite(models: Sequence[Side]) -> str:
    suites = sorted({name for side in models for name in side.suites()})
    if "blimp" in suites or len(suites) == 1:
        return "blimp" if "blimp" in suites else suites[0]
    raise BabyllamaError(
        f"--correlate: the runs have the suites {', '.join(suites) or 'none'}: name one with"
        " --suite"
    )


def _once(sides: Iterator[Side]) -> Iterator[Side]:
    """Every trained model once, whichever runs link to it; an ensemble has no validation."""
    found = set()
    for side in sides:
        place = side.folder.resolve()
        if side.folder.is_dir() and place not in found:
            found.add(place)
            yield side


def _check_alike(first: Side, other: Side, reason: str) -> None:
    """Refuse models whose answers, for a reason, or whose losses cannot be ranked together."""
    if first.validated_on() != other.validated_on():
        reason = "the validation tokens differ, and nats per token with them"
    if reason:
        raise BabyllamaError(
            f"--correlate: {first} and {other} cannot be ranked together: {reason}; leave one of"
            " the runs out"
        )


def to_json(correlation: Correlation) -> dict[str, Any]:
    """The correlation and its points as plain values."""
    found = correlation.found
    return {
        "suite": correlation.suite,
        "over": correlation.over,
        "rho": found.rho,
        "low": found.low,
        "high": found.high,
        "n": found.n,
        "models": [
            {
                "run": point.side.run.name,
                "model": point.side.model,
                "cross_entropy": point.cross_entropy,
                "accuracy": point.accuracy,
            }
            for point in correlation.points
        ],
    }
