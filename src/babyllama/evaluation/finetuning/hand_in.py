"""Predictions of fine-tuned models as a BabyLM hand-in, in the formats of `evaluation.submission`.

BabyLM's pipelines number a task's items by their place in the reported file, also those of MSGS
that are not scored (babylm/evaluation-pipeline-2023, collect_results.py).
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from babyllama.errors import RecipeError
from babyllama.evaluation.finetuning.files import TaskData
from babyllama.evaluation.finetuning.results import Result
from babyllama.evaluation.finetuning.tasks import TASKS
from babyllama.evaluation.submission import (
    LATER_NAMES,
    Subtask,
    read_submission,
    subtask,
    write_submission,
)


def check_hand_in(
    file: Path,
    folders: Sequence[Path],
    data: Mapping[str, TaskData],
    seeds: Sequence[int],
    limit: int | None,
) -> None:
    """Refuse predictions that could not be handed in, before they are made.

    Raises:
        RecipeError: several models or seeds, a part of the items, a task that the format lacks, a
            name that says no format, a folder that is not there.
        CorruptDataError: a file that is there and holds something else.
    """
    if len(folders) > 1:
        raise RecipeError(
            f"--predictions: a hand-in is of one model, and {len(folders)} are given: name one"
        )
    if len(seeds) > 1:
        raise RecipeError(
            f"--predictions: a hand-in is of one seed, and {len(seeds)} are given: name one"
        )
    if limit:
        raise RecipeError("--predictions: a hand-in has every item: leave --limit out")
    if split := [name for name, each in data.items() if each.split_of_reported]:
        raise RecipeError(
            f"--predictions: a hand-in has every item, and some of {', '.join(split)} are trained"
            " on: leave --split-reported out"
        )
    if not file.parent.is_dir():
        raise RecipeError(f"--predictions {file}: {file.parent} is no folder: create it first")
    read_submission(file)
    lost = [name for name in data if TASKS[name].group not in LATER_NAMES]
    if lost and file.suffix == ".json":
        raise RecipeError(
            f"--predictions {file}: BabyLM 2024 and 2025 have no {', '.join(lost)}: name a .jsonl"
            " file, the format of 2023, or other --tasks"
        )


def write_hand_in(file: Path, results: Iterable[Result]) -> None:
    """Write the predictions of results that `check_hand_in` let pass, beside what the file has."""
    if subtasks := [_subtask(result) for result in results]:
        write_submission(file, subtasks)


def _subtask(result: Result) -> Subtask:
    task = TASKS[result.task]
    name = task.long_name or task.name.replace("_", "-")
    return subtask(task.group, name, enumerate(int(each["pred"]) for each in result.predictions))
