"""A curriculum: on the first bucket of sources, then with the next one added, until all are in.

After appendix B of Baby Llama (arXiv 2308.02019). A phase is so many epochs over the text of the
buckets so far, of which none is taken away again.

The chunks are those of the whole text, wherever its sources begin, so that a signal that is kept
for its chunks serves here too. A chunk that has tokens of several sources waits for the last one
of them: nothing of a bucket is seen before its phase, and the last phase has every chunk.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import accumulate
from typing import Any

import numpy as np
import numpy.typing as npt

from babyllama.errors import RecipeError
from babyllama.tokens.batches import ChunkOrder, shuffled

Spans = tuple[tuple[int, int, int], ...]
"""First token, end and phase (from 0) of every source."""


@dataclass(frozen=True, kw_only=True)
class Curriculum(ChunkOrder):
    """Chunks of the buckets so far, in a new order every epoch.

    Raises RecipeError for a phase whose chunks do not fill a batch.
    """

    buckets: Sequence[Sequence[str]]
    """Sources, the easiest first; every source of the text is in one."""
    sources: Mapping[str, range]
    """Where the tokens of each source lie."""
    epochs: int
    """Of every phase."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for bucket, chunks in zip(self.buckets, self.phase_chunks, strict=True):
            if chunks < self.batch_size:
                raise RecipeError(
                    f"training.curriculum.buckets: the phase that adds {', '.join(bucket)} has"
                    f" {chunks} chunks, fewer than training.batch_size {self.batch_size}: put more"
                    " into its bucket, or lower that"
                )

    @cached_property
    def phase_chunks(self) -> tuple[int, ...]:
        """Chunks an epoch, of each phase: as many as there are at every offset that may come."""
        return tuple(
            min(len(self._chunks(phase, offset)) for offset in self._all_offsets())
            for phase in range(len(self.buckets))
        )

    def phases(self, total_steps: int) -> list[dict[str, Any]]:
        """What each phase adds, and its steps of so many: those that begin, the last to the end."""
        steps = [self.epochs * (chunks // self.batch_size) for chunks in self.phase_chunks]
        begins = [0, *accumulate(steps[:-1])]
        ends = [*begins[1:], total_steps]
        found = zip(self.buckets, self.phase_chunks, begins, ends, strict=True)
        return [
            {"adds": [*bucket], "chunks": chunks, "steps": min(end, total_steps) - begin}
            for bucket, chunks, begin, end in found
            if begin < total_steps
        ]

    def total_steps(self, epochs: int) -> int:
        """Steps of all phases, of so many epochs each."""
        return epochs * sum(chunks // self.batch_size for chunks in self.phase_chunks)

    def place(self, step: int) -> tuple[int, int]:
        """The epoch of a step, counted through all phases, and the step within it, from 0."""
        before = 0
        for chunks in self.phase_chunks[:-1]:
            steps = chunks // self.batch_size
            if step < self.epochs * steps:
                return before + step // steps, step % steps
            step -= self.epochs * steps
            before += self.epochs
        epoch, within = divmod(step, self.phase_chunks[-1] // self.batch_size)
        return before + epoch, within

    def order(self, epoch: int) -> npt.NDArray[np.int64]:
        """The numbers of the chunks of an epoch, in the order in which they are seen."""
        chunks = self._chunks(self.phase(epoch), self.offset(epoch))
        picked: npt.NDArray[np.int64] = chunks[shuffled(self.seed, epoch, len(chunks))]
        return picked

    def described(self, epoch: int) -> dict[str, int]:
        """The phase of an epoch, from 1."""
        return {"phase": self.phase(epoch) + 1}

    def phase(self, epoch: int) -> int:
        """The phase of an epoch, both from 0; the last one goes on."""
        return min(epoch // self.epochs, len(self.buckets) - 1)

    def _chunks(self, phase: int, offset: int) -> npt.NDArray[np.int64]:
        return _seen(self._spans, phase, offset, self.chunks, self.chunk_length)

    def _all_offsets(self) -> Iterable[int]:
        if not self.random_offsets:
            return (0,)
        return self.offsets or range(self.chunk_length)

    @cached_property
    def _spans(self) -> Spans:
        phases = {name: n for n, bucket in enumerate(self.buckets) for name in bucket}
        lengths = self.sources.items()
        return tuple((at.start, at.stop, phases[name]) for name, at in lengths if at)


@lru_cache(maxsize=2)
def _seen(spans: Spans, phase: int, offset: int, chunks: int, length: int) -> npt.NDArray[np.int64]:
    """The chunks of a grid at an offset whose tokens all belong to a phase or one before it."""
    latest = np.zeros(chunks, np.int64)
    for begin, end, number in spans:
        touched = slice(max(0, (begin - offset) // length), -((offset - end) // length))
        np.maximum(latest[touched], number, out=latest[touched])
    return np.flatnonzero(latest <= phase)


@dataclass(frozen=True, kw_only=True)
class Mixed(ChunkOrder):
    """All of the text from the first step on, for as long as a curriculum takes."""

    curriculum: Curriculum

    def total_steps(self, epochs: int) -> int:
        """Steps of the curriculum, of so many epochs a phase; here they may end within an epoch."""
        return self.curriculum.total_steps(epochs)

    def counted_epoch(self, step: int) -> int:
        """That of the curriculum, so that what counts epochs is as many steps in both."""
        return self.curriculum.counted_epoch(step)


def match_buckets(named: Sequence[Sequence[str]], sources: Collection[str]) -> list[list[str]]:
    """The sources of a corpus that each bucket names, in letters and digits alone of any case.

    A bucket of which the corpus has nothing falls away.

    >>> match_buckets([["AO-CHILDES"], ["qed"], ["simple wiki", "bnc"]], ["aochildes", "bnc"])
    [['aochildes'], ['bnc']]

    Raises:
        RecipeError: a source that no bucket names, or that two of them name.
    """
    found = [[s for s in sorted(sources) if _plain(s) in map(_plain, names)] for names in named]
    for source in sorted(sources):
        times = sum(bucket.count(source) for bucket in found)
        if not times:
            raise RecipeError(
                f"training.curriculum.buckets: the source {source!r} of the corpus is in none of"
                " them: add it to one, or give a number, of buckets by readability"
            )
        if times > 1:
            raise RecipeError(
                f"training.curriculum.buckets: the source {source!r} is in {times} of them: choose"
            )
    return [bucket for bucket in found if bucket]


def absent_names(named: Sequence[Sequence[str]], sources: Collection[str]) -> list[str]:
    """The names in buckets that are those of no source.

    >>> absent_names([["aochildes"], ["qed"]], ["aochildes"])
    ['qed']
    """
    there = {_plain(source) for source in sources}
    return [name for names in named for name in names if _plain(name) not in there]


def _plain(name: str) -> str:
    return "".join(filter(str.isalnum, name.casefold())) or name
