import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from babyllama.corpus.workers import AHEAD, cores, ordered_map
from babyllama.errors import BabyllamaError


def square(number: int) -> tuple[int, int]:
    return number * number, os.getpid()


def fail(number: int) -> int:
    raise ValueError(f"no {number}")


@pytest.mark.parametrize("workers", [1, 2])
def test_results_come_in_order(workers: int) -> None:
    with ordered_map(workers) as parallel:
        results = list(parallel(square, range(30)))
    assert [value for value, _ in results] == [n * n for n in range(30)]
    assert (os.getpid() in {process for _, process in results}) is (workers == 1)


def test_only_a_few_items_are_taken_ahead_of_the_results() -> None:
    taken = 0

    def numbers() -> Iterator[int]:
        nonlocal taken
        while taken < 1_000:
            taken += 1
            yield taken

    with ordered_map(2) as parallel:
        results = parallel(square, numbers())
        for _ in range(3):
            next(results)
        assert taken <= 2 * AHEAD + 4


def test_an_error_of_a_worker_is_raised_here() -> None:
    with ordered_map(2) as parallel, pytest.raises(ValueError, match="no 0"):
        list(parallel(fail, range(3)))


def die(number: int) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return number


def test_a_killed_worker_is_told_and_not_waited_for() -> None:
    with ordered_map(2) as parallel, pytest.raises(BabyllamaError, match="killed, probably for"):
        list(parallel(die, range(3)))


def test_workers_end_with_their_parent_however_it_ends(tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(
        "import os, signal\n"
        "from babyllama.corpus.workers import ordered_map\n"
        "def work(number):\n"
        "    return os.getpid()\n"
        "if __name__ == '__main__':\n"
        "    with ordered_map(2) as parallel:\n"
        "        print(*set(parallel(work, range(8))), flush=True)\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    command = [sys.executable, str(script)]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    workers = [int(number) for number in found.stdout.split()]
    assert workers
    deadline = time.monotonic() + 10
    while any(Path(f"/proc/{worker}").exists() for worker in workers):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_there_is_a_core() -> None:
    assert 1 <= cores() <= (os.cpu_count() or 1)
