"""The items of a task: what it is trained on, and what its score is reported on.

Which items of an MSGS file are scored is the rule of babylm/evaluation-pipeline-2023
(`finetune_classification.py`): wherever a row has a `condition`, the reported score is over those
with `test`. That holds for the control tasks too: their test file has 500 items built like the
training items and 500 of other make, and only these are scored. In the mixed tasks the items with
`test` are those on which the linguistic and the surface feature disagree.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from babyllama.errors import CorruptDataError, RecipeError
from babyllama.evaluation.finetuning.places import find_place
from babyllama.evaluation.finetuning.rows import Form, Row, read_rows
from babyllama.evaluation.finetuning.tasks import TASKS, Task
from babyllama.seeds import generator
from babyllama.store import file_digest

SPLIT_SEED = 1
"""One split for all models and seeds, so that their scores are over the same items."""
SPLIT_SHARE = 0.2
"""Of the reported items: how many stay reported when training items are split off."""
ID_KEYS = ("idx", "sentenceID", "index")
"""What a row's own name is called: by BabyLM, by MSGS, and in GLUE's tables."""


class TaskNotRun(RecipeError):  # noqa: N818 - a state of a task, which the table then shows
    """A task whose files are not there; `reason` says which file is wanted."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class Example:
    """One item of a task."""

    id: str
    """What the file calls it, or else its place among the task's items, from 0."""
    parts: tuple[str, ...]
    """The values of the task's fields."""
    label: int
    scored: bool = True
    """False: in the file, but not counted in the metric."""


@dataclass(frozen=True)
class TaskData:
    """The items of a task, and where they are from."""

    train: Sequence[Example]
    reported: Sequence[Example]
    files: Mapping[str, Path]
    """By role: train, reported, and reported-2 where two files are reported as one."""
    digest: str
    """SHA-256 over the files and the split."""
    split_of_reported: bool
    """Whether the training items were split off the reported file, for want of their own."""
    base: "TaskData | None" = None
    """The items of the task whose classifier is scored, where this one has none of its own."""


def read_task(task: Task, data: Path, *, split_reported: bool = False) -> TaskData:
    """Find a task's files in a folder (the places are in `places`) and read them.

    With `split_reported` a task that has no training file gets four fifths of its reported items
    to train on; rows that share a passage stay together. A task with a training file, and an MSGS
    task, whose score would then be over conditions that it was trained on, are not split.

    Raises:
        RecipeError: no such folder.
        TaskNotRun: the training file or the reported one is missing.
        CorruptDataError: a file that is not what it should be; the message has file and line.
    """
    if not data.is_dir():
        raise RecipeError(f"data folder {data} does not exist: check --data")
    place = find_place(task, data)
    if place.missing:
        raise TaskNotRun(_wanted(task, "reported", place.missing[0], data))
    reported = _examples(task, place.reported, place.form, reported=True)
    files = _roles("reported", place.reported)
    if task.trained_as:
        base = read_task(TASKS[task.trained_as], data, split_reported=split_reported)
        trained = {role: path for role, path in base.files.items() if role.startswith("train")}
        own = _task_data(base.train, reported, {**trained, **files}, base.split_of_reported)
        return replace(own, base=base)
    if place.train.is_file():
        train = _examples(task, (place.train,), place.form)
        return _task_data(train, reported, {"train": place.train, **files}, False)
    if not split_reported or task.group == "msgs":
        raise TaskNotRun(_wanted(task, "training", place.train, data))
    train, kept = _split(task, reported)
    return _task_data(train, kept, {**_roles("train", place.reported), **files}, True)


def _wanted(task: Task, role: str, path: Path, data: Path) -> str:
    """The reason why a task is not run."""
    return (
        f"{task.name} has no {role} file: put {path.relative_to(data)}, or one of the others that"
        f" docs/finetuning.md lists, into {data}"
    )


def _roles(role: str, paths: Sequence[Path]) -> dict[str, Path]:
    """Paths by role: the role, role-2, and so on."""
    return {role if at == 1 else f"{role}-{at}": path for at, path in enumerate(paths, 1)}


def _task_data(
    train: Sequence[Example],
    reported: Sequence[Example],
    files: Mapping[str, Path],
    split: bool,
) -> TaskData:
    """All of it, with the digest over roles, files and the rule of the split."""
    lines = [f"{role} {file_digest(path)}" for role, path in sorted(files.items())]
    if split:
        lines.append(f"split {SPLIT_SEED} {SPLIT_SHARE}")
    digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    return TaskData(train, reported, files, digest, split)


def _examples(
    task: Task, paths: Sequence[Path], form: Form, *, reported: bool = False
) -> list[Example]:
    """The items of files, one file after the other."""
    rows = [row for path in paths for row in read_rows(path, form)]
    examples = [_example(task, row, at, reported) for at, row in enumerate(rows)]
    if reported:
        _check_ids(rows, examples)
    if not any(example.scored for example in examples):
        raise CorruptDataError(
            f"{paths[0]} has no item with the condition 'test': nothing would be scored"
        )
    return examples


def _example(task: Task, row: Row, at: int, reported: bool) -> Example:
    """One item; only reported items of MSGS may be there without being scored."""
    scored = not reported or task.group == "glue" or row.required("condition") == "test"
    parts = tuple(row.text(key) for key in task.fields)
    return Example(_id(row, at), parts, _label(task, row), scored)


def _id(row: Row, at: int) -> str:
    """A row's own id; those of MultiRC have several numbers."""
    own = next((row.values[key] for key in ID_KEYS if key in row.values), at)
    return "-".join(map(str, own.values())) if isinstance(own, dict) else str(own)


def _label(task: Task, row: Row) -> int:
    """A label's id, from its id or its name."""
    value = row.values["label"] if "label" in row.values else row.required(task.label_key)
    names = [*task.labels, *map(str, range(len(task.labels)))]
    if str(value) not in names:
        raise CorruptDataError(
            f"{row.where} has the label {value!r}: expected one of {', '.join(task.labels)}, or"
            f" its number from 0 to {len(task.labels) - 1}"
        )
    return names.index(str(value)) % len(task.labels)


def _check_ids(rows: Sequence[Row], examples: Sequence[Example]) -> None:
    """Predictions of reported items are joined by their ids, so none may come twice."""
    seen: dict[str, Row] = {}
    for row, example in zip(rows, examples, strict=True):
        if example.id in seen:
            raise CorruptDataError(
                f"{row.where} has the id {example.id!r} of {seen[example.id].where}: give each"
                " item its own"
            )
        seen[example.id] = row


def _split(task: Task, reported: Sequence[Example]) -> tuple[list[Example], list[Example]]:
    """Training items split off the reported ones, and those that stay; both in file order.

    Rows that share a passage, or without passages all of their text, are drawn together, until a
    fifth of the items is kept as reported.
    """
    at = task.passage_place
    groups: dict[object, list[int]] = {}
    for number, example in enumerate(reported):
        key = example.parts if at is None else example.parts[at]
        groups.setdefault(key, []).append(number)
    kept: set[int] = set()
    members = [*groups.values()]
    for group in generator(SPLIT_SEED, "split of reported").permutation(len(members)):
        if len(kept) >= SPLIT_SHARE * len(reported):
            break
        kept.update(members[group])
    if len(kept) == len(reported):
        raise TaskNotRun(f"{task.name} cannot be split: all reported items share one text")
    train = [example for number, example in enumerate(reported) if number not in kept]
    return train, [reported[number] for number in sorted(kept)]
