"""Several processes that run one command or one function together, as torchrun starts them."""

import multiprocessing
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch

from tiny import Command, started

_forkserver = multiprocessing.get_context("forkserver")


def take_rank(rank: int, size: int, port: int) -> None:
    """Set what torchrun sets for one of its processes."""
    os.environ |= {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(size),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }


def free_port() -> int:
    """A port that nobody listens to."""
    with socket.socket() as open_socket:
        open_socket.bind(("127.0.0.1", 0))
        return int(open_socket.getsockname()[1])


@contextmanager
def started_together(folder: Path, *arguments: object, size: int = 2) -> Iterator[list[Command]]:
    """Start `babyllama ARGUMENTS` in so many processes, the first of which leads."""
    port = free_port()
    with ExitStack() as stack:
        yield [
            stack.enter_context(
                started(folder, *arguments, first=partial(take_rank, rank, size, port))
            )
            for rank in range(size)
        ]


def call_together(function: Callable[..., None], *arguments: Any, size: int = 2) -> None:
    """Call a function of a test module in so many processes that are joined."""
    port = free_port()
    given = [(rank, size, port, function, arguments) for rank in range(size)]
    running = [_forkserver.Process(target=_call, args=each) for each in given]
    for process in running:
        process.start()
    for process in running:
        process.join(300)
        process.kill()
    assert [process.exitcode for process in running] == [0] * size


def _call(
    rank: int, size: int, port: int, function: Callable[..., None], arguments: tuple[Any, ...]
) -> None:
    from babyllama.training.processes import joined

    take_rank(rank, size, port)
    torch.set_num_threads(1)
    with joined(torch.device("cpu")):
        function(*arguments)
