"""A tiny model, tasks so small that a training takes a moment, and suites of such trainings."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from transformers import PreTrainedModel

from babyllama.evaluation.finetuning import job as job_module
from babyllama.evaluation.finetuning import suite as module
from babyllama.evaluation.finetuning.job import Choices
from babyllama.evaluation.finetuning.presets import Settings
from babyllama.evaluation.finetuning.results import Finetuning
from babyllama.evaluation.finetuning.tasks import resolve_tasks
from babyllama.evaluation.finetuning.training import Fit
from babyllama.evaluation.finetuning.tuning import GRID
from babyllama.models.folders import save_model

from .task_files import rte, write_rows

Build = Callable[..., PreTrainedModel]
Run = Callable[..., Finetuning]

QUICK = Settings(
    learning_rate=1e-2,
    batch_size=8,
    max_epochs=2,
    patience=10,
    eval_every_steps=3,
    seed=12,
    max_length=32,
)


def pairs(count: int, labels: int = 2, *, fields: tuple[str, str]) -> list[dict[str, Any]]:
    """Rows whose label is to be read off the second text."""
    first, second = fields
    words = ["reeds", "water", "heron"]
    return [
        {
            first: f"the heron {n}",
            second: f"is the {words[n % labels]}",
            "label": n % labels,
            "idx": n,
        }
        for n in range(count)
    ]


def msgs_rows(count: int, condition: str) -> list[dict[str, Any]]:
    return [
        {
            "sentence": f"the {'heron' if n % 2 else 'water'} waits {n}",
            "condition": condition,
            "linguistic_feature_label": n % 2,
            "surface_feature_label": None,
        }
        for n in range(count)
    ]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """RTE in the layout of BabyLM 2025: five rows to train on and three that are reported."""
    write_rows(tmp_path / "rte.train.jsonl", rte(5))
    write_rows(tmp_path / "rte.valid.jsonl", rte(3, first=90))
    return tmp_path


@pytest.fixture(scope="session")
def tasks_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """RTE, MNLI with MNLI-mm, BoolQ without training items, and MSGS' MV; no test may change it."""
    folder = tmp_path_factory.mktemp("tasks")
    two, nli = ("sentence1", "sentence2"), ("premise", "hypothesis")
    write_rows(folder / "rte.train.jsonl", pairs(40, fields=two))
    write_rows(folder / "rte.valid.jsonl", pairs(10, fields=two))
    write_rows(folder / "mnli.train.jsonl", pairs(30, 3, fields=nli))
    write_rows(folder / "mnli.valid.jsonl", pairs(9, 3, fields=nli))
    write_rows(folder / "mnli-mm.valid.jsonl", pairs(12, 3, fields=nli))
    write_rows(folder / "boolq.valid.jsonl", pairs(10, fields=("passage", "question")))
    own = folder / "main_verb_control"
    write_rows(own / "train.jsonl", msgs_rows(20, "training"))
    write_rows(own / "test.jsonl", msgs_rows(6, "training") + msgs_rows(8, "test"))
    return folder


@pytest.fixture(scope="session")
def pretrained(build: Build, tokenizer: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny LLaMA in a folder of its own, with its tokenizer."""
    folder = tmp_path_factory.mktemp("pretrained") / "tiny"
    save_model(build("llama"), Path(tokenizer.name_or_path), folder)
    return folder


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trainings of a moment, whatever the preset."""
    monkeypatch.setattr(module, "preset", lambda *_: QUICK)


@pytest.fixture
def small_grid(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two tries: two learning rates."""
    monkeypatch.setitem(GRID, "learning_rate", (1, 3))
    monkeypatch.setitem(GRID, "max_epochs", (1,))
    monkeypatch.setitem(GRID, "batch_size", (1,))


@pytest.fixture
def fits(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The trainings that are run, by label."""
    labels: list[str] = []
    plain = job_module.fit

    def counted(*arguments: Any, label: str, **rest: Any) -> Fit:
        labels.append(label)
        return plain(*arguments, label=label, **rest)

    monkeypatch.setattr(job_module, "fit", counted)
    return labels


@pytest.fixture
def run(quick: None, pretrained: Path, tasks_folder: Path, tmp_path: Path) -> Run:
    """Tiny models on tasks, in float32, into `out`."""

    def tuned(*names: str, models: Any = None, data: Path = tasks_folder, **choices: Any) -> Any:
        given = Choices(precision="fp32", **choices)
        folders = models or [pretrained]
        return module.finetune(folders, resolve_tasks(names), data, tmp_path / "out", given)

    return tuned
