"""`status.json`: what a run does or how it ended, where and how far; a killed one says so too."""

import json
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from babyllama.errors import RecipeError


class Status:
    """The status along a run: state, reason, stage and step, null where there is none."""

    def __init__(self, write: Callable[..., None]) -> None:
        """`write` takes the state and, by their names, the other facts."""
        self.write = write
        self.place: dict[str, Any] = {"stage": None, "step": None, "steps": None}
        self.write("running", reason=None, **self.place)

    def begin(self, stage: str) -> None:
        """Tell of the stage that is being made."""
        self.place = {"stage": stage, "step": None, "steps": None}
        self.write("running", reason=None, **self.place)

    def reached(self, step: int, steps: int) -> None:
        """Tell of a step of the training that goes on."""
        self.place |= {"step": step, "steps": steps}
        self.write("running", reason=None, **self.place)

    def end(self, state: str, reason: str | None = None) -> None:
        """Tell how the run ended."""
        self.write(state, reason=reason, **self.place)


def read_status(run: Path) -> dict[str, Any]:
    """The status of a run directory; `killed` where its process is gone and could not say so.

    Raises:
        RecipeError: no run has begun in it.
    """
    try:
        status = dict(json.loads((run / "status.json").read_text("utf-8")))
    except (OSError, ValueError, TypeError):
        raise RecipeError(f"{run} has no readable status.json: name the folder of a run") from None
    if status.get("state") == "running" and _is_gone(status):
        reason = f"process {status['process']} is gone; run the same command again to go on"
        status |= {"state": "killed", "reason": reason}
    return status


def in_words(status: dict[str, Any]) -> str:
    """One line for people.

    >>> in_words({"state": "running", "stage": "models/a", "step": 3, "steps": 9, "reason": None})
    'running: models/a, step 3 of 9'
    """
    parts = [str(status["stage"])] if status.get("stage") else []
    if status.get("step"):
        parts.append(f"step {status['step']} of {status['steps']}")
    if status.get("reason"):
        parts.append(str(status["reason"]))
    return ": ".join([str(status.get("state")), *([", ".join(parts)] if parts else [])])


def _is_gone(status: dict[str, Any]) -> bool:
    """Whether the process is known to be dead: of another machine nothing is known."""
    if status.get("host") != socket.gethostname() or not isinstance(status.get("process"), int):
        return False
    try:
        os.kill(status["process"], 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False
