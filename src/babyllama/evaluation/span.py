"""Encoder-decoders (T5): the likelihood of sentences under the span objective.

The encoder reads a text that is one masked span, `<extra_id_0> </s>`, and the decoder writes what
the span holds, `<extra_id_0>` and the sentence (Raffel et al. 2020, figure 2). The score is the sum
of the log-probabilities of the sentence's tokens; neither the sentinel nor the end behind the
sentence is scored, as a causal model is not asked for an end.

The published pipelines do it differently, and so do the conventions of their names:

- `babylm-2023` (babylm/evaluation-pipeline-2023, lm_eval/models/huggingface.py, AutoSeq2SeqLM): no
  sentinel at all. An empty context becomes the text `</s>`, to which the tokenizer adds its own, so
  that the encoder reads `</s> </s>`; the decoder writes the sentence, its leading space stripped,
  and `</s>`, which is scored. A model that was trained on spans has never seen such an input.
- `lm-eval` (EleutherAI/lm-evaluation-harness 0.4.13, lm_eval/models/huggingface.py): the encoder
  reads `<s>`, or `</s>` for a tokenizer without; the decoder writes the sentence, with its leading
  space and without `</s>`.
- `babylm-2025` (babylm/evaluation-pipeline-2025, sentence_zero_shot/dataset.py,
  process_enc_dec_prefix_sentences) is the span as above for a tokenizer with a mask; its lines for
  one with sentinels read an attribute that tokenizers do not have. Here it is the span as above.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from transformers import PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput

from babyllama.errors import RecipeError
from babyllama.evaluation.conventions import Convention
from babyllama.evaluation.rows import BUDGET, Row, check_fits, score_rows, special_ends, summed
from babyllama.evaluation.scoring import encode

SENTINEL = "<extra_id_0>"


class Frame(NamedTuple):
    """What stands around the sentence."""

    encoder: Row
    """All that the encoder reads."""
    before: Row
    """What the decoder is given before the sentence, behind its start token."""
    behind: Row
    """What the decoder is asked for behind the sentence."""


def span_log_likelihoods(
    model: PreTrainedModel, tokenizer: Any, texts: Sequence[str], rules: Convention
) -> npt.NDArray[np.float64]:
    """Nats [n] of sentences, in the frame of a convention.

    Raises:
        RecipeError: a tokenizer without the tokens of the frame, a model that does not say how
            its decoder starts, or a sentence that it does not take.
        CorruptDataError: a sentence without text.
        BabyllamaError: a score that is not finite.
    """
    _check_starts(model)
    space = rules.leading_space and rules.name != "babylm-2023"
    sentences = encode(tokenizer, texts, "none", leading_space=space)
    ends = special_ends(tokenizer, texts[0])
    frame = _frame(str(model.name_or_path), tokenizer, ends, rules)
    beside = len(frame.before) + len(frame.behind)
    others = (*frame.encoder, *frame.before, *frame.behind)
    check_fits(model, texts, sentences, beside=beside, others=others)
    read = _read(model, frame)

    def score(ids: Tensor) -> Tensor:
        return summed(_token_nats(model, ids, frame, read), rules.normalise)

    vocabulary = model.config.vocab_size
    return score_rows(
        sentences,
        score,
        lambda length: BUDGET // (vocabulary * (length + beside)),
        model.device,
    )


def _check_starts(model: PreTrainedModel) -> None:
    for key in ("decoder_start_token_id", "pad_token_id"):
        if getattr(model.config, key, None) is None:
            raise RecipeError(
                f"{model.name_or_path}: config.json names no {key}, which an encoder-decoder's"
                " sentences start with: add it (in T5 both are 0)"
            )


def frame_in_words(rules: Convention) -> str:
    """How a convention asks an encoder-decoder for a sentence, for tables and files."""
    ways = {"babylm-2023": "decoder after two </s>", "lm-eval": "decoder after <s> or </s>"}
    return ways.get(rules.name, "one masked span")


def _frame(name: str, tokenizer: Any, ends: tuple[Row, Row], rules: Convention) -> Frame:
    """What stands around a sentence by a convention, for a tokenizer with some ends."""
    before, behind = ends
    if rules.name == "babylm-2023":
        return Frame((*before, _end(name, tokenizer), *behind), before, behind)
    if rules.name == "lm-eval":
        start = tokenizer.bos_token_id
        return Frame((_end(name, tokenizer) if start is None else start,), (), ())
    sentinel = tokenizer.backend_tokenizer.token_to_id(SENTINEL)
    if sentinel is None:
        raise RecipeError(
            f"{name} is an encoder-decoder, and its tokenizer has no {SENTINEL}, which stands for"
            " a span that T5 fills: use --convention babylm-2023, which needs none"
        )
    return Frame((*before, sentinel, *behind), (sentinel,), ())


def _end(name: str, tokenizer: Any) -> int:
    if tokenizer.eos_token_id is None:
        raise RecipeError(
            f"the tokenizer of {name} has no </s>, which this convention shows to the encoder: use"
            " another convention"
        )
    return int(tokenizer.eos_token_id)


@torch.inference_mode()
def _read(model: PreTrainedModel, frame: Frame) -> Tensor:
    """States of the encoder [1, E, D]: all sentences have the same."""
    ids = torch.tensor([frame.encoder], device=model.device)
    states: Tensor = model.get_encoder()(input_ids=ids).last_hidden_state
    return states


def _token_nats(model: Any, ids: Tensor, frame: Frame, read: Tensor) -> Tensor:
    """Log-probabilities of the tokens of sentences [B, T] and of what stands behind: [B, T + b]."""
    before, behind = (ids.new_tensor(row).expand(len(ids), -1) for row in frame[1:])
    written = torch.cat([before, ids, behind], dim=1)
    logits = model(
        encoder_outputs=BaseModelOutput(last_hidden_state=read.expand(len(ids), -1, -1)),
        decoder_input_ids=model.prepare_decoder_input_ids_from_labels(written),
        use_cache=False,
    ).logits
    scored = slice(len(frame.before), None)
    nats: Tensor = logits[:, scored].float().log_softmax(-1)
    return nats.gather(2, written[:, scored, None])[..., 0]
