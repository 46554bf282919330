"""The one family of errors, and the exit code that each leaves behind.

Exit codes: 0 done, 1 failure, 2 usage or recipe, 3 training diverged, 4 corrupt data or
artifact, 75 stopped cleanly (run the same command again).
"""

import difflib
import errno
import os
import re
from collections.abc import Iterable

# numpy and the libraries in Rust tell of a full disk without an errno.
_FULL_DISK = re.compile(r"No space left on device|\d+ requested and \d+ written")
_LARGE_FILE = re.compile(r"File too large")
# Of torch's allocators only those of GPUs have a class of their own.
_NO_MEMORY = re.compile(
    r"DefaultCPUAllocator: can't allocate|out of memory|CUBLAS_STATUS_ALLOC_FAILED"
)
_REFUSALS = (
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.ENAMETOOLONG,
)


class BabyllamaError(Exception):
    """Something a user can mend: the message names the thing, what was expected, the remedy."""

    exit_code = 1


class RecipeError(BabyllamaError):
    """A recipe or a command line that cannot be meant."""

    exit_code = 2


class DivergedError(BabyllamaError):
    """Training met a loss or a gradient that is not finite."""

    exit_code = 3


class CorruptDataError(BabyllamaError):
    """Input text, a pair file or an artifact that is not what it should be."""

    exit_code = 4


class StoppedError(BabyllamaError):
    """A run that was asked to stop, has saved its state, and goes on when called again."""

    exit_code = 75


def exit_code(error: BaseException) -> int:
    """What a command leaves behind; 0 for a clean stop under torchrun, which restarts others."""
    if isinstance(error, StoppedError | KeyboardInterrupt):
        started_by_torchrun = os.environ.keys() & {"TORCHELASTIC_RUN_ID", "LOCAL_RANK"}
        return 0 if started_by_torchrun else StoppedError.exit_code
    return error.exit_code if isinstance(error, BabyllamaError) else BabyllamaError.exit_code


class IgnoredSettingWarning(UserWarning):
    """A setting was given that has no effect here."""


def is_out_of_memory(error: Exception) -> bool:
    """Whether memory ran out, the machine's or a GPU's; torch is not imported to tell."""
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and bool(_NO_MEMORY.search(str(error)))


def refusal(error: Exception) -> str:
    """What a user can do where the system refuses memory or a file; empty if it did not."""
    if is_out_of_memory(error):
        return (
            "out of memory: lower models.NAME.training.micro_batch of the model that was being"
            " made, or take smaller models"
        )
    number = error.errno if isinstance(error, OSError) else None
    if number in (errno.ENOSPC, errno.EDQUOT) or _FULL_DISK.search(str(error)):
        return (
            "the disk is full: free space or choose a --run-dir on another disk, then run the"
            " same command again"
        )
    if number == errno.EFBIG or _LARGE_FILE.search(str(error)):
        return (
            "the system refuses a file of that size: raise its limit (ulimit -f) or choose a"
            " --run-dir on another file system, then run the same command again"
        )
    if isinstance(error, OSError) and number in _REFUSALS:
        path = error.filename2 or error.filename
        return f"{path}: {os.strerror(number)}: check the path and its permissions"
    return ""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A hint for a name that is not known: the nearest one, or all of them.

    >>> did_you_mean("temprature", ["temperature", "pool"])
    "; did you mean 'temperature'?"
    """
    known = [" ".join(str(name).split()) for name in known]  # a key may hold line ends
    close = difflib.get_close_matches(str(word), known, n=1)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; known: {', '.join(known)}" if known else ""
