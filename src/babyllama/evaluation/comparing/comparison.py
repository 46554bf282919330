"""Differences between models of finished runs, on the pairs that both have answered.

A difference is always the first minus the second. Only files are read: no model is loaded.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from babyllama.errors import BabyllamaError, RecipeError
from babyllama.evaluation.comparing.answers import (
    Answers,
    obstacle,
    paired_difference,
    read_answers,
    read_json,
)
from babyllama.evaluation.statistics import LEVEL, RESAMPLES, Paired, holm
from babyllama.store import read_manifest

Over = Literal["phenomena", "paradigms"]
MEASURES = ("cross_entropy", "bits_per_byte")


@dataclass(frozen=True)
class Run:
    """A run directory with scores, and what tables call it."""

    path: Path
    name: str

    def scored(self) -> list[str]:
        """The names of the models, and ensembles, that it has scores of."""
        return sorted(path.name for path in (self.path / "scores").iterdir() if path.is_dir())


@dataclass(frozen=True)
class Side:
    """One model of one run directory."""

    run: Run
    model: str

    def __str__(self) -> str:
        return f"{self.run.name}/{self.model}"

    @property
    def folder(self) -> Path:
        """The model's folder; an ensemble has none."""
        return self.run.path / "models" / self.model

    @property
    def weights(self) -> Any:
        """What tells its weights from those of other models."""
        return weights_in(self.folder)

    def scores(self, suite: str) -> Path:
        """The file with its accuracies on a suite."""
        return self.run.path / "scores" / self.model / f"{suite}.json"

    def suites(self) -> list[str]:
        """The suites that it has scores on."""
        folder = self.run.path / "scores" / self.model
        return sorted(path.stem for path in folder.glob("*.json"))

    def answers(self, suite: str) -> Answers:
        """What it answered on a suite.

        Raises:
            BabyllamaError: scores of an older version, which has not kept the answers.
        """
        found = read_answers(self.scores(suite), suite)
        if found is None:
            raise BabyllamaError(
                f"{self.run.path}: the scores of {self.model} on {suite} have no {suite}.items.npy:"
                " run that recipe again, which makes only the scores anew"
            )
        return found

    def validation(self) -> dict[str, float]:
        """Cross-entropy in nats per token and bits per byte, as far as they were measured."""
        file = self.folder / "training.json"
        found = (read_json(file).get("validation") or {}) if file.is_file() else {}
        values = {key: found.get(key) for key in MEASURES}
        return {key: float(value) for key, value in values.items() if value is not None}

    def validated_on(self) -> Any:
        """What decides the validation subset: the tokens, and how they are cut."""
        return validation_subset(self.folder)


def validation_subset(artifact: Path) -> Any:
    """The tokens that an artifact was validated on, and how they were cut, by its manifest."""
    manifest = read_manifest(artifact)
    cut = ("chunk_length", "validation_chunks")
    return manifest["inputs"].get("tokens"), *(manifest["settings"].get(key) for key in cut)


def weights_in(artifact: Path, below: str = "") -> Any:
    """The digests of the weights that lie directly below a place in a model's artifact.

    The place itself where its manifest names no weights.
    """
    files = read_manifest(artifact)["files"].items()
    here = {name.removeprefix(below): file for name, file in files if name.startswith(below)}
    found = {name: file["sha256"] for name, file in here.items() if _is_weights(name)}
    return tuple(sorted(found.items())) or (artifact / below).resolve()


def _is_weights(name: str) -> bool:
    return name.endswith(".safetensors") and "/" not in name


@dataclass(frozen=True, kw_only=True)
class Row:
    """The first model minus the second on one suite; accuracies are between 0 and 1."""

    first: Side
    second: Side
    suite: str
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
) -> Comparison:
    """Compare the models of the same name in two runs, or two models `between` one or two runs.

    `models` and `suite` leave out all others.

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
        rows=tuple(_rows(cells, over)),
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


def open_runs(runs: Sequence[Path]) -> list[Run]:
    """Run directories under their names, or as they were given where two have the same name.

    Raises:
        RecipeError: one of them is none.
    """
    for run in runs:
        if not (run / "scores").is_dir():
            raise RecipeError(f"{run} is no run with scores: give the folder of a finished run")
    paths = [run.resolve() for run in runs]
    names = {path.name for path in paths}
    clash = len(names) < len({*paths})
    return [
        Run(path, str(run) if clash else path.name) for path, run in zip(paths, runs, strict=True)
    ]


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


def _rows(cells: Sequence[tuple[Side, Side, str]], over: Over) -> Iterator[Row]:
    """The differences, with p-values corrected for the number of rows."""
    made = [(*cell, *_difference(*cell, over)) for cell in cells]
    adjusted = holm([found.p for *_, found in made])
    for (a, b, suite, accuracies, pairs, found), p in zip(made, adjusted, strict=True):
        yield Row(
            first=a,
            second=b,
            suite=suite,
            pairs=pairs,
            accuracies=accuracies,
            found=found,
            p_holm=p,
        )


def _difference(
    a: Side, b: Side, suite: str, over: Over
) -> tuple[tuple[float, float], int, Paired]:
    """Both accuracies, the number of pairs, and what they say of the difference."""
    ours, theirs = a.answers(suite), b.answers(suite)
    reason = obstacle(ours, theirs)
    if reason:
        raise BabyllamaError(
            f"{a} and {b} cannot be compared on {suite}: {reason}; choose another --suite, or"
            " score both alike"
        )
    strata = ours.strata(over)
    accuracies = (strata.mean(ours.outcomes), strata.mean(theirs.outcomes))
    return accuracies, sum(ours.sizes), paired_difference(ours, theirs, over)


def _validation(a: Side, b: Side) -> Validation:
    ours, theirs = a.validation(), b.validation()
    shared = [key for key in MEASURES if key in ours and key in theirs]
    if not shared:
        return Validation(first=a, second=b, differences={}, reason="not measured")
    if a.validated_on() != b.validated_on():
        return Validation(first=a, second=b, differences={}, reason="other validation tokens")
    return Validation(
        first=a, second=b, differences={key: ours[key] - theirs[key] for key in shared}
    )


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
            {**_names(row), **row.differences, **({"reason": row.reason} if row.reason else {})}
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
