"""Shards: files of records, written in order, taken over after a kill, mapped when read.

A shard is finished when the file `<name>.sha256` is beside it. A build that goes on keeps the
finished ones whose content still has that digest, and makes the others again.
"""

import hashlib
import mmap
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from babyllama.distillation.caching.codes import Records
from babyllama.distillation.caching.grid import Grid
from babyllama.errors import CorruptDataError
from babyllama.store import file_digest, sync_path, write_text
from babyllama.tokens.batches import Split


def is_finished(path: Path) -> bool:
    """Whether a file is there with the digest that was noted when it was finished."""
    try:
        return _note(path).read_text("utf-8").strip() == file_digest(path)
    except (OSError, ValueError):
        return False


def write_finished(path: Path, parts: Iterable[bytes | memoryview]) -> None:
    """Write a file beside its place, sync it, rename it in, then note its digest."""
    digest = hashlib.sha256()
    beside = path.with_name(f".{path.name}.new")
    _note(path).unlink(missing_ok=True)
    with beside.open("wb") as out:
        for part in parts:
            digest.update(part)
            out.write(part)
    sync_path(beside)
    beside.replace(path)
    write_text(_note(path), digest.hexdigest() + "\n")


def _note(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


class Shards:
    """All records of a cache, by split and row."""

    def __init__(self, folder: Path, grid: Grid, dtype: np.dtype[Any]) -> None:
        """Map the files of a grid.

        Raises:
            CorruptDataError: one is missing, or has another length than its rows take.
        """
        self.grid = grid
        self.dtype = dtype
        self.maps: dict[Split, list[mmap.mmap]] = {"train": [], "dev": []}
        for shard in grid.shards():
            path, size = folder / shard.name, shard.rows * dtype.itemsize
            found = path.stat().st_size if path.is_file() else 0
            if found != size:
                raise CorruptDataError(
                    f"{path} has {found} bytes, its {shard.rows} rows take {size}: delete"
                    f" {folder} and run again"
                )
            with path.open("rb") as handle:
                mapped = mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ)
            self.maps[shard.split].append(mapped)

    def records(self, split: Split, rows: npt.NDArray[np.int64]) -> Records:
        """Copies of the records [B] of some rows."""
        found = np.empty(len(rows), self.dtype)
        shards, within = np.divmod(rows, self.grid.rows_a_shard(split))
        for place, (shard, row) in enumerate(zip(shards, within, strict=True)):
            mapped = self.maps[split][shard]
            found[place : place + 1] = np.frombuffer(
                mapped, self.dtype, 1, row * self.dtype.itemsize
            )
        if hasattr(mmap, "MADV_DONTNEED"):  # pages that stay mapped would count as memory
            for shard in set(shards.tolist()):
                self.maps[split][shard].madvise(mmap.MADV_DONTNEED)
        return found
