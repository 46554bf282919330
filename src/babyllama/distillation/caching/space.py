"""How much disk a cache takes, and whether there is so much."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from babyllama.distillation.caching.codes import Codec, Kind
from babyllama.distillation.caching.grid import Grid
from babyllama.errors import BabyllamaError

# The exact signal of so many held-out positions is kept for certificates.
HELD_OUT = 2048
# What a file system takes for itself.
SLACK = 1.02


def record_codec(kind: Kind, length: int, widths: Sequence[int], rank: int | None) -> Codec:
    """The codec of a kind, for teachers of these widths; at most so wide while `rank` is None."""
    if kind == "low-rank":
        return Codec(length, (rank or sum(widths) + 1,), eight_bits=True)
    return Codec(length, tuple(widths), eight_bits=kind == "hidden-int8")


def cache_bytes(
    kind: Kind, grid: Grid, widths: Sequence[int], vocabulary: int, rank: int | None = None
) -> int:
    """Bytes of a whole cache."""
    codec = record_codec(kind, grid.length, widths, rank)
    records = codec.dtype.itemsize * (grid.tokens // grid.length)
    wide = sum(widths) + 1
    exact = 4 * wide * (vocabulary + HELD_OUT)
    basis = 4 * codec.widths[0] * (vocabulary + wide) if kind == "low-rank" else 0
    return int(SLACK * (records + exact + basis))


def check_space(folder: Path, needed: int, *, key: str) -> None:
    """Refuse before the start what would end with a full disk.

    Raises:
        BabyllamaError: with what is needed and what is there.
    """
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise BabyllamaError(
            f"{key}: the cached signal needs {needed / 2**30:.2f} GiB more, {folder} has"
            f" {free / 2**30:.2f} GiB free: free space, choose a --run-dir on another disk, or take"
            " a smaller kind (hidden-int8, low-rank) or online"
        )
