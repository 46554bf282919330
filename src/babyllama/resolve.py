"""From what a user types to a resolved recipe: preset -> file -> `key.path=value`.

A recipe file may name another with `extends`. Two top-level sections, `training` and
`distillation`, hold what all models share; `twin_of: NAME` in a model copies that model without
its teachers; `null` takes back what was given before. All of these are gone once a recipe is
resolved.
"""

import difflib
import os
import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from babyllama.errors import IgnoredSettingWarning, RecipeError
from babyllama.recipe import LOGGED, Distillation, Model, Recipe, Training
from babyllama.schema import keys_of, section_of, takes, under, without_nulls

Raw = dict[str, Any]
M = TypeVar("M", bound=BaseModel)


class _Loader(yaml.SafeLoader):
    """Reads `1e-4` as the number it is, as YAML 1.2 does."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?[0-9.]+[eE][-+]?[0-9]+$"), [*"-+.0123456789"]
)


def preset_names() -> list[str]:
    """The recipes that ship with the package."""
    folder = resources.files("babyllama") / "recipes"
    return sorted(
        f.name.removesuffix(".yaml") for f in folder.iterdir() if f.name.endswith(".yaml")
    )


def preset_text(name: str) -> str:
    """The YAML of a recipe that ships with the package."""
    if name not in preset_names():
        raise RecipeError(f"no recipe {name!r}{did_you_mean(name, preset_names())}")
    return (resources.files("babyllama") / "recipes" / f"{name}.yaml").read_text("utf-8")


def preset_copy(name: str, own: str) -> str:
    """A shipped recipe under another name, so that it does not run in the place of that one."""
    safe = re.sub(r"[^A-Za-z0-9_-]+", "-", own).lstrip("-_") or name
    line = yaml.safe_dump({"name": safe}).strip()
    return re.sub(r"^name: .*$", line, preset_text(name), count=1, flags=re.MULTILINE)


def load_recipe(source: str, overrides: Sequence[str] = ()) -> Recipe:
    """Resolve a preset's name or a YAML file, with `key.path=value` overrides."""
    raw = read_raw(source)
    for override in overrides:
        raw = _merge(raw, _parse_override(override))
    return resolve(raw)


def read_raw(source: str) -> Raw:
    """The mapping of a preset or a YAML file, merged over what it extends."""
    return _read_raw(source, ())


def _read_raw(source: str, seen: tuple[str, ...]) -> Raw:
    if source in seen:
        raise RecipeError(f"recipe {source!r} extends itself: {' -> '.join([*seen, source])}")
    raw = _parse_recipe(source)
    parent = raw.pop("extends", None)
    if parent is None:
        return raw
    base = _read_raw(_beside(source, str(parent)), (*seen, source))
    return dict(_merge(base, raw))


def _is_file(source: str) -> bool:
    return Path(source).suffix in {".yaml", ".yml"} or Path(source).is_file()


def _beside(source: str, parent: str) -> str:
    """What a recipe extends: a file as seen from the recipe's own folder, or a preset."""
    if not _is_file(source):
        return parent
    file = os.path.normpath(Path(source).parent / parent)
    return file if _is_file(file) else parent


def _recipe_text(source: str) -> str:
    if not _is_file(source):
        return preset_text(source)
    try:
        return Path(source).read_text("utf-8")
    except FileNotFoundError:
        raise RecipeError(f"recipe file {source} does not exist: check the path") from None
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"recipe file {source} cannot be read as UTF-8: {error}") from None


def _parse_yaml(text: str, what: str) -> Any:
    try:
        return yaml.load(text, _Loader)  # noqa: S506 (a safe loader)
    except (yaml.YAMLError, ValueError) as error:
        raise RecipeError(f"{what} is not YAML: {' '.join(str(error).split())}") from None


def _parse_recipe(source: str) -> Raw:
    raw = _parse_yaml(_recipe_text(source), f"recipe {source}")
    if not isinstance(raw, dict):
        raise RecipeError(
            f"recipe {source} must be a mapping of sections, not {type(raw).__name__}"
        )
    return raw


def _parse_override(text: str) -> Raw:
    key, equals, value = text.partition("=")
    if not equals or not all(key.split(".")):
        raise RecipeError(f"override {text!r} must look like key.path=value")
    parsed = _parse_yaml(value, f"override {text!r}")
    if takes(under(Recipe, key.split(".")), str) and isinstance(parsed, int | float | date):
        parsed = value.strip()  # a folder called 2023 is no number
    for part in reversed(key.split(".")):
        parsed = {part: parsed}
    return dict(parsed)


def _merge(base: Any, over: Any) -> Any:
    """Mappings merge key by key; anything else is replaced."""
    if not (isinstance(base, dict) and isinstance(over, dict)):
        return over
    return {**base, **{key: _merge(base.get(key), value) for key, value in over.items()}}


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
        _warn_of_idle_teachers(name, model)
        _warn_of_idle_training(name, model)
        _check_signal(name, model)
        _warn_of_idle_signal(name, model)
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
    kinds = ("architecture", "checkpoint", "twin_of")
    if isinstance(entry, dict) and not any(entry.get(kind) for kind in kinds):
        hint = did_you_mean(name, others)
        raise RecipeError(f"models.{name} has no architecture, checkpoint or twin_of{hint}")


def _expand(name: str, models: Raw, shared: Mapping[str, Raw], seen: tuple[str, ...]) -> Any:
    entry = models[name]
    if not isinstance(entry, dict):
        return entry
    entry = dict(entry)
    twin = entry.pop("twin_of", None)
    if twin is not None:
        entry = _merge(_original(name, twin, models, shared, (*seen, name)), entry)
    if "training" in entry or "architecture" in entry:
        entry["training"] = _merge(shared["training"], entry.get("training") or {})
    if entry.get("teachers"):
        entry["distillation"] = _merge(shared["distillation"], entry.get("distillation") or {})
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
    inherited = ("architecture", "checkpoint", "training", "seed")
    return (
        {k: v for k, v in original.items() if k in inherited} if isinstance(original, dict) else {}
    )


def _validate(section: type[M], raw: Any, where: tuple[str, ...]) -> M:
    try:
        return section.model_validate(raw)
    except ValidationError as error:
        faults = "; ".join(_explain(section, e, where) for e in error.errors())
        # A key may hold anything, line ends included.
        raise RecipeError(" ".join(faults.split())) from None


def _explain(section: type[BaseModel], error: Any, where: tuple[str, ...]) -> str:
    loc = keys_of(section, map(str, error["loc"]))
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


def _warn_of_idle_teachers(name: str, model: Model) -> None:
    if model.distillation and model.distillation.ce_weight == 1:
        _warn(f"models.{name}.teachers have", "its distillation.ce_weight is 1")


def _warn_of_idle_training(name: str, model: Model) -> None:
    training, key = model.training or Training(), f"models.{name}.training"
    if training.schedule == "constant" and training.final_learning_rate:
        _warn(f"{key}.final_learning_rate has", "its schedule is constant")
    if training.keep == "last" and training.select_by != Training().select_by:
        _warn(f"{key}.select_by has", "it keeps the last weights")


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


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A hint for a name that is not known: the nearest one, or all of them.

    >>> did_you_mean("temprature", ["temperature", "pool"])
    "; did you mean 'temperature'?"
    """
    known = [" ".join(str(name).split()) for name in known]  # a key may hold line ends
    close = difflib.get_close_matches(str(word), known, n=1)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; known: {', '.join(known)}" if known else ""
