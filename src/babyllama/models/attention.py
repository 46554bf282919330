"""Attention in float32 on a CPU, where the fast path for large products is slow for small ones.

`torch.set_float32_matmul_precision("medium")` sends products to oneDNN. That suits linear layers,
but the many small products inside attention take three times as long there (16 x 8 heads of
128 x 32: 28 ms instead of 9 on an AMD processor), so they are left with the default library.
"""

from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

NAME = "sdpa_default_library"


def use_default_library(model: PreTrainedModel) -> None:
    """Take a model's attention off oneDNN, where it would be there.

    It holds for forward passes alone: gradients are made outside of it.
    """
    on_onednn = torch.get_float32_matmul_precision() == "medium"
    if on_onednn and model.device.type == "cpu" and takes_truth_values(model):
        model.set_attn_implementation(NAME)


def takes_truth_values(model: PreTrainedModel) -> bool:
    """Whether a mask says where to look, not what is added to the scores."""
    return model.config._attn_implementation in {"sdpa", NAME}


def _attention(*given: Any, **options: Any) -> tuple[Tensor, None]:
    """`sdpa` of transformers on the default library."""
    precision = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        return sdpa_attention_forward(*given, **options)
    finally:
        torch.set_float32_matmul_precision(precision)


AttentionInterface.register(NAME, _attention)
AttentionMaskInterface.register(NAME, sdpa_mask)
