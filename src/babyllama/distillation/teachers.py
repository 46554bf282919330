"""The ensemble of teachers: frozen, in evaluation mode, outside the trained module."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import nn
from transformers import PreTrainedModel

from babyllama.models.costs import forward_flops_per_token
from babyllama.models.readout import Readout, read_out
from babyllama.tokens.batches import Batch


class SignalSource(Protocol):
    """What a student learns from beside the text: teachers that are run, or their cached signal."""

    @property
    def names(self) -> Sequence[str]:
        """Of the teachers."""

    @property
    def weights(self) -> Sequence[float]:
        """Of the read-outs that `signal` gives: one a teacher, or the one of all pooled."""

    def signal(self, batch: Batch) -> list[Readout]:
        """Read-outs of a batch [B, T] on its device, rows in the order of its positions."""

    def described(self) -> dict[str, Any]:
        """What `training.json` says of it."""


class Teachers:
    """K models that share a vocabulary, run without gradient.

    Not an `nn.Module` on purpose: `train()`, `state_dict()` and wrappers of the student must not
    see them.
    """

    def __init__(
        self, models: Mapping[str, PreTrainedModel], weights: Mapping[str, float] | None = None
    ) -> None:
        self.models = {name: model.eval().requires_grad_(False) for name, model in models.items()}
        given = weights or {}
        self.weights = [given.get(name, 1.0) for name in self.models]

    def to(self, device: torch.device) -> "Teachers":
        """Move every teacher to a device."""
        for model in self.models.values():
            nn.Module.to(model, device)
        return self

    @torch.no_grad()
    def signal(self, batch: Batch) -> list[Readout]:
        """Features and head of every teacher on a batch [B, T]."""
        return [read_out(model, batch.input_ids) for model in self.models.values()]

    def flops_per_token(self, positions: int) -> float:
        """Operations of all forward passes, for one token in a sequence of `positions`."""
        return sum(forward_flops_per_token(model, positions) for model in self.models.values())

    @property
    def names(self) -> list[str]:
        """In the order of the weights."""
        return [*self.models]

    def described(self) -> dict[str, Any]:
        """Run in every step."""
        return {"kind": "online"}
