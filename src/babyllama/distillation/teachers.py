"""The ensemble of teachers: frozen, in evaluation mode, outside the trained module."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from babyllama.models.readout import Readout, read_out


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
    def signal(self, input_ids: Tensor) -> list[Readout]:
        """Features and head of every teacher on a batch [B, T]."""
        return [read_out(model, input_ids) for model in self.models.values()]
