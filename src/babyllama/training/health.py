"""Stopping well: on a signal, at a time limit, and on values that are not finite."""

import math
import re
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType

import torch
from torch import Tensor

from babyllama.errors import DivergedError, RecipeError
from babyllama.tokens.batches import Batch

TIME_LIMIT = "time limit"
"""Stands for a signal's name where the time was up."""
SECONDS_BETWEEN_REPORTS = 5.0
NAMED_CHUNKS = 32
"""Of a batch, in a message; epoch and step say which the others are."""

Report = Callable[[int, int], None]
"""Called with the steps done and the steps in all of the training that goes on."""


class TimeIsUp(KeyboardInterrupt):
    """The time limit came while nothing could be saved on the way."""


class StopRequest:
    """Whether the run was asked to stop, and who asks how far it is.

    Inside `listening()` the first SIGINT or SIGTERM and the end of the time are only noted, for
    the loop to see between two steps; a second signal interrupts at once.
    """

    def __init__(self) -> None:
        self.signal: str | None = None
        self.report: Report | None = None
        self._reported = -math.inf

    @contextmanager
    def listening(self) -> Iterator["StopRequest"]:
        """Take over the signals, and give them back at the end."""
        names = (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)
        before = [signal.signal(name, self._note) for name in names]
        try:
            yield self
        finally:
            for name, handler in zip(names, before, strict=True):
                signal.signal(name, handler)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGALRM:
            self.signal = self.signal or TIME_LIMIT
        elif self.signal in (None, TIME_LIMIT):
            self.signal = signal.Signals(number).name
        else:
            raise KeyboardInterrupt

    def reached(self, step: int, steps: int) -> None:
        """Report a finished step, the first at once and then one every few seconds."""
        now = time.monotonic()
        if self.report and now - self._reported >= SECONDS_BETWEEN_REPORTS:
            self._reported = now
            self.report(step, steps)


@contextmanager
def time_limit(seconds: float | None) -> Iterator[None]:
    """Let SIGALRM come when the time is up: it interrupts what does not listen.

    Raises:
        TimeIsUp: from wherever the process is by then.
    """
    if seconds is None:
        yield
        return
    before = signal.signal(signal.SIGALRM, _interrupt)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise TimeIsUp(TIME_LIMIT)


def seconds_of(text: str) -> float:
    """Seconds of a time as people write it: `2h30m`, `45m`, `90s`, or minutes.

    >>> seconds_of("2h30m"), seconds_of("90"), seconds_of("1h5s")
    (9000.0, 5400.0, 3605.0)

    Raises:
        RecipeError: it is none, or no time at all.
    """
    found = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?|(\d+(?:\.\d+)?)", text.strip())
    parts = [float(part or 0) for part in found.groups()] if found else [0.0]
    seconds = sum(part * unit for part, unit in zip(parts, (3600, 60, 1, 60), strict=False))
    if not seconds:
        raise RecipeError(
            f"time limit {text!r}: write hours and minutes as 2h30m, or minutes as 150"
        )
    return seconds


def check_finite(
    values: Mapping[str, float],
    *,
    model: str,
    step: int,
    ascent: bool = False,
    where: Callable[[], str] = str,
) -> None:
    """Refuse to go on from named values that are not finite; `where` names the batch.

    An `ascent` diverges sooner or later, so it is to be shorter.

    Raises:
        DivergedError: one of them is NaN or infinite.
    """
    if all(map(math.isfinite, values.values())):
        return
    found = ", ".join(f"{name} {value}" for name, value in values.items())
    other = "take fewer steps" if ascent else "lengthen warmup_steps"
    raise DivergedError(
        f"{model} diverged at step {step}{where()}: {found}; lower"
        f" models.{model}.training.learning_rate or {other}, then run again"
    )


def are_finite(tensors: Iterable[Tensor]) -> bool:
    """Whether no entry of any tensor is NaN or infinite."""
    return bool(torch.stack([tensor.isfinite().all() for tensor in tensors]).all())


def chunks_of(batch: Batch, epoch: int) -> str:
    """Where to find a batch in the tokens of its split."""
    starts = batch.starts.tolist()
    named = ", ".join(map(str, starts[:NAMED_CHUNKS]))
    more = f" and {len(starts) - NAMED_CHUNKS} more" if len(starts) > NAMED_CHUNKS else ""
    return f" (epoch {epoch}, chunks of the {batch.split} split from tokens {named}{more})"
