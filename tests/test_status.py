"""`status.json`: what it holds at every moment, and how it is read."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from babyllama.errors import RecipeError
from babyllama.rundir import RunDirectory
from babyllama.status import Status, in_words, read_status

FACTS = ("state", "reason", "stage", "step", "steps")


def facts(run: Path) -> tuple[Any, ...]:
    return tuple(json.loads((run / "status.json").read_text())[key] for key in FACTS)


def test_every_moment_of_a_run_is_told(tmp_path: Path) -> None:
    status = Status(RunDirectory(tmp_path).write_status)
    assert facts(tmp_path) == ("running", None, None, None, None)
    status.begin("models/a")
    assert facts(tmp_path) == ("running", None, "models/a", None, None)
    status.reached(3, 9)
    assert facts(tmp_path) == ("running", None, "models/a", 3, 9)
    status.end("stopped", "SIGTERM")
    assert facts(tmp_path) == ("stopped", "SIGTERM", "models/a", 3, 9)
    status.begin("samples")
    assert facts(tmp_path) == ("running", None, "samples", None, None)


def with_process(run: Path, **changes: Any) -> dict[str, Any]:
    Status(RunDirectory(run).write_status).reached(3, 9)
    written = json.loads((run / "status.json").read_text())
    (run / "status.json").write_text(json.dumps(written | changes))
    return read_status(run)


def test_a_run_whose_process_is_gone_was_killed(tmp_path: Path) -> None:
    assert with_process(tmp_path)["state"] == "running", "this process"
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    found = with_process(tmp_path, process=dead.pid)
    assert (found["state"], found["step"]) == ("killed", 3)
    assert found["reason"].startswith(f"process {dead.pid} is gone")
    assert with_process(tmp_path, process=dead.pid, state="done")["state"] == "done"


def test_of_a_process_elsewhere_nothing_is_known(tmp_path: Path) -> None:
    elsewhere = f"not-{socket.gethostname()}"
    assert with_process(tmp_path, process=2**22 + 1, host=elsewhere)["state"] == "running"
    assert with_process(tmp_path, process=os.getppid())["state"] == "running"
    assert with_process(tmp_path, process=1)["state"] == "running", "of another user or not"


@pytest.mark.parametrize("content", ["", "[1]", "{", None])
def test_a_folder_without_a_status_is_refused(content: str | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "status.json").write_text(content)
    with pytest.raises(RecipeError, match=r"no readable status\.json: name the folder of a run"):
        read_status(tmp_path)


def test_a_status_in_words() -> None:
    assert in_words({"state": "done"}) == "done"
    failed = {"state": "failed", "stage": "corpus", "reason": "the disk is full"}
    assert in_words(failed) == "failed: corpus, the disk is full"
