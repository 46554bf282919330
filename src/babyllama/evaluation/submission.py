"""Predictions in the formats that BabyLM takes as a hand-in, chosen by the end of the file's name.

`.jsonl`: one JSON object a subtask with `task`, `sub_task` and `predictions`, as BabyLM 2023 has it
(babylm/evaluation-pipeline-2023, collect_results.py). `.json`: one object, task -> subtask ->
`predictions`, as 2024 and 2025 have it (evaluation-pipeline-2024, collect_results.py;
evaluation-pipeline-2025, README and evaluation_pipeline/collate_preds.py), where the supplement is
called `blimp_supplement` and MSGS is no task. In all of them a prediction has an `id`, which is
`<subtask>_<place in its file, from 0>`, and a `pred`: the sentence that the model finds more
probable, or a label, which is text in 2023 and a number later.
"""

import json
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from babyllama.corpus.fetching.registry import entry
from babyllama.errors import CorruptDataError, RecipeError
from babyllama.evaluation.minimal_pairs import Pair, read_pairs
from babyllama.evaluation.suites import FILTERED_PAIRS
from babyllama.store import write_text

Task = Literal["blimp", "supplement", "glue", "msgs"]
SUB_TASKS: Mapping[Task, Sequence[str]] = {
    # The files of 2023 hold a phenomenon each, those of 2024 and later a paradigm.
    "blimp": (
        *("anaphor_agreement", "argument_structure", "binding", "control_raising", "ellipsis"),
        *("determiner_noun_agreement", "filler_gap", "irregular_forms", "island_effects"),
        *("npi_licensing", "quantifiers", "subject_verb_agreement"),
        *(Path(file).stem for file in entry("blimp").bytes),
    ),
    "supplement": (
        *("hypernym", "qa_congruence_easy", "qa_congruence_tricky", "subject_aux_inversion"),
        "turn_taking",
    ),
    "glue": (
        *("cola", "sst2", "mrpc", "qqp", "mnli", "mnli-mm", "qnli", "rte", "boolq", "multirc"),
        "wsc",
    ),
    "msgs": (
        *("main_verb_control", "control_raising_control", "syntactic_category_control"),
        *("relative_position_control", "lexical_content_the_control"),
        *("main_verb_lexical_content_the", "main_verb_relative_token_position"),
        *("control_raising_lexical_content_the", "control_raising_relative_token_position"),
        *("syntactic_category_lexical_content_the", "syntactic_category_relative_position"),
    ),
}
LATER_NAMES: Mapping[Task, str] = {
    "blimp": "blimp",
    "supplement": "blimp_supplement",
    "glue": "glue",
}
"""What 2024 and 2025 call the tasks."""


@dataclass(frozen=True)
class Subtask:
    """What a model answered to all items of one subtask, in the order of its file."""

    task: Task
    sub_task: str
    predictions: tuple[tuple[str, str | int], ...]
    """(id, prediction)"""

    def listed(self, *, labels_as_text: bool) -> list[dict[str, str | int]]:
        """The predictions as both formats have them."""
        return [
            {"id": name, "pred": str(answer) if labels_as_text else answer}
            for name, answer in self.predictions
        ]


def subtask(
    task: Task, sub_task: str, predictions: Iterable[tuple[int | str, str | int]]
) -> Subtask:
    """A subtask from pairs of an item and the answer to it: a sentence, or the number of a label.

    An item that is given as its place in the file, from 0, gets the `id` that BabyLM gives it.

    Raises:
        RecipeError: BabyLM has no such subtask, or there are no predictions.
    """
    if sub_task not in SUB_TASKS[task]:
        raise RecipeError(
            f"{sub_task} is no subtask of {task} in BabyLM: expected one of"
            f" {', '.join(SUB_TASKS[task])}"
        )
    named = tuple(
        (f"{sub_task}_{item}" if isinstance(item, int) else item, answer)
        for item, answer in predictions
    )
    if not named:
        raise RecipeError(f"{task}/{sub_task} has no predictions: hand in what was scored")
    return Subtask(task, sub_task, named)


def pair_subtasks(suite: Path, chosen: Mapping[Pair, str]) -> list[Subtask]:
    """A subtask for each pair file of a suite, from what a model chose of every pair.

    Raises:
        RecipeError: a file that BabyLM does not have.
    """
    task = pair_task(suite)
    return [
        subtask(task, name, enumerate(chosen[pair] for pair in pairs))
        for name, pairs in read_pairs(suite).items()
    ]


def pair_task(suite: Path) -> Task:
    """Whether a folder holds files of BLiMP or of the supplement, by their names.

    Raises:
        RecipeError: neither.
        RecipeError, CorruptDataError: as `read_pairs`.
    """
    names = [*read_pairs(suite)]
    tasks: tuple[Task, ...] = ("blimp", "supplement")
    for task in tasks:
        if set(names) <= set(SUB_TASKS[task]):
            return task
    other = next(name for name in names if name not in SUB_TASKS["blimp"])
    raise RecipeError(
        f"--predictions: {other} in {suite} is no subtask of BabyLM's BLiMP or supplement: give one"
        " of these suites, or leave --predictions out"
    )


def check_hand_in(file: Path, suite: Path, models: Sequence[Path], limit: int | None) -> None:
    """Refuse predictions that could not be handed in, before they are made.

    Warns where the file has predictions of the same subtasks, which will be replaced.

    Raises:
        RecipeError: several models, a part of the pairs, another suite than BLiMP or the
            supplement, a subtask that the format does not have, a name that says no format.
        CorruptDataError: a file that is there and holds something else.
    """
    if len(models) > 1:
        raise RecipeError(
            f"--predictions: a hand-in is of one model, and {len(models)} are given: name one"
        )
    if limit:
        raise RecipeError("--predictions: a hand-in has every pair: leave --limit out")
    task = pair_task(suite)
    has = {(each.task, each.sub_task) for each in read_submission(file)}
    counts = {name: len(pairs) for name, pairs in read_pairs(suite).items()}
    (_check_2023 if file.suffix == ".jsonl" else _check_whole)(task, counts)
    if again := [name for name in counts if (task, name) in has]:
        message = f"{file} has predictions of {task} already, which are replaced:"
        warnings.warn(f"{message} {', '.join(again)}", stacklevel=2)


def _check_2023(task: Task, counts: Mapping[str, int]) -> None:
    """Hold subtasks against those of 2023, whose collect_results.py takes no paradigm of BLiMP."""
    paradigms = {Path(file).stem for file in entry("blimp").bytes}
    if task == "blimp" and (wrong := next((name for name in counts if name in paradigms), None)):
        raise RecipeError(
            f"--predictions: {wrong} is a paradigm, and BabyLM 2023 (.jsonl) takes phenomena: give"
            " --suite blimp-2023, or name a .json file, the format of 2024 and 2025"
        )


def _check_whole(task: Task, counts: Mapping[str, int]) -> None:
    """Hold the pairs of every subtask against those that BabyLM 2025 counts."""
    wanted = FILTERED_PAIRS[LATER_NAMES[task]]
    for name in [*wanted, *counts]:
        if counts.get(name, 0) != wanted.get(name, 0):
            raise RecipeError(
                f"--predictions: {task}/{name} has {counts.get(name, 0)} pairs, and BabyLM 2025"
                f" (.json) wants {wanted.get(name, 0)}: give --suite {task}-filtered, all of it"
            )


def write_submission(file: Path, subtasks: Iterable[Subtask]) -> None:
    """Write subtasks to a hand-in, beside those that it has; one of the same name is replaced.

    Raises:
        RecipeError: a name that says no format, or MSGS in that of 2024 and 2025.
        CorruptDataError: the file is there and is no hand-in.
    """
    kept = {(each.task, each.sub_task): each for each in read_submission(file)}
    whole = kept | {(each.task, each.sub_task): each for each in subtasks}
    as_text = _as_lines if file.suffix == ".jsonl" else _as_object
    write_text(file, as_text([*whole.values()]))


def _as_lines(subtasks: Sequence[Subtask]) -> str:
    rows = (
        {
            "task": each.task,
            "sub_task": each.sub_task,
            "predictions": each.listed(labels_as_text=True),
        }
        for each in subtasks
    )
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _as_object(subtasks: Sequence[Subtask]) -> str:
    found: dict[str, dict[str, Any]] = {}
    for each in subtasks:
        if each.task not in LATER_NAMES:
            raise RecipeError(
                f"{each.task} is no task of BabyLM 2024 or 2025: name a .jsonl file, the format of"
                " 2023"
            )
        predictions = each.listed(labels_as_text=False)
        found.setdefault(LATER_NAMES[each.task], {})[each.sub_task] = {"predictions": predictions}
    return json.dumps(found, ensure_ascii=False) + "\n"


def read_submission(file: Path) -> list[Subtask]:
    """The subtasks of a hand-in; none where there is no such file.

    Raises:
        RecipeError: a name that says no format.
        CorruptDataError: it is no hand-in.
    """
    if file.suffix not in (".jsonl", ".json"):
        raise RecipeError(
            f"hand-in {file}: end its name in .jsonl (BabyLM 2023) or .json (2024, 2025)"
        )
    if not file.exists():
        return []
    try:
        text = file.read_text("utf-8")
        rows = _lines_of(text) if file.suffix == ".jsonl" else _subtasks_of(json.loads(text))
        return [
            subtask(task, name, [(each["id"], each["pred"]) for each in predictions])
            for task, name, predictions in rows
        ]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecipeError) as error:
        raise CorruptDataError(
            f"{file} is there and is no hand-in of that format ({type(error).__name__}: {error}):"
            " move it away or name another file"
        ) from None


def _lines_of(text: str) -> list[tuple[Task, str, Any]]:
    rows = [json.loads(line) for line in text.split("\n") if line.strip()]
    return [(row["task"], row["sub_task"], row["predictions"]) for row in rows]


def _subtasks_of(found: Any) -> list[tuple[Task, str, Any]]:
    tasks = {name: task for task, name in LATER_NAMES.items()}
    return [
        (tasks[name], sub_task, content["predictions"])
        for name, subtasks in found.items()
        for sub_task, content in subtasks.items()
    ]
