"""Models on tasks, one classifier after the other: what is done stays, what is missing is made."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from babyllama.devices import pick_device, prepare_torch, resolve_precision
from babyllama.errors import (
    BabyllamaError,
    DivergedError,
    RecipeError,
    StoppedError,
    is_out_of_memory,
)
from babyllama.evaluation.finetuning.classifier import make_classifier
from babyllama.evaluation.finetuning.files import TaskData, TaskNotRun, read_task
from babyllama.evaluation.finetuning.hand_in import check_hand_in, write_hand_in
from babyllama.evaluation.finetuning.job import Choices, Job, Subject
from babyllama.evaluation.finetuning.presets import preset
from babyllama.evaluation.finetuning.results import METRICS, Finetuning, NotRun, Result
from babyllama.evaluation.finetuning.tasks import TASKS, Task
from babyllama.models.folders import check_folders, folder_digest
from babyllama.store import write_json
from babyllama.tokens.tokenizer import load_tokenizer
from babyllama.training.health import StopRequest
from babyllama.training.progress import console, minutes

ROWS = "rows.json"


def finetune(
    folders: Sequence[Path], tasks: Sequence[Task], data: Path, out: Path, choices: Choices
) -> Finetuning:
    """Fine-tune every model on every task; results, and the rows of all of them, go into `out`.

    A result that is there already, for the same model, data and settings, is not made again. All
    data and all models are read before anything is trained. A training that diverges is listed as
    not run. Predictions go into a hand-in, if one is named.

    Raises:
        RecipeError: a missing folder, a model named twice, an `out` that is a file, or as
            `check_hand_in`.
        CorruptDataError: data or a model that cannot be read.
        StoppedError: asked to stop by a signal; finished results stay.
    """
    _check(folders, out, choices)
    device = pick_device("auto")
    prepare_torch(device, None)
    # On a CPU bf16 costs more than it saves in batches this small: 109 ms a step against 71 for a
    # student of 1.7M parameters.
    narrow = "fp32" if device.type == "cpu" and choices.precision == "auto" else choices.precision
    choices = replace(choices, precision=resolve_precision(narrow, device))
    for folder in folders:
        make_classifier(folder, tasks[0], load_tokenizer(folder), seed=0, device=device)
    found, missing = _read(tasks, data, split_reported=choices.split_reported)
    if choices.predictions:
        check_hand_in(choices.predictions, folders, found, choices.seeds, choices.limit)
    results: list[Result] = []
    not_run = [
        NotRun(str(folder), task.name, task.group, missing[task.name])
        for folder in folders
        for task in tasks
        if task.name in missing
    ]
    stop = StopRequest()
    with stop.listening():
        for folder in folders:
            for job in _jobs(_subject(folder, out), found, choices, device, stop):
                try:
                    results += _done(job)
                except DivergedError as error:
                    lost = [TASKS[name] for name in job.data]
                    reason = str(error)
                    not_run += [
                        NotRun(str(folder), t.name, t.group, reason, diverged=True) for t in lost
                    ]
    whole = Finetuning(tasks, [str(folder) for folder in folders], results, not_run)
    write_json(out / ROWS, whole.rows())
    if choices.predictions:
        write_hand_in(choices.predictions, results)
    return whole


def check_complete(found: Finetuning) -> None:
    """Refuse to call it a success where a training diverged, or where nothing was run.

    Raises:
        DivergedError: some did; the others are done.
        RecipeError: no task has the files it needs.
    """
    if lost := [each for each in found.not_run if each.diverged]:
        names = ", ".join(f"{each.task} ({each.model})" for each in lost)
        raise DivergedError(f"diverged: {names}; all others are done, the reasons stand above")
    if not found.results:
        names = ", ".join(dict.fromkeys(each.task for each in found.not_run))
        raise RecipeError(f"no task was run ({names}): add the files named above, or check --data")


def _check(folders: Sequence[Path], out: Path, choices: Choices) -> None:
    check_folders(folders)
    if len(set(choices.seeds)) < len(choices.seeds):
        raise RecipeError(f"--seeds {choices.seeds}: one is named twice: name it once")
    if out.exists() and not out.is_dir():
        raise RecipeError(f"--out {out} is a file: name a folder")
    out.mkdir(parents=True, exist_ok=True)


def _read(
    tasks: Sequence[Task], data: Path, *, split_reported: bool
) -> tuple[dict[str, TaskData], dict[str, str]]:
    """Task -> its items, or the reason why it is not run."""
    found, missing = {}, {}
    for task in tasks:
        try:
            found[task.name] = read_task(task, data, split_reported=split_reported)
        except TaskNotRun as error:
            missing[task.name] = error.reason
    return found, missing


def _subject(folder: Path, out: Path) -> Subject:
    """Models of one name in different folders keep apart by their digest."""
    digest = folder_digest(folder)
    return Subject(
        folder=folder, digest=digest, place=out / f"{folder.resolve().name}-{digest[:8]}"
    )


def _jobs(
    subject: Subject,
    data: Mapping[str, TaskData],
    choices: Choices,
    device: torch.device,
    stop: StopRequest,
) -> list[Job]:
    """A job a classifier and seed, in the order of the tasks."""

    def pause() -> None:
        if stop.signal:
            raise StoppedError("fine-tuning stopped; the finished tasks are kept")

    together: dict[str, dict[str, TaskData]] = {}
    for name, items in data.items():
        together.setdefault(TASKS[name].trained_as or name, {})[name] = items
    jobs = []
    for name, scored in together.items():
        settings = preset(choices.preset, TASKS[name])
        jobs += [
            Job(
                subject=subject,
                task=TASKS[name],
                data=scored,
                settings=replace(settings, seed=seed),
                choices=choices,
                device=device,
                pause=pause,
            )
            for seed in choices.seeds or (settings.seed,)
        ]
    return jobs


def _done(job: Job) -> list[Result]:
    """The results of a job that is done, or is done now; a line about each."""
    was_done = job.is_done
    if not was_done:
        console().print(f"making {job.label}")
        try:
            job.run()
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            raise BabyllamaError(
                f"{job.label}: out of memory with batches of {job.settings.batch_size}: use a"
                " machine with more memory, or a smaller model"
            ) from None
    results = job.results()
    for result in results:
        score = f"{METRICS[result.metric]} {100 * result.value:.2f}"
        took = "up to date" if was_done else f"made in {minutes(result.seconds)}"
        console().print(f"  {job.label}: {result.task} {score}, {took}")
    return results
