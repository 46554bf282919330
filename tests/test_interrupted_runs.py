"""Runs that are stopped, killed, or begun twice at once: the same command ends as one run."""

import json
import re
import signal
from pathlib import Path
from typing import Any

import pytest

from tiny import (
    LLAMA,
    TRAINING,
    Finished,
    babyllama,
    recipe,
    started,
    write_recipe,
    write_text,
)
from told import made, read, same_weights, status, up_to_date, weights


def alone(data: Path, **training: Any) -> dict[str, Any]:
    """A recipe with one model, that trains long enough to be interrupted."""
    long = {"epochs": 5, "checkpoint_minutes": 0.002, "weight_decay": 0.1} | training
    architecture = LLAMA | {"type": "gpt2", "dropout": 0.1}
    return recipe(data, models={"a": {"architecture": architecture}}, training=TRAINING | long)


def trained_steps(store: Path) -> int:
    logs = [*store.glob("model-*.partial/log.jsonl")]
    return logs[0].read_text("utf-8").count('"kind": "step"') if logs else 0


@pytest.fixture(scope="module")
def uninterrupted(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("uninterrupted")
    write_recipe(folder / "alone.yaml", alone(data))
    command = babyllama(folder, "run", "alone.yaml", "--run-dir", "runs/a")
    assert command.code == 0, command.err
    return folder / "runs" / "a"


def interrupted(data: Path, folder: Path, number: int) -> Finished:
    """A run that got a signal in the middle of its training."""
    store = folder / "runs" / ".store"
    write_recipe(folder / "alone.yaml", alone(data))
    with started(folder, "run", "alone.yaml", "--run-dir", "runs/a") as command:
        command.wait_for(lambda: trained_steps(store) > 20 and any(store.rglob("step-*")))
        command.send(number)
        return command.finish()


def finish_and_compare(folder: Path, uninterrupted: Path) -> None:
    again = babyllama(folder, "run", "alone.yaml", "--run-dir", "runs/a")
    assert again.code == 0, again.err
    assert "going on with models/a" in again.err
    assert up_to_date(again) == ["corpus", "tokenizer", "tokens"]
    assert same_weights(weights(folder / "runs" / "a", "a"), weights(uninterrupted, "a"))
    ours, theirs = (r / "models" / "a" / "log.jsonl" for r in (folder / "runs/a", uninterrupted))
    assert losses(ours) == losses(theirs)
    assert not [*(folder / "runs" / ".store").glob("*.partial")]


def losses(log: Path) -> list[tuple[int, float]]:
    rows = [json.loads(line) for line in log.read_text("utf-8").splitlines()]
    return [(row["step"], row["cross_entropy"]) for row in rows]


def test_ctrl_c_in_a_training_stops_cleanly_and_the_same_command_goes_on(
    data: Path, tmp_path: Path, uninterrupted: Path
) -> None:
    stopped = interrupted(data, tmp_path, signal.SIGINT)
    assert stopped.code == 75
    assert len(stopped.error_lines) == 1
    pattern = r"a stopped at step \d+ \(SIGINT\); run the same command again to go on"
    assert re.fullmatch(pattern, stopped.error_lines[0])
    assert status(tmp_path / "runs" / "a") == "stopped"
    finish_and_compare(tmp_path, uninterrupted)


def test_a_killed_training_goes_on_from_its_checkpoint(
    data: Path, tmp_path: Path, uninterrupted: Path
) -> None:
    assert interrupted(data, tmp_path, signal.SIGKILL).code == -signal.SIGKILL
    finish_and_compare(tmp_path, uninterrupted)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_between_trainings_stops_cleanly_too(
    data: Path, tmp_path: Path, number: int
) -> None:
    raw = recipe(data)
    raw["evaluation"]["suites"]["generated"] = "builtin:paradigms"
    # So much text that the stage still goes on when the signal comes.
    raw["corpus"]["path"] = str(write_text(tmp_path / "text", sentences=60_000))
    write_recipe(tmp_path / "r.yaml", raw)
    with started(tmp_path, "run", "r.yaml", "--run-dir", "runs/a") as command:
        command.wait_for(lambda: "making     suites/generated" in command.err)
        command.send(number)
        stopped = command.finish()
    assert stopped.code == 75
    assert stopped.error_lines == ["stopped; run the same command again to go on"]
    assert status(tmp_path / "runs" / "a") == "stopped"
    left = {path.name.partition("-")[0] for path in (tmp_path / "runs" / ".store").iterdir()}
    # On a busy machine the suite may be done before the signal comes.
    assert left - {"suite"} == {"corpus", "tokenizer", "tokens"}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_behind_the_last_step_of_a_training_stops_before_the_next_stage(
    data: Path, tmp_path: Path, number: int
) -> None:
    """The training notes it and has no further step at which to stop."""
    write_text(tmp_path / "dev", sentences=3000, seed=1)
    raw = alone(data, epochs=1)
    raw["corpus"] |= {"dev_path": str(tmp_path / "dev"), "words": 2000}
    raw["tokens"]["validation_chunks"] = 5000
    write_recipe(tmp_path / "alone.yaml", raw)
    run = tmp_path / "runs" / "a"

    def trained() -> bool:
        done = trained_steps(tmp_path / "runs" / ".store")
        return (
            bool(done) and done == read(run / "tokens" / "tokens.json")["train_tokens"] // 16 // 32
        )

    with started(tmp_path, "run", "alone.yaml", "--run-dir", "runs/a") as command:
        command.wait_for(trained)
        command.send(number)
        stopped = command.finish()
    assert stopped.code == 75
    assert stopped.error_lines == ["stopped after models/a; run the same command again to go on"]
    assert status(run) == "stopped"
    assert made(stopped)[-1] == "models/a"
    again = babyllama(tmp_path, "run", "alone.yaml", "--run-dir", "runs/a")
    assert made(again) == ["scores/a/pairs", "samples"], again.err


def test_a_second_process_in_a_run_directory_leaves_it_as_it_is(data: Path, tmp_path: Path) -> None:
    write_recipe(tmp_path / "alone.yaml", alone(data))
    run = tmp_path / "runs" / "a"
    command = ("run", "alone.yaml", "--run-dir", "runs/a")
    with started(tmp_path, *command) as first:
        first.wait_for(lambda: trained_steps(tmp_path / "runs" / ".store") > 5)
        before = {name: (run / name).read_bytes() for name in ("recipe.yaml", "status.json")}
        second = babyllama(tmp_path, *command, "training.epochs=1")
        after = {name: (run / name).read_bytes() for name in before}
        first.send(signal.SIGINT)
        assert first.finish().code == 75
    assert second.code == 1
    (line,) = second.error_lines
    process = json.loads(before["status.json"])
    holder = f"process {process['process']} on {process['host']}"
    assert line.startswith(f"error: run directory runs/a is in use by {holder}: wait for it")
    assert after == before
    assert json.loads(after["status.json"])["state"] == "running"
