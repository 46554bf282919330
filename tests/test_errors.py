"""One line for what a user can mend, and nothing swallowed that is an error of the program."""

import errno
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import SafetensorError

from babyllama.__main__ import main
from babyllama.errors import (
    BabyllamaError,
    CorruptDataError,
    DivergedError,
    RecipeError,
    StoppedError,
    did_you_mean,
    is_out_of_memory,
    refusal,
)


def test_exit_codes_are_the_documented_ones() -> None:
    family = (BabyllamaError, RecipeError, DivergedError, CorruptDataError, StoppedError)
    assert [error.exit_code for error in family] == [1, 2, 3, 4, 75]


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device", "x"),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        OSError("3000000 requested and 2097152 written"),
        SafetensorError(
            "Error while serializing: I/O error: No space left on device (os error 28)"
        ),
        Exception("No space left on device (os error 28)"),
    ],
)
def test_a_full_disk_is_told_whatever_library_meets_it(error: Exception) -> None:
    assert refusal(error).startswith("the disk is full: free space or choose a --run-dir on")


def test_numpy_tells_of_a_full_disk_as_expected() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    with Path("/dev/full").open("wb", buffering=0) as full, pytest.raises(OSError) as caught:  # noqa: PT011
        np.zeros(1_000_000).tofile(full)
    assert "the disk is full" in refusal(caught.value)


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.EFBIG, "File too large", "x"),
        SafetensorError("Error while serializing: I/O error: File too large (os error 27)"),
    ],
)
def test_a_file_above_the_limit_of_the_system_is_told_as_one(error: Exception) -> None:
    assert refusal(error).startswith("the system refuses a file of that size: raise its limit")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (PermissionError(errno.EACCES, "", "/a"), "/a: Permission denied: check the path and its"),
        (OSError(errno.EROFS, "", "/a"), "/a: Read-only file system"),
        (OSError(errno.EACCES, "", "/from", None, "/to"), "/to: Permission denied"),
    ],
)
def test_a_file_that_the_system_refuses_is_named(error: OSError, message: str) -> None:
    assert message in refusal(error)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("MPS backend out of memory (MPS allocated: 9 GB)"),
    ],
)
def test_a_lack_of_memory_names_the_micro_batch(error: Exception) -> None:
    assert is_out_of_memory(error)
    assert refusal(error).startswith("out of memory: lower models.NAME.training.micro_batch")


@pytest.mark.parametrize("allocate", [lambda: torch.empty(1 << 50), lambda: np.empty(1 << 50)])
def test_torch_and_numpy_tell_of_a_lack_of_memory_as_expected(
    allocate: Callable[[], object],
) -> None:
    with pytest.raises((RuntimeError, MemoryError)) as caught:
        allocate()
    assert is_out_of_memory(caught.value)


def test_a_command_that_runs_out_of_memory_ends_with_one_line_and_code_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def app() -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate 2.00 GiB.")

    monkeypatch.setattr("babyllama.cli.app", app)
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 1
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("error: out of memory: lower models.NAME.training.micro_batch")


@pytest.mark.parametrize(
    "error", [ValueError("x"), FileNotFoundError(errno.ENOENT, "", "/a"), OSError("other")]
)
def test_an_error_of_the_program_is_left_alone(error: Exception) -> None:
    assert refusal(error) == ""


def test_a_word_that_is_like_none_gets_the_whole_list() -> None:
    assert did_you_mean("zzz", ["epochs", "betas"]) == "; known: epochs, betas"
