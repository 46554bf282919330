"""Which chunks of a text a cache holds, and in which of its rows."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from babyllama.errors import CorruptDataError
from babyllama.seeds import generator
from babyllama.tokens.batches import Split

# A shard is what a kill costs at most: a part of the text, but not so little that files abound.
SHARDS = 256
LEAST_TOKENS = 4096


def cached_offsets(seed: int, length: int, number: int) -> tuple[int, ...]:
    """So many different offsets of a chunk grid, or all there are.

    >>> sorted(cached_offsets(1, 3, 9))
    [0, 1, 2]
    """
    return tuple(generator(seed, "cached offsets").permutation(length)[:number].tolist())


class Shard(NamedTuple):
    """A file of consecutive rows of one split."""

    split: Split
    number: int
    first: int
    rows: int

    @property
    def name(self) -> str:
        """The rank is that of the process that writes it."""
        return f"{self.split}-rank0-{self.number:05d}.bin"


@dataclass(frozen=True)
class Grid:
    """Chunks of the training split at every offset, and some of the dev split."""

    length: int
    """Tokens of a chunk."""
    chunks: int
    """Of the training split, at each offset."""
    offsets: tuple[int, ...]
    """Where the training split's grids start, each below `length`."""
    dev: tuple[int, ...]
    """Where the chunks of the dev split start, rising."""

    def starts(self, split: Split) -> npt.NDArray[np.int64]:
        """Where the chunk of every row starts: grid after grid."""
        if split == "dev":
            return np.asarray(self.dev, np.int64)
        grids = [offset + self.length * np.arange(self.chunks) for offset in self.offsets]
        return np.concatenate(grids).astype(np.int64)

    def rows(self, split: Split, starts: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """The rows of the chunks that start there.

        Raises:
            CorruptDataError: the cache holds no such chunk.
        """
        rows = self._dev_rows(starts) if split == "dev" else self._train_rows(starts)
        if (rows < 0).any():
            raise CorruptDataError(
                f"the cached signal has no chunk of {split} that starts at token"
                f" {int(starts[rows < 0][0])}: it was made for another chunk grid"
            )
        return rows

    def _train_rows(self, starts: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        number, within = np.divmod(starts, self.length)
        grid = self._grid_of_offset[within]
        return np.where((grid < 0) | (number >= self.chunks), -1, grid * self.chunks + number)

    @cached_property
    def _grid_of_offset(self) -> npt.NDArray[np.int64]:
        found = np.full(self.length, -1, np.int64)
        found[list(self.offsets)] = np.arange(len(self.offsets))
        return found

    def _dev_rows(self, starts: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        dev = self.starts("dev")
        rows = np.searchsorted(dev, starts).clip(max=len(dev) - 1)
        return np.where(dev[rows] == starts, rows, -1)

    def rows_in(self, split: Split) -> int:
        """How many there are."""
        return len(self.dev) if split == "dev" else len(self.offsets) * self.chunks

    def rows_a_shard(self, split: Split) -> int:
        """Of all shards but the last."""
        part = -(-self.rows_in(split) // SHARDS)
        return max(part, -(-LEAST_TOKENS // self.length))

    def shards(self) -> Iterator[Shard]:
        """The files in the order in which they are written."""
        splits: tuple[Split, ...] = ("dev", "train")
        for split in splits:
            size, rows = self.rows_a_shard(split), self.rows_in(split)
            for number, first in enumerate(range(0, rows, size)):
                yield Shard(split, number, first, min(size, rows - first))

    @property
    def tokens(self) -> int:
        """Of all chunks."""
        return self.length * (self.rows_in("train") + self.rows_in("dev"))

    def as_json(self) -> dict[str, Any]:
        """For the header."""
        return {
            "chunk_length": self.length,
            "chunks": self.chunks,
            "offsets": [*self.offsets],
            "dev_starts": [*self.dev],
        }
