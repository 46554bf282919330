"""What a recipe says of its pools and cannot mean."""

import warnings
from pathlib import Path
from typing import Any

import pytest

from babyllama.errors import IgnoredSettingWarning, RecipeError
from babyllama.resolve import resolve
from tiny import LLAMA, recipe

DATA = Path("data")


def taught(*teachers: str, **distillation: Any) -> dict[str, Any]:
    """The tiny recipe with a student of these, and three teachers to choose from."""
    raw = recipe(DATA)
    raw["models"] |= {
        "third": {"architecture": LLAMA, "seed": 3},
        "student": {"architecture": LLAMA, "teachers": [*teachers], "distillation": distillation},
    }
    return raw


@pytest.mark.parametrize(
    ("ensemble", "message"),
    [
        ({"members": ["llama", "gpt3"]}, r"ensembles\.x\.members: no model 'gpt3'.*gpt2"),
        ({"members": ["llama", "llama"]}, r"ensembles\.x\.members: a model is listed twice"),
        ({"members": ["llama"]}, r"ensembles\.x\.members: .*at least 2"),
        ({"members": ["llama", "gpt2"], "pools": 1}, r"unknown key ensembles\.x\.pools.*pool"),
    ],
)
def test_an_ensemble_that_cannot_be_meant(ensemble: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        resolve(recipe(DATA, ensembles={"x": ensemble}))


def test_an_ensemble_has_no_name_of_a_model() -> None:
    with pytest.raises(RecipeError, match=r"ensembles\.student: a model has this name too"):
        resolve(recipe(DATA, ensembles={"student": {"members": ["llama", "gpt2"]}}))


@pytest.mark.parametrize(
    ("distillation", "message"),
    [
        ({"learned_weights": True, "teacher_weights": {"llama": 2}}, "drop one of them"),
        ({"best_teachers": 3}, "best_teachers: 3 of 2 teachers: lower it"),
        ({"best_teachers": 0}, "best_teachers"),
    ],
)
def test_a_choice_of_teachers_that_cannot_be_meant(
    distillation: dict[str, Any], message: str
) -> None:
    with pytest.raises(RecipeError, match=message):
        resolve(taught("llama", "gpt2", **distillation))


@pytest.mark.parametrize(
    ("teachers", "distillation", "message"),
    [
        (["llama"], {"learned_weights": True}, "learned_weights has no effect: there is one"),
        (["llama", "gpt2"], {"best_teachers": 2}, "best_teachers has no effect: there are no more"),
    ],
)
def test_a_choice_that_changes_nothing_is_told(
    teachers: list[str], distillation: dict[str, Any], message: str
) -> None:
    with pytest.warns(IgnoredSettingWarning, match=message):
        resolve(taught(*teachers, **distillation))


def test_one_model_under_two_names_is_told_and_another_seed_is_another_model() -> None:
    raw = taught("llama", "third")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        resolve(raw)
    raw["models"]["third"]["seed"] = 1  # the recipe's own, which is that of llama
    with pytest.warns(UserWarning, match=r"student\.teachers: third is llama again"):
        resolve(raw)


SNAPSHOTS: dict[str, Any] = {
    "run": {"architecture": LLAMA, "training": {"schedule": "cyclic", "cycles": 2, "epochs": 2}},
    "first": {"start": {"model": "run", "weights": "cycle-1"}},
    "last": {"start": {"model": "run", "weights": "cycle-2"}},
    "again": {"start": {"model": "last"}},
    "onward": {"start": {"model": "run", "weights": "cycle-1"}, "training": {"steps": 2}},
    "outside": {"checkpoint": "folder"},
    "outside-2": {"checkpoint": "folder"},
    "student": {"architecture": LLAMA, "teachers": ["run"]},
}


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        ("run", "last", True),
        ("last", "again", True),
        ("outside", "outside-2", True),
        ("run", "first", False),
        ("first", "last", False),
        ("first", "onward", False),
        ("run", "outside", False),
    ],
)
def test_weights_under_two_names_are_told_wherever_they_come_from(
    one: str, other: str, alike: bool
) -> None:
    models = SNAPSHOTS | {"student": {**SNAPSHOTS["student"], "teachers": [one, other]}}
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        resolve(recipe(DATA, models=models))
    assert [str(w.message) for w in told if "again under another name" in str(w.message)] == (
        [
            f"models.student.teachers: {other} is {one} again under another name: give it another"
            " seed or other weights, or leave it out"
        ]
        if alike
        else []
    )


def test_the_best_of_a_cyclic_run_is_not_its_last_snapshot() -> None:
    training = {**SNAPSHOTS["run"]["training"], "keep": "best"}
    student = {**SNAPSHOTS["student"], "teachers": ["run", "last"]}
    models = SNAPSHOTS | {"run": {**SNAPSHOTS["run"], "training": training}, "student": student}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        resolve(recipe(DATA, models=models))
