"""A cache as a student reads it, in place of its teachers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from babyllama.distillation.caching.build import (
    BASIS,
    EXACT,
    HEADS,
    held_out_rows,
    refuse_above,
)
from babyllama.distillation.caching.certificate import Certificate, Pooling, certify
from babyllama.distillation.caching.coding import Coding, hidden_coding, low_rank_coding
from babyllama.distillation.caching.grid import Grid
from babyllama.distillation.caching.header import check_header, read_header
from babyllama.distillation.caching.low_rank import Basis, Head
from babyllama.distillation.caching.shards import Shards
from babyllama.distillation.loss import Divergence, Pool
from babyllama.errors import RecipeError
from babyllama.models.readout import Readout
from babyllama.store import read_manifest, verify
from babyllama.tokens.batches import Batch


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What a student wants of a cache."""

    made_from: Mapping[str, str]
    grid: Grid
    weights: Mapping[str, float]
    """Of the teachers."""
    pool: Pool
    temperature: float
    divergence: Divergence = "forward"
    angle: float
    """Degrees that the certificate with these settings may have at most."""


class CachedSignal:
    """The signal of all chunks of a grid; see `SignalSource`."""

    def __init__(self, folder: Path, wish: Wish, device: torch.device, dtype: torch.dtype) -> None:
        """Check a cache and map it; heads go to the device, in the type of the products.

        Raises:
            CorruptDataError: the cache is not what was built, or was built from something else.
            RecipeError: it holds another pool or other weights than are wanted.
            BabyllamaError: with the temperature that is wanted it is not exact enough.
        """
        verify(folder)
        self.header = read_header(folder)
        check_header(folder, self.header, wish.made_from, wish.grid)
        self.grid = wish.grid
        self.names: Sequence[str] = self.header["teachers"]
        self.fingerprint = str(read_manifest(folder).get("fingerprint", folder.name))
        heads = _read_heads(folder, self.names)
        coding = self._coding(folder, wish, heads)
        self.shards = Shards(folder, wish.grid, coding.codec.dtype)
        own = [wish.weights[name] for name in self.names]
        self.weights: Sequence[float] = [1.0] if coding.basis else own
        exact = load_file(folder / EXACT, device=str(device))
        readouts = [
            Readout(exact[name], *(x if x is None else x.to(device) for x in head))
            for name, head in zip(self.names, heads, strict=True)
        ]
        self.certificate = self._certify(coding.to(device, torch.float32), readouts, own, wish)
        self.coding = coding.to(device, dtype)

    def _coding(self, folder: Path, wish: Wish, heads: list[Head]) -> Coding:
        if self.header["kind"] != "low-rank":
            return hidden_coding(self.header["kind"], wish.grid.length, heads)
        _check_pool(self.header["weights"], wish)
        return low_rank_coding(wish.grid.length, Basis(**load_file(folder / BASIS)))

    def _certify(
        self, coding: Coding, exact: list[Readout], weights: list[float], wish: Wish
    ) -> Certificate:
        """With the settings of the student; refused if it is off by more degrees than asked."""
        cached = coding.decode(self.shards.records("dev", held_out_rows(self.grid)))
        found = certify(
            Pooling(exact, weights, wish.pool),
            Pooling(cached, self.weights, wish.pool),
            wish.temperature,
            wish.divergence,
        )
        refuse_above(found, self.header["kind"], wish.angle)
        return found

    def signal(self, batch: Batch) -> list[Readout]:
        """Read-outs of a batch whose chunks are in the cache."""
        rows = self.grid.rows(batch.split, batch.starts.numpy())
        return self.coding.decode(self.shards.records(batch.split, rows))

    def described(self) -> dict[str, Any]:
        """Kind, cost on disk, and how exact it is for this student."""
        return {
            "kind": self.header["kind"],
            "fingerprint": self.fingerprint,
            "bytes_per_token": self.header["bytes_per_token"],
            "rank": self.header["rank"],
            "certificate": self.certificate._asdict(),
        }

    @property
    def flops(self) -> float:
        """What the teachers' forward passes for this cache took."""
        return float(self.header["flops"])


def _check_pool(held: Mapping[str, float], wish: Wish) -> None:
    """Refuse another pool than the one that low-rank codes hold."""
    if wish.pool != "logits":
        raise RecipeError(
            f"distillation.pool {wish.pool}: a low-rank cache holds the logit pool alone: set"
            " distillation.signal to hidden-int8"
        )
    totals = sum(held.values()), sum(wish.weights.values())
    for name, weight in wish.weights.items():
        if abs(held[name] / totals[0] - weight / totals[1]) > 1e-9:
            raise RecipeError(
                f"distillation.teacher_weights.{name}: the low-rank cache was built with other"
                " weights: build one with these, or set distillation.signal to hidden-int8"
            )


def _read_heads(folder: Path, teachers: Sequence[str]) -> list[Head]:
    tensors = load_file(folder / HEADS)
    return [Head(tensors[f"{name}.weight"], tensors.get(f"{name}.bias")) for name in teachers]
