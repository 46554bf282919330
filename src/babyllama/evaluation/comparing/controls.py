"""Which model trained without teachers a distilled one is held against: its twin, if it has one."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

from babyllama.lineage import line_of
from babyllama.models.kinds import kind_of_model
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

    A control is trained without teachers and teaches nobody. A model that takes the weights of
    another one is distilled, or a control, if that one is: it is held against the control that was
    made alike (the average of its weights, say), else against that of the other one.
    """
    models = recipe.models
    lines = {name: line_of(models, name) for name in models}
    teaching = {teacher for model in models.values() for teacher in model.teachers}
    teaching |= {name for teacher in teaching for name in lines[teacher]}
    distilled = [name for name in models if any(models[n].teachers for n in lines[name])]
    plain = [
        name
        for name in models
        if models[lines[name][0]].training
        and name not in distilled
        and kind_of_model(models, name) == "causal"
        and not teaching & {*lines[name]}
    ]
    found = {name: _control(models, name, plain) for name in distilled}
    return {name: control for name, control in found.items() if control}


def _control(models: Mapping[str, Model], name: str, plain: Sequence[str]) -> str | None:
    making = partial(_making, models)
    twin = next((other for other in plain if making(other) == making(name)), None)
    trained = (other for other in plain if not models[other].start)
    return twin or held_against(trained, lambda other: making(other) == making(name)[:1])


def _making(models: Mapping[str, Model], name: str) -> list[tuple[Any, ...]]:
    """How the weights came to be, from the first training on."""
    line = [models[each] for each in line_of(models, name)]
    first = (line[0].architecture, line[0].training)
    return [first, *((m.start.weights, m.training) for m in line if m.start)]
