"""A tiny model, and tasks so small that a training takes a moment."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from transformers import PreTrainedModel

from babyllama.evaluation.finetuning.presets import Settings
from babyllama.models.folders import save_model

Build = Callable[..., PreTrainedModel]

QUICK = Settings(
    learning_rate=1e-2,
    batch_size=8,
    max_epochs=2,
    patience=10,
    eval_every_steps=3,
    seed=12,
    max_length=32,
)


def write_rows(file: Path, rows: list[dict[str, Any]]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")


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


@pytest.fixture(scope="session")
def tasks_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """RTE, MNLI with MNLI-mm, BoolQ without training items, and MSGS' MV; no test may change it."""
    folder = tmp_path_factory.mktemp("tasks")
    rte, nli = ("sentence1", "sentence2"), ("premise", "hypothesis")
    write_rows(folder / "rte.train.jsonl", pairs(40, fields=rte))
    write_rows(folder / "rte.valid.jsonl", pairs(10, fields=rte))
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
