"""All cores for a stream of work: results in order, and only a few items ahead in memory."""

import os
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.pool import Pool
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

AHEAD = 2
"""Items a worker may have waiting."""

Map = Callable[[Callable[[T], R], Iterable[T]], Iterator[R]]


def cores() -> int:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextmanager
def ordered_map(workers: int) -> Iterator[Map]:  # type: ignore[type-arg]
    """A lazy `map` over so many processes; over none, in this one.

    Processes are spawned, not forked: threads of torch or a tokenizer would not live on in a
    fork. An interrupt is for the main process alone, which ends them.
    """
    if workers < 2:
        yield map
        return
    context = get_context("spawn")
    with context.Pool(workers, initializer=_ignore_interrupt) as pool:
        yield lambda function, items: _in_order(pool, function, items, AHEAD * workers)


def _ignore_interrupt() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _in_order(
    pool: Pool, function: Callable[[T], R], items: Iterable[T], ahead: int
) -> Iterator[R]:
    waiting: deque[object] = deque()
    for item in items:
        waiting.append(pool.apply_async(function, (item,)))
        if len(waiting) > ahead:
            yield waiting.popleft().get()  # type: ignore[attr-defined]
    while waiting:
        yield waiting.popleft().get()  # type: ignore[attr-defined]
