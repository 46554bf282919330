"""From a recipe's architecture to a Hugging Face model, by the names transformers uses."""

import warnings
from collections.abc import Iterable
from typing import Any

import torch
from transformers import CONFIG_MAPPING, AutoModelForCausalLM, PreTrainedModel
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from babyllama.errors import IgnoredSettingWarning, RecipeError
from babyllama.recipe import Architecture
from babyllama.resolve import did_you_mean
from babyllama.seeds import derive

# The names under which the configurations of transformers keep a recipe's sizes.
SIZES = {
    "layers": ("num_hidden_layers", "n_layers"),
    "heads": ("num_attention_heads", "n_heads"),
    "width": ("hidden_size", "d_model"),
    "feed_forward": ("intermediate_size", "n_inner", "ffn_dim", "ffn_hidden_size"),
    "positions": ("max_position_embeddings", "max_seq_len"),
}
DROPOUTS = (
    "attention_dropout",
    "attn_pdrop",
    "dropout",
    "emb_pdrop",
    "embd_pdrop",
    "hidden_dropout",
    "resid_dropout",
    "resid_pdrop",
)


def model_config(architecture: Architecture, vocabulary: int, special: tuple[int, int, int]) -> Any:
    """The configuration of a model; `special` are the ids of pad, start and end.

    Raises:
        RecipeError: a type or an option that transformers does not know, sizes that do not fit.
    """
    kind = architecture.type
    if kind not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES or kind not in CONFIG_MAPPING:
        hint = did_you_mean(kind, sorted(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES))
        raise RecipeError(
            f"architecture.type: transformers has no causal model {kind!r}{hint[:300]}"
        )
    known = CONFIG_MAPPING[kind]()
    pad, start, end = special
    settings = {
        "vocab_size": vocabulary,
        "pad_token_id": pad,
        "bos_token_id": start,
        "eos_token_id": end,
        **_sizes(architecture, known),
        **dict.fromkeys(_dropouts(architecture, known), architecture.dropout),
        **_options(architecture, known),
    }
    try:
        return CONFIG_MAPPING[kind](**settings)
    except Exception as error:
        raise RecipeError(f"architecture: {kind} refuses these settings: {_short(error)}") from None


def _sizes(architecture: Architecture, known: Any) -> dict[str, Any]:
    if architecture.width % architecture.heads:
        raise RecipeError(
            f"architecture.width: {architecture.width} is not a multiple of"
            f" {architecture.heads} heads: change one of them"
        )
    sizes: dict[str, Any] = {}
    for name, candidates in SIZES.items():
        key = next((c for c in candidates if hasattr(known, c)), None)
        if key is None:
            _warn_ignored(architecture.type, name)
        else:
            sizes[key] = getattr(architecture, name)
    # Sizes that follow from the others, where a configuration's default would not fit.
    head_width = architecture.width // architecture.heads
    follows = {
        "num_key_value_heads": architecture.heads,
        "head_dim": head_width,
        "rotary_dim": head_width,
        "word_embed_proj_dim": architecture.width,
    }
    return sizes | {key: value for key, value in follows.items() if hasattr(known, key)}


def _dropouts(architecture: Architecture, known: Any) -> list[str]:
    found = [name for name in DROPOUTS if hasattr(known, name)]
    if architecture.dropout and not found:
        _warn_ignored(architecture.type, "dropout")
    return found


def _options(architecture: Architecture, known: Any) -> dict[str, Any]:
    for key in architecture.options:
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


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:300]


def build_model(config: Any, seed: int) -> PreTrainedModel:
    """A model in float32, initialised from the seed alone.

    Raises:
        RecipeError: the configuration holds sizes that the model cannot be built with.
    """
    with torch.random.fork_rng():
        torch.manual_seed(derive(seed, "initialisation"))
        try:
            model: PreTrainedModel = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
        except (ValueError, RuntimeError, TypeError) as error:
            raise RecipeError(f"architecture: {config.model_type}: {_short(error)}") from None
    return model
