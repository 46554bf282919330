"""What a model was exposed to and what it cost, teachers included."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

BABYLM_GRID = [n * 1_000_000 for n in [*range(1, 10), *range(10, 101, 10)]]


Record = Mapping[str, Any]
"""What `training.json` says of a model; empty for an outside checkpoint that says nothing."""

SPENT = ("words_seen", "flops", "teacher_flops")


@dataclass(frozen=True)
class Ledger:
    """Rates that turn steps into tokens, words and floating-point operations."""

    tokens_per_step: int
    words_per_token: float
    """Words by white space over tokens, of the training split."""
    flops_per_token: float
    """Forward and backward of the model itself."""
    teacher_flops_per_token: float
    """Forward of its teachers."""
    teachers: Mapping[str, Record] = field(default_factory=dict)
    start: Record = field(default_factory=dict)
    """Of the checkpoint that the model starts from."""

    def words(self, steps: int) -> float:
        """Words seen after so many steps, repetitions and those of the start counted."""
        before = float(self.start.get("words_seen", 0.0))
        return before + steps * self.tokens_per_step * self.words_per_token

    def totals(self, steps: int) -> dict[str, Any]:
        """The entries of `training.json`.

        `ancestors` are the teachers and theirs, each once, however many taught from it;
        `teacher_words_seen` is what they had seen when they taught, `teacher_flops` the cost of
        running them here, `teacher_training_flops` of making them.
        """
        tokens = steps * self.tokens_per_step
        start = {key: float(self.start.get(key, 0.0)) for key in SPENT}
        ancestors = self._ancestors()
        return {
            "tokens_seen": tokens,
            "words_seen": self.words(steps),
            "teacher_words_seen": sum(a["words_seen"] for a in ancestors.values()),
            "flops": start["flops"] + tokens * self.flops_per_token,
            "teacher_flops": start["teacher_flops"] + tokens * self.teacher_flops_per_token,
            "teacher_training_flops": sum(
                a["flops"] + a["teacher_flops"] for a in ancestors.values()
            ),
            "ancestors": ancestors,
        }

    def _ancestors(self) -> dict[str, dict[str, float]]:
        found: dict[str, dict[str, float]] = dict(self.start.get("ancestors", {}))
        for name, record in self.teachers.items():
            found |= record.get("ancestors", {})
            if record:
                found[name] = {key: float(record.get(key, 0.0)) for key in SPENT}
        return found


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
