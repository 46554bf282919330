"""A process that kills itself at a named operation on files, and what a run has left behind.

SIGKILL between two system calls leaves on disk what all calls up to then have done. So a process
that dies just before or just behind a chosen call of the file system is one that was killed at
that instant; and a file that is cut in half before it is synced, one killed within a write.
"""

import json
import os
import re
import signal
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial, wraps
from pathlib import Path
from typing import Any, Literal

from babyllama.store import MANIFEST, VERIFIED, file_digest
from babyllama.training.checkpoints import load_checkpoint

CALLS = ("rename", "replace", "fsync", "mkdir", "unlink", "rmdir", "symlink", "link")
TIMED = ("stages.json", "status.json", MANIFEST, VERIFIED)
"""Files that tell how long things took."""


@dataclass(frozen=True)
class Instant:
    """When a process dies: at the nth call on a path that matches."""

    call: str
    path: str
    """A regular expression for the end of the first path of the call."""
    when: Literal["before", "behind", "half"] = "before"
    nth: int = 1

    def __str__(self) -> str:
        return f"{self.when} {self.call} {self.nth} of {self.path}"


def die_at(instant: Instant, how: signal.Signals = signal.SIGKILL) -> None:
    """Let this process kill itself, or stand still, at an instant."""
    seen = 0

    def sabotaged(original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        nonlocal seen
        path = _path(args[0])
        met = bool(re.search(f"{instant.path}$", path))
        seen += met
        at = met and seen == instant.nth
        if at and instant.when == "half":
            os.truncate(path, os.path.getsize(path) // 2)  # noqa: PTH202
        if at and instant.when != "behind":
            os.kill(os.getpid(), how)
        result = original(*args, **kwargs)
        if at and instant.when == "behind":
            os.kill(os.getpid(), how)
        return result

    original = getattr(os, instant.call)
    setattr(os, instant.call, wraps(original)(partial(sabotaged, original)))


def die_at_call(number: int) -> None:
    """Let this process kill itself before its nth operation on files, whichever that is."""
    left = number

    def counted(original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        nonlocal left
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*args, **kwargs)

    for name in CALLS:
        original = getattr(os, name)
        setattr(os, name, wraps(original)(partial(counted, original)))


def _path(given: Any) -> str:
    if isinstance(given, int):
        return str(Path(f"/proc/self/fd/{given}").readlink())
    return os.fspath(given)


def steps_lost(store: Path) -> int:
    """Steps that were logged behind the newest checkpoint of the training under way."""
    lost = 0
    for log in store.glob("model-*.partial/log.jsonl"):
        whole = log.read_text("utf-8").rpartition("\n")[0].splitlines()
        logged = max((json.loads(row)["step"] for row in whole), default=0)
        newest = load_checkpoint(log.parent / "checkpoints")
        lost = max(lost, logged - (newest.state["step"] if newest else 0))
    return lost


def contents(runs: Path) -> dict[str, Any]:
    """Path below `runs` -> what is there, without times; of the report, that it is there."""
    found = {}
    for path in sorted(runs.rglob("*")):
        name = str(path.relative_to(runs))
        if path.is_symlink():
            found[name] = str(path.readlink())
        elif path.is_file() and "/report/" not in name and path.name not in TIMED:
            found[name] = _content(path)
        else:
            found[name] = path.is_dir()
    return found


def _content(path: Path) -> Any:
    if path.suffix == ".jsonl" and path.name == "log.jsonl":
        return [_untimed(json.loads(row)) for row in path.read_text("utf-8").splitlines()]
    if path.suffix == ".json":
        return _untimed(json.loads(path.read_text("utf-8")))
    return file_digest(path)


def _untimed(value: Any) -> Any:
    """JSON without seconds, and what is a rate of them."""
    if isinstance(value, dict):
        return {key: _untimed(v) for key, v in value.items() if "second" not in key}
    return [*map(_untimed, value)] if isinstance(value, list) else value
