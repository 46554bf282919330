"""What a model costs: parameters and floating-point operations, without running it."""

from typing import Any

import torch
from transformers import PreTrainedModel

from babyllama.models.architectures import from_config


def forward_flops_per_token(model: PreTrainedModel, positions: int) -> float:
    """Multiply-adds counted as two, for one token in a sequence of `positions`.

    Two for every parameter that multiplies (Kaplan et al. 2020, arXiv 2001.08361, table 1): the
    look-up of an embedding is free, unless it is tied and so serves as the head. To it come the
    products of attention, 4 x width x positions a layer, not halved for causality.
    """
    lookups = [m for m in model.modules() if isinstance(m, torch.nn.Embedding)]
    looked_up = {id(m.weight) for m in lookups} - {id(model.get_output_embeddings().weight)}
    multiplied = sum(p.numel() for p in model.parameters() if p.ndim > 1 and id(p) not in looked_up)
    config: Any = model.config
    attention = 4 * config.num_hidden_layers * config.hidden_size * positions
    return float(2 * multiplied + attention)


def training_flops_per_token(model: PreTrainedModel, positions: int) -> float:
    """Forward and backward: the gradient costs twice the forward pass."""
    return 3 * forward_flops_per_token(model, positions)


def meta_model(config: Any) -> PreTrainedModel:
    """The model without its memory, for counting.

    Raises:
        RecipeError: see `from_config`.
    """
    with torch.device("meta"):
        return from_config(config)


def parameter_count(model: PreTrainedModel) -> int:
    """Parameters, tied ones once."""
    return sum(p.numel() for p in model.parameters())
