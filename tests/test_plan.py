"""What makes which stage stale: every key of a recipe has an owner, or no effect at all."""

import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, get_args, get_origin

import pytest

from babyllama import plan as plan_module
from babyllama.errors import CorruptDataError, RecipeError
from babyllama.plan import Stage, ensembles, plan, training_order
from babyllama.recipe import Recipe, Section, WithoutEffect
from babyllama.resolve import resolve
from babyllama.rundir import flatten
from babyllama.store import Store
from babyllama.training.health import StopRequest
from tiny import LLAMA, recipe, write_pairs, write_text

ARCHITECTURE = LLAMA | {"dropout": 0.1, "options": {"rope_theta": 5000.0}}
TRAINING = {
    "epochs": 2,
    "batch_size": 8,
    "learning_rate": 1e-3,
    "schedule": "cosine",
    "warmup_steps": 3,
    "final_learning_rate": 0.1,
    "weight_decay": 0.1,
    "betas": [0.8, 0.9],
    "epsilon": 1e-7,
    "clip_norm": 0.5,
    "random_offsets": True,
    "precision": "fp32",
    "keep": "best",
    "select_by": "objective",
    "save_at_words": [10, 20],
    "micro_batch": 4,
    "checkpoint_minutes": 2.0,
}
DISTILLATION = {
    "temperature": 3.0,
    "ce_weight": 0.25,
    "pool": "probabilities",
    "kl_reduction": "sequence",
    "teacher_weights": {"llama": 2.0, "gpt2": 1.0},
}
OTHER_CHOICE = {
    "type": "opt",
    "schedule": "constant",
    "precision": "bf16",
    "keep": "last",
    "select_by": "cross_entropy",
    "pool": "logits",
    "kl_reduction": "token",
    "prefix": "none",
    "device": "cuda",
    "story": "childes",
    "betas": [0.7, 0.95],
    "kl": [0.0, 1.0],
}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    write_text(tmp_path / "text", sentences=20)
    write_text(tmp_path / "dev", sentences=5, seed=1)
    write_pairs(tmp_path / "pairs")
    for name in ("outside", "start"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(f'"{name}"')
    return tmp_path


@pytest.fixture
def full(data: Path) -> Recipe:
    """A recipe in which every key has a value."""
    student = {
        "architecture": ARCHITECTURE,
        "training": TRAINING,
        "teachers": ["llama", "gpt2", "outside"],
        "distillation": DISTILLATION,
        "seed": 5,
        "healthy": {"kl": [0.1, 0.2]},
    }
    models = {
        "llama": {"architecture": ARCHITECTURE, "training": TRAINING},
        "gpt2": {"architecture": {**ARCHITECTURE, "type": "gpt2"}, "training": TRAINING},
        "outside": {"checkpoint": str(data / "outside")},
        "start": {"checkpoint": str(data / "start"), "training": TRAINING},
        "student": student,
    }
    raw = recipe(data, models=models, description="all of it", seed=3)
    del raw["training"]
    raw["corpus"] |= {
        "dev_path": str(data / "dev"),
        "words": 50,
        "dev_share": 0.1,
        "clean": False,
        "cleaners": {"story": "cbt"},
        "seed": 2,
    }
    raw["tokens"]["separators"] = False
    raw["evaluation"] |= {"prefix": "<s>"}
    raw["evaluation"]["suites"]["generated"] = "builtin:paradigms"
    raw["report"]["sample_temperature"] = 0.5
    return resolve(raw)


def stages_of(recipe: Recipe) -> dict[str, Stage]:
    return {stage.name: stage for stage in plan(recipe, Store(Path("none")), StopRequest())}


def fingerprints(recipe: Recipe) -> dict[str, str]:
    return {name: stage.identity.fingerprint for name, stage in stages_of(recipe).items()}


def stale(before: Recipe, after: Recipe) -> set[str]:
    """Stages that have to be made again, or for the first time."""
    old = fingerprints(before)
    return {name for name, value in fingerprints(after).items() if old.get(name) != value}


def leaves(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every key of a recipe that has a value of its own."""
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from leaves(inner, (*path, key))
    elif value not in (None, [], {}):
        yield path, value


def replaced(recipe: Recipe, path: tuple[str, ...], value: Any) -> Recipe:
    raw = recipe.model_dump(mode="json")
    place = raw
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return Recipe.model_validate(raw)


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
    """Whether recipe.py declares a key, or the section around it, to be without effect."""
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


def of_models(names: Mapping[str, bool]) -> set[str]:
    """Models with their scores; those marked true are sampled too."""
    found = {f"models/{name}" for name in names if not name.startswith("ensemble")}
    found |= {f"scores/{name}/{suite}" for name in names for suite in ("pairs", "generated")}
    return found | ({"samples"} if any(names.values()) else set())


STUDENT = of_models({"student": True})
SUITE = {f"scores/{name}/generated" for name in ("llama", "gpt2", "student", "control", "ensemble")}
PAIRS = {name.replace("generated", "pairs") for name in SUITE}
MODELS = {f"models/{name}" for name in ("llama", "gpt2", "student", "control")}


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("models.student.distillation.temperature", 1.0, STUDENT),
        ("models.student.distillation.ce_weight", 0.9, STUDENT),
        ("models.student.distillation.kl_reduction", "sequence", STUDENT),
        (
            "models.student.distillation.pool",
            "probabilities",
            of_models({"student": True, "ensemble": False}),
        ),
        (
            "models.student.distillation.teacher_weights",
            {"llama": 3},
            of_models({"student": True, "ensemble": False}),
        ),
        ("models.student.training.micro_batch", 2, set()),
        ("models.student.training.checkpoint_minutes", 1, set()),
        ("models.student.healthy", {"kl": [0, 1]}, set()),
        ("runtime.device", "cuda", set()),
        ("runtime.threads", 2, set()),
        ("name", "other", set()),
        ("description", "other", set()),
        ("models.control.training.epochs", 2, of_models({"control": False})),
        (
            "models.llama.training.learning_rate",
            1e-4,
            of_models({"llama": False, "student": True, "ensemble": False}),
        ),
        ("report.prompts", ["A"], {"samples"}),
        ("evaluation.prefix", "none", SUITE | PAIRS),
        ("tokens.chunk_length", 8, MODELS | SUITE | PAIRS | {"tokens", "samples"}),
        ("tokens.validation_chunks", 9, MODELS | SUITE | PAIRS | {"tokens", "samples"}),
        (
            "tokenizer.vocabulary",
            290,
            MODELS | SUITE | PAIRS | {"tokenizer", "tokens", "samples"},
        ),
        (
            "corpus.words",
            40,
            MODELS
            | SUITE
            | PAIRS
            | {"corpus", "tokenizer", "tokens", "suites/generated", "samples"},
        ),
        ("seed", 9, MODELS | SUITE | PAIRS | {"samples"}),
        ("models.control.seed", 9, of_models({"control": False})),
        ("models.control.seed", 1, set()),
    ],
)
def test_a_change_makes_stale_what_depends_on_it_and_nothing_else(
    data: Path, path: str, value: Any, expected: set[str]
) -> None:
    raw = recipe(data)
    raw["evaluation"]["suites"]["generated"] = "builtin:paradigms"
    before = resolve(raw)
    assert stale(before, replaced(before, tuple(path.split(".")), value)) == expected


def test_every_input_comes_first(full: Recipe) -> None:
    seen: set[str] = set()
    for name, stage in stages_of(full).items():
        made_here = {key for key in stage.identity.inputs if key in stages_of(full)}
        assert made_here <= seen
        seen.add(name)


def test_other_content_under_the_same_path_makes_stale(full: Recipe, data: Path) -> None:
    before = fingerprints(full)
    (data / "pairs" / "agreement_is.jsonl").unlink()
    after = fingerprints(full)
    assert {name for name in before if before[name] != after[name]} == {
        f"scores/{model}/pairs" for model in [*full.models, "ensemble"]
    }
    (data / "outside" / "config.json").write_text("other")
    assert fingerprints(full)["models/outside"] != after["models/outside"]
    assert fingerprints(full)["models/llama"] == after["models/llama"]
    write_text(data / "text", sentences=21)
    assert fingerprints(full)["corpus"] != after["corpus"]


def test_a_new_suite_makes_its_own_scores_alone(data: Path) -> None:
    raw = recipe(data)
    before = resolve(raw)
    raw["evaluation"]["suites"]["more"] = str(write_pairs(data / "more", 3))
    assert stale(before, resolve(raw)) == {
        f"scores/{name}/more" for name in ("llama", "gpt2", "student", "control", "ensemble")
    }


def test_a_new_student_leaves_the_others_as_they_are(data: Path) -> None:
    raw = recipe(data)
    before = resolve(raw)
    raw["models"]["second"] = {
        "twin_of": "student",
        "teachers": ["llama", "gpt2"],
        "distillation": {"temperature": 1},
    }
    expected = {"models/second", "scores/second/pairs", "samples"}
    assert stale(before, resolve(raw)) == expected


def test_teachers_do_not_count_where_cross_entropy_has_all_the_weight(data: Path) -> None:
    raw = recipe(data, distillation={"ce_weight": 1})
    before = resolve(raw)
    changed = replaced(before, ("models", "llama", "training", "epochs"), 7)
    assert "models/student" not in stale(before, changed)
    assert stages_of(before)["models/student"].identity.settings["distillation"] is None


def test_weights_that_are_all_the_same_are_no_weights(data: Path) -> None:
    same = recipe(data, distillation={"teacher_weights": {"llama": 2, "gpt2": 2}})
    assert stale(resolve(recipe(data)), resolve(same)) == set()


def test_a_raised_version_makes_its_stage_and_what_follows_stale(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = fingerprints(resolve(recipe(data)))
    monkeypatch.setitem(plan_module.VERSIONS, "scores", 2)
    after = fingerprints(resolve(recipe(data)))
    assert {name for name in after if after[name] != before[name]} == PAIRS


def test_outside_checkpoints_come_first_and_teachers_before_students(full: Recipe) -> None:
    assert training_order(full.models) == ["outside", "llama", "gpt2", "start", "student"]


def student(*teachers: str, **distillation: Any) -> dict[str, Any]:
    return {"architecture": LLAMA, "teachers": [*teachers], "distillation": distillation}


@pytest.mark.parametrize(
    ("students", "expected"),
    [
        ({}, {}),
        ({"s": student("a")}, {}),
        ({"s": student("a", "b")}, {"ensemble": ("a", "b")}),
        (
            {"s": student("a", "b"), "t": student("a", "b", temperature=1.0)},
            {"ensemble": ("a", "b")},
        ),
        (
            {"s": student("a", "b"), "t": student("a", "b", "c")},
            {"ensemble-s": ("a", "b"), "ensemble-t": ("a", "b", "c")},
        ),
        (
            {"s": student("a", "b"), "t": student("a", "b", pool="probabilities")},
            {"ensemble-s": ("a", "b"), "ensemble-t": ("a", "b")},
        ),
        (
            {"s": student("a", "b"), "t": student("a", "b", teacher_weights={"a": 3})},
            {"ensemble-s": ("a", "b"), "ensemble-t": ("a", "b")},
        ),
    ],
)
def test_every_pooling_of_several_teachers_is_an_ensemble(
    data: Path, students: dict[str, Any], expected: dict[str, tuple[str, ...]]
) -> None:
    models = {name: {"architecture": LLAMA} for name in "abc"} | students
    resolved = resolve(recipe(data, models=models))
    assert {e.name: e.teachers for e in ensembles(resolved.models)} == expected
    scored = {name.split("/")[1] for name in stages_of(resolved) if name.startswith("scores/")}
    assert scored == {*resolved.models, *expected}


def test_samples_are_of_the_students_or_of_the_last_model(data: Path, full: Recipe) -> None:
    assert stages_of(full)["samples"].identity.settings["models"] == ["student"]
    alone = resolve(recipe(data, models={name: {"architecture": LLAMA} for name in "ab"}))
    assert stages_of(alone)["samples"].identity.settings["models"] == ["b"]


def test_a_bad_suite_or_checkpoint_shows_before_anything_is_made(full: Recipe, data: Path) -> None:
    (data / "pairs" / "agreement_is.jsonl").write_text("{\n")
    with pytest.raises(CorruptDataError, match=r"agreement_is.jsonl, line 1"):
        stages_of(full)
    shutil.rmtree(data / "pairs")
    with pytest.raises(RecipeError, match="pairs does not exist"):
        stages_of(full)
    shutil.rmtree(data / "outside")
    with pytest.raises(RecipeError, match="outside does not exist"):
        stages_of(full)


def test_settings_can_be_told_apart_key_by_key(full: Recipe) -> None:
    for stage in stages_of(full).values():
        assert all(isinstance(key, str) for key in flatten(dict(stage.identity.settings)))
