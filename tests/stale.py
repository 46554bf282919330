"""Which stages a change of a recipe makes stale."""

from pathlib import Path
from typing import Any

from babyllama.plan import plan
from babyllama.recipe import Recipe
from babyllama.stages import Stage
from babyllama.store import Store
from babyllama.training.health import StopRequest


def stages_of(recipe: Recipe) -> dict[str, Stage]:
    """The stages of a recipe by their names."""
    return {stage.name: stage for stage in plan(recipe, Store(Path("none")), StopRequest())}


def fingerprints(recipe: Recipe) -> dict[str, str]:
    """What every stage of a recipe is made from, as one word."""
    return {name: stage.identity.fingerprint for name, stage in stages_of(recipe).items()}


def stale(before: Recipe, after: Recipe) -> set[str]:
    """Stages that have to be made again, or for the first time."""
    old = fingerprints(before)
    return {name for name, value in fingerprints(after).items() if old.get(name) != value}


def replaced(recipe: Recipe, path: tuple[str, ...], value: Any) -> Recipe:
    """A resolved recipe with another value of one key."""
    raw = recipe.model_dump(mode="json")
    place = raw
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return Recipe.model_validate(raw)
