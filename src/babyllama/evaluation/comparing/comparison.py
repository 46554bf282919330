"""Differences between models of finished runs, on the pairs that both have answered.

A difference is always the first minus the second. Only files are read: no model is loaded.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from babyllama.errors import BabyllamaError, RecipeError
from babyllama.evaluation.comparing.answers import Answers, obstacle, paired_difference
from babyllama.evaluation.comparing.sides import MEASURES, Run, Side, open_runs
from babyllama.evaluation.statistics import LEVEL, RESAMPLES, Paired, holm

Over = Literal["phenomena", "paradigms"]
Cell = tuple[Side, Side, str]
"""Two models and a suite."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """The first model minus the second on one suite; accuracies are between 0 and 1."""

    first: Side
    second: Side
    suite: str
    phenomenon: str | None
    """Where it is one of the suite that is compared, and not all of it."""
    pairs: int
    accuracies: tuple[float, float]
    found: Paired
    p_holm: float

    @property
    def verdict(self) -> str:
        """Higher or lower where the interval excludes zero, and whether Holm's p stands by it."""
        return self.found.verdict(self.p_holm)


@dataclass(frozen=True, kw_only=True)
class Validation:
    """The first model minus the second on the validation text, or why there is no difference."""

    first: Side
    second: Side
    differences: Mapping[str, float]
    flops: tuple[float | None, float | None]
    """What each of the two cost, with its teachers."""
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """All that two sides share."""

    over: Over
    rows: tuple[Row, ...]
    validation: tuple[Validation, ...]
    same: tuple[str, ...]
    """Models that are one and the same artifact in both runs."""


def compare(
    runs: Sequence[Path],
    *,
    models: Sequence[str] = (),
    between: tuple[str, str] | None = None,
    suite: str | None = None,
    over: Over = "phenomena",
    by_phenomenon: bool = False,
) -> Comparison:
    """Compare the models of the same name in two runs, or two models `between` one or two runs.

    `models` and `suite` leave out all others. `by_phenomenon` compares each phenomenon by itself,
    over its pairs (or, `over` paradigms, its paradigms).

    Raises:
        RecipeError: not one or two runs, or nothing that both have.
        BabyllamaError: other pairs, another convention, or scores without answers.
    """
    sides = _sides(runs, models, between)
    differing = [(a, b) for a, b in sides if not _one_artifact(a, b)]
    same = tuple(a.model for a, b in sides if (a, b) not in differing)
    cells = [
        (a, b, name)
        for a, b in differing
        for name in a.suites()
        if name in b.suites() and suite in (None, name)
    ]
    if not cells and not same:
        raise RecipeError(
            f"{' and '.join(map(str, runs))} share no scores{f' on {suite}' if suite else ''}:"
            " give finished runs with a suite in common"
        )
    return Comparison(
        over=over,
        rows=tuple(_rows(cells, over, by_phenomenon=by_phenomenon)),
        validation=tuple(_validation(a, b) for a, b in differing),
        same=same,
    )


def check_all_models(option: str, *chosen: object) -> None:
    """Refuse a choice of models beside an option that is about all of them.

    Raises:
        RecipeError: some were chosen.
    """
    if any(chosen):
        raise RecipeError(f"{option} is over all models of the runs: leave out --model, --models")


def _sides(
    runs: Sequence[Path], models: Sequence[str], between: tuple[str, str] | None
) -> list[tuple[Side, Side]]:
    """The pairs of models that are meant."""
    expected = (1, 2) if between else (2,)
    if len(runs) not in expected:
        raise RecipeError(
            f"compare: {len(runs)} runs given: give two runs, or one and --models NAME NAME"
        )
    if models and between:
        raise RecipeError("--model and --models exclude each other: give one of them")
    opened = open_runs(runs)
    first, second = opened[0], opened[-1]
    if between:
        return [(_known(first, between[0]), _known(second, between[1]))]
    shared = [name for name in first.scored() if name in second.scored()]
    for name in models:
        _known(first, name)
        _known(second, name)
    return [(Side(first, name), Side(second, name)) for name in models or shared]


def _known(run: Run, model: str) -> Side:
    if model not in run.scored():
        raise RecipeError(f"{run.name} has no scores of {model}: it has {', '.join(run.scored())}")
    return Side(run, model)


def _one_artifact(a: Side, b: Side) -> bool:
    """Whether two runs share a model, or all scores of an ensemble: made once, linked by both."""
    if a.folder.is_dir():
        return a.folder.resolve() == b.folder.resolve()
    files = [(a.scores(name), b.scores(name)) for name in a.suites() if name in b.suites()]
    return bool(files) and all(ours.resolve() == theirs.resolve() for ours, theirs in files)


def _rows(cells: Sequence[Cell], over: Over, *, by_phenomenon: bool) -> Iterator[Row]:
    """The differences, with p-values corrected for the number of rows."""
    made = [row for cell in cells for row in _differences(*cell, over, by_phenomenon=by_phenomenon)]
    adjusted = holm([row.found.p for row in made])
    yield from (replace(row, p_holm=p) for row, p in zip(made, adjusted, strict=True))


def _differences(a: Side, b: Side, suite: str, over: Over, *, by_phenomenon: bool) -> Iterator[Row]:
    """What both answered, as a row, or as one a phenomenon; p-values are not corrected yet."""
    ours, theirs = a.answers(suite), b.answers(suite)
    reason = obstacle(ours, theirs)
    if reason:
        raise BabyllamaError(
            f"{a} and {b} cannot be compared on {suite}: {reason}; choose another --suite, or"
            " score both alike"
        )
    parts: dict[str | None, tuple[Answers, Answers]] = {None: (ours, theirs)}
    if by_phenomenon:
        names = dict.fromkeys(ours.phenomena)
        parts = {name: (ours.of_phenomenon(name), theirs.of_phenomenon(name)) for name in names}
    for phenomenon, (first, second) in parts.items():
        strata, found = first.strata(over), paired_difference(first, second, over)
        yield Row(
            first=a,
            second=b,
            suite=suite,
            phenomenon=phenomenon,
            pairs=sum(first.sizes),
            accuracies=(strata.mean(first.outcomes), strata.mean(second.outcomes)),
            found=found,
            p_holm=found.p,
        )


def _validation(a: Side, b: Side) -> Validation:
    ours, theirs = a.validation(), b.validation()
    shared = [key for key in MEASURES if key in ours and key in theirs]
    reason = "" if shared else "not measured"
    if shared and a.validated_on() != b.validated_on():
        shared, reason = [], "other validation tokens"
    differences = {key: ours[key] - theirs[key] for key in shared}
    costs = (a.flops(), b.flops())
    return Validation(first=a, second=b, differences=differences, flops=costs, reason=reason)


def to_json(found: Comparison) -> dict[str, Any]:
    """The comparison as plain values; accuracies and differences are between -1 and 1."""
    return {
        "difference": "first minus second",
        "over": found.over,
        "interval": f"{LEVEL:.0%} percentile, paired bootstrap within paradigms",
        "resamples": RESAMPLES,
        "rows": [
            {
                **_names(row),
                "suite": row.suite,
                **({} if row.phenomenon is None else {"phenomenon": row.phenomenon}),
                "pairs": row.pairs,
                "accuracy_first": row.accuracies[0],
                "accuracy_second": row.accuracies[1],
                "difference": row.found.difference,
                "standard_error": row.found.standard_error,
                "low": row.found.low,
                "high": row.found.high,
                "p": row.found.p,
                "p_holm": row.p_holm,
                "verdict": row.verdict,
            }
            for row in found.rows
        ],
        "validation": [
            {
                **_names(row),
                **row.differences,
                "flops_first": row.flops[0],
                "flops_second": row.flops[1],
                **({"reason": row.reason} if row.reason else {}),
            }
            for row in found.validation
        ],
        "same": list(found.same),
    }


def _names(row: Row | Validation) -> dict[str, str]:
    return {
        "run_first": row.first.run.name,
        "model_first": row.first.model,
        "run_second": row.second.run.name,
        "model_second": row.second.model,
    }
