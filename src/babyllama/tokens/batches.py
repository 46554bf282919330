"""Which tokens a step sees: a pure function of (seed, epoch, step)."""

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch

from babyllama.errors import RecipeError
from babyllama.seeds import generator
from babyllama.tokens.packing import Ids

IGNORED = -100
Split = Literal["train", "dev"]


@dataclass(frozen=True)
class Batch:
    """Token ids [B, T], and the id that each position predicts [B, T], `IGNORED` at the last."""

    input_ids: torch.Tensor
    labels: torch.Tensor
    starts: torch.Tensor
    """Where in its split each sequence starts, in tokens, int64 [B]; it stays on the CPU."""
    split: Split

    def to(self, device: torch.device) -> "Batch":
        """The same batch on a device."""
        return replace(self, input_ids=self.input_ids.to(device), labels=self.labels.to(device))

    def micro_batches(self, size: int) -> list["Batch"]:
        """Parts of at most `size` sequences."""
        parts = (tensor.split(size) for tensor in (self.input_ids, self.labels, self.starts))
        return [
            Batch(ids, labels, starts, self.split)
            for ids, labels, starts in zip(*parts, strict=True)
        ]


@dataclass(frozen=True)
class Counts:
    """What a step's sums are divided by, over all its micro-batches."""

    tokens: int
    """Predicted tokens."""
    sequences: int


def counts(batch: Batch) -> Counts:
    """Counts of one whole step, known before its first forward pass."""
    return Counts(int((batch.labels != IGNORED).sum()), len(batch.labels))


def make_batch(ids: Ids, starts: npt.NDArray[np.int64], length: int, split: Split) -> Batch:
    """The chunks of a split that start at `starts` [B], with next-token labels."""
    chunks = np.stack([np.asarray(ids[start : start + length], np.int64) for start in starts])
    input_ids = torch.from_numpy(chunks)
    labels = torch.full_like(input_ids, IGNORED)
    labels[:, :-1] = input_ids[:, 1:]
    return Batch(input_ids, labels, torch.from_numpy(starts), split)


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
    offsets: tuple[int, ...] = ()
    """Random offsets are these in turn, where the teachers' signal is kept for no others."""

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
        return chunk_count(len(self.ids), self.chunk_length, shifted=self.random_offsets)

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches an epoch."""
        return self.chunks // self.batch_size

    def total_steps(self, epochs: int) -> int:
        """Steps of a training of so many epochs."""
        return epochs * self.steps_per_epoch

    def place(self, step: int) -> tuple[int, int]:
        """The epoch of a step of the training, and the step within it, all from 0."""
        return divmod(step, self.steps_per_epoch)

    def counted_epoch(self, step: int) -> int:
        """The epoch that a step counts to where settings count epochs, both from 0."""
        return self.place(step)[0]

    def batch(self, epoch: int, step: int) -> Batch:
        """The batch at `step` within `epoch`, both from 0."""
        picked = self.order(epoch)[step * self.batch_size : (step + 1) * self.batch_size]
        starts = self.offset(epoch) + picked * self.chunk_length
        return make_batch(self.ids, starts, self.chunk_length, "train")

    def order(self, epoch: int) -> npt.NDArray[np.int64]:
        """The numbers of the chunks of an epoch, in the order in which they are seen."""
        return shuffled(self.seed, epoch, self.chunks)

    def phases(self, total_steps: int) -> list[dict[str, Any]]:  # noqa: ARG002 (for what has some)
        """What is seen in turn, where not all of the text is seen from the first step on."""
        return []

    def described(self, epoch: int) -> dict[str, int]:  # noqa: ARG002 (for what has phases)
        """What the log says of an epoch, beside its number."""
        return {}

    def offset(self, epoch: int) -> int:
        """The token at which the grid of an epoch starts."""
        if not self.random_offsets:
            return 0
        if self.offsets:
            return self.offsets[epoch % len(self.offsets)]
        return int(generator(self.seed, "offset", epoch).integers(self.chunk_length))


@lru_cache(maxsize=2)
def shuffled(seed: int, epoch: int, chunks: int) -> npt.NDArray[np.int64]:
    """The numbers below `chunks` in the order of an epoch."""
    return generator(seed, "order", epoch).permutation(chunks)


def chunk_count(tokens: int, length: int, *, shifted: bool) -> int:
    """Chunks of a grid; where it is `shifted`, so many that they fit at every offset."""
    return max(0, tokens - (length - 1 if shifted else 0)) // length


def validation_batches(
    ids: Ids, chunk_length: int, *, chunks: int, seed: int, batch_size: int
) -> list[Batch]:
    """The seeded subset that every model of a run is validated on, in corpus order.

    Raises:
        RecipeError: the dev split is shorter than a chunk.
    """
    starts = validation_starts(len(ids), chunk_length, chunks=chunks, seed=seed)
    return dev_batches(ids, starts, chunk_length, batch_size)


def dev_batches(
    ids: Ids, starts: npt.NDArray[np.int64], chunk_length: int, batch_size: int
) -> list[Batch]:
    """The chunks of the dev split that start at `starts`, in batches."""
    return [
        make_batch(ids, starts[i : i + batch_size], chunk_length, "dev")
        for i in range(0, len(starts), batch_size)
    ]


def validation_starts(
    tokens: int, chunk_length: int, *, chunks: int, seed: int
) -> npt.NDArray[np.int64]:
    """Where the chunks of that subset start in a dev split of so many tokens.

    Raises:
        RecipeError: the split is shorter than a chunk.
    """
    picked = np.sort(_dev_order(tokens, chunk_length, seed)[:chunks])
    return picked * chunk_length


def held_out_starts(
    tokens: int, chunk_length: int, *, chunks: int, seed: int, most: int
) -> npt.NDArray[np.int64]:
    """Where chunks of the dev split start that are not among the `chunks` of that subset.

    At most so many, drawn by the same seed.

    Raises:
        RecipeError: none is left.
    """
    picked = _dev_order(tokens, chunk_length, seed)[chunks : chunks + most]
    if not len(picked):
        raise RecipeError(
            f"tokens.validation_chunks: all {tokens // chunk_length} chunks of the dev split are"
            " validated on, so no text is held out to learn or choose the pool of teachers: lower"
            " it or add dev text"
        )
    return np.sort(picked) * chunk_length


def _dev_order(tokens: int, chunk_length: int, seed: int) -> npt.NDArray[np.int64]:
    """The numbers of the chunks of a dev split, in the order in which they are drawn."""
    available = tokens // chunk_length
    if available < 1:
        raise RecipeError(
            f"tokens.chunk_length: a chunk of {chunk_length} tokens is longer than the dev split of"
            f" {tokens} tokens: shorten it or add dev text"
        )
    return generator(seed, "validation").permutation(available)
