"""One recipe run with several seeds: what the models come to, and what distillation adds to them.

The interval of a difference is over seeds: it says what another training would come to, where the
paired interval of two models says what other pairs would.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from babyllama.errors import BabyllamaError, RecipeError
from babyllama.evaluation.comparing.answers import unlike
from babyllama.evaluation.comparing.comparison import Over
from babyllama.evaluation.comparing.controls import controls
from babyllama.evaluation.comparing.sides import Run, Side, open_runs
from babyllama.evaluation.statistics import MeanOverSeeds, holm, mean_over_seeds, over_seeds
from babyllama.recipe import Recipe
from babyllama.resolve import load_recipe
from babyllama.schema import flatten

CROSS_ENTROPY = "cross_entropy"
"""The figure beside the suites: nats per token on the validation text."""


@dataclass(frozen=True, kw_only=True)
class Spread:
    """One figure of one model in every run; a model that runs share has one value."""

    model: str
    figure: str
    """A suite, for its macro mean between 0 and 1, or `cross_entropy`."""
    values: tuple[float, ...]

    @property
    def mean_and_deviation(self) -> tuple[float, float]:
        """Over the values; the deviation of a single one is nan."""
        return over_seeds(self.values)


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A distilled model minus its control, run by run."""

    distilled: str
    control: str
    figure: str
    found: MeanOverSeeds
    p_holm: float

    @property
    def verdict(self) -> str:
        """Higher or lower where the interval excludes zero, and whether Holm's p stands by it."""
        return self.found.verdict(self.p_holm)


@dataclass(frozen=True, kw_only=True)
class SeedStudy:
    """What the runs of one recipe have in common, and how far they lie apart."""

    over: Over
    runs: tuple[str, ...]
    spreads: tuple[Spread, ...]
    differences: tuple[Difference, ...]


def study_seeds(
    runs: Sequence[Path], *, suite: str | None = None, over: Over = "phenomena"
) -> SeedStudy:
    """Every model's figures over the runs of one recipe, and distilled minus control.

    Figures are the validation cross-entropy and the macro means of the suites that all runs have
    scored, or of `suite` alone.

    Raises:
        RecipeError: fewer than two runs, runs of other recipes or of the same seeds.
        BabyllamaError: figures of other tokens, pairs or conventions, or a model without scores.
    """
    opened = open_runs(runs)
    if len(opened) < 2:
        raise RecipeError("--seeds: 1 run given, expected two or more of one recipe")
    recipes = [load_recipe(str(run.path / "recipe.yaml")) for run in opened]
    _check_one_recipe(opened, recipes)
    suites = _suites(opened, suite)
    measured = {
        name: {CROSS_ENTROPY: _losses(opened, name), **_accuracies(opened, name, suites, over)}
        for name in opened[0].scored()
    }
    return SeedStudy(
        over=over,
        runs=tuple(run.name for run in opened),
        spreads=tuple(
            Spread(model=name, figure=figure, values=tuple(dict(values).values()))
            for name, figures in measured.items()
            for figure, values in figures.items()
            if values
        ),
        differences=tuple(_differences(controls(recipes[0]), measured)),
    )


Values = Sequence[tuple[Path, float]]
"""Run by run: the artifact that a value is of, and the value."""


def _check_one_recipe(runs: Sequence[Run], recipes: Sequence[Recipe]) -> None:
    """Refuse runs that differ in more than the seeds of their models, or not in these."""
    first = _settings(recipes[0])
    for run, recipe in zip(runs[1:], recipes[1:], strict=True):
        other = _settings(recipe)
        for key in sorted(first.keys() | other.keys()):
            ours, theirs = first.get(key), other.get(key)
            if ours != theirs:
                raise RecipeError(
                    f"--seeds: {runs[0].name} and {run.name} differ in {key} ({ours} and {theirs}):"
                    " give runs of one recipe that differ in seed alone"
                )
    for (a, one), (b, two) in combinations(zip(runs, recipes, strict=True), 2):
        if _seeds(one) == _seeds(two):
            raise RecipeError(
                f"--seeds: {a.name} and {b.name} have the same seeds: give each run another, as"
                f" seed={one.seed + 1}"
            )


def _settings(recipe: Recipe) -> dict[str, Any]:
    """What decides a run's figures, by key; without the seeds of its models."""
    found = recipe.effective() | {
        "models": {name: model.effective() for name, model in recipe.models.items()}
    }
    flat = flatten({key: value for key, value in found.items() if key != "report"})
    seeds = {"seed", *(f"models.{name}.seed" for name in recipe.models)}
    return {key: value for key, value in flat.items() if key not in seeds}


def _seeds(recipe: Recipe) -> dict[str, int]:
    return {name: recipe.seed_of(model) for name, model in recipe.models.items()}


def _suites(runs: Sequence[Run], suite: str | None) -> list[str]:
    """The suites that all models of all runs have scores on.

    Raises:
        BabyllamaError: there is none, or a model that a run has not scored at all.
    """
    for run in runs:
        missing = [name for name in runs[0].scored() if name not in run.scored()]
        if missing:
            raise BabyllamaError(
                f"--seeds: {run.name} has no scores of {missing[0]}: run its recipe to the end"
            )
    sets = [{*Side(run, name).suites()} for run in runs for name in runs[0].scored()]
    shared = set.intersection(*sets) if sets else set()
    if not shared or (suite and suite not in shared):
        raise BabyllamaError(
            f"--seeds: the runs share no scores{f' on {suite}' if suite else ''}: run the recipe"
            " to the end with every seed"
        )
    return [suite] if suite else sorted(shared)


def _losses(runs: Sequence[Run], model: str) -> Values:
    """The validation cross-entropy in every run; empty where one has none."""
    sides = [Side(run, model) for run in runs]
    found = [side.validation().get(CROSS_ENTROPY) for side in sides]
    if None in found:
        return []
    for side in sides[1:]:
        if side.validated_on() != sides[0].validated_on():
            raise _apart(sides[0], side, "their validation tokens differ")
    places = [side.record.parent.resolve() for side in sides]
    return [(at, value) for at, value in zip(places, found, strict=True) if value is not None]


def _accuracies(
    runs: Sequence[Run], model: str, suites: Sequence[str], over: Over
) -> dict[str, Values]:
    """Suite -> the macro mean in every run."""
    return {name: [*_accuracy(runs, model, name, over)] for name in suites}


def _accuracy(
    runs: Sequence[Run], model: str, suite: str, over: Over
) -> Iterator[tuple[Path, float]]:
    sides = [Side(run, model) for run in runs]
    answers = [side.answers(suite) for side in sides]
    for side, theirs in zip(sides, answers, strict=True):
        if reason := unlike(answers[0], theirs):
            raise _apart(sides[0], side, f"on {suite} {reason}")
        yield theirs.scores, theirs.strata(over).mean(theirs.outcomes)


def _apart(a: Side, b: Side, reason: str) -> BabyllamaError:
    return BabyllamaError(
        f"--seeds: {a} and {b} cannot be put together: {reason}; leave one of the runs out"
    )


def _differences(
    pairs: Mapping[str, str], measured: Mapping[str, Mapping[str, Values]]
) -> Iterator[Difference]:
    """Distilled minus control on every figure, with p-values corrected for their number."""
    made = [
        (name, control, figure, mean_over_seeds(_by_run(measured[name], measured[control], figure)))
        for name, control in pairs.items()
        if name in measured and control in measured
        for figure in measured[name]
        if measured[name][figure] and measured[control][figure]
    ]
    adjusted = holm([1.0 if math.isnan(found.p) else found.p for *_, found in made])
    for (name, control, figure, found), p in zip(made, adjusted, strict=True):
        yield Difference(distilled=name, control=control, figure=figure, found=found, p_holm=p)


def _by_run(ours: Mapping[str, Values], theirs: Mapping[str, Values], figure: str) -> list[float]:
    """One difference a run; once where runs share both models."""
    both = zip(ours[figure], theirs[figure], strict=True)
    return [*{(at, other): a - b for (at, a), (other, b) in both}.values()]


def to_json(study: SeedStudy) -> dict[str, Any]:
    """The study as plain values; what is not defined is null."""
    return {
        "runs": list(study.runs),
        "over": study.over,
        "models": [
            {
                "model": spread.model,
                "figure": spread.figure,
                "mean": spread.mean_and_deviation[0],
                "deviation": _number(spread.mean_and_deviation[1]),
                "n": len(spread.values),
                "values": list(spread.values),
            }
            for spread in study.spreads
        ],
        "differences": [
            {
                "distilled": row.distilled,
                "control": row.control,
                "figure": row.figure,
                "mean": row.found.mean,
                "standard_error": _number(row.found.standard_error),
                "low": _number(row.found.low),
                "high": _number(row.found.high),
                "p": _number(row.found.p),
                "p_holm": row.p_holm,
                "n": row.found.n,
                "verdict": row.verdict,
            }
            for row in study.differences
        ],
    }


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value
