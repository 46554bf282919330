"""Which model trained without teachers a distilled one is held against: its twin, if it has one."""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import TypeVar

from babyllama.recipe import Model, Recipe

T = TypeVar("T")


def held_against(plain: Iterable[T], is_twin: Callable[[T], bool]) -> T | None:
    """The first twin among the controls of a run, else the first of them; none if there is none.

    >>> held_against(["small", "twin"], lambda name: name == "twin")
    'twin'
    """
    known = [*plain]
    return next(filter(is_twin, known), next(iter(known), None))


def controls(recipe: Recipe) -> dict[str, str]:
    """Distilled model -> its control, by the architectures and training settings of a recipe.

    A control is trained without teachers and teaches nobody.
    """
    models = recipe.models
    taught = {teacher for model in models.values() for teacher in model.teachers}
    plain = [
        name
        for name, model in models.items()
        if model.training and not model.teachers and name not in taught
    ]
    distilled = [name for name, model in models.items() if model.teachers]
    found = {name: held_against(plain, partial(_twins, models, name)) for name in distilled}
    return {name: control for name, control in found.items() if control}


def _twins(models: Mapping[str, Model], name: str, other: str) -> bool:
    ours, theirs = models[name], models[other]
    return (ours.architecture, ours.training) == (theirs.architecture, theirs.training)
