"""From a recipe's architecture to a Hugging Face model, by the names transformers uses."""

import sys
import warnings
from collections.abc import Iterable
from typing import Any

import torch
from transformers import CONFIG_MAPPING, PreTrainedModel
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from babyllama.errors import BabyllamaError, IgnoredSettingWarning, RecipeError, did_you_mean
from babyllama.models.kinds import (
    AUTO_CLASSES,
    CAUSAL,
    TRAINED,
    Kind,
    added_tokens,
    kind_of_architecture,
    kind_of_config,
)
from babyllama.models.switch import SwitchConfig
from babyllama.recipe import Architecture
from babyllama.seeds import derive

CAUSAL_TYPES = {*MODEL_FOR_CAUSAL_LM_MAPPING_NAMES, SwitchConfig.model_type}
# The names under which the configurations of transformers keep a recipe's sizes. The decoder of an
# encoder-decoder (BART, T5) has names of its own.
SIZES = {
    "layers": ("num_hidden_layers", "n_layers", "decoder_layers", "num_decoder_layers"),
    "heads": ("num_attention_heads", "n_heads", "decoder_attention_heads"),
    "width": ("hidden_size", "d_model"),
    "feed_forward": (
        "intermediate_size",
        "n_inner",
        "ffn_dim",
        "ffn_hidden_size",
        "decoder_ffn_dim",
        "d_ff",
    ),
    "positions": ("max_position_embeddings", "max_seq_len"),
}
DROPOUTS = (
    "attention_dropout",
    "attention_probs_dropout_prob",
    "attn_pdrop",
    "dropout",
    "dropout_rate",
    "emb_pdrop",
    "embd_pdrop",
    "embed_dropout",
    "embedding_dropout",
    "hidden_dropout",
    "hidden_dropout_prob",
    "mlp_dropout",
    "resid_dropout",
    "resid_pdrop",
    "residual_dropout",
)


def model_config(architecture: Architecture, vocabulary: int, special: tuple[int, int, int]) -> Any:
    """The configuration of a model; `special` are the ids of pad, start and end.

    Raises:
        RecipeError: a type or an option that transformers does not know, sizes that do not fit.
    """
    kind, known = architecture.type, {*CAUSAL_TYPES, *TRAINED}
    if kind not in known or kind not in CONFIG_MAPPING:
        hint = did_you_mean(kind, sorted(known))
        raise RecipeError(
            f"architecture.type: transformers has no causal model {kind!r}{hint[:300]}"
        )
    try:
        return CONFIG_MAPPING[kind](**_settings(architecture, vocabulary, special))
    except (BabyllamaError, Warning):
        raise
    except Exception as error:
        raise RecipeError(f"architecture: {kind} refuses these settings: {_short(error)}") from None


def _settings(
    architecture: Architecture, vocabulary: int, special: tuple[int, int, int]
) -> dict[str, Any]:
    known, kind = CONFIG_MAPPING[architecture.type](), kind_of_architecture(architecture)
    pad, start, end = special
    return {
        "vocab_size": vocabulary + added_tokens(kind),
        "pad_token_id": pad,
        "bos_token_id": start,
        "eos_token_id": end,
        **_directions(known, kind),
        # What T5's decoder is given before the first token.
        **({"decoder_start_token_id": pad} if kind == "encoder-decoder" else {}),
        **_sizes(architecture, known),
        **dict.fromkeys(_dropouts(architecture, known), architecture.dropout),
        **_options(architecture, known),
    }


def _directions(known: Any, kind: Kind) -> dict[str, bool]:
    """What tells a configuration its kind, where it has to be told."""
    flags = dict.fromkeys((key for key in CAUSAL if hasattr(known, key)), kind == "causal")
    two = getattr(known, "is_encoder_decoder", False)
    return flags | ({"is_encoder_decoder": kind == "encoder-decoder"} if two else {})


def _sizes(architecture: Architecture, known: Any) -> dict[str, Any]:
    if architecture.width % architecture.heads:
        raise RecipeError(
            f"architecture.width: {architecture.width} is not a multiple of"
            f" {architecture.heads} heads: change one of them"
        )
    sizes: dict[str, Any] = {}
    for name, candidates in SIZES.items():
        keys = [key for key in candidates if _settable(known, key)]
        value = getattr(architecture, name)
        if not keys and value is not None:
            _without_setting(architecture.type, name)
        if keys and value is None:
            raise RecipeError(f"architecture.{name}: a {architecture.type} model needs it: give it")
        sizes |= dict.fromkeys(keys, value)
    # Sizes that follow from the others, where a configuration's default would not fit.
    head_width = architecture.width // architecture.heads
    follows = {
        "num_key_value_heads": architecture.heads,
        "head_dim": head_width,
        "rotary_dim": head_width,
        "word_embed_proj_dim": architecture.width,
    }
    return sizes | {key: value for key, value in follows.items() if _settable(known, key)}


def _settable(known: Any, key: str) -> bool:
    """Whether a configuration has a setting; Falcon's `head_dim` is computed."""
    declared = getattr(type(known), key, None)
    computed = isinstance(declared, property) and declared.fset is None
    return hasattr(known, key) and not computed


def _without_setting(kind: str, name: str) -> None:
    if name in {"layers", "width"}:
        raise RecipeError(
            f"architecture.type: {kind} takes no {name} of its own: name a type that is"
            " one text model (gemma3_text, not gemma3)"
        )
    _warn_ignored(kind, name)


def _dropouts(architecture: Architecture, known: Any) -> list[str]:
    found = [name for name in DROPOUTS if hasattr(known, name)]
    if architecture.dropout and not found:
        _warn_ignored(architecture.type, "dropout")
    return found


def _options(architecture: Architecture, known: Any) -> dict[str, Any]:
    owners = {key: f"architecture.{name}" for name, keys in SIZES.items() for key in keys}
    owners["vocab_size"] = "tokenizer.vocabulary"
    for key in architecture.options:
        if key in owners:
            raise RecipeError(f"architecture.options.{key}: set {owners[key]} instead")
        if not hasattr(known, key):
            hint = did_you_mean(key, _public(vars(known)))
            raise RecipeError(
                f"unknown key architecture.options.{key} of {architecture.type}{hint}"
            )
    return architecture.options


def _public(names: Iterable[str]) -> list[str]:
    return sorted(name for name in names if not name.startswith("_"))


def _warn_ignored(kind: str, name: str) -> None:
    message = f"architecture.{name} has no effect: a {kind} model has no such setting"
    warnings.warn(message, IgnoredSettingWarning, stacklevel=2)


def _short(error: BaseException) -> str:
    """What was wrong in the first place: transformers wraps what a check of its own finds."""
    first = error.__cause__ or error
    told = f"{first}" if isinstance(first, ValueError) else f"{type(first).__name__}: {first}"
    return " ".join(told.split())[:300]


def from_config(config: Any) -> PreTrainedModel:
    """A model in float32 with new weights, on torch's default device.

    Raises:
        RecipeError: the configuration holds settings that the model cannot be built with.
    """
    try:
        auto = AUTO_CLASSES[kind_of_config(config)]
        model: PreTrainedModel = auto.from_config(config, dtype=torch.float32)
    except Exception as error:
        raise RecipeError(f"architecture: {config.model_type}: {_short(error)}") from None
    return model


def build_model(config: Any, seed: int) -> PreTrainedModel:
    """A model in float32, initialised from the seed alone.

    Raises:
        RecipeError: see `from_config`.
    """
    with torch.random.fork_rng():
        torch.manual_seed(derive(seed, "initialisation"))
        return from_config(config)


def longest_input(model: PreTrainedModel) -> int:
    """Tokens that a model takes; one without a table of positions (Bloom, Mamba) takes any length.

    RoBERTa and its kin number their positions from the id of `<pad>` on, exclusively: that many
    rows and one of the table are never used.
    """
    given = (getattr(model.config, key, None) for key in SIZES["positions"])
    positions = next((int(number) for number in given if number), sys.maxsize)
    tables = (
        module
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Embedding) and name.endswith("position_embeddings")
    )
    unused = [1 + table.padding_idx for table in tables if table.padding_idx is not None]
    return positions - max(unused, default=0)


def longest_text(model: PreTrainedModel) -> int:
    """Tokens of a text that a model takes, beside the special tokens that it has around it."""
    beside = 2 if kind_of_config(model.config) == "masked" else 0
    return longest_input(model) - beside
