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
Trainings = dict[str, dict[str, Any]]
"""Identity -> name of what was trained, and what was spent on that training alone."""

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
    update_flops: float = 0.0
    """Of an update of the weights, where the optimiser has matrix products."""
    signal_flops: float = 0.0
    """Of the teachers' forward passes for a cached signal, all of them, whoever else reads it, and
    of those that decided the weights of their pool."""
    teachers: Sequence[tuple[str, Record]] = ()
    """Identity, and name and record, of every teacher that has one; several may have one identity:
    that of the training which they are taken from."""
    start: Record = field(default_factory=dict)
    """Of the weights that the model starts from, with their `origin`."""

    def words(self, steps: int) -> float:
        """Words seen after so many steps, repetitions and those of the start counted."""
        before = float(self.start.get("words_seen", 0.0))
        return before + steps * self.tokens_per_step * self.words_per_token

    def totals(self, steps: int, passes: int | None = None) -> dict[str, Any]:
        """The entries of `training.json`, of steps that took so many passes, by default one each.

        What the model cost is `flops` and `teacher_flops`, those of its start with it: `origins`
        are the trainings that led to the weights it starts from. `ancestors` are the trainings of
        the teachers and of theirs. Both are by identity, each once, however many taught from it and
        whatever they were called, and of a training that several were taken from (snapshots) the
        longest stretch, which holds the others. `teacher_words_seen` is what they had seen when
        they taught, `teacher_flops` the cost of running them here (of a cached signal the whole
        cost, which students that share it each state), `teacher_training_flops` of making them,
        without what its own start has in common with them.
        """
        tokens = steps * self.tokens_per_step
        computed = tokens if passes is None else passes * self.tokens_per_step
        start = {key: float(self.start.get(key, 0.0)) for key in SPENT}
        origins = trainings(self.start, self.start.get("origin"))
        ancestors = self._ancestors()
        made = {key: _sum(_longest(ancestors, origins), key) - _sum(origins, key) for key in SPENT}
        return {
            "tokens_seen": tokens,
            "words_seen": self.words(steps),
            "teacher_words_seen": made["words_seen"],
            "flops": start["flops"] + computed * self.flops_per_token + steps * self.update_flops,
            "teacher_flops": start["teacher_flops"]
            + computed * self.teacher_flops_per_token
            + self.signal_flops,
            "teacher_training_flops": made["flops"] + made["teacher_flops"],
            "ancestors": ancestors,
            "origins": origins,
        }

    def _ancestors(self) -> Trainings:
        found: Trainings = dict(self.start.get("ancestors", {}))
        for identity, record in self.teachers:
            found = _longest(found, record.get("ancestors", {}), trainings(record, identity))
        return found


def trainings(record: Record, identity: str | None) -> Trainings:
    """The trainings that led to a model: those of its `origins`, and the last one by itself.

    A model that starts from another one tells what both cost: what is its own is the rest.
    """
    origins: Trainings = dict(record.get("origins", {}))
    if identity is None:
        return origins
    own = {key: max(0.0, float(record.get(key, 0.0)) - _sum(origins, key)) for key in SPENT}
    name = record.get("name", record.get("model", identity))
    return _longest(origins, {identity: {"name": name, **own}})


def _longest(*found: Trainings) -> Trainings:
    """All of them, each once: of several stretches of one training the one that cost most."""
    joined: Trainings = {}
    for identity, spent in (item for each in found for item in each.items()):
        before = joined.setdefault(identity, spent)
        if spent["flops"] > before["flops"]:
            joined[identity] = spent
    return joined


def _sum(found: Trainings, key: str) -> float:
    return float(sum(spent[key] for spent in found.values()))


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


def records(models: Mapping[str, Path]) -> list[tuple[str, Record]]:
    """Identity, and name and record, of the models at these folders that have one."""
    return [
        (identity(folder), {**record, "name": name})
        for name, folder in models.items()
        if (record := read_record(folder))
    ]


def read_record(folder: Path) -> Record:
    """What a `training.json` says was spent, on which `ancestors` and `origins`, and its `origin`.

    Empty where there is no such file, or where it is something else: outside folders are anyone's.
    """
    try:
        raw = json.loads((folder / "training.json").read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    record: dict[str, Any] = _numbers(raw)
    for kind in ("ancestors", "origins"):
        if record and isinstance(raw.get(kind), dict):
            record[kind] = {
                key: _spent(_numbers(entry) | {"name": str(entry.get("name", key))})
                for key, entry in raw[kind].items()
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
