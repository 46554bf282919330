"""Which tokens a step sees: a pure function of (seed, epoch, step)."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch

from babyllama.errors import RecipeError
from babyllama.seeds import generator
from babyllama.tokens.packing import Ids

IGNORED = -100


@dataclass(frozen=True)
class Batch:
    """Token ids [B, T], and the id that each position predicts [B, T], `IGNORED` at the last."""

    input_ids: torch.Tensor
    labels: torch.Tensor

    def to(self, device: torch.device) -> "Batch":
        """The same batch on a device."""
        return Batch(self.input_ids.to(device), self.labels.to(device))

    def split(self, size: int) -> list["Batch"]:
        """Micro-batches of at most `size` sequences."""
        pairs = zip(self.input_ids.split(size), self.labels.split(size), strict=True)
        return [Batch(ids, labels) for ids, labels in pairs]


@dataclass(frozen=True)
class Counts:
    """What a step's sums are divided by, over all its micro-batches."""

    tokens: int
    """Predicted tokens."""
    sequences: int


def counts(batch: Batch) -> Counts:
    """Counts of one whole step, known before its first forward pass."""
    return Counts(int((batch.labels != IGNORED).sum()), len(batch.labels))


def make_batch(chunks: npt.NDArray[np.int64]) -> Batch:
    """Chunks [B, T] with next-token labels."""
    input_ids = torch.from_numpy(chunks)
    labels = torch.full_like(input_ids, IGNORED)
    labels[:, :-1] = input_ids[:, 1:]
    return Batch(input_ids, labels)


@dataclass(frozen=True)
class ChunkOrder:
    """Contiguous chunks of one vector of ids, in a new order every epoch.

    With `random_offsets` the grid starts at a random token every epoch. The number of chunks is
    the same in every epoch; what is left over at the ends, less than two chunks, and what does not
    fill a batch is not seen in that epoch.
    """

    ids: Ids
    chunk_length: int
    batch_size: int
    seed: int
    random_offsets: bool = False

    def __post_init__(self) -> None:
        if self.chunks < 1:
            offset = " at a random offset" if self.random_offsets else ""
            raise RecipeError(
                f"tokens.chunk_length: no chunk of {self.chunk_length} tokens{offset} fits the"
                f" corpus of {len(self.ids)} tokens: shorten it or add text"
            )
        if self.steps_per_epoch < 1:
            raise RecipeError(
                f"training.batch_size: a batch of {self.batch_size} sequences is larger than the"
                f" corpus of {self.chunks} chunks: lower it or add text"
            )

    @property
    def chunks(self) -> int:
        """Chunks an epoch."""
        spare = self.chunk_length - 1 if self.random_offsets else 0
        return max(0, len(self.ids) - spare) // self.chunk_length

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches an epoch."""
        return self.chunks // self.batch_size

    def batch(self, epoch: int, step: int) -> Batch:
        """The batch at `step` within `epoch`, both from 0."""
        order = _permutation(self.seed, epoch, self.chunks)
        picked = order[step * self.batch_size : (step + 1) * self.batch_size]
        return make_batch(take_chunks(self.ids, picked, self.chunk_length, self._offset(epoch)))

    def _offset(self, epoch: int) -> int:
        if not self.random_offsets:
            return 0
        return int(generator(self.seed, "offset", epoch).integers(self.chunk_length))


@lru_cache(maxsize=2)
def _permutation(seed: int, epoch: int, chunks: int) -> npt.NDArray[np.int64]:
    return generator(seed, "order", epoch).permutation(chunks)


def take_chunks(
    ids: Ids, picked: npt.NDArray[np.int64], length: int, offset: int = 0
) -> npt.NDArray[np.int64]:
    """Chunks number `picked` [B] of a grid that starts at `offset`, as [B, length]."""
    starts = offset + picked * length
    return np.stack([np.asarray(ids[s : s + length], np.int64) for s in starts])


def validation_batches(
    ids: Ids, chunk_length: int, *, chunks: int, seed: int, batch_size: int
) -> list[Batch]:
    """The seeded subset that every model of a run is validated on, in corpus order.

    Raises:
        RecipeError: the dev split is shorter than a chunk.
    """
    available = len(ids) // chunk_length
    if available < 1:
        raise RecipeError(
            f"tokens.chunk_length: a chunk of {chunk_length} tokens is longer than the dev split of"
            f" {len(ids)} tokens: shorten it or add dev text"
        )
    picked = np.sort(generator(seed, "validation").permutation(available)[:chunks])
    rows = take_chunks(ids, picked, chunk_length)
    return [make_batch(rows[i : i + batch_size]) for i in range(0, len(rows), batch_size)]
