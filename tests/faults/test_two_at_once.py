"""Two processes on one run directory or one artifact: one works, the other is told by whom."""

import signal
import socket
from functools import partial
from pathlib import Path

import pytest
from sabotage import Instant, contents, die_at

from tiny import babyllama, started

RUN = ("run", "r.yaml", "--run-dir", "runs/a")
HELD = partial(die_at, Instant("rename", r"/corpus-[0-9a-f]+\.new"), signal.SIGSTOP)
"""A process that stands still before its first artifact is in place."""
SECOND_HELD = partial(die_at, Instant("rename", r"/tokenizer-[0-9a-f]+\.new"), signal.SIGSTOP)


def test_a_second_process_is_refused_and_told_of_the_first_until_that_dies(unmade: Path) -> None:
    """In the same run directory, and in another one that wants the same artifact."""
    with started(unmade, *RUN, first=HELD) as first:
        first.wait_until_stopped()
        holder = f"process {first.process.pid} on {socket.gethostname()}"
        same = babyllama(unmade, *RUN)
        neighbour = babyllama(unmade, "run", "r.yaml", "--run-dir", "runs/b")
        left = {path.name for path in (unmade / "runs" / ".store").iterdir()}
        first.send(signal.SIGKILL)
        assert first.finish().code == -signal.SIGKILL
    assert (same.code, neighbour.code) == (1, 1)
    assert same.error_lines == [
        f"error: run directory runs/a is in use by {holder}: wait for it, or choose another"
        " --run-dir"
    ]
    (line,) = neighbour.error_lines
    assert "error: corpus-" in line
    assert f"is being made by {holder}: wait for it, then run this again" in line
    assert {name.partition(".")[2] for name in left} == {"new", "partial", "lock"}
    with started(unmade, *RUN, first=SECOND_HELD) as second:
        second.wait_until_stopped()
        assert "made       corpus" in second.err


@pytest.mark.parametrize(
    "host", ["another-machine", pytest.param(socket.gethostname(), marks=pytest.mark.slow)]
)
def test_the_lock_of_a_process_that_is_gone_is_taken_over(
    own_run: Path, small_run: Path, host: str
) -> None:
    """Whatever its file says: the system, not the file, knows who holds a lock."""
    (own_run / "runs" / "a" / ".lock").write_text(f"process 1 on {host}")
    corpus = (own_run / "runs" / "a" / "corpus").resolve()
    corpus.with_suffix(".lock").write_text(f"process 1 on {host}")
    command = babyllama(own_run, *RUN)
    assert command.code == 0, command.err
    assert contents(own_run / "runs") == contents(small_run / "runs")
