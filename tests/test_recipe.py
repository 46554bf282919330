"""A recipe: frozen, every value in its range, every key with an owner or without effect."""

import ast
import inspect
import itertools
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, get_args, get_origin

import pytest
from pydantic import ValidationError

from babyllama.recipe import Corpus, Model, Recipe, Start, Tokenizer
from babyllama.recipe_distillation import Distillation
from babyllama.recipe_training import Training
from babyllama.resolve import resolve
from babyllama.section import Section, WithoutEffect
from stale import replaced, stale
from tiny import full_recipe

ARCHITECTURE = {
    "type": "llama",
    "layers": 1,
    "heads": 2,
    "width": 16,
    "feed_forward": 32,
    "positions": 64,
}


def make(**sections: Any) -> Recipe:
    raw = {
        "name": "x",
        "corpus": {"path": "text"},
        "tokenizer": {"vocabulary": 300},
        "models": {"a": {"architecture": ARCHITECTURE, "training": {}}},
    }
    return Recipe.model_validate(raw | sections)


@pytest.mark.parametrize("section", [make(), make().corpus, make().models["a"]])
def test_a_recipe_is_frozen(section: Section) -> None:
    for name in type(section).model_fields:
        with pytest.raises(ValidationError, match="frozen"):
            setattr(section, name, None)


@pytest.mark.parametrize(
    ("section", "raw"),
    [
        (Training, {"learning_rate": -1e-3}),
        (Training, {"learning_rate": 0}),
        (Training, {"learning_rate": float("inf")}),
        (Training, {"ema": 1}),
        (Training, {"ema": 0}),
        (Training, {"cycles": 0}),
        (Training, {"steps": 0}),
        (Start, {"model": "a", "weights": "cycle-0"}),
        (Start, {"model": "a", "weights": "words-10"}),
        (Training, {"epochs": 0}),
        (Training, {"epochs": 1.5}),
        (Training, {"batch_size": 0}),
        (Training, {"betas": [0.9, 1.0]}),
        (Training, {"betas": [0.9]}),
        (Training, {"final_learning_rate": 1.1}),
        (Training, {"schedule": "linear"}),
        (Training, {"save_at_words": "everything"}),
        (Distillation, {"temperature": 0}),
        (Distillation, {"temperature": float("nan")}),
        (Distillation, {"ce_weight": 1.5}),
        (Distillation, {"pool": "mean"}),
        (Distillation, {"teacher_weights": {"a": 0}}),
        (Tokenizer, {"vocabulary": 259}),
        (Corpus, {"path": "x", "dev_share": 0}),
        (Corpus, {"path": "x", "words": 0}),
    ],
)
def test_a_value_out_of_its_range_is_refused(section: type[Section], raw: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        section.model_validate(raw)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ({}, "either an architecture or a checkpoint or a start"),
        ({"checkpoint": "x", "start": {"model": "a"}}, "either an architecture or"),
        ({"start": {"model": "a"}, "teachers": ["b"]}, "needs training settings"),
        ({"architecture": ARCHITECTURE, "checkpoint": "x"}, "either an architecture or"),
        ({"architecture": ARCHITECTURE}, "needs training settings"),
        ({"checkpoint": "x", "teachers": ["a"]}, "needs training settings"),
        ({"checkpoint": "x", "training": {}, "teachers": ["a", "a"]}, "listed twice"),
    ],
)
def test_a_model_that_is_not_complete_is_refused(raw: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Model.model_validate(raw)


@pytest.mark.parametrize("name", ["", "-a", "a/b", "a.b", "a b", "..", "ü"])
def test_a_model_has_a_name_that_can_be_a_folder(name: str) -> None:
    with pytest.raises(ValidationError):
        make(models={name: {"architecture": ARCHITECTURE, "training": {}}})


def test_numbers_may_be_written_as_text_of_numbers() -> None:
    assert Training.model_validate({"learning_rate": "1e-4"}).learning_rate == 1e-4


def test_what_has_no_effect_is_not_part_of_the_effective_settings() -> None:
    model = make().models["a"]
    effective = model.effective()
    assert "healthy" not in effective
    assert "micro_batch" not in effective["training"]
    assert effective["training"]["batch_size"] == 32
    assert make().runtime.effective() == {}


def test_epochs_say_nothing_beside_steps_unless_they_are_those_of_phases() -> None:
    def effective(**training: Any) -> dict[str, Any]:
        return Training.model_validate({"steps": 9, **training}).effective()

    phases = {"buckets": [["a"]]}
    assert effective(epochs=2) == effective(epochs=3)
    mixed = phases | {"mixed": True}
    assert effective(epochs=2, curriculum=mixed) == effective(epochs=3, curriculum=mixed)
    assert effective(epochs=2, curriculum=phases) != effective(epochs=3, curriculum=phases)
    assert effective(epochs=2, steps=None) != effective(epochs=3, steps=None)


def test_telling_of_spikes_makes_nothing_stale() -> None:
    settings = {p: Training(spikes=p).effective() for p in ("off", "warn", "skip")}
    assert settings["off"] == settings["warn"]
    assert "spikes" not in settings["off"]
    assert settings["skip"] == settings["off"] | {"spikes": "skip"}


OTHER_CHOICE = {
    "type": "opt",
    "model": "llama",
    "weights": "cycle-1",
    "schedule": "constant",
    "precision": "bf16",
    "keep": "last",
    "spikes": "skip",
    "select_by": "cross_entropy",
    "optimizer": "adamw",
    "pool": "probabilities",
    "signal": "hidden-fp16",
    "compile": "auto",
    "kl_reduction": "token",
    "divergence": "forward",
    "ce_weight_schedule": "linear",
    "prefix": "none",
    "normalise": "sum",
    "convention": "babylm-2023",
    "device": "cuda",
    "base": "childes",
    "bad_bytes": "fail",
    "betas": [0.7, 0.95],
    "kl": [0.0, 1.0],
}


@pytest.fixture
def full(tmp_path: Path) -> Recipe:
    """A recipe in which every key has a value."""
    return resolve(full_recipe(tmp_path))


def leaves(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every key of a recipe that has a value of its own."""
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from leaves(inner, (*path, key))
    elif value not in (None, [], {}):
        yield path, value


def other_value(path: tuple[str, ...], value: Any) -> Any:
    """Another valid value of a key; for a folder, another place with the same content."""
    if path[-1] in OTHER_CHOICE:
        return OTHER_CHOICE[path[-1]]
    if path[-1] in {"path", "dev_path", "checkpoint", "pairs"}:
        return shutil.copytree(value, f"{value}-elsewhere")
    changes: dict[type, Callable[[Any], Any]] = {
        bool: lambda v: not v,
        int: lambda v: v + 1,
        float: lambda v: v / 2,
        str: lambda v: f"{v}-other",
        list: lambda v: v[:-1],
    }
    return changes[type(value)](value)


def is_marked(path: tuple[str, ...]) -> bool:
    """Whether a recipe declares a key, or the section around it, to be without effect."""
    current: Any = Recipe
    for key in path:
        if get_origin(current) is dict:
            current = get_args(current)[1]
        elif isinstance(current, type) and issubclass(current, Section):
            field = current.model_fields[key]
            if WithoutEffect in field.metadata:
                return True
            options = [a for a in get_args(field.annotation) if _is_section(a)]
            plain = get_origin(field.annotation) is dict or not options
            current = field.annotation if plain else options[0]
    return False


def _is_section(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, Section)


def sections(section: type[Section] = Recipe) -> set[type[Section]]:
    found = {section}
    for field in section.model_fields.values():
        for annotation in (field.annotation, *get_args(field.annotation)):
            if _is_section(annotation):
                found |= sections(annotation)
    return found


def test_the_recipe_of_these_tests_has_every_key(full: Recipe) -> None:
    paths = [path for path, _ in leaves(full.model_dump(mode="json"))]
    keys = {key for path in paths for key in path}
    for section in sections():
        assert set(section.model_fields) <= keys, section.__name__


def test_every_key_is_owned_by_a_stage_or_declared_without_effect(full: Recipe) -> None:
    wrong = []
    for path, value in leaves(full.model_dump(mode="json")):
        if path == ("evaluation", "suites", "generated"):
            continue  # its other value is another suite: see the tests on suites
        changed = stale(full, replaced(full, path, other_value(path, value)))
        if bool(changed) == is_marked(path):
            wrong.append((".".join(path), sorted(changed)))
    assert wrong == []


def test_every_key_says_what_it_is() -> None:
    silent = []
    for section in sections():
        (definition,) = ast.parse(inspect.getsource(section)).body
        body = definition.body if isinstance(definition, ast.ClassDef) else []
        for statement, following in itertools.zip_longest(body, body[1:]):
            said = isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant)
            if isinstance(statement, ast.AnnAssign) and not said:
                silent.append(ast.unparse(statement.target))
    assert silent == []


def test_these_keys_and_no_others_are_declared_without_effect() -> None:
    declared = {
        f"{section.__name__}.{name}"
        for section in sections()
        for name, field in section.model_fields.items()
        if WithoutEffect in field.metadata
    }
    assert declared == {
        "Recipe.name",
        "Recipe.description",
        "Corpus.path",
        "Corpus.dev_path",
        "Model.checkpoint",
        "Model.healthy",
        "Training.micro_batch",
        "Training.checkpoint_minutes",
        "Evaluation.suites",
        "Runtime.device",
        "Runtime.threads",
        "Runtime.compile",
    }
