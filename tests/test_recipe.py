"""A recipe: frozen, every key known, every value in its range."""

from typing import Any

import pytest
from pydantic import ValidationError

from babyllama.recipe import Corpus, Distillation, Model, Recipe, Section, Tokenizer, Training

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
        ({}, "either an architecture or a checkpoint"),
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
