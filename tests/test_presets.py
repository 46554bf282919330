"""The recipes that ship: which they are, and that they say what they are said to."""

import warnings
from pathlib import Path

import pytest

from babyllama.recipe_files import preset_names
from babyllama.resolve import load_recipe
from babyllama.rundir import recipe_yaml
from babyllama.schema import flatten

EXPERIMENTS = ["appendix-switch", "appendix-switch-micro"]
PRESETS = [*EXPERIMENTS, "demo", "micro", "mini", "paper", "paper-as-released"]
ABOUT_THE_FILE = {"name", "description"}
# What `recipes/paper-as-released.yaml` documents at its top; the control is the student's twin.
EVERY_MODEL = {"random_offsets": True, "keep": "best", "select_by": "objective"}
RELEASED = {
    "tokens.separators": False,
    "models.student.distillation.kl_reduction": "sequence",
    **{
        f"models.{model}.training.{key}": value
        for model, settings in {
            "gpt2": {"epochs": 4, "batch_size": 128, "warmup_steps": 300},
            "llama": {"warmup_steps": 300},
            "student": {"learning_rate": 2.5e-4, "weight_decay": 0.1},
            "control": {"learning_rate": 2.5e-4, "weight_decay": 0.1},
        }.items()
        for key, value in {**EVERY_MODEL, **settings}.items()
    },
}


def test_paper_as_released_differs_from_paper_in_the_documented_keys_alone() -> None:
    paper = flatten(load_recipe("paper").model_dump())
    released = flatten(load_recipe("paper-as-released").model_dump())
    assert paper.keys() == released.keys()
    different = {key: value for key, value in released.items() if value != paper[key]}
    assert {key: different[key] for key in different if key not in ABOUT_THE_FILE} == RELEASED


def test_paper_as_released_clips_at_one_and_warms_the_student_up_over_200_steps() -> None:
    models = load_recipe("paper-as-released").models
    assert {model.training and model.training.clip_norm for model in models.values()} == {1.0}
    assert models["student"].training
    assert models["student"].training.warmup_steps == 200


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
    if name not in EXPERIMENTS:
        assert {"student", "control", "llama", "gpt2"} == set(resolved.models)
    file = tmp_path / "recipe.yaml"
    file.write_text(recipe_yaml(resolved), "utf-8")
    assert load_recipe(str(file)) == resolved


@pytest.mark.parametrize("preset", EXPERIMENTS)
def test_the_switch_transformers_differ_from_the_dense_model_in_their_experts_alone(
    preset: str,
) -> None:
    models = {name: model.model_dump() for name, model in load_recipe(preset).models.items()}
    dense = models.pop("dense")
    options = [model["architecture"].pop("options") for model in models.values()]
    for model in models.values():
        sizes = {k: v for k, v in dense["architecture"].items() if k not in ("type", "options")}
        assert model == {**dense, "architecture": {"type": "switch", **sizes}}
    found = sorted((given["experts"], given["capacity_factor"]) for given in options)
    assert found == [(1, 1.25)] + [(n, room) for n in (2, 4, 8) for room in (1.25, 2.0)]


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
