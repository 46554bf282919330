"""Pools that are made: weights learned on held-out text, and ensembles measured as one model."""

import json
import math
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from babyllama.builders import load_teachers
from babyllama.devices import autocast, pick_device, resolve_precision
from babyllama.distillation.pooling import Predictions, joined, pool_loss, predictions
from babyllama.distillation.teachers import Teachers
from babyllama.distillation.weighting import choose, learned_weights, shares
from babyllama.errors import CorruptDataError, RecipeError
from babyllama.lineage import pool_weights, precision_of
from babyllama.models.kinds import kind_of_model
from babyllama.recipe import Recipe
from babyllama.recipe_distillation import Distillation
from babyllama.store import write_json
from babyllama.tokens.batches import Batch, dev_batches, held_out_starts
from babyllama.tokens.packing import read_packed
from babyllama.tokens.tokenizer import load_tokenizer, token_bytes
from babyllama.training.ledger import Ledger, records
from babyllama.validated import validation_text

MOST_HELD_OUT = 16_384
"""Tokens: many for a handful of weights, few enough that all features fit in memory."""
WEIGHTS = "weights.json"
ENSEMBLE = "ensemble.json"
BATCH = 8


def check_members(recipe: Recipe) -> None:
    """Refuse an ensemble of models that do not predict the next token.

    Raises:
        RecipeError: there is one.
    """
    for name, given in recipe.ensembles.items():
        for member in given.members:
            kind = kind_of_model(recipe.models, member)
            if kind != "causal":
                raise RecipeError(
                    f"ensembles.{name}.members: {member} is a model of the kind {kind}, and only"
                    " causal ones are pooled: leave it out"
                )


def held_out_text(recipe: Recipe, tokens: Path) -> list[Batch]:
    """A part of the dev split that no model is validated on.

    Raises:
        RecipeError: all of it is validated on.
    """
    ids, length = read_packed(tokens, "dev").ids, recipe.tokens.chunk_length
    starts = held_out_starts(
        len(ids),
        length,
        chunks=recipe.tokens.validation_chunks,
        seed=recipe.corpus.seed,
        most=max(1, MOST_HELD_OUT // length),
    )
    return dev_batches(ids, starts, length, BATCH)


def make_weights(
    recipe: Recipe, name: str, *, tokens: Path, teachers: Mapping[str, Path], out: Path
) -> None:
    """Which of its teachers the student `name` learns from, and with which weights.

    Raises:
        RecipeError: no text is held out.
    """
    settings, training = recipe.models[name].distillation, recipe.models[name].training
    assert settings
    assert training
    text = held_out_text(recipe, tokens)
    ensemble = _on_device(recipe, load_teachers(teachers, settings))
    with torch.no_grad(), _autocast(recipe, training.precision):
        heard = joined([_hear(ensemble, batch, recipe) for batch in text])
        found = _weigh(heard, [*teachers], settings)
    forward = ensemble.flops_per_token(recipe.tokens.chunk_length)
    found["flops"] += forward * sum(batch.input_ids.numel() for batch in text)
    write_json(out / WEIGHTS, found)


def _weigh(heard: Predictions, names: Sequence[str], settings: Distillation) -> dict[str, Any]:
    """What `weights.json` says, of teachers in this order."""
    given = np.array(pool_weights(names, settings))
    loss = pool_loss(heard, settings.pool)
    one_each = np.eye(len(names))
    alone = {name: loss.value(one_each[k]) for k, name in enumerate(names)}
    path = choose(loss, given, settings.best_teachers) if settings.best_teachers else []
    kept = sorted(one.teacher for one in path) or [*range(len(names))]
    weights, flops = shares(given, kept), loss.flops
    if settings.learned_weights and len(kept) > 1:
        among = pool_loss(heard.of(kept), settings.pool)
        weights[kept] = learned_weights(among, len(kept))
        flops += among.flops
    return {
        "pool": settings.pool,
        "tokens": len(heard.labels),
        "weights": {names[k]: float(weights[k]) for k in kept if weights[k]},
        "cross_entropy": loss.value(weights),
        "cross_entropy_of_all": loss.value(given),
        "cross_entropy_alone": alone,
        "chosen": [
            {"teacher": names[one.teacher], "cross_entropy": one.cross_entropy} for one in path
        ],
        "flops": flops,
    }


def read_weights(folder: Path) -> dict[str, Any]:
    """What `make_weights` found.

    Raises:
        CorruptDataError: it is not what was written.
    """
    file = folder / WEIGHTS
    try:
        found: dict[str, Any] = json.loads(file.read_text("utf-8"))
        if found["weights"] and found["flops"] >= 0:
            return found
    except (OSError, ValueError, KeyError, TypeError):
        pass
    raise CorruptDataError(f"{file} does not hold weights: delete {folder} and run again")


def make_ensemble(
    recipe: Recipe, name: str, *, members: Mapping[str, Path], candidates: Mapping[str, Path],
    distillation: Distillation, weighing_flops: float, tokens: Path, tokenizer: Path, out: Path,
) -> None:  # fmt: skip
    """The validation of pooled members, of each of them, and what making all of them cost.

    It is on the text that every model is validated on, a batch at a time. `candidates` are the
    members and those that were tried beside them.
    """
    ensemble = _on_device(recipe, load_teachers(members, distillation))
    weights = np.array(pool_weights([*members], distillation))
    bytes_of_token = torch.tensor(token_bytes(load_tokenizer(tokenizer)))
    rows = np.vstack([weights, np.eye(len(weights))])
    nats, text_bytes, predicted = np.zeros(len(rows)), 0, 0
    with torch.no_grad(), _autocast(recipe, precision_of(recipe.models, *members)):
        for batch in validation_text(recipe, tokens):
            heard = _hear(ensemble, batch, recipe)
            loss = pool_loss(heard, distillation.pool)
            nats += np.array([loss.value(row) for row in rows]) * len(heard.labels)
            predicted += len(heard.labels)
            text_bytes += int(bytes_of_token[heard.labels.cpu()].sum())
    whole, *alone = (nats / predicted).tolist()
    ledger = Ledger(0, 0.0, 0.0, 0.0, signal_flops=weighing_flops, teachers=records(candidates))
    bits = float(nats[0]) / math.log(2) / max(1, text_bytes)
    found = zip(members, weights.tolist(), alone, strict=True)
    written = {
        "ensemble": name,
        "pool": distillation.pool,
        "members": {each: {"weight": w, "cross_entropy": value} for each, w, value in found},
        "validation": {"cross_entropy": whole, "bits_per_byte": bits},
        **ledger.totals(0),
    }
    write_json(out / ENSEMBLE, written)


def _hear(ensemble: Teachers, batch: Batch, recipe: Recipe) -> Predictions:
    here = batch.to(pick_device(recipe.runtime.device))
    return predictions(ensemble.signal(here), here.labels)


def _on_device(recipe: Recipe, ensemble: Teachers) -> Teachers:
    return ensemble.to(pick_device(recipe.runtime.device))


def _autocast(recipe: Recipe, precision: str) -> AbstractContextManager[object]:
    """As in the training and the validation of a model of this precision."""
    device = pick_device(recipe.runtime.device)
    return autocast(device, resolve_precision(precision, device))
