"""The environment of every test, set before torch is imported, and one run that is finished."""

import os
import shutil
from pathlib import Path

import hypothesis
import pytest

# A machine with other work on it stalls now and then; what hangs has a time of its own.
hypothesis.settings.register_profile("babyllama", deadline=None)
hypothesis.settings.load_profile("babyllama")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # tiny models, and two test processes on two cores
os.environ.setdefault("HF_HUB_OFFLINE", "1")
# The tests of whole commands fork: the threads of a tokenizer would not live on in the fork.
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `text`, `pairs` and the recipe `tiny.yaml`; no test may change it."""
    from tiny import recipe, write_pairs, write_recipe, write_text

    folder = tmp_path_factory.mktemp("data")
    write_text(folder / "text")
    write_pairs(folder / "pairs")
    write_recipe(folder / "tiny.yaml", recipe(folder))
    return folder


@pytest.fixture(scope="session")
def finished(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which `runs/first` is a finished run of `tiny.yaml`; no test may change it."""
    from tiny import babyllama

    folder = tmp_path_factory.mktemp("finished")
    command = babyllama(folder, "run", data / "tiny.yaml", "--run-dir", "runs/first")
    assert command.code == 0, command.err
    return folder


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished run that a test may change."""
    return shutil.copytree(finished, tmp_path / "copied", symlinks=True)
