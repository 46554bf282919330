"""From what a user types to a recipe: presets, files, overrides, twins, teachers."""

import warnings
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from babyllama.errors import IgnoredSettingWarning, RecipeError
from babyllama.recipe import Model, Recipe
from babyllama.resolve import (
    did_you_mean,
    load_recipe,
    preset_names,
    preset_text,
    resolve,
    sort_models,
)
from babyllama.rundir import recipe_yaml
from babyllama.schema import flatten
from tiny import LLAMA, recipe, write_recipe

PRESETS = ["demo", "micro", "mini", "paper", "paper-as-released"]


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


def test_these_recipes_ship() -> None:
    assert preset_names() == PRESETS


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_resolves_and_its_resolved_form_is_the_same_recipe(
    name: str, tmp_path: Path
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        resolved = load_recipe(name)
    assert resolved.name == name
    assert resolved.description
    assert {"student", "control", "llama", "gpt2"} == set(resolved.models)
    file = tmp_path / "recipe.yaml"
    file.write_text(recipe_yaml(resolved), "utf-8")
    assert load_recipe(str(file)) == resolved


def test_paper_is_the_published_recipe() -> None:
    flat = flatten(load_recipe("paper").model_dump(mode="json"))
    published = {
        "tokenizer.vocabulary": 16_000,
        "tokens.chunk_length": 128,
        "models.gpt2.architecture.layers": 24,
        "models.gpt2.architecture.heads": 16,
        "models.gpt2.architecture.width": 1536,
        "models.gpt2.architecture.feed_forward": 6144,
        "models.gpt2.architecture.positions": 128,
        "models.gpt2.training.epochs": 6,
        "models.gpt2.training.batch_size": 256,
        "models.gpt2.training.learning_rate": 2.5e-4,
        "models.llama.architecture.layers": 24,
        "models.llama.architecture.heads": 8,
        "models.llama.architecture.width": 1024,
        "models.llama.architecture.feed_forward": 3072,
        "models.llama.architecture.positions": 256,
        "models.llama.training.epochs": 4,
        "models.llama.training.batch_size": 128,
        "models.llama.training.learning_rate": 3e-4,
        "models.student.architecture.layers": 16,
        "models.student.architecture.heads": 8,
        "models.student.architecture.width": 512,
        "models.student.architecture.feed_forward": 1024,
        "models.student.training.epochs": 6,
        "models.student.training.batch_size": 32,
        "models.student.training.learning_rate": 3e-4,
        "models.student.training.schedule": "cosine",
        "models.student.training.warmup_steps": 200,
        "models.student.distillation.temperature": 2.0,
        "models.student.distillation.ce_weight": 0.5,
        "models.student.distillation.kl_reduction": "token",
    }
    assert {key: flat[key] for key in published} == published


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


def test_a_word_that_is_like_none_gets_the_whole_list() -> None:
    assert did_you_mean("zzz", ["epochs", "betas"]) == "; known: epochs, betas"


def test_an_unknown_recipe_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(RecipeError, match="no recipe 'minni'; did you mean 'mini'"):
        load_recipe("minni")
    with pytest.raises(RecipeError, match="did you mean 'paper'"):
        preset_text("papper")


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


@given(st.data())
def test_teachers_come_before_their_students(data: st.DataObject) -> None:
    names = data.draw(st.permutations(list("abcdef")))
    models = {}
    for index, name in enumerate(names):
        teachers = data.draw(st.lists(st.sampled_from(names[:index] or "-"), unique=True))
        raw = {"architecture": LLAMA, "training": {}, "teachers": teachers if index else []}
        models[name] = Model.model_validate(raw)
    shuffled = {name: models[name] for name in data.draw(st.permutations(names))}
    order = sort_models(shuffled)
    assert sorted(order) == sorted(names)
    for name, model in models.items():
        assert all(order.index(teacher) < order.index(name) for teacher in model.teachers)


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


def test_a_range_for_all_that_is_logged_is_taken() -> None:
    ranges = {"cross_entropy": [4, 5], "kl": [0.1, 0.1], "cross_entropy_share": [0, 1]}
    student = {"architecture": LLAMA, "teachers": ["a"], "healthy": ranges}
    models = resolve_models(a={"architecture": LLAMA}, s=student).models
    assert models["s"].healthy["kl"] == (0.1, 0.1)


def test_settings_of_a_model_that_is_nowhere_are_refused_with_the_nearest_name() -> None:
    raw = tiny()
    raw["models"]["studnet"] = {"training": {"epochs": 3}}
    message = refusal_of(raw)
    expected = "models.studnet has no architecture, checkpoint or twin_of; did you mean 'student'?"
    assert message == expected


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


def test_a_recipe_extends_files_beside_it_and_presets(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    write_recipe(tmp_path / "a.yaml", {"extends": "mini", "name": "a", "seed": 5})
    write_recipe(tmp_path / "sub" / "b.yaml", {"extends": "../a.yaml", "tokens": {}})
    write_recipe(tmp_path / "sub" / "c.yaml", {"extends": "b.yaml", "training": {"epochs": 9}})
    resolved = load_recipe(str(tmp_path / "sub" / "c.yaml"))
    mini = load_recipe("mini", ["name=a", "seed=5", "training.epochs=9"])
    assert resolved == mini


@pytest.mark.parametrize("circle", [["a"], ["a", "b"], ["a", "b", "c"], ["sub/../a"]])
def test_a_circle_of_extended_recipes_is_refused(circle: list[str], tmp_path: Path) -> None:
    for name, parent in zip(circle, [*circle[1:], circle[0]], strict=True):
        write_recipe(tmp_path / f"{Path(name).name}.yaml", {"extends": f"{parent}.yaml"})
    with pytest.raises(RecipeError, match=r"extends itself: .*a\.yaml"):
        load_recipe(str(tmp_path / "a.yaml"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"name: [", "is not YAML"),
        (b"- a\n- b\n", "must be a mapping of sections, not list"),
        (b"", "must be a mapping of sections, not NoneType"),
        (b"name: \xff\xfe", "cannot be read as UTF-8"),
        (b"extends: none-such", "no recipe 'none-such'"),
        (b"extends: gone.yaml", "gone.yaml does not exist"),
    ],
)
def test_a_file_that_is_no_recipe_is_refused(content: bytes, message: str, tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    file.write_bytes(content)
    with pytest.raises(RecipeError) as caught:
        load_recipe(str(file))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_recipe_file_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"gone.yaml does not exist"):
        load_recipe(str(tmp_path / "gone.yaml"))


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
