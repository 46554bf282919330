"""What a model costs: parameters, operations and activations, without running it."""

from typing import Any

import torch
from transformers import PreTrainedModel

from babyllama.models.architectures import from_config
from babyllama.models.kinds import kind_of_config
from babyllama.tokens.corruption import masked_tokens, span_lengths


def forward_flops_per_token(model: PreTrainedModel, positions: int) -> float:
    """Multiply-adds counted as two, for one token in a sequence of `positions` of the text.

    Two for every parameter that multiplies (Kaplan et al. 2020, arXiv 2001.08361, table 1): the
    look-up of an embedding is free, unless it is tied and so serves as the head. Of experts those
    count that a token is sent to. To it come the products of attention, 4 x width x positions a
    layer, not halved for causality.

    A masked model's head, and the two stacks of an encoder-decoder, multiply their own numbers of
    tokens: what is counted is a whole sequence, divided by its tokens.
    """
    config: Any = model.config
    kind = kind_of_config(config)
    if kind == "encoder-decoder":
        return _span_flops(model, positions) / positions
    head = model.get_output_embeddings().weight
    lookups = [m for m in model.modules() if isinstance(m, torch.nn.Embedding)]
    looked_up = {id(m.weight) for m in lookups} | {id(head)}
    matrices = (p for p in model.parameters() if p.ndim > 1 and id(p) not in looked_up)
    # `<s>` and `</s>` stand around what a masked model reads, of which the head sees a part.
    read = positions + 2 if kind == "masked" else positions
    predicted = masked_tokens(positions) if kind == "masked" else positions
    attention = 4 * config.num_hidden_layers * config.hidden_size * read
    body = read * (2 * sum(_used(p, config) for p in matrices) + attention)
    return float(body + 2 * head.numel() * predicted) / positions


def _span_flops(model: PreTrainedModel, positions: int) -> float:
    """Of T5 on one sequence: the keys and values of cross-attention are of what the encoder read.

    Its tables of distances are looked up.
    """
    config: Any = model.config
    sizes = span_lengths(positions)
    inner = config.num_attention_heads * config.head_dim
    matrices = ((name, p) for name, p in model.named_parameters() if p.ndim > 1)
    named = [(name, p.numel()) for name, p in matrices if "relative_attention_bias" not in name]
    crossing = (".EncDecAttention.k.", ".EncDecAttention.v.")
    by_encoder = sum(
        size
        for name, size in named
        if name.startswith("encoder.block") or any(part in name for part in crossing)
    )
    by_decoder = sum(size for name, size in named if name.startswith("decoder.block"))
    by_decoder -= sum(size for name, size in named if any(part in name for part in crossing))
    by_decoder += model.get_output_embeddings().weight.numel()
    attention = 4 * inner * config.num_hidden_layers * sizes.read**2
    attention += 4 * inner * config.num_decoder_layers * sizes.written * sum(sizes[2:])
    return float(2 * (by_encoder * sizes.read + by_decoder * sizes.written) + attention)


def _used(weight: torch.nn.Parameter, config: Any) -> int:
    """Numbers of a matrix, or of the batch of them that experts are, that one token meets."""
    batched = weight.ndim == 3 and len(weight) == getattr(config, "num_experts", None)
    experts = getattr(config, "num_experts_per_tok", 1) if batched else len(weight)
    return weight[0].numel() * experts


def training_flops_per_token(model: PreTrainedModel, positions: int) -> float:
    """Forward and backward: the gradient costs twice the forward pass."""
    return 3 * forward_flops_per_token(model, positions)


# Bytes that autograd keeps for a token in a layer, by unit of width. All in 16 bits they are 34
# (Korthikanti et al. 2022, arXiv 2205.05198, equation 1); under autocast the residual stream and
# the norms are in float32, and activation functions are not fused: measured are 60 and 62 with
# bf16, 88 and 112 without (LLaMA, GPT-2). For every score of plain attention 6 and 4, not 5.
KEPT = {"bf16": 64, "fp32": 112}
KEPT_SCORE = 6
# Beside that, of experts (measured): of the routing, and of room for as many tokens as there are.
KEPT_ROUTING = 16
KEPT_ROOM = {"bf16": 42, "fp32": 84}


def activation_bytes(
    model: PreTrainedModel, positions: int, *, precision: str, plain_attention: bool
) -> float:
    """What autograd keeps of one sequence from the forward pass to the backward pass."""
    config: Any = model.config
    if kind_of_config(config) == "encoder-decoder":
        return _span_bytes(config, positions, precision=precision, plain_attention=plain_attention)
    kept = KEPT[precision] * config.hidden_size
    if room := getattr(config, "capacity_factor", None):
        more = min(room, config.num_experts) - 1
        kept += (KEPT_ROUTING + KEPT_ROOM[precision] * more) * config.hidden_size
    if plain_attention:
        kept += KEPT_SCORE * getattr(config, "num_attention_heads", 0) * positions
    return float(positions * config.num_hidden_layers * kept)


def _span_bytes(config: Any, positions: int, *, precision: str, plain_attention: bool) -> float:
    """Of an encoder-decoder; a decoder's layer has a third more, which is cross-attention."""
    sizes, kept = span_lengths(positions), KEPT[precision] * config.hidden_size
    layers = config.num_hidden_layers * sizes.read
    layers += config.num_decoder_layers * sizes.written * 4 / 3
    scores = config.num_hidden_layers * sizes.read**2
    scores += config.num_decoder_layers * sizes.written * sum(sizes[2:])
    held = KEPT_SCORE * config.num_attention_heads * scores if plain_attention else 0
    return float(layers * kept + held)


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
