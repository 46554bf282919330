"""Stopping one process or several: what is saved, which code is left, what the status says."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from several import free_port, started_together
from tiny import LLAMA, TRAINING, babyllama, recipe, started, write_recipe

RUN = ("run", "r.yaml", "--run-dir", "runs/a")


def write(folder: Path, data: Path, **training: Any) -> Path:
    """A recipe of one model with dropout that trains for some hundred steps; its run's folder."""
    settings = {**TRAINING, "batch_size": 8, "micro_batch": 4, "epochs": 4, **training}
    architecture = LLAMA | {"type": "gpt2", "dropout": 0.1}
    raw = recipe(data, models={"a": {"architecture": architecture}}, training=settings)
    raw["evaluation"]["suites"] = {}
    raw["corpus"]["words"] = 1500
    write_recipe(folder / "r.yaml", raw)
    return folder / "runs" / "a"


def steps(folder: Path) -> int:
    logs = [*(folder / "runs" / ".store").glob("model-*.partial/log.jsonl")]
    return logs[0].read_text("utf-8").count('"kind": "step"') if logs else 0


def status(run: Path) -> dict[str, Any]:
    return dict(json.loads((run / "status.json").read_text("utf-8")))


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "models" / "a" / "model.safetensors")


def test_a_time_limit_stops_as_a_signal_does(data: Path, tmp_path: Path) -> None:
    run = write(tmp_path, data, epochs=2000)
    command = babyllama(tmp_path, *RUN, "--time-limit", "4s")
    assert command.code == 75
    told = status(run)
    assert (told["state"], told["stage"].split("/")[0] in ("models", "corpus")) == ("stopped", True)
    assert "time limit" in told["reason"]
    assert "time limit" in command.error_lines[0]
    if told["stage"] == "models/a" and told["step"]:
        assert [*(run.parent / ".store").glob("model-*.partial/checkpoints/step-*/sha256.json")]


def test_a_time_limit_that_is_none_is_refused(data: Path, tmp_path: Path) -> None:
    write(tmp_path, data)
    command = babyllama(tmp_path, *RUN, "--time-limit", "soon")
    assert command.code == 2
    assert command.error_lines[0].startswith("error: time limit 'soon': write hours")
    command = babyllama(tmp_path, *RUN, "--time-limit", "1h", "--dry-run")
    assert command.code == 2


def test_the_status_tells_the_stage_and_the_step_also_of_a_killed_run(
    data: Path, tmp_path: Path
) -> None:
    run = write(tmp_path, data, epochs=200)
    with started(tmp_path, *RUN) as command:
        command.wait_for(lambda: run.exists() and (run / "status.json").exists(), seconds=120)
        command.wait_for(lambda: steps(tmp_path) and status(run)["step"], seconds=120)
        told = status(run)
        assert (told["state"], told["stage"], told["reason"]) == ("running", "models/a", None)
        running = babyllama(tmp_path, "status", "runs/a")
        command.send(signal.SIGKILL)
        command.finish()
    assert re.fullmatch(r"running: models/a, step \d+ of \d+\n", running.out)
    gone = babyllama(tmp_path, "status", "runs/a")
    assert gone.code == 0
    pattern = r"killed: models/a, step \d+ of \d+, process \d+ is gone; run the same command again"
    assert re.match(pattern, gone.out)
    again = babyllama(tmp_path, *RUN, "training.epochs=1")
    assert again.code == 0, again.err
    assert re.search(r"^before     killed: models/a, step \d+", again.err, re.MULTILINE)
    assert babyllama(tmp_path, "status", "runs/a").out.startswith("done")
    assert babyllama(tmp_path, "status", "runs").code == 2


@pytest.fixture(scope="module")
def together(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two processes make that nobody interrupts."""
    folder = tmp_path_factory.mktemp("together")
    run = write(folder, data)
    with started_together(folder, *RUN) as commands:
        assert [command.finish().code for command in commands] == [0, 0], commands[0].err
    return run


def test_a_signal_to_one_process_stops_all_and_the_same_command_goes_on(
    data: Path, tmp_path: Path, together: Path
) -> None:
    run = write(tmp_path, data)
    with started_together(tmp_path, *RUN) as commands:
        commands[0].wait_for(lambda: steps(tmp_path) > 10, seconds=120)
        commands[1].send(signal.SIGTERM)
        first, second = (command.finish() for command in commands)
    assert (first.code, second.code) == (0, 0), "any other would be a failure to torchrun"
    assert second.err == ""
    found = re.fullmatch(r"a stopped at step (\d+) \(.*\); run the same .*", first.error_lines[0])
    assert found
    told = status(run)
    assert (told["state"], told["stage"]) == ("stopped", "models/a")
    assert f"stopped at step {found[1]}" in told["reason"]
    with started_together(tmp_path, *RUN) as commands:
        first, second = (command.finish() for command in commands)
    assert (first.code, second.code) == (0, 0), first.err
    assert "going on with models/a" in first.err
    ours, theirs = weights(run), weights(together)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert status(run)["state"] == "done"


def test_what_two_processes_make_is_what_one_makes_but_for_rounding(
    data: Path, tmp_path: Path, together: Path
) -> None:
    """With dropout too: its masks belong to micro-batches, whoever takes these."""
    run = write(tmp_path, data)
    assert babyllama(tmp_path, *RUN).code == 0
    alone = weights(run)
    for name, tensor in weights(together).items():
        torch.testing.assert_close(tensor, alone[name], rtol=1e-3, atol=1e-5, msg=name)


def test_several_processes_that_diverge_leave_code_3_and_the_last_checkpoint(
    data: Path, tmp_path: Path
) -> None:
    run = write(tmp_path, data, learning_rate=1e30, warmup_steps=0, checkpoint_minutes=1e-9)
    with started_together(tmp_path, *RUN) as commands:
        first, second = (command.finish() for command in commands)
    assert (first.code, second.code) == (3, 3)
    assert second.err == ""
    named = (
        r"error: a diverged at step 2 \(epoch 0, chunks of the train split from tokens [\d, ]+\)"
    )
    assert re.match(named, first.error_lines[0])
    told = status(run)
    assert (told["state"], told["stage"]) == ("failed", "models/a")
    assert "diverged at step 2" in told["reason"]
    kept = [path.parent.name for path in run.parent.glob(".store/*/checkpoints/*/sha256.json")]
    assert kept == ["step-00000001"]


@pytest.mark.parametrize("killed", [0, 1])
def test_where_one_process_is_killed_the_others_end_with_one_line(
    killed: int, data: Path, tmp_path: Path
) -> None:
    write(tmp_path, data, epochs=200)
    with started_together(tmp_path, *RUN) as commands:
        commands[0].wait_for(lambda: steps(tmp_path) > 5, seconds=120)
        commands[killed].send(signal.SIGKILL)
        finished = [command.finish() for command in commands]
    left = finished[1 - killed]
    assert left.code == 1
    (line,) = left.error_lines
    assert line.startswith("error: another process of this run is gone (")


def test_more_processes_than_sequences_are_refused_before_the_first_stage(
    data: Path, tmp_path: Path
) -> None:
    write(tmp_path, data, batch_size=1)
    with started_together(tmp_path, *RUN) as commands:
        first, second = (command.finish() for command in commands)
    assert (first.code, second.code) == (2, 2)
    assert second.err == ""
    assert "models.a.training.batch_size: 1 sequences are fewer than the 2" in first.error_lines[0]


@pytest.mark.slow
def test_under_torchrun_itself(data: Path, tmp_path: Path, together: Path) -> None:
    """Started, stopped by a signal to torchrun, and started again."""
    run = write(tmp_path, data)
    torchrun = shutil.which("torchrun", path=Path(sys.executable).parent)
    assert torchrun
    command = [torchrun, "--nproc-per-node=2", "--master-port", str(free_port()), "-m"]
    command += ["babyllama", *RUN]
    begun = subprocess.Popen(command, cwd=tmp_path, env=os.environ | {"OMP_NUM_THREADS": "1"})
    while steps(tmp_path) <= 10:
        assert begun.poll() is None
        time.sleep(0.01)
    begun.send_signal(signal.SIGTERM)
    begun.wait(120)
    assert status(run)["state"] == "stopped"
    assert subprocess.run(command, cwd=tmp_path, check=False).returncode == 0
    assert status(run)["state"] == "done"
    ours, theirs = weights(run), weights(together)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
