"""What must not change a training, by the command line: losses and norms step by step.

AdamW in float32. Adam divides by the root of a mean of squares, so a gradient that differs by
rounding moves a weight that hardly has one by as much as any other: hence bounds that are looser
than those of `test_exact.py`.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from babyllama.distillation.compiling import can_compile
from several import started_together
from tiny import LLAMA, TRAINING, Finished, babyllama, recipe, started, write_recipe

# Relative, of every step; for the cache, that rounds to half precision, absolute for the loss.
BOUNDS = {"loss": 1e-5, "gradient_norm": 1e-3}
MODELS = ("llama", "gpt2", "student")


def write(folder: Path, data: Path, **training: Any) -> None:
    """A recipe of two teachers and their student, that trains them for some 25 steps each."""
    models = {
        "llama": {"architecture": LLAMA},
        "gpt2": {"architecture": {**LLAMA, "type": "gpt2"}},
        "student": {"architecture": LLAMA, "teachers": ["llama", "gpt2"]},
    }
    settings = {**TRAINING, "batch_size": 8, "micro_batch": 8, **training}
    evaluation = {"suites": {}}
    raw = recipe(data, models=models, training=settings, evaluation=evaluation)
    raw["corpus"]["words"] = 1500
    folder.mkdir(exist_ok=True)
    write_recipe(folder / "r.yaml", raw)


def alone(folder: Path, *overrides: str) -> Finished:
    return babyllama(folder, "run", "r.yaml", *overrides, "--run-dir", "runs/a")


def series(folder: Path, model: str) -> dict[str, np.ndarray]:
    """The logged values of every step, by name."""
    lines = (folder / "runs" / "a" / "models" / model / "log.jsonl").read_text("utf-8").splitlines()
    rows = [row for row in map(json.loads, lines) if row["kind"] == "step"]
    return {key: np.array([row[key] for row in rows]) for key in BOUNDS}


@pytest.fixture(scope="module")
def base(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One process, one micro-batch a step, teachers run in every step."""
    folder = tmp_path_factory.mktemp("base")
    write(folder, data)
    command = alone(folder)
    assert command.code == 0, command.err
    assert len(series(folder, "student")["loss"]) > 20
    return folder


def together(folder: Path) -> Finished:
    with started_together(folder, "run", "r.yaml", "--run-dir", "runs/a") as (first, second):
        finished = [first.finish(), second.finish()]
    assert finished[1] == Finished(0, "", ""), "the first process alone speaks"
    return finished[0]


@pytest.mark.parametrize(
    ("micro_batch", "start"),
    [
        pytest.param(1, alone, marks=pytest.mark.slow),
        (3, alone),
        (8, together),
        pytest.param(1, together, marks=pytest.mark.slow),
    ],
)
def test_micro_batches_and_processes_change_nothing_but_rounding(
    micro_batch: int,
    start: Callable[[Path], Finished],
    base: Path,
    data: Path,
    tmp_path: Path,
) -> None:
    write(tmp_path, data, micro_batch=micro_batch)
    command = start(tmp_path)
    assert command.code == 0, command.err
    for model in MODELS:
        expected, found = series(base, model), series(tmp_path, model)
        for key, bound in BOUNDS.items():
            np.testing.assert_allclose(found[key], expected[key], rtol=bound, err_msg=key)


def test_a_cache_of_hidden_states_is_the_teachers_but_for_half_precision(
    base: Path, data: Path, tmp_path: Path
) -> None:
    write(tmp_path, data)
    command = alone(tmp_path, "distillation.signal=hidden-fp16")
    assert command.code == 0, command.err
    expected, found = series(base, "student"), series(tmp_path, "student")
    assert not np.array_equal(found["loss"], expected["loss"])
    np.testing.assert_allclose(found["loss"], expected["loss"], rtol=1e-4)
    np.testing.assert_allclose(found["gradient_norm"], expected["gradient_norm"], rtol=1e-2)


def compile_everything() -> None:
    """Take no training for too short."""
    from babyllama.distillation import compiling

    compiling.WORTH_COMPILING = 0


@pytest.mark.slow
def test_a_compiled_loss_is_the_plain_one_but_for_rounding(
    base: Path, data: Path, tmp_path: Path
) -> None:
    if not can_compile("cpu"):
        pytest.skip("no working compiler")
    write(tmp_path, data)
    command = ("run", "r.yaml", "--run-dir", "runs/a")
    with started(tmp_path, *command, first=compile_everything) as running:
        finished = running.finish(timeout=900)
    assert finished.code == 0, finished.err
    for model in MODELS:
        record = (tmp_path / "runs" / "a" / "models" / model / "training.json").read_text("utf-8")
        assert json.loads(record)["kernel"] == "compiled"
        expected, found = series(base, model), series(tmp_path, model)
        np.testing.assert_allclose(found["loss"], expected["loss"], rtol=1e-4)
        np.testing.assert_allclose(found["gradient_norm"], expected["gradient_norm"], rtol=1e-2)
