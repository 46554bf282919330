"""A run directory read back into one plain value: models, scores, curves, corpus and timings.

Only files are read: no model is loaded, nothing is computed again. A part that a run does not
have is `None` or empty here and named in `Results.gaps`; a file that is there but is not what it
should be is an error.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import TypeAdapter, ValidationError

from babyllama.errors import BabyllamaError, CorruptDataError
from babyllama.evaluation.comparing.answers import Answers, read_answers
from babyllama.report.counts import Fertility, RuleEffect, SourceCounts, TokenCounts
from babyllama.report.records import LOSSES, Pooled, Training, Validation
from babyllama.report.roles import ENSEMBLE, ROLES, Role, roles

Part = TypeVar("Part")


@dataclass(frozen=True, kw_only=True)
class Score:
    """An accuracy between 0 and 1, its standard error, and the number it was averaged over.

    `n` counts pairs for a paradigm or a phenomenon, and paradigms or phenomena for a macro mean.
    """

    accuracy: float
    standard_error: float
    n: int


@dataclass(frozen=True, kw_only=True)
class PhenomenonScore(Score):
    """The score of one phenomenon."""

    phenomenon: str


@dataclass(frozen=True, kw_only=True)
class ParadigmScore(PhenomenonScore):
    """The score of one paradigm, and how many of its pairs were ties."""

    paradigm: str
    ties: int = 0


@dataclass(frozen=True, kw_only=True)
class SuiteScores:
    """What one model scored on one suite of minimal pairs."""

    convention: Mapping[str, str]
    paradigms: tuple[ParadigmScore, ...]
    phenomena: tuple[PhenomenonScore, ...]
    macro_phenomena: Score
    macro_paradigms: Score


@dataclass(frozen=True, kw_only=True)
class LogRow:
    """A row of `log.jsonl`: one training step, or one look at the validation subset."""

    kind: str
    step: int
    cross_entropy: float | None = None
    bits_per_byte: float | None = None
    masked_cross_entropy: float | None = None
    span_cross_entropy: float | None = None
    kl: float | None = None
    cross_entropy_share: float | None = None


@dataclass(frozen=True, kw_only=True)
class Model:
    """One row of the report: a trained model, an outside teacher, or the pooled teachers."""

    name: str
    role: Role
    teachers: tuple[str, ...] = ()
    start: tuple[str, str] | None = None
    """The model of the recipe that its weights come from, and which of that one's they are."""
    training: Training | None = None
    pooled: Pooled | None = None
    """Of an ensemble."""
    log: tuple[LogRow, ...] = ()
    scores: Mapping[str, SuiteScores] = field(default_factory=dict)
    answers: Mapping[str, Answers] = field(default_factory=dict)
    """Suite -> the answers behind its scores, where the run has kept them."""

    @property
    def validation(self) -> Validation:
        """Of a model or an ensemble; without figures where it was not validated."""
        known = self.pooled or self.training
        return known.validation if known else Validation()

    @property
    def total_flops(self) -> float | None:
        """All operations that were spent for it, teachers and members included."""
        known = self.pooled or self.training
        return known.total_flops if known else None

    def curve(self, kind: str, key: str) -> list[tuple[float, float]]:
        """List (tokens seen, value) for the rows of a kind that have a finite value.

        The log counts steps; tokens make batches of different sizes comparable. Without
        `training.json` the size of a step is unknown and the curve is empty.
        """
        training = self.training
        if training is None or not training.steps or not training.tokens_seen:
            return []
        per_step = training.tokens_seen / training.steps
        rows = ((row.step, getattr(row, key)) for row in self.log if row.kind == kind)
        return [
            (step * per_step, float(value))
            for step, value in rows
            if value is not None and math.isfinite(value)
        ]


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One stage of the pipeline; `reused` when it was up to date and not done again."""

    stage: str
    seconds: float
    reused: bool = False


@dataclass(frozen=True, kw_only=True)
class Results:
    """All that a report is written from.

    Models are in the order control, distilled, teachers, ensemble, and within a role in the
    order of the recipe.
    """

    run: str
    recipe: str | None
    models: tuple[Model, ...]
    suites: tuple[str, ...]
    corpus: Mapping[str, Mapping[str, SourceCounts]] | None
    fertility: Fertility | None
    tokens: TokenCounts | None
    stages: tuple[Stage, ...]
    effects: Mapping[str, Mapping[str, Mapping[str, RuleEffect]]] | None = None
    """Split -> source -> rule -> what it did; a run may well have cleaned nothing: no gap."""

    @property
    def gaps(self) -> tuple[str, ...]:
        """What this run does not have, one plain sentence each."""
        return tuple(_gaps(self))

    def scored(self, suite: str) -> tuple[Model, ...]:
        """Return the models that have scores on a suite."""
        return tuple(model for model in self.models if suite in model.scores)


_CORPUS = TypeAdapter(dict[str, dict[str, SourceCounts]])
_EFFECTS = TypeAdapter(dict[str, dict[str, dict[str, RuleEffect]]])
_FERTILITY = TypeAdapter(Fertility)
_TOKENS = TypeAdapter(TokenCounts)
_STAGES = TypeAdapter(tuple[Stage, ...])
_TRAINING = TypeAdapter(Training)
_POOLED = TypeAdapter(Pooled)
_LOG_ROW = TypeAdapter(LogRow)
_SCORES = TypeAdapter(SuiteScores)


def read_results(run: Path) -> Results:
    """Read a run directory.

    Raises BabyllamaError where there is no such directory, and CorruptDataError where a file
    does not have the form that the pipeline writes.
    """
    if not run.is_dir():
        raise BabyllamaError(
            f"{run}: expected a run directory; give the folder that `babyllama run` wrote"
        )
    recipe = run / "recipe.yaml"
    text = recipe.read_text(encoding="utf-8", errors="replace") if recipe.is_file() else None
    models = _models(run, *_sections(recipe, text, "models", "ensembles"))
    return Results(
        run=run.resolve().name,
        recipe=text,
        models=models,
        suites=tuple(sorted({suite for model in models for suite in model.scores})),
        corpus=_read(run / "corpus" / "corpus.json", _CORPUS),
        fertility=_read(run / "tokens" / "fertility.json", _FERTILITY),
        tokens=_read(run / "tokens" / "tokens.json", _TOKENS),
        stages=_read(run / "stages.json", _STAGES) or (),
        effects=_read(run / "corpus" / "effects.json", _EFFECTS),
    )


def _models(
    run: Path, recipe: Mapping[str, Mapping[str, Any]], ensembles: Iterable[str]
) -> tuple[Model, ...]:
    """Every model that the recipe, the models folder or the scores folder knows of.

    Only folders that are listed are opened: the name of an outside teacher may be a path.
    """
    trained, scored = _folders(run / "models"), _folders(run / "scores")
    pooled = _folders(run / "ensembles")
    training = {name: _read(path / "training.json", _TRAINING) for name, path in trained.items()}
    teachers = {name: found.teachers for name, found in training.items() if found} | {
        name: names for name, entry in recipe.items() if (names := _teachers(entry))
    }
    starts = {name: start for name, entry in recipe.items() if (start := _start(entry))}
    taught = dict.fromkeys(teacher for names in teachers.values() for teacher in names)
    made = {**scored, **pooled}
    named = [name for each in ensembles if (name := f"{ENSEMBLE}-{each}") in made]
    known = [*dict.fromkeys((*recipe, *trained, *taught, *named, *made))]
    parts = roles(known, teachers, {name: origin for name, (origin, _) in starts.items()})
    models = [
        Model(
            name=name,
            role=parts[name],
            teachers=teachers.get(name, ()),
            start=starts.get(name),
            training=training.get(name),
            pooled=_read(pooled[name] / "ensemble.json", _POOLED) if name in pooled else None,
            log=tuple(_read_log(trained[name] / "log.jsonl")) if name in trained else (),
            scores=_read_scores(scored[name]) if name in scored else {},
            answers=_read_answers(scored[name]) if name in scored else {},
        )
        for name in known
    ]
    return tuple(sorted(models, key=lambda model: ROLES.index(model.role)))


def _folders(parent: Path) -> dict[str, Path]:
    """Name -> folder, sorted; hidden folders are work in progress."""
    found = sorted(parent.iterdir()) if parent.is_dir() else []
    return {path.name: path for path in found if path.is_dir() and path.name[0] != "."}


def _sections(path: Path, text: str | None, *keys: str) -> Iterator[dict[str, dict[str, Any]]]:
    """What a recipe has under `models:` and the like, as far as it has the form of a recipe."""
    try:
        recipe = yaml.safe_load(text or "")
    except yaml.YAMLError as error:
        raise _corrupt(path, "a YAML recipe", " ".join(str(error).split())) from None
    for key in keys:
        found = recipe.get(key) if isinstance(recipe, dict) else None
        entries = found if isinstance(found, dict) else {}
        yield {str(n): entry if isinstance(entry, dict) else {} for n, entry in entries.items()}


def _teachers(entry: Mapping[str, Any]) -> tuple[str, ...]:
    named = entry.get("teachers")
    return tuple(map(str, named)) if isinstance(named, list) else ()


def _start(entry: Mapping[str, Any]) -> tuple[str, str] | None:
    start = entry.get("start")
    if not isinstance(start, dict) or "model" not in start:
        return None
    return str(start["model"]), str(start.get("weights", "last"))


def _score_files(folder: Path) -> list[Path]:
    """One file a suite; `manifest.json` is the artifact's own note, not a suite."""
    files = sorted(folder.glob("*.json")) if folder.is_dir() else []
    return [file for file in files if file.name != "manifest.json"]


def _read_scores(folder: Path) -> dict[str, SuiteScores]:
    scores = {file.stem: _read(file, _SCORES) for file in _score_files(folder)}
    return {suite: found for suite, found in scores.items() if found is not None}


def _read_answers(folder: Path) -> dict[str, Answers]:
    answers = {file.stem: read_answers(file) for file in _score_files(folder)}
    return {suite: found for suite, found in answers.items() if found is not None}


def _read_log(path: Path) -> Iterator[LogRow]:
    if path.is_file():
        for line in path.read_bytes().splitlines():
            yield _parse(path, line, _LOG_ROW)


def _read(path: Path, form: TypeAdapter[Part]) -> Part | None:
    return _parse(path, path.read_bytes(), form) if path.is_file() else None


def _parse(path: Path, text: bytes, form: TypeAdapter[Part]) -> Part:
    try:
        return form.validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        found = " ".join([*map(str, first["loc"]), first["msg"]])
        raise _corrupt(path, "JSON as the pipeline writes it", found) from None


def _corrupt(path: Path, expected: str, found: str) -> CorruptDataError:
    return CorruptDataError(
        f"{path}: expected {expected}, found: {found}; delete that file and run again"
    )


def _gaps(results: Results) -> Iterator[str]:
    whole = {
        "recipe": (results.recipe, "recipe.yaml"),
        "corpus figures": (results.corpus, "corpus/corpus.json"),
        "tokenizer figures": (results.fertility, "tokens/fertility.json"),
        "token counts": (results.tokens, "tokens/tokens.json"),
        "stage timings": (results.stages, "stages.json"),
        "models": (results.models, "models/"),
        "scores": (results.suites, "scores/"),
    }
    for part, (found, place) in whole.items():
        if not found:
            yield f"No {part}: this run has no {place}."
    for model in results.models:
        if model.role != "ensemble" and model.training is None:
            yield f"{model.name} has no training.json (from outside, or not trained yet): no curve."
        elif model.training is not None and not any(model.curve("step", key) for key in LOSSES):
            yield f"{model.name} has no training log: no loss curve."
        unscored = [suite for suite in results.suites if suite not in model.scores]
        if unscored:
            yield f"{model.name} has no scores on {', '.join(unscored)}."
