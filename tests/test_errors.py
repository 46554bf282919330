"""One line for what a user can mend, and nothing swallowed that is an error of the program."""

import errno
from pathlib import Path

import numpy as np
import pytest
from safetensors import SafetensorError

from babyllama.errors import (
    BabyllamaError,
    CorruptDataError,
    DivergedError,
    RecipeError,
    StoppedError,
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
    "error", [ValueError("x"), FileNotFoundError(errno.ENOENT, "", "/a"), OSError("other")]
)
def test_an_error_of_the_program_is_left_alone(error: Exception) -> None:
    assert refusal(error) == ""
