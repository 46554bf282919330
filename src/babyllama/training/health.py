"""Stopping well: on a signal, and on values that are not finite."""

import signal
from collections.abc import Iterator
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


def check_finite(loss: float, gradient_norm: float, *, model: str, step: int) -> None:
    """Refuse an update from values that are not finite.

    Raises:
        DivergedError: before the update, so that the weights are those of the step before.
    """
    if loss - loss == 0 and gradient_norm - gradient_norm == 0:
        return
    raise DivergedError(
        f"{model} diverged at step {step}: loss {loss}, gradient norm {gradient_norm}; lower"
        f" models.{model}.training.learning_rate or lengthen warmup_steps, then run again"
    )
