"""From what a user types to a recipe: presets, files, overrides, twins, teachers."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from babyllama.errors import IgnoredSettingWarning, RecipeError
from babyllama.recipe import Recipe
from babyllama.resolve import resolve
from tiny import LLAMA, recipe


def tiny(**sections: Any) -> dict[str, Any]:
    return recipe(Path("data"), **sections)


def resolve_models(**models: Any) -> Recipe:
    return resolve(tiny(models=models))


def refusal_of(raw: dict[str, Any]) -> str:
    with pytest.raises(RecipeError) as caught:
        resolve(raw)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    ("change", "wrong", "right"),
    [
        ({"evalution": {}}, "evalution", "evaluation"),
        ({"trainings": {}}, "trainings", "training"),
        ({"corpus": {"pth": "x"}}, "corpus.pth", "path"),
        ({"training": {"learning_rte": 1}}, "training.learning_rte", "learning_rate"),
        ({"distillation": {"temprature": 1}}, "distillation.temprature", "temperature"),
        ({"evaluation": {"suits": {}}}, "evaluation.suits", "suites"),
        ({"report": {"prompt": []}}, "report.prompt", "prompts"),
        ({"runtime": {"thread": 1}}, "runtime.thread", "threads"),
    ],
)
def test_an_unknown_key_is_refused_with_the_nearest_known_one(
    change: dict[str, Any], wrong: str, right: str
) -> None:
    message = refusal_of(tiny() | change)
    assert f"unknown key {wrong}; did you mean {right!r}?" in message


@pytest.mark.parametrize(
    ("model", "wrong", "right"),
    [
        ({"teacher": ["llama"]}, "models.a.teacher", "teachers"),
        ({"twin_off": "b"}, "models.a.twin_off", "twin_of"),
        ({"training": {"epoch": 1}}, "models.a.training.epoch", "epochs"),
        (
            {"architecture": {**LLAMA, "layer": 1}},
            "models.a.architecture.layer",
            "layers",
        ),
        (
            {"teachers": ["b"], "distillation": {"ce_wieght": 1}},
            "models.a.distillation.ce_wieght",
            "ce_weight",
        ),
    ],
)
def test_an_unknown_key_of_a_model_is_refused_with_the_nearest_known_one(
    model: dict[str, Any], wrong: str, right: str
) -> None:
    models = {"a": {"architecture": LLAMA} | model, "b": {"architecture": LLAMA}}
    message = refusal_of(tiny(models=models))
    assert message == f"unknown key {wrong}; did you mean {right!r}?"


def test_an_unknown_teacher_is_refused_with_the_nearest_model() -> None:
    models = {
        "llama": {"architecture": LLAMA},
        "student": {"architecture": LLAMA, "teachers": ["lama"]},
    }
    message = refusal_of(tiny(models=models))
    assert message == "models.student.teachers: no model 'lama'; did you mean 'llama'?"


def test_a_circle_of_teachers_is_named() -> None:
    models = {
        name: {"architecture": LLAMA, "teachers": [teacher]}
        for name, teacher in (("a", "b"), ("b", "c"), ("c", "a"))
    }
    assert "a -> b -> c -> a" in refusal_of(tiny(models=models))


def test_a_model_cannot_teach_itself() -> None:
    message = refusal_of(tiny(models={"a": {"architecture": LLAMA, "teachers": ["a"]}}))
    assert "a -> a; a model cannot teach itself" in message


def test_a_twin_has_everything_but_the_teachers() -> None:
    models = resolve_models(
        a={"architecture": LLAMA, "seed": 7},
        student={"twin_of": "a", "teachers": ["a"], "training": {"epochs": 5}},
        control={"twin_of": "student"},
    ).models
    assert models["student"].architecture == models["a"].architecture
    assert models["control"].training == models["student"].training
    assert models["control"].training
    assert models["control"].training.epochs == 5
    assert models["control"].seed == 7
    assert models["control"].teachers == []
    assert models["control"].distillation is None
    assert models["student"].distillation


def test_a_twin_of_a_model_that_starts_from_a_checkpoint_starts_there_too() -> None:
    models = resolve_models(
        student={"checkpoint": "somewhere", "training": {}, "teachers": ["t"]},
        control={"twin_of": "student"},
        t={"architecture": LLAMA},
    ).models
    assert models["control"].checkpoint == "somewhere"


@pytest.mark.parametrize(
    ("models", "message"),
    [
        ({"a": {"twin_of": "b"}, "b": {"twin_of": "a"}}, "goes in a circle: a -> b -> a"),
        ({"a": {"twin_of": "a"}}, "goes in a circle: a -> a"),
        ({"abc": {"twin_of": "abd"}}, "models.abc.twin_of: no model 'abd'; did you mean 'abc'?"),
        ({"a": {"twin_of": ["a"]}}, "models.a.twin_of: no model ['a']"),
        ({"a": {"twin_of": "b"}, "b": None}, "models.a.twin_of: no model 'b'"),
        ({1: {"twin_of": "b"}}, "models.1.twin_of: no model 'b'"),
    ],
)
def test_a_twin_that_cannot_be_is_refused(models: dict[Any, Any], message: str) -> None:
    assert message in refusal_of(tiny(models=models))


def test_what_models_share_gives_way_to_what_they_say_themselves() -> None:
    raw = tiny(
        training={"epochs": 3, "batch_size": 16},
        distillation={"temperature": 3, "pool": "probabilities"},
        models={
            "a": {"architecture": LLAMA},
            "b": {"architecture": LLAMA, "training": {"epochs": 4}},
            "s": {"architecture": LLAMA, "teachers": ["a"], "distillation": {"temperature": 1}},
            "t": {"architecture": LLAMA, "teachers": ["a"]},
        },
    )
    models = resolve(raw).models
    epochs = {name: (m.training.epochs, m.training.batch_size) for name, m in models.items()}
    assert epochs == {"a": (3, 16), "b": (4, 16), "s": (3, 16), "t": (3, 16)}
    assert models["s"].distillation
    assert models["s"].distillation.temperature == 1
    assert models["s"].distillation.pool == "probabilities"
    assert models["a"].distillation is None


def test_a_shared_setting_that_reaches_no_model_is_told() -> None:
    own = {"architecture": LLAMA, "training": {"epochs": 2}}
    with pytest.warns(IgnoredSettingWarning, match=r"training.epochs has no effect: every model"):
        resolve(tiny(models={"a": own}, training={"epochs": 9}))
    with pytest.warns(IgnoredSettingWarning, match=r"distillation.pool has no effect: no model"):
        resolve(tiny(models={"a": own}, training={}, distillation={"pool": "logits"}))


def test_teachers_without_weight_in_the_loss_are_told() -> None:
    taught = {"architecture": LLAMA, "teachers": ["a"], "distillation": {"ce_weight": 1}}
    with pytest.warns(IgnoredSettingWarning, match=r"models.s.teachers have no effect"):
        resolve(tiny(models={"a": {"architecture": LLAMA}, "s": taught}))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"schedule": "constant", "final_learning_rate": 0.1},
            r"models.a.training.final_learning_rate has no effect: its schedule is constant",
        ),
        (
            {"curriculum": {"buckets": 2, "mixed": True}, "steps": 9},
            r"models.a.training.curriculum has no effect: it is mixed, and training.steps says",
        ),
        (
            {"select_by": "objective"},
            r"models.a.training.select_by has no effect: it keeps the last weights",
        ),
    ],
)
def test_settings_that_another_one_leaves_idle_are_told(
    settings: dict[str, Any], message: str
) -> None:
    with pytest.warns(IgnoredSettingWarning, match=message):
        resolve_models(a={"architecture": LLAMA, "training": settings})


def test_a_seed_of_what_is_not_trained_is_told() -> None:
    shown = {"start": {"model": "a"}, "seed": 3}
    with pytest.warns(IgnoredSettingWarning, match=r"models.b.seed has no effect: it is not"):
        resolve_models(a={"architecture": LLAMA, "seed": 3}, b=shown)


def test_an_end_of_the_weight_without_a_schedule_is_told() -> None:
    taught = {"architecture": LLAMA, "teachers": ["a"], "distillation": {"ce_weight_end": 0.5}}
    key = r"models.s.distillation.ce_weight_end has no effect: its ce_weight_schedule is constant"
    with pytest.warns(IgnoredSettingWarning, match=key):
        resolve_models(a={"architecture": LLAMA}, s=taught)
    taught["distillation"] |= {"ce_weight": 1, "ce_weight_schedule": "linear"}
    resolve_models(a={"architecture": LLAMA}, s=taught)  # the teachers have a say in the end


@pytest.mark.parametrize(
    ("training", "message"),
    [
        (
            {"curriculum": {"buckets": 0}},
            "models.a.training.curriculum.buckets: Input should be greater than 0, not 0",
        ),
        (
            {"weight_decay": {"by_ratio": -1}},
            "models.a.training.weight_decay.by_ratio: Input should be greater than 0, not -1",
        ),
        (
            {"weight_decay": "much"},
            "models.a.training.weight_decay: Input should be a valid number",
        ),
        (
            {"curriculum": {"buckets": [[]]}},
            "models.a.training.curriculum.buckets.0: List should have at least 1 item",
        ),
    ],
)
def test_of_a_key_that_takes_several_kinds_the_one_that_was_meant_is_explained(
    training: dict[str, Any], message: str
) -> None:
    told = refusal_of(tiny(models={"a": {"architecture": LLAMA, "training": training}}))
    assert told.startswith(message)
    assert "; " not in told or "much" in told


def test_what_weights_a_start_takes_is_told() -> None:
    start = {"start": {"model": "a", "weights": "cycle-0"}}
    told = refusal_of(tiny(models={"a": {"architecture": LLAMA}, "b": start}))
    expected = "models.b.start.weights: expected last, ema or cycle-1 and so on, not 'cycle-0'"
    assert told == expected


def test_distillation_without_teachers_is_refused() -> None:
    models = {"a": {"architecture": LLAMA, "distillation": {"temperature": 1}}}
    assert "models.a: distillation has no effect without teachers" in refusal_of(
        tiny(models=models)
    )


@pytest.mark.parametrize(
    ("ranges", "message"),
    [
        ({"kll": [0, 1]}, "unknown key models.s.healthy.kll; did you mean 'kl'?"),
        ({"kl": [1, 0.5]}, "models.s.healthy.kl: 1 is above 0.5: turn them round"),
    ],
)
def test_a_healthy_range_that_cannot_be_meant_is_refused(
    ranges: dict[str, Any], message: str
) -> None:
    student = {"architecture": LLAMA, "teachers": ["a"], "healthy": ranges}
    assert refusal_of(tiny(models={"a": {"architecture": LLAMA}, "s": student})) == message


def test_more_epochs_with_sam_than_there_are_are_refused() -> None:
    def given(**settings: Any) -> dict[str, Any]:
        training = {"epochs": 2, "sam": {"last_epochs": 3}}
        models = {"a": {"training": settings}, "b": {"training": {"sam": None}}}
        whole = {name: {"architecture": LLAMA, **model} for name, model in models.items()}
        return tiny(models=whole, training=training)

    message = "models.a.training.sam.last_epochs is 3 in a training of 2: leave it out for all"
    assert refusal_of(given(learning_rate=1e-3)) == message
    # The shared section may say what a model's own epochs make good.
    for whole in ({"epochs": 3}, {"steps": 9}, {"curriculum": {"buckets": 5}}):
        resolve(given(**whole))


def test_a_range_for_all_that_is_logged_is_taken() -> None:
    ranges = {"cross_entropy": [4, 5], "kl": [0.1, 0.1], "cross_entropy_share": [0, 1]}
    student = {"architecture": LLAMA, "teachers": ["a"], "healthy": ranges}
    models = resolve_models(a={"architecture": LLAMA}, s=student).models
    assert models["s"].healthy["kl"] == (0.1, 0.1)


def test_settings_of_a_model_that_is_nowhere_are_refused_with_the_nearest_name() -> None:
    raw = tiny()
    raw["models"]["studnet"] = {"training": {"epochs": 3}}
    message = refusal_of(raw)
    expected = (
        "models.studnet has no architecture, checkpoint, start or twin_of; did you mean 'student'?"
    )
    assert message == expected


def test_what_is_not_trained_stays_so_when_the_resolved_recipe_is_run_again() -> None:
    given = {"outside": {"checkpoint": "x"}, "shown": {"start": {"model": "outside"}}}
    resolved = resolve(tiny(models={**given, "a": {"architecture": LLAMA}}))
    again = resolve(resolved.model_dump(mode="json"))
    assert again == resolved
    assert again.models["outside"].training is again.models["shown"].training is None


def test_an_outside_checkpoint_is_trained_only_where_the_recipe_says_so() -> None:
    models = resolve_models(
        outside={"checkpoint": "x"}, start={"checkpoint": "x", "training": {}}
    ).models
    assert models["outside"].training is None
    assert models["start"].training
    assert models["start"].training.learning_rate == 2e-3


@pytest.mark.parametrize("name", ["ensemble", "ensemble-student"])
def test_no_model_can_have_the_name_of_an_ensemble(name: str) -> None:
    assert f"models.{name}:" in refusal_of(tiny(models={name: {"architecture": LLAMA}}))


def test_teacher_weights_name_teachers() -> None:
    models = {
        "llama": {"architecture": LLAMA},
        "s": {
            "architecture": LLAMA,
            "teachers": ["llama"],
            "distillation": {"teacher_weights": {"lama": 2}},
        },
    }
    assert "'lama' is not a teacher; did you mean 'llama'?" in refusal_of(tiny(models=models))


words = "name corpus path models a b twin_of teachers training architecture distillation epochs"
keys = st.sampled_from(words.split()) | st.text(max_size=3) | st.integers()
scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=5),
    max_leaves=15,
)


@given(anything)
def test_whatever_a_recipe_holds_it_is_refused_in_one_line(value: Any) -> None:
    refusal_of(tiny(models=value))
    refusal_of(tiny(tokens=value, training=value) | {"corpus": value})
