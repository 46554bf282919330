"""Weights that are there already: outside checkpoints, and other models of the same recipe."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel

from babyllama.devices import pick_device, resolve_precision
from babyllama.lineage import precision_of
from babyllama.models.folders import load_model, model_kind, weights_folder
from babyllama.recipe import Recipe
from babyllama.training.ledger import Ledger, Record, identity, read_record
from babyllama.training.memory import Conditions
from babyllama.validated import validate_network


@dataclass(frozen=True)
class Origin:
    """Where the weights are that a model starts from."""

    name: str
    """Of the model whose training led to them."""
    model: Path
    """Its folder."""
    weights: str = "last"
    """As `start.weights` of a recipe."""

    @property
    def place(self) -> Path:
        """The folder of the weights, in the model's."""
        return weights_folder(self.model, self.weights)

    def network(self) -> PreTrainedModel:
        """The model with these weights."""
        return load_model(self.place, model_kind(self.place))

    def record(self) -> Record:
        """What was spent until they were as they are, and whose they are; empty if not told."""
        record = read_record(self.place)
        return {**record, "origin": identity(self.model), "model": self.name} if record else {}


def shown(
    recipe: Recipe,
    name: str,
    network: PreTrainedModel,
    origin: Origin,
    *,
    tokens: Path,
    tokenizer: Path,
) -> dict[str, Any]:
    """The `training.json` of an entry that is not trained: all that it cost is its origin's.

    It is validated as its origin was: an average has no other validation.
    """
    precision = precision_of(recipe.models, name)
    _conditions(recipe, precision).set_attention([network])  # as in training
    start = origin.record()
    return {
        "model": name,
        "architecture": network.config.model_type,
        "parameters": network.num_parameters(),
        "start": {"model": origin.name, "weights": origin.weights},
        **Ledger(0, 0.0, 0.0, 0.0, start=start).totals(0),
        **({"origin": start["origin"]} if start else {}),
        "validation": validate_network(
            recipe, network, precision, tokens=tokens, tokenizer=tokenizer
        ),
    }


def _conditions(recipe: Recipe, precision: str) -> Conditions:
    device = pick_device(recipe.runtime.device)
    return Conditions(
        positions=recipe.tokens.chunk_length,
        precision=resolve_precision(precision, device),
        device=device,
        teachers=0,
    )
