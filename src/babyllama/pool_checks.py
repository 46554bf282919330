"""What a recipe says of its pools and cannot mean, or what has no effect."""

import warnings
from collections.abc import Iterator, Sequence
from itertools import combinations

from babyllama.errors import IgnoredSettingWarning, RecipeError, did_you_mean
from babyllama.recipe import Model, Pooled, Recipe, Start


def check_pools(recipe: Recipe) -> None:
    """Hold the ensembles of a recipe, and the pools of its students, against its models.

    Raises:
        RecipeError: a member that is no model, or weights that are given and learned.
    """
    for name, given in recipe.ensembles.items():
        _check_ensemble(name, given, recipe)
    for name, model in recipe.models.items():
        _check_choice(name, model)
    for place, members in _pools(recipe):
        _warn_of_doubles(place, members, recipe)


def _check_ensemble(name: str, given: Pooled, recipe: Recipe) -> None:
    key = f"ensembles.{name}"
    for member in given.members:
        if member not in recipe.models:
            hint = did_you_mean(member, recipe.models)
            raise RecipeError(f"{key}.members: no model {member!r}{hint}")
    if len({*given.members}) != len(given.members):
        raise RecipeError(f"{key}.members: a model is listed twice: {given.members}")
    if name in recipe.models:
        raise RecipeError(
            f"{key}: a model has this name too, and ensemble-{name} is what its teachers are called"
            " when they are pooled: rename it"
        )


def _check_choice(name: str, model: Model) -> None:
    settings, key = model.distillation, f"models.{name}.distillation"
    if not settings:
        return
    if settings.learned_weights and settings.teacher_weights:
        raise RecipeError(
            f"{key}: teacher_weights are given and learned_weights is true: drop one of them"
        )
    if settings.learned_weights and len(model.teachers) == 1:
        _warn(f"{key}.learned_weights has", "there is one teacher")
    best = settings.best_teachers or 0
    if best > len(model.teachers):
        raise RecipeError(
            f"{key}.best_teachers: {best} of {len(model.teachers)} teachers: lower it, or name more"
        )
    if best == len(model.teachers):
        _warn(f"{key}.best_teachers has", f"there are no more than {best} teachers")


def _pools(recipe: Recipe) -> Iterator[tuple[str, Sequence[str]]]:
    yield from ((f"ensembles.{n}.members", given.members) for n, given in recipe.ensembles.items())
    yield from ((f"models.{n}.teachers", model.teachers) for n, model in recipe.models.items())


def _warn_of_doubles(place: str, members: Sequence[str], recipe: Recipe) -> None:
    """Tell of models that are one and the same under two names, and so add nothing."""
    for one, other in combinations(members, 2):
        if _made_of(one, recipe) == _made_of(other, recipe):
            warnings.warn(
                f"{place}: {other} is {one} again under another name: give it another seed or"
                " other weights, or leave it out",
                stacklevel=4,
            )


def _made_of(name: str, recipe: Recipe) -> tuple[object, ...]:
    """What the weights of a model follow from: those it starts from, if it is not trained."""
    model = recipe.models[name]
    begun = _weights(model.start, recipe) if model.start else (model.architecture, model.checkpoint)
    if not model.training:
        return begun
    return begun, model.training, model.teachers, model.distillation, recipe.seed_of(model)


def _weights(start: Start, recipe: Recipe) -> tuple[object, ...]:
    made, training = _made_of(start.model, recipe), recipe.models[start.model].training
    ends = training and training.keep == "last" and start.weights == f"cycle-{training.cycles}"
    return made if start.weights == "last" or ends else (made, start.weights)


def _warn(what: str, why: str) -> None:
    warnings.warn(f"{what} no effect: {why}", IgnoredSettingWarning, stacklevel=5)
