"""A part of what a student reads is blanked, while its teachers read the text as it is.

The student learns to say what the teachers say of the whole context from a part of it: input
noise for the student alone, as in "Self-training with Noisy Student" (Xie et al. 2020, arXiv
1911.04252). For language models it is the blank noise of "Data Noising as Smoothing in Neural
Network Language Models" (Xie et al. 2017, arXiv 1703.02573, section 3.2), and the masked input of
"Mask-Enhanced Autoregressive Prediction" (Zhuang et al. 2025, arXiv 2502.07490: 15 %, causal
attention, labels as they are).
"""

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from babyllama.errors import RecipeError
from babyllama.seeds import generator
from babyllama.tokens.batches import Batch
from babyllama.tokens.tokenizer import PAD, SPECIAL

# No text has this id, so that it means nothing else, where a model is scored either.
BLANK = SPECIAL.index(PAD)


def check_blanks_keep_places(name: str, network: PreTrainedModel) -> None:
    """Refuse a model that leaves blanks out when it counts the places of its tokens.

    Raises:
        RecipeError: it is one of RoBERTa's kin.
    """
    if any(hasattr(part, "create_position_ids_from_input_ids") for part in network.modules()):
        raise RecipeError(
            f"models.{name}.distillation.mask_inputs: {network.config.model_type} counts places"
            " without the blanks, which would move all that follows: set it to 0, or take another"
            " architecture"
        )


def masked_inputs(batch: Batch, share: float, *, seed: int, step: int) -> Tensor:
    """The ids [B, T] of a batch, of which each is blanked with the probability `share`.

    The first of a sequence never is: what comes behind it would have nothing to go by. What is
    blanked depends on the seed, the step and where in the text a sequence starts, not on what else
    is in the batch.
    """
    if not share:
        return batch.input_ids
    length = batch.input_ids.shape[1]
    drawn = [
        generator(seed, "masked inputs", step, start).random(length)
        for start in batch.starts.tolist()
    ]
    hidden = torch.from_numpy(np.stack(drawn) < share)
    hidden[:, 0] = False
    return batch.input_ids.masked_fill(hidden.to(batch.input_ids.device), BLANK)
