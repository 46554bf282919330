"""Models that are not causal beside those that are: how each kind is scored, and its name.

The paper's baselines are OPT, a causal model as any other, RoBERTa and T5.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from transformers import PreTrainedModel

from babyllama.errors import IgnoredSettingWarning, RecipeError
from babyllama.evaluation.conventions import CONVENTIONS, Convention
from babyllama.evaluation.masked import pseudo_log_likelihoods
from babyllama.evaluation.span import frame_in_words, span_log_likelihoods
from babyllama.models.folders import load_model, model_kind
from babyllama.models.kinds import Kind, kind_of_model
from babyllama.recipe import Recipe
from babyllama.tokens.tokenizer import load_tokenizer

Score = Callable[[PreTrainedModel, Any, Sequence[str], Convention], npt.NDArray[np.float64]]
"""Model, its tokenizer, n sentences, the rules -> nats [n]."""
SCORES: Mapping[Kind, Score] = {
    "masked": pseudo_log_likelihoods,
    "encoder-decoder": span_log_likelihoods,
}
PRECISION = "fp32"
"""What they are scored in: a head in bf16 would move a sentence's score by tenths of a nat."""
CAUSAL_ALONE = ("prefix", "precision")
"""Settings of `evaluation` that only causal models take."""


def warn_of_idle_rules(recipe: Recipe) -> None:
    """Tell of settings of `evaluation` that models of a recipe do not take."""
    others = [n for n in recipe.models if kind_of_model(recipe.models, n) != "causal"]
    given = recipe.evaluation
    usual = {
        "prefix": (None, CONVENTIONS[given.convention].prefix),
        "precision": ("auto", PRECISION),
    }
    for setting in CAUSAL_ALONE:
        if others and getattr(given, setting) not in usual[setting]:
            warnings.warn(
                f"evaluation.{setting} has no effect on {', '.join(others)}: only causal models"
                " take one",
                IgnoredSettingWarning,
                stacklevel=2,
            )


def kinds(folders: Sequence[Path], convention: Convention, *, pooled: bool) -> dict[str, Kind]:
    """Folder -> kind of its model; warns where the prefix that was asked for has no effect.

    Raises:
        RecipeError: models that are to be pooled and are not all causal.
        CorruptDataError: a folder without a readable configuration.
    """
    found = {str(folder): model_kind(folder) for folder in folders}
    others = [name for name, kind in found.items() if kind != "causal"]
    if pooled and others:
        raise RecipeError(
            f"--pool takes causal models, and {others[0]} is of the kind {found[others[0]]}: score"
            " it without --pool"
        )
    usual = next((c for c in CONVENTIONS.values() if c.name == convention.name), convention)
    if others and convention.prefix != usual.prefix:
        message = f"--prefix has no effect on {', '.join(others)}: only causal models take one"
        warnings.warn(message, IgnoredSettingWarning, stacklevel=2)
    return found


def score_sentences(
    folder: Path, kind: Kind, texts: Sequence[str], rules: Convention, device: torch.device
) -> npt.NDArray[np.float64]:
    """Nats [n] of sentences by a model that is not causal.

    Raises:
        RecipeError: a tokenizer without the special tokens that it takes, a sentence too long.
        CorruptDataError: a folder that holds no whole model.
    """
    tokenizer = load_tokenizer(folder)
    if not tokenizer.is_fast:
        raise RecipeError(
            f"{folder} has a tokenizer that is code, not a tokenizer.json, and is not read here:"
            " take another model"
        )
    model = load_model(folder, kind)
    torch.nn.Module.to(model, device)
    return SCORES[kind](model, tokenizer, texts, rules)


def described(kind: Kind, rules: Convention, precision: str) -> dict[str, str]:
    """How a model of a kind was scored, in words, for the files with scores."""
    if kind == "causal":
        return rules.described(precision)
    told = rules.described(PRECISION)
    if kind == "masked":
        return told | {"prefix": "special tokens", "scored_by": "pseudo-log-likelihood"}
    return told | {"prefix": "special tokens", "scored_by": frame_in_words(rules)}
