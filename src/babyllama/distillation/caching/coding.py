"""From what the teachers read out to the records of a cache, and back."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from babyllama.distillation.caching.codes import Codec, Kind, Records
from babyllama.distillation.caching.low_rank import Basis, Head
from babyllama.models.readout import Readout


@dataclass(frozen=True)
class Coding:
    """A codec, what is put into it, and the heads for what comes out."""

    codec: Codec
    heads: Sequence[Head]
    """Of the vectors of a record: one a teacher, or the one of all pooled."""
    basis: Basis | None = None

    def encode(self, features: Sequence[Tensor]) -> Records:
        """Records [B] of the features [B*T, D_k] of K teachers."""
        return self.codec.encode([self.basis.coordinates(features)] if self.basis else features)

    def decode(self, records: Records) -> list[Readout]:
        """Read-outs of records, in the type of the heads and where these are."""
        like = self.heads[0].weight
        vectors = self.codec.decode(records, like.dtype, like.device)
        return [Readout(v, *head) for v, head in zip(vectors, self.heads, strict=True)]

    def to(self, device: torch.device, dtype: torch.dtype) -> "Coding":
        """With the heads in place for use."""
        heads = [Head(*(x if x is None else x.to(device, dtype) for x in h)) for h in self.heads]  # type: ignore[arg-type]
        return replace(self, heads=heads)


def hidden_coding(kind: Kind, length: int, heads: Sequence[Head]) -> Coding:
    """All hidden states of all teachers."""
    widths = tuple(head.weight.shape[1] for head in heads)
    return Coding(Codec(length, widths, eight_bits=kind == "hidden-int8"), heads)


def low_rank_coding(length: int, basis: Basis) -> Coding:
    """The coordinates of the pooled logits."""
    codec = Codec(length, (basis.rank,), eight_bits=True)
    return Coding(codec, [Head(basis.weight, basis.bias)], basis)
