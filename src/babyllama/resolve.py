"""From what a user types to a resolved recipe: preset -> file -> `key.path=value`.

Two top-level sections, `training` and
`distillation`, hold what all models share; `twin_of: NAME` in a model copies that model without
its teachers; `null` takes back what was given before. All of these are gone once a recipe is
resolved.
"""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from babyllama.errors import IgnoredSettingWarning, RecipeError, did_you_mean
from babyllama.lineage import sort_models
from babyllama.pool_checks import check_pools
from babyllama.recipe import LOGGED, Model, Recipe
from babyllama.recipe_distillation import Distillation
from babyllama.recipe_files import Raw, merge, parse_override, read_raw
from babyllama.recipe_training import Training
from babyllama.schema import keys_of, section_of, under, without_nulls

M = TypeVar("M", bound=BaseModel)


def load_recipe(source: str, overrides: Sequence[str] = ()) -> Recipe:
    """Resolve a preset's name or a YAML file, with `key.path=value` overrides."""
    raw = read_raw(source)
    for override in overrides:
        raw = merge(raw, parse_override(override))
    return resolve(raw)


def resolve(raw: Raw) -> Recipe:
    """Expand shared sections and twins, check every key, and freeze.

    Raises:
        RecipeError: an unknown key, a value out of range, an unknown or circular teacher.
    """
    raw = without_nulls(Recipe, raw)
    shared = {
        "training": _shared(raw.pop("training", None), Training, "training"),
        "distillation": _shared(raw.pop("distillation", None), Distillation, "distillation"),
    }
    models = raw.get("models")
    if not isinstance(models, dict) or not models:
        raise RecipeError("recipe has no models: give `models:` at least one entry")
    for name in models:
        _check_whole(name, models)
    raw["models"] = {name: _expand(name, models, shared, ()) for name in models}
    recipe = _validate(Recipe, raw, ())
    sort_models(recipe.models)
    for name, model in recipe.models.items():
        if name == "ensemble" or name.startswith("ensemble-"):
            raise RecipeError(f"models.{name}: this is what pooled teachers are called: rename it")
        _check_teacher_weights(name, model)
        _check_healthy(name, model)
        _check_start(name, recipe.models)
        _check_ascent(name, model)
        _check_sharp_epochs(name, model)
        _warn_of_idle_teachers(name, model)
        _warn_of_idle_training(name, model)
        _check_signal(name, model)
        _warn_of_idle_signal(name, model)
    check_pools(recipe)
    _warn_of_idle_checkpoints(recipe)
    _warn_of_ignored(shared, raw["models"])
    return recipe


def _shared(raw: Any, section: type[BaseModel], name: str) -> Raw:
    if raw is None:
        return {}
    raw = without_nulls(section, raw)
    _validate(section, raw, (name,))
    return dict(raw)


def _warn_of_ignored(shared: Mapping[str, Raw], models: Mapping[str, Raw]) -> None:
    """Tell of a setting for all models that every one of them replaces with its own."""
    for section, settings in shared.items():
        for key, value in settings.items():
            taken = [model[section].get(key) for model in models.values() if model.get(section)]
            if value not in taken and not isinstance(value, dict):
                reason = "every model sets its own" if taken else f"no model has {section}"
                _warn(f"{section}.{key} has", reason)


def _check_whole(name: str, models: Raw) -> None:
    """Refuse settings of a model that is nowhere: a misspelt name makes a new entry."""
    entry, others = models[name], [other for other in models if other != name]
    kinds = ("architecture", "checkpoint", "start", "twin_of")
    if isinstance(entry, dict) and not any(entry.get(kind) for kind in kinds):
        hint = did_you_mean(name, others)
        shown = " ".join(str(name).split())  # a name may hold anything, line ends included
        raise RecipeError(f"models.{shown} has no architecture, checkpoint, start or twin_of{hint}")


def _expand(name: str, models: Raw, shared: Mapping[str, Raw], seen: tuple[str, ...]) -> Any:
    entry = models[name]
    if not isinstance(entry, dict):
        return entry
    entry = dict(entry)
    twin = entry.pop("twin_of", None)
    if twin is not None:
        entry = merge(_original(name, twin, models, shared, (*seen, name)), entry)
    if entry.get("training") is not None or entry.get("architecture"):
        entry["training"] = merge(shared["training"], entry.get("training") or {})
    if entry.get("teachers"):
        entry["distillation"] = merge(shared["distillation"], entry.get("distillation") or {})
    return entry


def _original(
    name: str, twin: Any, models: Raw, shared: Mapping[str, Raw], seen: tuple[str, ...]
) -> Raw:
    """What a model takes from the one that it is a twin of: all but its teachers."""
    if twin not in [*models]:
        raise RecipeError(f"models.{name}.twin_of: no model {twin!r}{did_you_mean(twin, models)}")
    if twin in seen:
        raise RecipeError(f"models.{name}.twin_of goes in a circle: {' -> '.join([*seen, twin])}")
    original = _expand(twin, models, shared, seen)
    inherited = ("architecture", "checkpoint", "start", "training", "seed")
    return (
        {k: v for k, v in original.items() if k in inherited} if isinstance(original, dict) else {}
    )


def _validate(section: type[M], raw: Any, where: tuple[str, ...]) -> M:
    try:
        return section.model_validate(raw)
    except ValidationError as error:
        faults = [(tuple(keys_of(section, map(str, e["loc"]))), e) for e in error.errors()]
        told = (
            _explain(section, loc, e, where) for loc, e in faults if not _is_other(loc, e, faults)
        )
        # A key may hold anything, line ends included.
        raise RecipeError(" ".join("; ".join(told).split())) from None


Fault = tuple[tuple[str, ...], Any]
"""A key of a section, and what pydantic says of it."""


def _is_other(loc: tuple[str, ...], error: Any, faults: Sequence[Fault]) -> bool:
    """Whether a value of another kind was meant, of which something else is wrong."""
    meant = [other for place, other in faults if place[: len(loc)] == loc]
    return _is_kind(error) and not all(map(_is_kind, meant))


def _is_kind(error: Any) -> bool:
    return str(error["type"]).endswith(("_type", "_parsing"))


def _explain(
    section: type[BaseModel], loc: tuple[str, ...], error: Any, where: tuple[str, ...]
) -> str:
    key = ".".join([*where, *loc]) or "recipe"
    if error["type"] == "extra_forbidden":
        inner = section_of(under(section, loc[:-1]))
        known = inner.model_fields if inner else {}
        extra = ["training", "distillation", "extends"] if not where and len(loc) == 1 else []
        extra += ["twin_of"] if len(loc) == 3 and loc[0] == "models" else []
        return f"unknown key {key}{did_you_mean(loc[-1], [*known, *extra])}"
    message = error["msg"].removeprefix("Value error, ")
    if error["type"] in {"missing", "value_error"}:
        return f"{key}: {message}"
    return f"{key}: {message}, not {error['input']!r}"


def _check_teacher_weights(name: str, model: Model) -> None:
    weights = model.distillation.teacher_weights if model.distillation else {}
    for teacher in weights:
        if teacher not in model.teachers:
            hint = did_you_mean(teacher, model.teachers)
            raise RecipeError(
                f"models.{name}.distillation.teacher_weights: {teacher!r} is not a teacher{hint}"
            )


def _check_healthy(name: str, model: Model) -> None:
    for quantity, (low, high) in model.healthy.items():
        key = f"models.{name}.healthy"
        if quantity not in LOGGED:
            raise RecipeError(f"unknown key {key}.{quantity}{did_you_mean(quantity, LOGGED)}")
        if low > high:
            raise RecipeError(f"{key}.{quantity}: {low:g} is above {high:g}: turn them round")


def _check_start(name: str, models: Mapping[str, Model]) -> None:
    """Refuse weights that the training of a start does not leave."""
    start = models[name].start
    if start is None or start.weights == "last":
        return
    training, key = models[start.model].training, f"models.{start.model}.training"
    if training is None:
        remedy = f"models.{start.model} is not trained: take last"
    elif start.weights == "ema":
        remedy = "" if training.ema else f"{key}.ema is not set: set it, or take last"
    else:
        remedy = _without_cycle(int(start.weights.removeprefix("cycle-")), training, key)
    if remedy:
        raise RecipeError(f"models.{name}.start.weights: no {start.weights}, since {remedy}")


def _without_cycle(wanted: int, training: Training, key: str) -> str:
    """Why a training does not leave the model of a cycle; empty if it does."""
    if training.schedule != "cyclic":
        return f"{key}.schedule is {training.schedule}: set it to cyclic"
    return "" if wanted <= training.cycles else f"{key}.cycles is {training.cycles}: raise it"


def _check_ascent(name: str, model: Model) -> None:
    if model.training and model.training.ascent and model.training.keep == "best":
        raise RecipeError(
            f"models.{name}.training.keep: best would undo what its ascent does, which is to make"
            " the loss worse: set it to last"
        )


def _check_sharp_epochs(name: str, model: Model) -> None:
    """Where epochs are known without the text; `pipeline.check_inputs` looks at the rest."""
    training = model.training
    if not training or training.steps or training.curriculum:
        return
    try:
        training.check_sharp_epochs(training.epochs)
    except RecipeError as error:
        raise RecipeError(f"models.{name}.{error}") from None


def _warn_of_idle_teachers(name: str, model: Model) -> None:
    if model.distillation and model.distillation.cross_entropy_alone:
        _warn(f"models.{name}.teachers have", "its distillation.ce_weight is 1")


def _warn_of_idle_training(name: str, model: Model) -> None:
    if model.seed is not None and not model.training:
        _warn(f"models.{name}.seed has", "it is not trained")
    training, key = model.training or Training(), f"models.{name}.training"
    if training.schedule == "constant" and training.final_learning_rate:
        _warn(f"{key}.final_learning_rate has", "its schedule is constant")
    if training.muon and training.optimizer != "muon":
        _warn(f"{key}.muon has", f"its optimizer is {training.optimizer}")
    if training.curriculum and training.curriculum.mixed and training.steps:
        _warn(f"{key}.curriculum has", "it is mixed, and training.steps says for how long")
    if training.keep == "last" and training.select_by != Training().select_by:
        _warn(f"{key}.select_by has", "it keeps the last weights")
    if training.schedule != "cyclic" and training.cycles != Training().cycles:
        _warn(f"{key}.cycles has", f"its schedule is {training.schedule}")


def _check_signal(name: str, model: Model) -> None:
    settings = model.distillation
    if settings and settings.signal == "low-rank" and settings.pool != "logits":
        raise RecipeError(
            f"models.{name}.distillation.signal: low-rank holds the logit pool alone, and pool is"
            f" {settings.pool}: take hidden-int8, hidden-fp16 or online"
        )


def _warn_of_idle_signal(name: str, model: Model) -> None:
    given, plain, key = model.distillation, Distillation(), f"models.{name}.distillation"
    if not given or not model.training:
        return
    if given.ce_weight_schedule == "constant" and given.ce_weight_end != plain.ce_weight_end:
        _warn(f"{key}.ce_weight_end has", "its ce_weight_schedule is constant")
    if given.signal == "online" and given.cache_angle != plain.cache_angle:
        _warn(f"{key}.cache_angle has", "the teachers are run online")
    if given.signal != "low-rank" and given.cache_rank:
        _warn(f"{key}.cache_rank has", "its signal is not low-rank")
    kept = given.signal != "online" and model.training.random_offsets
    if given.cache_offsets != plain.cache_offsets and not kept:
        _warn(f"{key}.cache_offsets has", "it takes a kept signal and training.random_offsets")


def _warn_of_idle_checkpoints(recipe: Recipe) -> None:
    saved = [m for m in recipe.models.values() if m.training and m.training.save_at_words]
    if recipe.evaluation.checkpoints and not saved:
        _warn("evaluation.checkpoints has", "no model has training.save_at_words")


def _warn(what: str, why: str) -> None:
    warnings.warn(f"{what} no effect: {why}", IgnoredSettingWarning, stacklevel=5)
