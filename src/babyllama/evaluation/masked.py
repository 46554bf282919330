"""Masked models (RoBERTa, BERT): the pseudo-log-likelihood of sentences.

Every token of a sentence is masked in turn, the others stand, and the log-probabilities of the
masked tokens are summed (Salazar et al. 2020, "Masked Language Model Scoring", equation 1). The
special tokens that the tokenizer puts at both ends are read and not scored; they stand where a
causal model has a prefix.

So do babylm/evaluation-pipeline-2023, lm_eval/models/huggingface.py, AutoMaskedLM, and
babylm/evaluation-pipeline-2025, evaluation_pipeline/sentence_zero_shot/dataset.py,
process_mlm_sentences. The former counts in bits, and takes the first token for a special one and
the last for another, whatever the tokenizer does: without special tokens it masks the wrong places.
Here they are found by the tokenizer's own rule.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from transformers import PreTrainedModel

from babyllama.errors import RecipeError
from babyllama.evaluation.conventions import Convention
from babyllama.evaluation.rows import BUDGET, Row, check_fits, score_rows, special_ends, summed
from babyllama.evaluation.scoring import encode


def pseudo_log_likelihoods(
    model: PreTrainedModel, tokenizer: Any, texts: Sequence[str], rules: Convention
) -> npt.NDArray[np.float64]:
    """Nats [n] of sentences; of a convention, the leading space and the normalisation apply.

    Raises:
        RecipeError: a tokenizer without a mask, or a sentence that the model does not take.
        CorruptDataError: a sentence without text.
        BabyllamaError: a score that is not finite.
    """
    mask = tokenizer.mask_token_id
    if mask is None:
        raise RecipeError(
            f"{model.name_or_path} is a masked model, and its tokenizer has no mask token: name it"
            " as mask_token in tokenizer_config.json"
        )
    sentences = encode(tokenizer, texts, "none", leading_space=rules.leading_space)
    ends = special_ends(tokenizer, texts[0])
    beside = len(ends[0]) + len(ends[1])
    check_fits(model, texts, sentences, beside=beside, others=(*ends[0], *ends[1], mask))
    copies = partial(_copies_at_once, model, beside)

    def score(ids: Tensor) -> Tensor:
        nats = _token_nats(model, ids, ends, mask, copies(ids.shape[1]))
        return summed(nats, rules.normalise)

    return score_rows(sentences, score, copies, model.device)


def _copies_at_once(model: PreTrainedModel, beside: int, length: int) -> int:
    """Masked copies that fit a batch, of a sentence's tokens and the special ones beside them.

    A copy has the logits of one place, and about eight times its width a token in a layer.
    """
    vocabulary, width = int(model.config.vocab_size), int(model.config.hidden_size)
    return max(1, BUDGET // (vocabulary + 8 * width * (length + beside)))


def _token_nats(
    model: PreTrainedModel, ids: Tensor, ends: tuple[Row, Row], mask: int, size: int
) -> Tensor:
    """Log-probability of every token of sentences [B, T] where it alone is masked: [B, T].

    The B * T copies go through the model `size` at a time.
    """
    before, behind = (ids.new_tensor(end).expand(len(ids), -1) for end in ends)
    whole = torch.cat([before, ids, behind], dim=1)
    copy = torch.arange(ids.numel(), device=ids.device)
    parts = []
    for some in copy.split(size):
        row, place = some // ids.shape[1], some % ids.shape[1] + len(ends[0])
        each = torch.arange(len(some), device=ids.device)
        masked = whole[row]
        masked[each, place] = mask
        logits = _logits_at(model, masked, place).float()
        target = whole[row, place]
        parts.append(logits.log_softmax(-1).gather(1, target[:, None])[:, 0])
    return torch.cat(parts).view_as(ids)


def _logits_at(model: PreTrainedModel, ids: Tensor, places: Tensor) -> Tensor:
    """Logits [B, V] at one place [B] of each row [B, T].

    Only those go through the vocabulary's head, where it is a module of its own: with 50,000 words
    the other places would cost as much as the layers of a small model.
    """
    each = torch.arange(len(ids), device=ids.device)

    def only(_: torch.nn.Module, given: tuple[Any, ...]) -> tuple[Any, ...] | None:
        features = given[0]
        return (features[each, places, None],) if features.shape[:2] == ids.shape else None

    head = model.get_output_embeddings()
    hook = head.register_forward_pre_hook(only) if head is not None else None
    try:
        logits: Tensor = model(input_ids=ids).logits
    finally:
        if hook:
            hook.remove()
    return logits[:, 0] if logits.shape[1] == 1 else logits[each, places]
