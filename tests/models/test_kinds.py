"""What a model predicts, by its type; and what only causal ones do is refused by name."""

from typing import Any

import pytest

from babyllama.errors import RecipeError
from babyllama.models.architectures import model_config
from babyllama.models.kinds import check_causal, check_kinds, kind_of_config, kind_of_model
from babyllama.recipe import Architecture, Model
from babyllama.report.records import LOSSES
from babyllama.training.denoising import QUANTITIES

SIZES: dict[str, Any] = {"layers": 1, "heads": 2, "width": 16, "feed_forward": 24}


def model_of(kind: str, **more: Any) -> Model:
    positions = None if kind == "t5" else 64
    options = more.pop("options", {})
    architecture = {"type": kind, "positions": positions, "options": options, **SIZES}
    return Model.model_validate({"architecture": architecture, "training": {}, **more})


KINDS = [
    ("roberta", {}, "masked"),
    ("t5", {}, "encoder-decoder"),
    ("roberta", {"is_decoder": True}, "causal"),
    ("bert", {}, "causal"),
    ("bart", {}, "causal"),
    ("opt", {}, "causal"),
    ("switch", {}, "causal"),
]


@pytest.mark.parametrize(("type_", "options", "kind"), KINDS)
def test_a_recipe_and_the_configuration_made_of_it_say_the_same(
    type_: str, options: dict[str, Any], kind: str
) -> None:
    model = model_of(type_, options=options)
    assert kind_of_model({"a": model}, "a") == kind
    architecture = model.architecture
    assert isinstance(architecture, Architecture)
    assert kind_of_config(model_config(architecture, 300, (0, 1, 2))) == kind


def test_a_model_that_starts_from_another_is_of_its_kind() -> None:
    models = {"a": model_of("roberta"), "b": Model.model_validate({"start": {"model": "a"}})}
    assert kind_of_model(models, "b") == "masked"


@pytest.mark.parametrize(
    ("models", "message"),
    [
        (
            {"a": model_of("llama"), "b": model_of("t5", teachers=["a"])},
            r"models\.b\.teachers: b is an encoder-decoder model, which has no next token",
        ),
        (
            {"a": model_of("roberta"), "b": model_of("llama", teachers=["a"])},
            r"models\.b\.teachers: a is a masked model, which says nothing of the next token",
        ),
    ],
)
def test_neither_teaches_nor_is_taught(models: dict[str, Model], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        check_kinds(models, 64)


def test_more_spans_than_sentinels_are_refused() -> None:
    models = {"a": model_of("t5"), "b": model_of("roberta")}
    check_kinds(models, 2000)
    with pytest.raises(RecipeError, match=r"chunk_length: models\.a would have 102 spans in 2048"):
        check_kinds(models, 2048)


def test_an_outside_model_of_another_kind_is_refused() -> None:
    architecture = model_of("t5").architecture
    assert architecture
    config = model_config(architecture, 300, (0, 1, 2))
    with pytest.raises(RecipeError, match=r"models\.a\.checkpoint: .* encoder-decoder \(t5\)"):
        check_causal("models.a.checkpoint", config)


def test_reports_know_the_losses_of_all_kinds() -> None:
    assert [*LOSSES] == ["cross_entropy", *QUANTITIES.values()]
