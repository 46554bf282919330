"""What fine-tuning found: a file a task, rows to join, and a table that leaves no task out."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from rich.console import Group
from rich.table import Table
from rich.text import Text

from babyllama.errors import CorruptDataError
from babyllama.evaluation.finetuning.tasks import Task
from babyllama.evaluation.statistics import over_seeds
from babyllama.store import write_json

Selection = Literal["held-out", "reported"]
METRICS = {"mcc": "MCC", "f1": "F1", "accuracy": "accuracy"}
GROUPS = {"glue": "(Super)GLUE", "msgs": "MSGS"}
Repeats = Literal["single", "same", "different"]
_CAPTIONS: Mapping[Repeats, str] = {
    "single": "± standard error",
    "same": "± standard deviation over seeds",
    "different": "± standard deviation over (n) seeds, with (1) ± standard error",
}


@dataclass(frozen=True, kw_only=True)
class Result:
    """One model on one task with one seed."""

    model: str
    task: str
    group: str
    metric: str
    value: float
    """On the scored items of the reported split, from 0 or -1 (MCC) to 1."""
    standard_error: float
    n: int
    """Scored items."""
    seed: int
    labels: Sequence[str]
    selection: Selection
    """Which split chose the moment (and with tuning the settings): `reported` is the one that the
    value is of, so that the value is too high."""
    selection_n: int
    """Items of the selection split."""
    training_n: int
    preset: str
    note: str
    """What of the preset is not known for this task."""
    settings: Mapping[str, Any]
    precision: str
    limit: int | None
    """Items a split, at most."""
    split_of_reported: bool
    """Whether the training items were split off the reported file."""
    best: Mapping[str, Any]
    """The selected moment."""
    curve: Sequence[Mapping[str, Any]]
    """Every evaluation on the way."""
    tuning: Mapping[str, Any] | None
    """With tuning: the grid, all tries with their curves, and how rough their scores are."""
    predictions: Sequence[Mapping[str, Any]]
    """The `id` and the predicted label's number, `pred`, of every reported item, also of those that
    are not scored, in file order."""
    files: Mapping[str, str]
    data_sha256: str
    model_sha256: str
    fingerprint: str
    seconds: float

    @property
    def erratic(self) -> bool:
        """Whether the selection score moved erratically with the hyper-parameters."""
        return bool(self.tuning and self.tuning["roughness"]["erratic"])

    def write(self, file: Path) -> None:
        """Write the result, whole or not at all."""
        file.parent.mkdir(parents=True, exist_ok=True)
        write_json(file, asdict(self))


def read_result(file: Path) -> Result:
    """A result from its file.

    Raises:
        CorruptDataError: the file is not one.
    """
    try:
        return Result(**json.loads(file.read_text("utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise CorruptDataError(
            f"{file} is no result of fine-tuning ({str(error)[:200]}): delete it and run again"
        ) from None


@dataclass(frozen=True)
class NotRun:
    """A task of a model that has no result, and why."""

    model: str
    task: str
    group: str
    reason: str
    diverged: bool = False


@dataclass(frozen=True)
class Figure:
    """A score as rows and tables have it: of one seed, or the mean over seeds."""

    value: float
    standard_error: float
    """For a mean over seeds the mean of theirs: the items are the same."""
    deviation: float
    """Over seeds (n - 1); nan for a single one. Of a mean over tasks: over the seeds all have."""
    n: int
    """Items, or tasks of a mean over tasks."""
    seeds: tuple[int, ...]
    """All of them, of any task."""
    repeats: int
    """How many seeds the deviation is over; below 2 there is none."""


@dataclass(frozen=True)
class Finetuning:
    """All that a command found, for some models on some tasks."""

    tasks: Sequence[Task]
    models: Sequence[str]
    results: Sequence[Result]
    not_run: Sequence[NotRun]

    def rows(self) -> list[dict[str, Any]]:
        """One row a figure: every result, means over seeds, means over tasks, tasks not run."""
        rows = [_row([each], _figure([each])) for each in self.results]
        for model in self.models:
            several = [found for found in self._by_task(model).values() if len(found) > 1]
            rows += [_row(found, _figure(found)) for found in several]
            rows += self._mean_rows(model)
        return rows + [_missing_row(each) for each in self.not_run]

    def _by_task(self, model: str) -> dict[str, list[Result]]:
        """Task -> its results over seeds, tasks in the table's order, only those that are there."""
        found = {
            task.name: [r for r in self._of(model) if r.task == task.name] for task in self.tasks
        }
        return {name: results for name, results in found.items() if results}

    def _of(self, model: str) -> list[Result]:
        return [result for result in self.results if result.model == model]

    def _mean_rows(self, model: str) -> list[dict[str, Any]]:
        rows = []
        for group in GROUPS:
            over = self.means(model, group)
            if not over:
                continue
            names, mean = over
            parts = [each for name in names for each in self._by_task(model)[name]]
            row = _row(parts, mean) | {"task": f"mean/{group}", "metric": "mean", "over": names}
            rows.append(row | {"data_sha256": None})
        return rows

    def means(self, model: str, group: str) -> tuple[list[str], Figure] | None:
        """The tasks of a group that were run, and the mean of their scores; None without any."""
        found = {name: r for name, r in self._by_task(model).items() if r[0].group == group}
        if not found:
            return None
        return [*found], _mean([_figure(results) for results in found.values()], [*found.values()])

    def table(self) -> Group:
        """Scores in %, means with the tasks they are over, marks, and the tasks not run."""
        seeds = sorted({result.seed for result in self.results})
        title = Text(f"fine-tuning, score in % {_CAPTIONS[self._repeats()]}")
        table = Table(title=title, box=None, pad_edge=False)
        table.add_column("task")
        table.add_column("metric")
        for model in self.models:
            table.add_column(Text(model), justify="right", overflow="fold")
        for group in GROUPS:
            self._add_group(table, group)
        return Group(table, *(Text(line) for line in self._notes(seeds)))

    def _add_group(self, table: Table, group: str) -> None:
        asked = [task for task in self.tasks if task.group == group]
        for task in asked:
            cells = [self._cell(model, task) for model in self.models]
            table.add_row(task.name, METRICS[task.metric], *cells)
        if asked:
            cells = []
            for model in self.models:
                over = self.means(model, group)
                if not over:
                    cells.append("not run")
                    continue
                parts = [each for name in over[0] for each in self._by_task(model)[name]]
                count = f"({len(over[0])} of {len(asked)} tasks)"
                cells.append(f"{self._shown(over[1])}{_marks(parts)} {count}")
            table.add_row(f"mean of {GROUPS[group]}", "", *cells, end_section=True)

    def _cell(self, model: str, task: Task) -> str:
        found = self._by_task(model).get(task.name)
        if not found:
            return "not run"
        return f"{self._shown(_figure(found))}{_marks(found)}"

    def _repeats(self) -> Repeats:
        """Whether the table's figures are each of one seed, all of as many, or of different n."""
        figures = [_figure(f) for model in self.models for f in self._by_task(model).values()]
        means = (self.means(model, group) for model in self.models for group in GROUPS)
        figures += [over[1] for over in means if over]
        counts = {max(1, figure.repeats) for figure in figures}
        return "single" if counts <= {1} else "same" if len(counts) == 1 else "different"

    def _shown(self, figure: Figure) -> str:
        """A figure in %, with its deviation or, of a single seed, its standard error."""
        error = figure.deviation if figure.repeats > 1 else figure.standard_error
        count = f" ({max(1, figure.repeats)})" if self._repeats() == "different" else ""
        return f"{100 * figure.value:.2f} ± {100 * error:.2f}{count}"

    def _notes(self, seeds: Sequence[int]) -> list[str]:
        """What stands below the table."""
        notes = [f"seeds {', '.join(map(str, seeds))}"] if seeds else []
        notes += sorted({told_selection(each) for each in self.results})
        if any(each.limit for each in self.results):
            notes.append(f"at most {self.results[0].limit} items a split: a trial, not a result")
        for model in self.models:
            for group, name in GROUPS.items():
                if over := self.means(model, group):
                    notes.append(f"{model}: mean of {name} over {', '.join(over[0])}")
        if any(each.erratic for each in self.results):
            notes.append("† the selection score moved erratically with the hyper-parameters")
        if any(each.split_of_reported for each in self.results):
            notes.append("* trained on four fifths of the reported file, scored on the rest")
        notes += sorted({each.note for each in self.results if each.note})
        reasons: dict[tuple[str, str], list[str]] = {}
        for each in self.not_run:
            reasons.setdefault((each.task, each.reason), []).append(each.model)
        for (task, reason), models in reasons.items():
            whose = "" if len(models) == len(self.models) else f" ({', '.join(models)})"
            notes.append(f"not run: {task}{whose}: {reason}")
        return notes


def told_selection(result: Result) -> str:
    """The selection in words."""
    if result.selection == "reported":
        return "SELECTED ON THE REPORTED SPLIT, as published: the scores are too high"
    return (
        f"selected on {100 * result.settings['selection_share']:g} % held out of the training data"
    )


def _figure(found: Sequence[Result]) -> Figure:
    """One task of one model over its seeds."""
    mean, deviation = over_seeds([each.value for each in found])
    error = math.fsum(each.standard_error for each in found) / len(found)
    seeds = tuple(each.seed for each in found)
    return Figure(mean, error, deviation, found[0].n, seeds, len(seeds))


def _mean(figures: Sequence[Figure], results: Sequence[Sequence[Result]]) -> Figure:
    """The plain mean over tasks: standard errors as of independent tasks, seeds one by one."""
    count = len(figures)
    shared = set.intersection(*(set(figure.seeds) for figure in figures))
    by_seed = [
        math.fsum(each.value for found in results for each in found if each.seed == seed) / count
        for seed in sorted(shared)
    ]
    return Figure(
        value=math.fsum(figure.value for figure in figures) / count,
        standard_error=math.hypot(*(figure.standard_error for figure in figures)) / count,
        deviation=over_seeds(by_seed)[1] if by_seed else math.nan,
        n=count,
        seeds=tuple(sorted({seed for figure in figures for seed in figure.seeds})),
        repeats=len(shared),
    )


def _marks(parts: Sequence[Result]) -> str:
    """What a reader must know of a figure over these results."""
    erratic = "†" if any(each.erratic for each in parts) else ""
    return erratic + ("*" if any(each.split_of_reported for each in parts) else "")


def _row(parts: Sequence[Result], figure: Figure) -> dict[str, Any]:
    """A figure over results, with all that says how it was made; what one of them is, it is."""
    result = parts[0]
    told = {
        "selection": result.selection,
        "preset": result.preset,
        "tuned": any(each.tuning for each in parts),
        "split_of_reported": any(each.split_of_reported for each in parts),
        "precision": result.precision,
    }
    return {
        "model": result.model,
        "task": result.task,
        "metric": result.metric,
        "value": figure.value,
        "standard_error": figure.standard_error,
        "n": figure.n,
        "seeds": list(figure.seeds),
        "deviation": None if math.isnan(figure.deviation) else figure.deviation,
        "erratic": any(each.erratic for each in parts),
        "over": None,
        "not_run": None,
        "suite": result.group,
        "convention": ", ".join(f"{key} {value}" for key, value in told.items()),
        "limit": result.limit,
        "data_sha256": result.data_sha256,
        "model_sha256": result.model_sha256,
    }


_EMPTY = (
    *("metric", "value", "standard_error", "n", "seeds", "deviation", "erratic", "over"),
    *("convention", "limit", "data_sha256", "model_sha256"),
)


def _missing_row(each: NotRun) -> dict[str, Any]:
    told = {"model": each.model, "task": each.task, "suite": each.group, "not_run": each.reason}
    return told | dict.fromkeys(_EMPTY)
