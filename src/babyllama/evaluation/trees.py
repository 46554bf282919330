"""Rows of tokens as trees: what several sentences begin with is read once.

Rows that are sorted share beginnings with their neighbours, so a part of them is a tree of tokens,
of which each looks at its ancestors alone. A tree is one sequence to a model that takes positions
and a mask from outside. On BLiMP that is little more than half of the tokens.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Row = tuple[int, ...]
TREE = 128
"""Tokens of a tree: longer ones share more, and cost more attention between branches."""


@dataclass(frozen=True)
class Batch:
    """B sequences of T tokens, and which predictions of them are wanted (N of them)."""

    ids: Tensor
    """[B, T]"""
    reads: Tensor
    """Where each prediction is read: an index into the B*T tokens [N]."""
    follows: Tensor
    """The token whose log-probability is wanted there [N]."""
    positions: Tensor | None = None
    """[B, T], where a token's place in its sequence is not its position."""
    ancestors: Tensor | None = None
    """Whether a token (row) looks at another (column), where that is not all before it
    [B, 1, T, T]."""

    def to(self, device: torch.device) -> "Batch":
        """The same on a device."""
        parts = (self.ids, self.reads, self.follows, self.positions, self.ancestors)
        return Batch(*(None if part is None else part.to(device) for part in parts))  # type: ignore[arg-type]


@dataclass(frozen=True)
class Part:
    """Some rows, the batch that reads them, and which of its predictions are a row's tokens."""

    rows: Sequence[Row]
    batch: Batch
    steps: Sequence[Sequence[int]]
    """Of each row, the predictions [N] of its tokens behind the first one."""


def by_length(rows: Sequence[Row], tokens: int) -> Iterator[Part]:
    """Different rows, each a sequence of its own, in batches of one length without padding."""
    groups: dict[int, list[Row]] = {}
    for row in sorted(set(rows), key=lambda r: (len(r), r)):
        groups.setdefault(len(row), []).append(row)
    for length, group in groups.items():
        size = max(1, tokens // length)
        for begin in range(0, len(group), size):
            part = group[begin : begin + size]
            ids = torch.tensor(part)
            read = ids[:, :-1]
            batch = Batch(read, torch.arange(read.numel()), ids[:, 1:].flatten())
            steps = np.arange(read.numel()).reshape(read.shape)
            yield Part(part, batch, [list(row) for row in steps])


def as_trees(rows: Sequence[Row], tokens: int) -> Iterator[Part]:
    """Different rows, sorted, in trees: batches of about so many tokens."""
    size = max(TREE, max((len(row) for row in rows), default=0) - 1)
    growing = _Forest(size)
    for row in sorted(set(rows)):
        common = growing.common(row)
        if common is None and (len(growing.trees) + 1) * size > max(tokens, size):
            yield growing.part()
            growing = _Forest(size)
        growing.add(row, common)
    if growing.rows:
        yield growing.part()


@dataclass
class _Forest:
    """Trees that grow as rows are added; nodes are numbered through all of them."""

    size: int
    rows: list[Row] = field(default_factory=list)
    steps: list[list[int]] = field(default_factory=list)
    trees: list[int] = field(default_factory=list)
    """Nodes in each tree."""
    ids: list[int] = field(default_factory=list)
    depths: list[int] = field(default_factory=list)
    parents: list[int] = field(default_factory=list)
    """The number of a node's parent; a root's is its own."""
    places: list[int] = field(default_factory=list)
    """Where a node lies in the B*T tokens of the batch."""
    reads: list[int] = field(default_factory=list)
    follows: list[int] = field(default_factory=list)
    path: list[int] = field(default_factory=list)
    """The nodes of the last row."""

    def common(self, row: Row) -> int | None:
        """How many tokens a row begins with as the last one did; none if it needs another tree."""
        if not self.trees:
            return None
        common = _common(self.rows[-1], row)
        new = len(row) - 1 - min(common, len(self.path))
        return None if self.trees[-1] + new > self.size else common

    def add(self, row: Row, common: int | None) -> None:
        """Put a row into the last tree, or into a new one."""
        steps: list[int] = []
        if common is None:
            self.trees.append(0)
            self.path = []
        else:
            steps = self.steps[-1][: max(0, common - 1)]
            self.path = self.path[:common]
        self._grow(row, len(self.path))
        known, last = len(steps), len(row) - 1
        steps.extend(range(len(self.reads), len(self.reads) + last - known))
        self.reads.extend([self.places[node] for node in self.path[known:last]])
        self.follows.extend(row[known + 1 :])
        self.rows.append(row)
        self.steps.append(steps)

    def _grow(self, row: Row, depth: int) -> None:
        """Add the nodes of a row from some depth on; its last token is not read."""
        first, new = len(self.ids), len(row) - 1 - depth
        if new <= 0:
            return
        nodes = range(first, first + new)
        place = (len(self.trees) - 1) * self.size + self.trees[-1]
        self.ids.extend(row[depth:-1])
        self.depths.extend(range(depth, depth + new))
        self.parents.append(self.path[-1] if self.path else first)
        self.parents.extend(nodes[:-1])
        self.places.extend(range(place, place + new))
        self.path.extend(nodes)
        self.trees[-1] += new

    def part(self) -> Part:
        """All rows so far as one batch; what fills up a tree looks at itself alone."""
        shape = (len(self.trees), self.size)
        places = np.array(self.places, dtype=np.int64)
        ids, positions = np.zeros((2, shape[0] * shape[1]), dtype=np.int64)
        ids[places], positions[places] = self.ids, self.depths
        batch = Batch(
            torch.from_numpy(ids.reshape(shape)),
            torch.tensor(self.reads, dtype=torch.int64),
            torch.tensor(self.follows, dtype=torch.int64),
            torch.from_numpy(positions.reshape(shape)),
            torch.from_numpy(self._ancestors(places))[:, None],
        )
        return Part(self.rows, batch, self.steps)

    def _ancestors(self, places: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Which token looks at which [B, T, T]."""
        looks = np.zeros((len(self.trees) * self.size, self.size), dtype=bool)
        everywhere = np.arange(len(looks))
        looks[everywhere, everywhere % self.size] = True
        depths, parents = np.array(self.depths), places[np.array(self.parents, dtype=np.int64)]
        for depth in range(1, int(depths.max(initial=0)) + 1):
            here = np.flatnonzero(depths == depth)
            looks[places[here]] |= looks[parents[here]]
        return looks.reshape(len(self.trees), self.size, self.size)


def _common(a: Row, b: Row) -> int:
    """How many tokens two rows have in common from their beginnings."""
    for index, (x, y) in enumerate(zip(a, b, strict=False)):
        if x != y:
            return index
    return min(len(a), len(b))
