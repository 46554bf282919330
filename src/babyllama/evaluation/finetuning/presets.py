"""Hyper-parameters by name: the defaults of the BabyLM 2023 pipeline, and the paper's Table 3.

The figures and their sources are in `presets.yaml`.
"""

from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Literal

import yaml

from babyllama.evaluation.finetuning.tasks import Task

PresetName = Literal["pipeline", "paper"]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Everything that decides a fine-tuning, the model and the data apart."""

    learning_rate: float
    batch_size: int
    max_epochs: int
    patience: int
    """Evaluations in a row without improvement after which training stops."""
    eval_every_steps: int
    seed: int
    max_length: int = 128
    """Tokens of a text; what is longer is cut at its end."""
    selection_share: float = 0.1
    """Of the training items, held out to select the best moment by."""


def preset(name: PresetName, task: Task) -> Settings:
    """The settings of a preset for a task; what Table 3 lacks is the pipeline's."""
    defaults, rows = _tables()
    return Settings(**{**defaults, **(rows.get(task.name, {}) if name == "paper" else {})})


def preset_note(name: PresetName, task: Task) -> str:
    """What of a preset is not known for a task and is the pipeline's; empty if nothing."""
    defaults, rows = _tables()
    row = rows.get(task.name, {})
    if name == "pipeline" or row.keys() == defaults.keys():
        return ""
    known = f"only {', '.join(row)}" if row else "nothing"
    return f"of Table 3's row for {task.name} {known} could be read: the rest is the pipeline's"


@cache
def _tables() -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """The pipeline's defaults, and the rows of Table 3 by task."""
    path = files("babyllama.evaluation.finetuning").joinpath("presets.yaml")
    tables = yaml.safe_load(path.read_text(encoding="utf-8"))
    return tables["pipeline"], tables["paper"]
