"""Feature vectors as bytes: half precision, or 8 bits with a scale per token and vector.

A record holds a chunk. Rounding to 8 bits takes the largest entry of a vector as 127, so an entry
is off by at most 1/254 of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from babyllama.errors import BabyllamaError

Kind = Literal["hidden-fp16", "hidden-int8", "low-rank"]
"""What is kept of the teachers: all hidden states, or what their pooled logits depend on."""
KINDS: tuple[Kind, ...] = get_args(Kind)
LARGEST = 127
HALF_LARGEST = float(torch.finfo(torch.float16).max)

Records = npt.NDArray[Any]
"""Chunks [B] of the structured type `Codec.dtype`."""


@dataclass(frozen=True)
class Codec:
    """From G vectors a token to the record of a chunk, and back."""

    length: int
    """T, tokens of a chunk."""
    widths: tuple[int, ...]
    """Of the G vectors."""
    eight_bits: bool

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of a record."""
        width = sum(self.widths)
        if not self.eight_bits:
            return np.dtype([("values", "<f2", (self.length, width))])
        scales = ("scales", "<f4", (self.length, len(self.widths)))
        return np.dtype([scales, ("codes", "i1", (self.length, width))])

    def encode(self, vectors: Sequence[Tensor]) -> Records:
        """Records [B] of G tensors [B*T, width].

        Raises:
            BabyllamaError: a value that is not finite, or too large for half precision.
        """
        largest = [vector.abs().max() for vector in vectors]
        limit = float("inf") if self.eight_bits else HALF_LARGEST
        if not all(float(top) < limit for top in largest):
            raise BabyllamaError(
                "a teacher's hidden states are not finite, or too large for half precision:"
                " set distillation.signal to online or hidden-int8"
            )
        records = np.empty(len(vectors[0]) // self.length, self.dtype)
        if self.eight_bits:
            pairs = [_to_eight_bits(vector) for vector in vectors]
            self._put(records, "scales", [scale for scale, _ in pairs])
            self._put(records, "codes", [codes for _, codes in pairs])
        else:
            self._put(records, "values", [vector.to(torch.float16) for vector in vectors])
        return records

    def _put(self, records: Records, field: str, parts: Sequence[Tensor]) -> None:
        whole = torch.cat([part.cpu() for part in parts], dim=1)
        records[field] = whole.numpy().reshape(records[field].shape)

    def decode(self, records: Records, dtype: torch.dtype, device: torch.device) -> list[Tensor]:
        """G tensors [B*T, width] of records [B]."""
        if not self.eight_bits:
            values = _flat(records["values"]).to(device)
            return [part.to(dtype) for part in values.split(self.widths, dim=1)]
        scales, codes = (_flat(records[name]).to(device) for name in ("scales", "codes"))
        parts = codes.split(self.widths, dim=1)
        return [
            (part.float() * scale).to(dtype)
            for part, scale in zip(parts, scales.split(1, dim=1), strict=True)
        ]


def _to_eight_bits(vectors: Tensor) -> tuple[Tensor, Tensor]:
    """Scales [N, 1] and codes [N, width]; a vector of zeros has the scale 0."""
    wide = vectors.float()
    scales = wide.abs().amax(dim=1, keepdim=True) / LARGEST
    codes = (wide / scales.clamp(min=torch.finfo(torch.float32).tiny)).round()
    return scales, codes.clamp(-LARGEST, LARGEST).to(torch.int8)


def _flat(field: npt.NDArray[Any]) -> Tensor:
    """[B, T, width] of a structured array as a tensor [B*T, width]."""
    return torch.from_numpy(field.copy()).flatten(0, 1)  # fields of a record lie at odd places
