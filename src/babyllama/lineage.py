"""What the models of a recipe have to do with one another: who teaches whom, who is pooled."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from babyllama.errors import RecipeError, did_you_mean
from babyllama.recipe import Distillation, Model


@dataclass(frozen=True)
class Ensemble:
    """Models that are pooled and scored as one; a model alone is an ensemble of one."""

    name: str
    teachers: tuple[str, ...]
    distillation: Distillation


def sort_models(models: Mapping[str, Model]) -> list[str]:
    """Names in an order in which every teacher comes before its students.

    Raises:
        RecipeError: a teacher that is not a model, or a cycle among teachers.
    """
    order: list[str] = []
    for name in models:
        _visit(name, models, order, ())
    return order


def _visit(name: str, models: Mapping[str, Model], order: list[str], path: tuple[str, ...]) -> None:
    if name in path:
        circle = " -> ".join([*path[path.index(name) :], name])
        raise RecipeError(f"the teachers go in a circle: {circle}; a model cannot teach itself")
    if name in order:
        return
    for teacher in models[name].teachers:
        if teacher not in models:
            hint = did_you_mean(teacher, models)
            raise RecipeError(f"models.{name}.teachers: no model {teacher!r}{hint}")
        _visit(teacher, models, order, (*path, name))
    order.append(name)


def training_order(models: Mapping[str, Model]) -> list[str]:
    """Teachers before students, and outside checkpoints first of all.

    A bad checkpoint then stops a run before anything is trained.
    """
    order = sort_models(models)
    return sorted(order, key=lambda name: models[name].training is not None)


def active_teachers(model: Model) -> list[str]:
    """The teachers that change the result: none where cross-entropy has all the weight."""
    if model.distillation and model.distillation.ce_weight == 1:
        return []
    return model.teachers


def ensembles(models: Mapping[str, Model]) -> list[Ensemble]:
    """The different poolings of several teachers: `ensemble`, or `ensemble-<student>` if many."""
    found: dict[Any, tuple[str, Distillation]] = {}
    for name, model in models.items():
        settings = model.distillation
        if settings and len(model.teachers) > 1:
            weights = tuple(pool_weights(model.teachers, settings))
            found.setdefault((tuple(model.teachers), settings.pool, weights), (name, settings))
    return [
        Ensemble("ensemble" if len(found) == 1 else f"ensemble-{student}", key[0], settings)
        for key, (student, settings) in found.items()
    ]


def pool_weights(teachers: Sequence[str], settings: Distillation) -> list[float]:
    """The teachers' weights, normalised to sum to one."""
    weights = [settings.teacher_weights.get(name, 1.0) for name in teachers]
    return [weight / sum(weights) for weight in weights]
