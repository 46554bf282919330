"""Stopping well: on a signal, and on values that are not finite."""

import math
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import FrameType

from babyllama.errors import DivergedError


class StopRequest:
    """Whether the run was asked to stop.

    Inside `listening()` the first SIGINT or SIGTERM is only noted, for the loop to see between
    two steps; a second one interrupts at once.
    """

    def __init__(self) -> None:
        self.signal: str | None = None

    @contextmanager
    def listening(self) -> Iterator["StopRequest"]:
        """Take over both signals, and give them back at the end."""
        names = (signal.SIGINT, signal.SIGTERM)
        before = [signal.signal(name, self._note) for name in names]
        try:
            yield self
        finally:
            for name, handler in zip(names, before, strict=True):
                signal.signal(name, handler)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        if self.signal:
            raise KeyboardInterrupt
        self.signal = signal.Signals(number).name


def check_finite(values: Mapping[str, float], *, model: str, step: int) -> None:
    """Refuse to go on from named values that are not finite.

    Raises:
        DivergedError: one of them is NaN or infinite.
    """
    if all(map(math.isfinite, values.values())):
        return
    found = ", ".join(f"{name} {value}" for name, value in values.items())
    raise DivergedError(
        f"{model} diverged at step {step}: {found}; lower models.{model}.training.learning_rate"
        " or lengthen warmup_steps, then run again"
    )
