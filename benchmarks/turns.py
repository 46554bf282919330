"""Sides that take turns: some in a process of their own environment, one step of one at a time."""

import multiprocessing
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median
from typing import Any, Literal

import psutil

from peak_memory import PeakRecord

DEFAULT: Mapping[str, str] = {}
OURS: Mapping[str, str] = {"THP_MEM_ALLOC_ENABLE": "1", "GOMP_SPINCOUNT": "300"}
"""What the command sets before torch is loaded (babyllama.cli.app)."""

What = Literal["seconds", "peak", "resident"]
"""Of a step, bytes that its tensors take at most; of its process, memory after the step."""
Steps = Mapping[str, Callable[[], object]]


@dataclass
class Side:
    """A step that is measured, in a process that waits in between."""

    name: str
    ask: Callable[[str, What], float]


class Meter:
    """What is asked for, between two calls."""

    def __init__(self, what: What) -> None:
        self.record = PeakRecord() if what == "peak" else None
        self.resident = what == "resident"

    def start(self) -> None:
        """From here on."""
        if self.record:
            self.record.start()
        self.started = time.perf_counter()

    def stop(self) -> float:
        """Up to here."""
        if self.resident:
            return psutil.Process().memory_info().rss
        return self.record.stop() if self.record else time.perf_counter() - self.started


def measured(step: Callable[[], object], what: What) -> float:
    """Of one call."""
    meter = Meter(what)
    meter.start()
    step()
    return meter.stop()


def serve(pipe: Any, make: Callable[..., Steps], *arguments: Any) -> None:
    """In the process of some sides: make their steps, tell the names, run what is asked for."""
    steps = make(*arguments)
    pipe.send([*steps])
    for name, what in iter(pipe.recv, None):
        pipe.send(measured(steps[name], what))


@contextmanager
def sides(
    server: Callable[..., None], *arguments: Any, environment: Mapping[str, str]
) -> Iterator[list[Side]]:
    """The sides that `server(pipe, *arguments)` serves, in a process with an environment."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=server, args=(theirs, *arguments))
    before = dict(os.environ)
    for key in OURS:
        os.environ.pop(key, None)
    os.environ.update(environment)
    process.start()
    os.environ.clear()
    os.environ.update(before)
    theirs.close()

    def ask(name: str, what: What) -> float:
        ours.send((name, what))
        return float(ours.recv())

    try:
        yield [Side(name, ask) for name in ours.recv()]
        ours.send(None)
    finally:
        ours.close()
        process.join()


def in_turn(every: Sequence[Side], *, warm_up: int, counted: int) -> dict[str, list[float]]:
    """Seconds of each side's steps; those that warm up are not among them."""
    found: dict[str, list[float]] = {side.name: [] for side in every}
    for number in range(warm_up + counted):
        for side in every:
            seconds = side.ask(side.name, "seconds")
            if number >= warm_up:
                found[side.name].append(seconds)
    return found


def ratio(slow: Sequence[float], fast: Sequence[float]) -> float:
    """How many times as long one side takes: the median over turns."""
    return median(s / f for s, f in zip(slow, fast, strict=True))
