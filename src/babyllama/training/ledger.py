"""What a model was exposed to and what it cost, teachers included."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from babyllama.errors import CorruptDataError
from babyllama.models.folders import folder_digest
from babyllama.store import read_manifest

BABYLM_GRID = [n * 1_000_000 for n in [*range(1, 10), *range(10, 101, 10)]]


Record = Mapping[str, Any]
"""What `training.json` says of a model; see `read_record`."""

SPENT = ("words_seen", "flops", "teacher_flops")
MOST = 1e40
"""Words or operations; what claims more is no record."""


@dataclass(frozen=True)
class Ledger:
    """Rates that turn steps into tokens, words and floating-point operations."""

    tokens_per_step: int
    words_per_token: float
    """Words by white space over tokens, of the training split."""
    flops_per_token: float
    """Forward and backward of the model itself."""
    teacher_flops_per_token: float
    """Forward of its teachers, where they are run in every step."""
    signal_flops: float = 0.0
    """Of the teachers' forward passes for a cached signal, all of them, whoever else reads it."""
    teachers: Mapping[str, Record] = field(default_factory=dict)
    """Identity -> name and record of a teacher that has one."""
    start: Record = field(default_factory=dict)
    """Of the checkpoint that the model starts from."""

    def words(self, steps: int) -> float:
        """Words seen after so many steps, repetitions and those of the start counted."""
        before = float(self.start.get("words_seen", 0.0))
        return before + steps * self.tokens_per_step * self.words_per_token

    def totals(self, steps: int) -> dict[str, Any]:
        """The entries of `training.json`.

        `ancestors` are the teachers and theirs by their identity, each once, however many taught
        from it and whatever they were called; `teacher_words_seen` is what they had seen when they
        taught, `teacher_flops` the cost of running them here (of a cached signal the whole cost,
        which students that share it each state), `teacher_training_flops` of making them.
        """
        tokens = steps * self.tokens_per_step
        start = {key: float(self.start.get(key, 0.0)) for key in SPENT}
        ancestors = self._ancestors()
        return {
            "tokens_seen": tokens,
            "words_seen": self.words(steps),
            "teacher_words_seen": sum(a["words_seen"] for a in ancestors.values()),
            "flops": start["flops"] + tokens * self.flops_per_token,
            "teacher_flops": start["teacher_flops"]
            + tokens * self.teacher_flops_per_token
            + self.signal_flops,
            "teacher_training_flops": sum(
                a["flops"] + a["teacher_flops"] for a in ancestors.values()
            ),
            "ancestors": ancestors,
        }

    def _ancestors(self) -> dict[str, dict[str, Any]]:
        found = dict(self.start.get("ancestors", {}))
        for identity, record in self.teachers.items():
            found |= record.get("ancestors", {}) | {identity: _spent(record)}
        return found


def _spent(record: Record) -> dict[str, Any]:
    return {"name": record["name"], **{key: float(record.get(key, 0.0)) for key in SPENT}}


def identity(folder: Path) -> str:
    """What a model is counted under, since names differ between runs.

    An artifact's fingerprint; that of the origin where an artifact only shows an outside model;
    the content of any other folder.
    """
    origin = read_record(folder).get("origin")
    if origin:
        return str(origin)
    try:
        return str(read_manifest(folder)["fingerprint"])
    except (CorruptDataError, KeyError):
        return folder_digest(folder)


def read_record(folder: Path) -> Record:
    """What a model's `training.json` says was spent, its `ancestors` and its `origin`.

    Empty where there is no such file, or where it is something else: outside folders are anyone's.
    """
    try:
        raw = json.loads((folder / "training.json").read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    record: dict[str, Any] = _numbers(raw)
    if record and isinstance(raw.get("ancestors"), dict):
        record["ancestors"] = {
            key: _spent(_numbers(entry) | {"name": str(entry.get("name", key))})
            for key, entry in raw["ancestors"].items()
            if isinstance(entry, dict)
        }
    if record and isinstance(raw.get("origin"), str):
        record["origin"] = raw["origin"]
    return record


def _numbers(raw: Any) -> dict[str, Any]:
    """What was spent, as far as a mapping says it in numbers; nothing of anything else."""
    given = {key: raw.get(key) for key in SPENT} if isinstance(raw, dict) else {}
    return {
        key: float(value)
        for key, value in given.items()
        if isinstance(value, int | float) and 0 <= value <= MOST
    }


def words_grid(asked: str | Sequence[int]) -> list[int]:
    """Words at which a model is saved, rising.

    >>> words_grid("babylm")[8:11]
    [9000000, 10000000, 20000000]
    """
    return BABYLM_GRID if asked == "babylm" else sorted(int(n) for n in asked)


def crossed(grid: Sequence[int], before: float, after: float) -> list[int]:
    """The marks that lie above `before` and at most at `after`.

    >>> crossed([1, 2, 3], 1, 2.5)
    [2]
    """
    return [mark for mark in grid if before < mark <= after]
