"""A small run with every kind of stage, finished once, for the tests of this folder."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from tiny import LLAMA, TRAINING, recipe, started, write_recipe


def small(data: Path) -> dict[str, Any]:
    """A teacher, a student that reads a cache, pairs of both kinds: a few steps each."""
    models = {
        "llama": {"architecture": LLAMA},
        "student": {
            "architecture": LLAMA | {"type": "gpt2", "dropout": 0.1},
            "teachers": ["llama"],
            "distillation": {"signal": "hidden-int8", "cache_angle": 20.0},
        },
    }
    raw = recipe(data, models=models)
    raw["corpus"]["words"] = 4000
    # A checkpoint a step: a kill may cost one.
    raw["training"] = TRAINING | {"batch_size": 64, "keep": "best", "checkpoint_minutes": 1e-9}
    raw["evaluation"]["suites"]["generated"] = "builtin:paradigms"
    return raw


@pytest.fixture(scope="session")
def small_run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `r.yaml` and the run `runs/a` of it; no test may change it."""
    folder = tmp_path_factory.mktemp("small")
    write_recipe(folder / "r.yaml", small(data))
    with started(folder, "run", "r.yaml", "--run-dir", "runs/a") as command:
        finished = command.finish(900)
    assert finished.code == 0, finished.err
    return folder


@pytest.fixture
def own_run(small_run: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return shutil.copytree(small_run, tmp_path / "own", symlinks=True)


@pytest.fixture
def unmade(small_run: Path, tmp_path: Path) -> Path:
    """A folder with `r.yaml` alone."""
    shutil.copy(small_run / "r.yaml", tmp_path / "r.yaml")
    return tmp_path
