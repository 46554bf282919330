"""The text that every model of a run is validated on, and how a model does on it."""

from functools import partial
from pathlib import Path

import torch
from transformers import PreTrainedModel

from babyllama.devices import autocast, pick_device, resolve_precision
from babyllama.recipe import Recipe
from babyllama.tokens.batches import Batch, validation_batches
from babyllama.tokens.packing import read_packed
from babyllama.tokens.tokenizer import load_tokenizer, token_bytes
from babyllama.training.denoising import as_validated, plain_objective
from babyllama.training.validation import validate


def validation_text(recipe: Recipe, tokens: Path) -> list[Batch]:
    """The part of the dev split that every model of a run is validated on."""
    return validation_batches(
        read_packed(tokens, "dev").ids,
        recipe.tokens.chunk_length,
        chunks=recipe.tokens.validation_chunks,
        seed=recipe.corpus.seed,
        batch_size=8,
    )


def validate_network(
    recipe: Recipe, network: PreTrainedModel, precision: str, *, tokens: Path, tokenizer: Path
) -> dict[str, float]:
    """What a training in `precision` (of a recipe) would find if it ended with a network."""
    device = pick_device(recipe.runtime.device)
    torch.nn.Module.to(network, device)
    return validate(
        plain_objective(network),
        as_validated(network, validation_text(recipe, tokens), recipe.corpus.seed),
        torch.tensor(token_bytes(load_tokenizer(tokenizer))),
        autocast=partial(autocast, device, resolve_precision(precision, device)),
        signal=lambda _: [],
        device=device,
    )
