"""What a model was exposed to and what it cost, teachers included."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

BABYLM_GRID = [n * 1_000_000 for n in [*range(1, 10), *range(10, 101, 10)]]


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
    teachers: Sequence[dict[str, Any]] = ()
    """`training.json` of every teacher; empty for outside checkpoints."""

    def words(self, steps: int) -> float:
        """Words seen after so many steps, repetitions counted."""
        return steps * self.tokens_per_step * self.words_per_token

    def totals(self, steps: int) -> dict[str, float | int]:
        """The entries of `training.json`.

        `teacher_words_seen` is what the teachers, and theirs, had seen when they taught;
        `teacher_flops` is the cost of running them here, `teacher_training_flops` of making them.
        """
        tokens = steps * self.tokens_per_step
        return {
            "tokens_seen": tokens,
            "words_seen": self.words(steps),
            "teacher_words_seen": self._over_teachers("words_seen", "teacher_words_seen"),
            "flops": tokens * self.flops_per_token,
            "teacher_flops": tokens * self.teacher_flops_per_token,
            "teacher_training_flops": self._over_teachers(
                "flops", "teacher_flops", "teacher_training_flops"
            ),
        }

    def _over_teachers(self, *keys: str) -> float:
        return float(sum(teacher.get(key, 0.0) for teacher in self.teachers for key in keys))


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
