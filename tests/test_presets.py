from typing import Any

from babyllama.resolve import load_recipe

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


def flat(value: Any, key: str = "") -> dict[str, Any]:
    """Nested mappings as `key.path` -> value."""
    if not isinstance(value, dict) or not value:
        return {key: value}
    parts = (flat(inner, f"{key}.{name}" if key else name) for name, inner in value.items())
    return {path: found for part in parts for path, found in part.items()}


def test_paper_as_released_differs_from_paper_in_the_documented_keys_alone() -> None:
    paper = flat(load_recipe("paper").model_dump())
    released = flat(load_recipe("paper-as-released").model_dump())
    assert paper.keys() == released.keys()
    different = {key: value for key, value in released.items() if value != paper[key]}
    assert {key: different[key] for key in different if key not in ABOUT_THE_FILE} == RELEASED


def test_paper_as_released_clips_at_one_and_warms_the_student_up_over_200_steps() -> None:
    models = load_recipe("paper-as-released").models
    assert {model.training and model.training.clip_norm for model in models.values()} == {1.0}
    assert models["student"].training
    assert models["student"].training.warmup_steps == 200
