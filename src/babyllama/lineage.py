"""What the models of a recipe have to do with one another: who teaches whom, who is pooled."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from babyllama.errors import RecipeError, did_you_mean
from babyllama.recipe import Model, Recipe
from babyllama.recipe_distillation import Distillation


@dataclass(frozen=True)
class Ensemble:
    """Models that are pooled and scored as one; a model alone is an ensemble of one."""

    name: str
    teachers: tuple[str, ...]
    distillation: Distillation
    student: str | None = None
    """Whose pool it is, where that is learned or chosen when the teachers are there."""


def sort_models(models: Mapping[str, Model]) -> list[str]:
    """Names in an order in which every model comes behind its teachers and its start.

    Raises:
        RecipeError: a teacher or a start that is not a model, or a circle of them.
    """
    order: list[str] = []
    for name in models:
        _visit(name, models, order, ())
    return order


def _visit(name: str, models: Mapping[str, Model], order: list[str], path: tuple[str, ...]) -> None:
    if name in path:
        circle = " -> ".join([*path[path.index(name) :], name])
        raise RecipeError(
            f"the teachers go in a circle: {circle}; a model cannot teach itself, nor start from"
            " itself"
        )
    if name in order:
        return
    for key, needed in _needs(models[name]):
        if needed not in models:
            hint = did_you_mean(needed, models)
            raise RecipeError(f"models.{name}.{key}: no model {needed!r}{hint}")
        _visit(needed, models, order, (*path, name))
    order.append(name)


def _needs(model: Model) -> list[tuple[str, str]]:
    """Models that have to be there first, and the key that says so."""
    start = [("start.model", model.start.model)] if model.start else []
    return start + [("teachers", teacher) for teacher in model.teachers]


def training_order(models: Mapping[str, Model]) -> list[str]:
    """Every model behind its teachers and its start, and outside checkpoints first of all.

    A bad checkpoint then stops a run before anything is trained.
    """
    order = sort_models(models)
    return sorted(order, key=lambda name: not _is_from_outside(models[name]))


def _is_from_outside(model: Model) -> bool:
    return bool(model.checkpoint) and model.training is None


def line_of(models: Mapping[str, Model], name: str) -> list[str]:
    """The models whose weights led to those of a model, the first one first, itself last."""
    line = [name]
    while start := models[line[0]].start:
        line.insert(0, start.model)
    return line


def origin_of(models: Mapping[str, Model], name: str) -> str:
    """The model whose training led to the weights of a model: itself, if it is trained."""
    line = line_of(models, name)
    trained = [each for each in line if models[each].training]
    return (trained or line)[-1]


def precision_of(models: Mapping[str, Model], *names: str) -> str:
    """The `training.precision` behind the weights of the first of these not from outside.

    `auto` if all are.
    """
    trainings = (models[origin_of(models, name)].training for name in names)
    return next((training.precision for training in trainings if training), "auto")


def active_teachers(model: Model) -> list[str]:
    """The teachers that change the result: none where cross-entropy has all the weight always."""
    if model.distillation and model.distillation.cross_entropy_alone:
        return []
    return model.teachers


def learns_pool(model: Model) -> bool:
    """Whether the weights of a model's teachers, or which of them teach, is found out first."""
    settings, teachers = model.distillation, active_teachers(model)
    if not settings or len(teachers) < 2:
        return False
    return settings.learned_weights or (settings.best_teachers or len(teachers)) < len(teachers)


def settled(recipe: Recipe, name: str, weights: Mapping[str, float]) -> Recipe:
    """A recipe in which a model has these teachers, with these weights."""
    model = recipe.models[name]
    assert model.distillation
    settings = model.distillation.model_copy(update={"teacher_weights": dict(weights)})
    taught = model.model_copy(update={"teachers": [*weights], "distillation": settings})
    return recipe.model_copy(update={"models": {**recipe.models, name: taught}})


def ensembles(recipe: Recipe) -> list[Ensemble]:
    """What is pooled: the ensembles of the recipe, and the different poolings of several teachers.

    They are called `ensemble-<name>`; a pooling that is none of the recipe's `ensemble`, or
    `ensemble-<student>` if there are many.
    """
    named = {
        _pooling(given.members, Distillation(pool=given.pool)): name
        for name, given in recipe.ensembles.items()
    }
    found: dict[Any, str] = {}
    for name, model in recipe.models.items():
        if model.distillation and len(model.teachers) > 1:
            key = _pooling(model.teachers, model.distillation, learns_pool(model))
            if key not in named:
                found.setdefault(key, name)
    return [
        *(_named(name, recipe) for name in recipe.ensembles),
        *(_taught(name, recipe.models[name], alone=len(found) == 1) for name in found.values()),
    ]


def _pooling(teachers: Sequence[str], settings: Distillation, learned: bool = False) -> Any:
    """What tells one pooling from another."""
    weights = sorted(zip(teachers, pool_weights(teachers, settings), strict=True))
    how = (settings.learned_weights, settings.best_teachers) if learned else None
    return tuple(weights), settings.pool, how


def _named(name: str, recipe: Recipe) -> Ensemble:
    given = recipe.ensembles[name]
    return Ensemble(f"ensemble-{name}", tuple(given.members), Distillation(pool=given.pool))


def _taught(student: str, model: Model, *, alone: bool) -> Ensemble:
    assert model.distillation
    name = "ensemble" if alone else f"ensemble-{student}"
    whose = student if learns_pool(model) else None
    return Ensemble(name, tuple(model.teachers), model.distillation, whose)


def pool_weights(teachers: Sequence[str], settings: Distillation) -> list[float]:
    """The teachers' weights, normalised to sum to one."""
    weights = [settings.teacher_weights.get(name, 1.0) for name in teachers]
    return [weight / sum(weights) for weight in weights]
