"""All cores for a stream of work: results in order, and only a few items ahead in memory."""

import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import connection, get_context, parent_process
from typing import Any, TypeVar

from babyllama.errors import BabyllamaError

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
def ordered_map(workers: int) -> Iterator[Map[Any, Any]]:
    """A lazy `map` over so many processes; over none, in this one.

    Processes are spawned, not forked: threads of torch or a tokenizer would not live on in a
    fork. An interrupt is for the main process alone, which ends them; and they end with it,
    however it ends.

    Raises:
        BabyllamaError: while results are taken, where a process was killed.
    """
    if workers < 2:
        yield map
        return
    pool = ProcessPoolExecutor(workers, get_context("spawn"), initializer=_follow_the_parent)
    try:
        yield lambda function, items: _in_order(pool, function, items, AHEAD * workers)
    finally:
        pool.shutdown(cancel_futures=True)


def _follow_the_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_the_parent, daemon=True).start()


def _end_with_the_parent() -> None:
    """A worker that waits for work would not see that nobody is left to give it any."""
    parent = parent_process()
    if parent:
        connection.wait([parent.sentinel])
    os._exit(1)


def _in_order(
    pool: ProcessPoolExecutor, function: Callable[[T], R], items: Iterable[T], ahead: int
) -> Iterator[R]:
    waiting: deque[Future[R]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except BrokenProcessPool:
        raise BabyllamaError(
            "a process that cleans text was killed, probably for want of memory: free some, then"
            " run the same command again"
        ) from None
