"""Does the validation loss rank models, and saved checkpoints of them, as a suite does?"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from babyllama.errors import BabyllamaError
from babyllama.evaluation.comparing.answers import unlike
from babyllama.evaluation.comparing.comparison import Over
from babyllama.evaluation.comparing.milestones import Milestone, milestones
from babyllama.evaluation.comparing.sides import Run, Side, open_runs
from babyllama.evaluation.statistics import RankCorrelation, rank_correlation

FEWEST = 4
"""Models below which a rank correlation has no interval."""


@dataclass(frozen=True, kw_only=True)
class Point:
    """One model, or one of its saved checkpoints.

    Nats per token on the validation text, and an accuracy between 0 and 1.
    """

    side: Side
    cross_entropy: float
    accuracy: float

    @property
    def words(self) -> int | None:
        """What a saved checkpoint had seen; none for a model."""
        return self.side.words if isinstance(self.side, Milestone) else None


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

    Over all models of the runs and the checkpoints that they have scored (`evaluation.checkpoints`
    in the recipe). Weights that are there several times, as those of a model that runs share,
    count once. Without `suite` it is the one called blimp, or the only one there is.

    Raises:
        RecipeError: no runs with scores.
        BabyllamaError: fewer than four models with both figures, figures that are not of the same
            validation tokens, pairs and convention, or no difference between the models.
    """
    models = [side for run in open_runs(runs) for side in _sides(run)]
    chosen = suite or _default_suite(models)
    measured = [*_once(side for side in models if chosen in side.suites())]
    sides = [side for side in measured if "cross_entropy" in side.validation()]
    if len(sides) < FEWEST:
        raise BabyllamaError(
            f"--correlate: {len(sides)} models and checkpoints with a validation cross-entropy and"
            f" scores on {chosen}, expected at least {FEWEST}: give more runs"
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


def _sides(run: Run) -> Iterator[Side]:
    yield from (Side(run, name) for name in run.scored())
    yield from milestones(run)


def _default_suite(models: Sequence[Side]) -> str:
    suites = sorted({name for side in models for name in side.suites()})
    if "blimp" in suites or len(suites) == 1:
        return "blimp" if "blimp" in suites else suites[0]
    raise BabyllamaError(
        f"--correlate: the runs have the suites {', '.join(suites) or 'none'}: name one with"
        " --suite"
    )


def _once(sides: Iterator[Side]) -> Iterator[Side]:
    """All weights once, whatever they are called in the runs; an ensemble has no validation."""
    found = set()
    for side in sides:
        if side.folder.is_dir() and side.weights not in found:
            found.add(side.weights)
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
                "words": point.words,
                "cross_entropy": point.cross_entropy,
                "accuracy": point.accuracy,
            }
            for point in correlation.points
        ],
    }
