"""Where the files of a task lie: a fixed list of places in one folder, the first of which counts.

For (Super)GLUE, each of `GLUE_FOLDERS` in order, and in it the names of BabyLM 2024 and 2025
(`<task>.train.jsonl`, `<task>.valid.jsonl`) before those of 2023 (`<task>.train.json`,
`<task>.validation.json`); then the releases of CoLA, SST-2 and QNLI. For MSGS, each of
`MSGS_FOLDERS`, and in it the generator's layout (`<long name>/train.jsonl`, `test.jsonl`) before
that of BabyLM 2023. The names were read in babylm/evaluation-pipeline-2023 (`finetune_model.sh`:
`filter-data/glue_filtered`, and `mnli.validation_mismatched.json` for MNLI-mm), -2024
(`finetune_model.sh`: `evaluation_data/glue_filtered`, `mnli-mm.valid.jsonl`) and -2025
(`eval_finetuning.sh`: `evaluation_data/full_eval/glue_filtered`).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from babyllama.evaluation.finetuning.rows import Form
from babyllama.evaluation.finetuning.tasks import Task

# A place of a task is in the folder that is given, or in one of these within it.
GLUE_FOLDERS = ("", "glue_filtered", "full_eval/glue_filtered", "glue", "glue/babylm2025_filtered")
MSGS_FOLDERS = ("", "msgs_filtered", "msgs")
COLA_FOLDERS = (
    "",
    "cola_public/raw",
    "glue/cola/cola_public/raw",
    "glue/cola/acceptability_corpus/cola_public/raw",
)
TABLE_FOLDERS = {
    "sst2": ("sst2", "glue/sst2", "SST-2", "glue/SST-2"),
    "qnli": ("qnli", "glue/qnli", "QNLI", "glue/QNLI"),
}
# SST-2 with its phrases is `train.tsv` in GLUE and `train_full.tsv` in copies that also have the
# sentences alone.
TABLE_TRAIN = {"sst2": ("train_full.tsv", "train.tsv"), "qnli": ("train.tsv",)}


@dataclass(frozen=True)
class Place:
    """The files of a task in one layout, there or not."""

    train: Path
    reported: tuple[Path, ...]
    form: Form

    @property
    def missing(self) -> tuple[Path, ...]:
        """The reported files that are not there."""
        return tuple(path for path in self.reported if not path.is_file())


def find_place(task: Task, data: Path) -> Place:
    """The first place with all files; else the first with reported ones, with training ones, any.

    The files of a task are all from one place: those of two layouts may share items.
    """
    found = [*places(task, data)]
    wanted = (
        lambda place: place.train.is_file() and not place.missing,
        lambda place: not place.missing,
        lambda place: place.train.is_file(),
    )
    for condition in wanted:
        for place in found:
            if condition(place):
                return place
    return found[0]


def places(task: Task, data: Path) -> Iterator[Place]:
    """Every place of a task in a folder, in the order in which they are tried."""
    if task.group == "msgs":
        yield from _msgs(task, data)
        return
    for folder in GLUE_FOLDERS:
        yield from _babylm(task, data / folder)
    if task.name == "cola":
        yield from (_cola(data / folder) for folder in COLA_FOLDERS)
    for folder in TABLE_FOLDERS.get(task.name, ()):
        for train in TABLE_TRAIN[task.name]:
            reported = (data / folder / "dev.tsv",)
            yield Place(data / folder / train, reported, "table")


def _babylm(task: Task, folder: Path) -> Iterator[Place]:
    """The names of BabyLM 2024 and 2025, then of 2023, which had MNLI's two sets under one name."""
    trained = task.trained_as or task.name
    valid = task.name.replace("_", "-")
    validation = {
        "mnli": "mnli.validation_matched",
        "mnli_mm": "mnli.validation_mismatched",
    }.get(task.name, f"{task.name}.validation")
    for train, reported in (
        (f"{trained}.train.jsonl", f"{valid}.valid.jsonl"),
        (f"{trained}.train.json", f"{validation}.json"),
    ):
        yield Place(folder / train, (folder / reported,), "json")


def _msgs(task: Task, data: Path) -> Iterator[Place]:
    for folder in MSGS_FOLDERS:
        own = data / folder / task.long_name
        yield Place(own / "train.jsonl", (own / "test.jsonl",), "json")
        train, validation = (
            own.with_name(f"{own.name}.{part}.json") for part in ("train", "validation")
        )
        yield Place(train, (validation,), "json")


def _cola(folder: Path) -> Place:
    """GLUE's development set of CoLA is the release's two: in domain, then out of domain."""
    names = ("in_domain_dev", "out_of_domain_dev")
    reported = tuple(folder / f"{name}.tsv" for name in names)
    return Place(folder / "in_domain_train.tsv", reported, "cola")
