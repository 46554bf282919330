"""`key.path=value`: what an override changes, takes back, or cannot mean."""

from pathlib import Path
from typing import Any

import pytest

from babyllama.errors import RecipeError
from babyllama.recipe import Recipe
from babyllama.recipe_training import Training
from babyllama.resolve import load_recipe
from babyllama.schema import flatten
from tiny import LLAMA, recipe, write_recipe


def tiny(**sections: Any) -> dict[str, Any]:
    return recipe(Path("data"), **sections)


@pytest.mark.parametrize(
    ("override", "key", "value"),
    [
        ("training.learning_rate=1e-4", "models.llama.training.learning_rate", 1e-4),
        ("models.llama.training.betas=[0.8, 0.9]", "models.llama.training.betas", [0.8, 0.9]),
        ("models.llama.training.clip_norm=null", "models.llama.training.clip_norm", None),
        ("corpus.words=1e6", "corpus.words", 1_000_000),
        ("corpus.path=a b=c", "corpus.path", "a b=c"),
        ("corpus.clean=false", "corpus.clean", False),
        ("runtime.compile=off", "runtime.compile", "off"),
        ("training.spikes=off", "models.llama.training.spikes", "off"),
        ("evaluation.suites.blimp=folder", "evaluation.suites.blimp", "folder"),
        ("models.llama.architecture.options.x=1e5", "models.llama.architecture.options.x", 1e5),
        ("report.prompts=[a, b]", "report.prompts", ["a", "b"]),
        ("corpus.path=2023", "corpus.path", "2023"),
        ("corpus.path=007", "corpus.path", "007"),
        ("corpus.path=1e6", "corpus.path", "1e6"),
        ("corpus.path=2023-01-02", "corpus.path", "2023-01-02"),
        ("corpus.path=no", "corpus.path", "no"),
        ("corpus.path='2023'", "corpus.path", "2023"),
        ("corpus.dev_path=2023", "corpus.dev_path", "2023"),
        ("evaluation.suites.blimp=2023", "evaluation.suites.blimp", "2023"),
    ],
)
def test_an_override_changes_one_key(
    override: str, key: str, value: object, tmp_path: Path
) -> None:
    file = str(write_recipe(tmp_path / "tiny.yaml", tiny()))
    before = flatten(load_recipe(file).model_dump(mode="json"))
    after = flatten(load_recipe(file, [override]).model_dump(mode="json"))
    assert after[key] == value
    if not override.startswith("training"):
        assert {k for k in after if after[k] != before.get(k)} == {key}


def test_the_last_override_wins(tmp_path: Path) -> None:
    file = str(write_recipe(tmp_path / "tiny.yaml", tiny()))
    assert load_recipe(file, ["seed=2", "seed=3"]).seed == 3


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("epochs", "must look like key.path=value"),
        ("=3", "must look like key.path=value"),
        ("training..epochs=3", "must look like key.path=value"),
        ("corpus.path=[a", "is not YAML"),
        ("corpus.path=2023-99-99", "is not YAML"),
        ("training.learning_rate=-1e-4", "training.learning_rate: Input should be greater than 0"),
        ("training.learning_rate=high", "not 'high'"),
        ("training=3", "training: Input should be a valid dictionary"),
        ("models.llama=null", "models.student.teachers: no model 'llama'"),
        ("models=3", "recipe has no models"),
        ("corpus=null", "corpus: Field required"),
        ("corpus.path=", "corpus.path: Field required"),
        ("seed=-1", "seed: Input should be greater than or equal to 0, not -1"),
        ("models.llama.seed=-1", "models.llama.seed: Input should be greater than or equal to 0"),
        ("models.studnet.training.epochs=3", "models.studnet has no architecture, checkpoint,"),
        ("models.studnet.training.epochs=3", "; did you mean 'student'?"),
        ("training.save_at_words=foo", "training.save_at_words: Input should be 'babylm', not"),
        ("training.save_at_words=[0]", "training.save_at_words.0: Input should be greater than 0"),
        ("evaluation.suits.generated=null", "unknown key evaluation.suits; did you mean 'suites'?"),
    ],
)
def test_an_override_that_cannot_be_meant_is_refused(
    override: str, message: str, tmp_path: Path
) -> None:
    file = str(write_recipe(tmp_path / "tiny.yaml", tiny()))
    with pytest.raises(RecipeError) as caught:
        load_recipe(file, [override])
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "literal[" not in str(caught.value)


ENTRIES = {
    "evaluation": {"suites": {"one": "a", "two": "b"}},
    "corpus": {"path": "text", "words": 500, "seed": 7, "cleaners": {"story": "cbt"}},
    "models": {
        "llama": {"architecture": LLAMA | {"options": {"rope_theta": 5.0}}},
        "student": {
            "architecture": LLAMA,
            "teachers": ["llama"],
            "training": {"epochs": 9},
            "distillation": {"teacher_weights": {"llama": 2}, "temperature": 3},
            "healthy": {"kl": [0, 1], "cross_entropy": [4, 5]},
        },
        "control": {"twin_of": "student"},
    },
}
TAKEN_BACK: list[tuple[str, Any]] = [
    ("evaluation.suites.one", None),
    ("models.control", None),
    ("models.student.healthy.kl", None),
    ("models.student.distillation.teacher_weights.llama", None),
    ("models.llama.architecture.options.rope_theta", None),
    ("corpus.cleaners.story", None),
    ("corpus.words", None),
    ("corpus.seed", 1),
    ("models.student.distillation.temperature", 2.0),
    # What the models share, as if the model's own had not been given.
    ("models.student.training.epochs", 1),
]


@pytest.mark.parametrize("from_file", [False, True])
@pytest.mark.parametrize(("key", "left"), TAKEN_BACK)
def test_null_takes_back_an_entry_or_a_setting(
    key: str, left: Any, from_file: bool, tmp_path: Path
) -> None:
    file = write_recipe(tmp_path / "base.yaml", tiny(**ENTRIES))
    overrides = [f"{key}=null"]
    if from_file:
        taken: Any = None
        for part in reversed(key.split(".")):
            taken = {part: taken}
        file = write_recipe(tmp_path / "over.yaml", {"extends": "base.yaml"} | taken)
        overrides = []
    before = load_recipe(str(tmp_path / "base.yaml")).model_dump(mode="json")
    after = load_recipe(str(file), overrides).model_dump(mode="json")
    assert at(before, key) is not None
    assert at(after, key) == left


def at(value: Any, key: str) -> Any:
    for part in key.split("."):
        value = value.get(part)
    return value


@pytest.mark.parametrize("key", ["evaluation.suites", "models.student.healthy", "corpus.cleaners"])
def test_null_empties_a_mapping_of_names(key: str, tmp_path: Path) -> None:
    file = str(write_recipe(tmp_path / "base.yaml", tiny(**ENTRIES)))
    assert at(load_recipe(file).model_dump(mode="json"), key)
    assert at(load_recipe(file, [f"{key}=null"]).model_dump(mode="json"), key) == {}


def test_null_is_a_value_where_a_key_can_be_without_one(tmp_path: Path) -> None:
    assert Training().clip_norm is not None
    file = str(write_recipe(tmp_path / "tiny.yaml", tiny()))
    assert trained(load_recipe(file, ["training.clip_norm=null"])).clip_norm is None
    assert trained(load_recipe(file, ["training.warmup_steps=null"])).warmup_steps == 200


def trained(found: Recipe) -> Training:
    training = found.models["llama"].training
    assert training
    return training


def test_the_built_in_suite_can_be_taken_away_though_no_recipe_names_it(tmp_path: Path) -> None:
    raw = tiny()
    del raw["evaluation"]
    file = str(write_recipe(tmp_path / "tiny.yaml", raw))
    assert load_recipe(file).evaluation.suites
    assert load_recipe(file, ["evaluation.suites.generated=null"]).evaluation.suites == {}


def test_what_was_taken_back_can_be_given_again(tmp_path: Path) -> None:
    file = str(write_recipe(tmp_path / "tiny.yaml", tiny()))
    again = load_recipe(file, ["models.control=null", "models.control.twin_of=student"])
    assert "control" in again.models
