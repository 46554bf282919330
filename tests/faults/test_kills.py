"""SIGKILL at any instant of any stage: the same command ends as if nothing had been."""

import json
import random
import re
import signal
import time
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sabotage import Instant, contents, die_at, die_at_call, steps_lost

from tiny import Command, started

RUN = ("run", "r.yaml", "--run-dir", "runs/a")


@pytest.fixture(scope="module")
def whole(small_run: Path) -> dict[str, Any]:
    """What an uninterrupted run of the small recipe leaves."""
    return contents(small_run / "runs")


def killed(folder: Path, instants: Iterable[Instant]) -> None:
    """A run that is killed at each instant in turn, and goes on every time."""
    for instant in instants:
        with started(folder, *RUN, first=partial(die_at, instant)) as command:
            finished = command.finish(900)
        assert finished.code == -signal.SIGKILL, f"not met: {instant}\n{finished.err}"
        assert steps_lost(folder / "runs" / ".store") <= 1, str(instant)


def ends_as(whole: dict[str, Any], folder: Path) -> None:
    with started(folder, *RUN) as command:
        finished = command.finish(900)
    assert finished.code == 0, finished.err
    assert "passed over" not in finished.err
    found = contents(folder / "runs")
    assert found.keys() == whole.keys()
    assert [name for name in whole if found[name] != whole[name]] == []


STAGE = r"/\.store/{}-[0-9a-f]+"
STEP = r"/checkpoints/\.step-\d+\.new"
SHARD = r"/train-rank0-00000\.bin"
FAST = [
    Instant("rename", STAGE.format("corpus") + r"\.new", "behind"),
    Instant("rename", STEP, "before", 2),
    Instant("fsync", STEP + r"/model\.safetensors", "half", 3),
    Instant("replace", r"/\.train-rank0-00000\.bin\.new", "behind"),
]
SLOW = [
    Instant("replace", r"/\.recipe\.yaml\.new"),
    Instant("fsync", r"/\.status\.json\.new", "half"),
    *(
        instant
        for kind in ("corpus", "tokenizer", "tokens", "suite")
        for instant in (
            Instant("fsync", STAGE.format(kind) + r"\.new/\.manifest\.json\.new", "half"),
            Instant("rename", STAGE.format(kind) + r"\.new", "before"),
            Instant("rename", STAGE.format(kind) + r"\.new", "behind"),
        )
    ),
    Instant("symlink", r"tokens-[0-9a-f]+"),
    # The teacher: within saves, between the renames, while old ones go, and at the very end.
    Instant("mkdir", STEP),
    Instant("fsync", STEP + r"/optimizer\.safetensors", "half"),
    Instant("fsync", STEP + r"/\.sha256\.json\.new", "half", 2),
    Instant("rename", STEP, "before"),
    Instant("rename", STEP, "behind"),
    Instant("fsync", r"/checkpoints", "before", 2),
    Instant("unlink", r"sha256\.json", "behind"),
    Instant("unlink", r"model\.safetensors", "behind"),
    Instant("rename", r"/best/\.step-\d+\.new", "before"),
    Instant("rename", r"/best/\.step-\d+\.new", "behind"),
    Instant("rename", STAGE.format("model") + r"\.new", "before"),
    Instant("rename", STAGE.format("model") + r"\.new", "behind"),
    # The cache
    Instant("fsync", SHARD.replace("/", r"/\.") + r"\.new", "half"),
    Instant("replace", SHARD.replace("/", r"/\.") + r"\.new", "before"),
    Instant("replace", SHARD.replace("/", r"/\.") + r"\.new", "behind"),
    Instant("fsync", r"/\.train-rank0-00000\.bin\.sha256\.new", "half"),
    Instant("link", SHARD, "behind"),
    Instant("rename", STAGE.format("signal") + r"\.new", "before"),
    Instant("rename", STAGE.format("signal") + r"\.new", "behind"),
    # The student, the scores, the samples
    Instant("fsync", STEP + r"/model\.safetensors", "half", 3),
    Instant("rename", STAGE.format("model") + r"\.new", "behind"),
    Instant("rename", STAGE.format("scores") + r"\.new", "before", 2),
    Instant("rename", STAGE.format("scores") + r"\.new", "behind"),
    Instant("replace", r"/scores/llama/\.pairs\.items\.npy\.new"),
    Instant("rename", STAGE.format("samples") + r"\.new", "behind"),
    Instant("replace", r"/\.stages\.json\.new"),
    Instant("unlink", r"/\.lock"),
]


def test_a_run_killed_within_saves_and_renames_ends_as_one_that_was_not(
    whole: dict[str, Any], unmade: Path
) -> None:
    killed(unmade, FAST)
    ends_as(whole, unmade)


@pytest.mark.slow
def test_a_run_killed_within_every_kind_of_save_and_rename_ends_as_one_that_was_not(
    whole: dict[str, Any], unmade: Path
) -> None:
    killed(unmade, SLOW)
    ends_as(whole, unmade)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_a_run_killed_before_any_call_of_the_file_system_ends_as_one_that_was_not(
    whole: dict[str, Any], unmade: Path, seed: int
) -> None:
    chance, kills = random.Random(seed), 0  # noqa: S311
    for _ in range(12):
        number = chance.randrange(60, 600)
        with started(unmade, *RUN, first=partial(die_at_call, number)) as command:
            finished = command.finish(900)
        kills += finished.code == -signal.SIGKILL
        assert finished.code in {0, -signal.SIGKILL}, finished.err
        assert steps_lost(unmade / "runs" / ".store") <= 1
    assert kills >= 3
    ends_as(whole, unmade)


DEMO = ("run", "demo", "--run-dir", "runs/a")
INTERVAL = 2.0
"""Seconds between two checkpoints."""
SETTINGS = (
    "distillation.signal=hidden-int8",
    f"training.checkpoint_minutes={INTERVAL / 60}",
    "runtime.device=cpu",
    "runtime.threads=1",
)
TARGETS = [
    *("corpus", "tokenizer", "tokens", "tokens", "suites/generated"),
    *(["models/llama"] * 5 + ["models/gpt2"] * 5),
    *(["signal/student"] * 3 + ["models/student"] * 5 + ["models/control"] * 4),
    *(f"scores/{name}/generated" for name in ("llama", "gpt2", "student", "ensemble")),
    *("samples", "samples"),
]


@pytest.mark.slow
def test_a_demo_that_is_killed_at_random_moments_ends_as_one_that_was_not(tmp_path: Path) -> None:
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
    command = babyllama_long(tmp_path / "whole")
    assert command.code == 0, command.err
    stages = json.loads((tmp_path / "whole/runs/a/stages.json").read_text("utf-8"))
    kills = killed_at_random(tmp_path / "killed", {s["stage"]: s["seconds"] for s in stages})
    assert kills >= 25
    command = babyllama_long(tmp_path / "killed")
    assert command.code == 0, command.err
    found, expected = (contents(tmp_path / name / "runs") for name in ("killed", "whole"))
    assert found.keys() == expected.keys()
    assert [name for name in expected if found[name] != expected[name]] == []


def babyllama_long(folder: Path) -> Any:
    with started(folder, *DEMO, *SETTINGS) as command:
        return command.finish(3600)


def killed_at_random(folder: Path, seconds: dict[str, float]) -> int:
    """Kill a demo in every stage, at a random moment of it; the number of kills."""
    chance, kills = random.Random(1), 0  # noqa: S311
    for target in TARGETS:
        with started(folder, *DEMO, *SETTINGS) as command:
            wait_for_stage(command, target)
            time.sleep(chance.random() * seconds[target] / TARGETS.count(target))
            command.send(signal.SIGKILL)
            kills += command.finish().code == -signal.SIGKILL
        store = folder / "runs" / ".store"
        assert steps_lost(store) <= most_steps(store)
    return kills


def wait_for_stage(command: Command, stage: str) -> None:
    """Until a stage is under way, or behind."""
    begun = re.compile(rf"^(making|going on with|up to date) +{stage}( |$)", re.MULTILINE)
    end = time.monotonic() + 1200
    while not begun.search(command.err) and command.process.is_alive():
        assert time.monotonic() < end, command.err
        time.sleep(0.01)


def most_steps(store: Path) -> float:
    """What fits between two checkpoints at the best rate that was logged, and half of it."""
    logs = [path.read_text("utf-8") for path in store.glob("model-*.partial/log.jsonl")]
    rates = re.findall(r'"tokens_per_second": ([0-9.e+]+)', "".join(logs))
    return 2 + 1.5 * INTERVAL * max(map(float, rates), default=0) / (32 * 64)
