"""The stages of a recipe: what makes which of them stale, and in which order they come."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from babyllama import builders
from babyllama.builders import nothing_to_check
from babyllama.errors import CorruptDataError, RecipeError
from babyllama.lineage import ensembles, training_order
from babyllama.plan import outside_suites
from babyllama.recipe import Recipe
from babyllama.resolve import resolve
from stale import fingerprints, replaced, stages_of, stale
from tiny import LLAMA, full_recipe, recipe, write_pairs, write_text


@pytest.fixture
def full(tmp_path: Path) -> Recipe:
    """A recipe in which every key has a value."""
    return resolve(full_recipe(tmp_path))


@pytest.fixture
def data(full: Recipe, tmp_path: Path) -> Path:
    """The folders of that recipe, which a test may change."""
    return tmp_path


def room(name: str) -> str:
    """Where a model is, or the validation of an ensemble."""
    return f"{'ensembles' if name.startswith('ensemble') else 'models'}/{name}"


def of_models(names: Mapping[str, bool]) -> set[str]:
    """Models and ensembles with their scores; those marked true are sampled too."""
    found = {room(name) for name in names}
    found |= {f"scores/{name}/{suite}" for name in names for suite in ("pairs", "generated")}
    return found | ({"samples"} if any(names.values()) else set())


STUDENT = of_models({"student": True})
SUITE = {f"scores/{name}/generated" for name in ("llama", "gpt2", "student", "control", "ensemble")}
PAIRS = {name.replace("generated", "pairs") for name in SUITE}
MODELS = {room(name) for name in ("llama", "gpt2", "student", "control", "ensemble")}


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("models.student.distillation.temperature", 1.0, STUDENT),
        ("models.student.distillation.ce_weight", 0.9, STUDENT),
        ("models.student.distillation.kl_reduction", "sequence", STUDENT),
        ("models.student.distillation.divergence", "reverse", STUDENT),
        ("models.student.distillation.ce_weight_schedule", "linear", STUDENT),
        ("models.student.distillation.mask_inputs", 0.15, STUDENT),
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
        ("evaluation.convention", "lm-eval", SUITE | PAIRS),
        ("tokens.chunk_length", 8, MODELS | SUITE | PAIRS | {"samples"}),
        ("tokens.validation_chunks", 9, MODELS | SUITE | PAIRS | {"samples"}),
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
    full = replaced(full, ("corpus", "drop_overlap"), False)
    before = fingerprints(full)
    (data / "pairs" / "agreement_is.jsonl").unlink()
    after = fingerprints(full)
    assert {name for name in before if before[name] != after[name]} == {
        f"scores/{model}/pairs" for model in [*full.models, "ensemble", "ensemble-both"]
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


@pytest.mark.filterwarnings("ignore::babyllama.errors.IgnoredSettingWarning")
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
    monkeypatch.setitem(builders.VERSIONS, "scores", 99)
    after = fingerprints(resolve(recipe(data)))
    assert {name for name in after if after[name] != before[name]} == PAIRS


def test_outside_checkpoints_come_first_and_teachers_before_students(full: Recipe) -> None:
    order = ["outside", "llama", "gpt2", "start", "student", "averaged"]
    assert training_order(full.models) == order


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
    assert {e.name: e.teachers for e in ensembles(resolved)} == expected
    scored = {name.split("/")[1] for name in stages_of(resolved) if name.startswith("scores/")}
    assert scored == {*resolved.models, *expected}


def test_the_ensembles_of_a_recipe_are_pooled_without_a_student(data: Path) -> None:
    named = {
        "pair": {"members": ["b", "a"]},
        "pair-p": {"members": ["a", "b"], "pool": "probabilities"},
    }
    models = {name: {"architecture": LLAMA} for name in "abc"}
    resolved = resolve(recipe(data, models=models, ensembles=named))
    found = {e.name: (e.teachers, e.distillation.pool) for e in ensembles(resolved)}
    assert found == {
        "ensemble-pair": (("b", "a"), "logits"),
        "ensemble-pair-p": (("a", "b"), "probabilities"),
    }
    assert {"ensembles/ensemble-pair", "scores/ensemble-pair-p/pairs"} <= {*stages_of(resolved)}


def test_an_ensemble_that_is_the_pool_of_a_student_is_made_once(data: Path) -> None:
    models = {name: {"architecture": LLAMA} for name in "abc"}
    models |= {"s": student("a", "b"), "t": student("a", "c", teacher_weights={"a": 3})}
    named = {"pair": {"members": ["b", "a"]}, "other": {"members": ["a", "c"]}}
    resolved = resolve(recipe(data, models=models, ensembles=named))
    assert [e.name for e in ensembles(resolved)] == ["ensemble-pair", "ensemble-other", "ensemble"]


def learned(data: Path, **distillation: Any) -> Recipe:
    """Students of three teachers: one whose pool is found out, and one whose pool is not."""
    models = {name: {"architecture": LLAMA, "seed": n} for n, name in enumerate("abc")}
    models |= {"s": student("a", "b", "c", **distillation), "plain": student("a", "b", "c")}
    return resolve(recipe(data, models=models))


LEARNED = {"learned_weights": True}


def test_learned_weights_have_a_stage_that_student_and_ensemble_are_made_from(data: Path) -> None:
    stages = stages_of(learned(data, **LEARNED))
    order = [*stages]
    assert order.index("models/c") < order.index("weights/s") < order.index("models/s")
    with_weights = {name for name, stage in stages.items() if "weights" in stage.identity.inputs}
    assert with_weights == {"models/s", "ensembles/ensemble-s", "scores/ensemble-s/pairs"}
    assert "weights/plain" not in stages


def test_what_the_weights_depend_on_makes_them_stale_and_the_loss_does_not(data: Path) -> None:
    before = learned(data, **LEARNED)
    where = ("models", "s", "distillation")
    loss = {name for name in STUDENT if "generated" not in name}
    loss = {name.replace("student", "s") for name in loss}
    assert stale(before, replaced(before, (*where, "temperature"), 1.0)) == loss
    for key, value in (("pool", "probabilities"), ("best_teachers", 2)):
        assert "ensembles/ensemble-s" in stale(before, replaced(before, (*where, key), value))
    assert "weights/s" in stale(before, replaced(before, ("models", "b", "seed"), 9))
    assert "weights/s" in stale(before, replaced(before, ("tokens", "validation_chunks"), 9))
    assert "weights/s" in stale(before, replaced(before, ("corpus", "seed"), 9))


def test_students_with_the_same_pool_share_its_weights(data: Path) -> None:
    raw = learned(data, **LEARNED).model_dump(mode="json")
    raw["models"]["plain"]["distillation"] |= LEARNED | {"temperature": 1.0}
    stages = stages_of(resolve(raw))
    assert [name for name in stages if name.startswith("weights/")] == ["weights/s"]
    weights = {name: stages[f"models/{name}"].identity.inputs["weights"] for name in ("s", "plain")}
    assert weights["s"] == weights["plain"] == stages["weights/s"].identity.fingerprint


def test_a_kept_signal_is_that_of_the_teachers_that_were_chosen(data: Path) -> None:
    stages = stages_of(learned(data, best_teachers=2, signal="hidden-int8"))
    inputs = stages["signal/s"].identity.inputs
    assert inputs["weights"] == stages["weights/s"].identity.fingerprint


@pytest.mark.filterwarnings("ignore::babyllama.errors.IgnoredSettingWarning")
def test_where_no_teacher_is_heard_no_weights_are_made(data: Path) -> None:
    stages = stages_of(learned(data, ce_weight=1, **LEARNED))
    assert not [name for name in stages if name.startswith("weights/")]


def test_samples_are_of_the_students_or_of_the_last_model(data: Path, full: Recipe) -> None:
    assert stages_of(full)["samples"].identity.settings["models"] == ["student"]
    alone = resolve(recipe(data, models={name: {"architecture": LLAMA} for name in "ab"}))
    assert stages_of(alone)["samples"].identity.settings["models"] == ["b"]


def test_pairs_that_the_text_may_not_hold_are_an_input_of_the_corpus(
    full: Recipe, data: Path
) -> None:
    before = fingerprints(full)
    (data / "pairs" / "agreement_is.jsonl").unlink()
    assert fingerprints(full)["corpus"] != before["corpus"]


@pytest.mark.parametrize(
    ("stage", "place"),
    [
        ("corpus", "text/story.txt"),
        ("corpus", "pairs/agreement_is.jsonl"),
        ("scores/llama/pairs", "pairs/agreement_is.jsonl"),
        ("models/start", "start/config.json"),
    ],
)
def test_content_that_changed_since_it_was_fingerprinted_is_refused(
    full: Recipe, data: Path, stage: str, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def reads(*_: Any, check_unchanged: builders.Check = nothing_to_check, **__: Any) -> None:
        check_unchanged()

    for name in ("make_corpus", "make_scores", "make_model"):
        monkeypatch.setattr(builders, name, reads)
    build = stages_of(full)[stage].build
    build(data, data)
    file = data / place
    before = file.read_bytes()
    file.write_bytes(before + before)
    with pytest.raises(CorruptDataError, match=r"changed while the run was under way: run the"):
        build(data, data)
    file.write_bytes(before)
    build(data, data)


def test_a_suite_by_its_name_is_the_one_by_its_folder(
    full: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched = tmp_path / "data" / "babylm-evaluation" / "blimp_filtered"
    shutil.copytree(tmp_path / "pairs", fetched)
    monkeypatch.chdir(tmp_path)
    named = replaced(full, ("evaluation", "suites", "pairs"), "blimp-filtered")
    assert outside_suites(named) == {"pairs": fetched.relative_to(tmp_path)}
    assert stale(full, named) == set()
    shutil.rmtree(fetched)
    with pytest.raises(RecipeError, match="get it with babyllama fetch babylm-evaluation"):
        stages_of(named)


def test_a_bad_suite_or_checkpoint_shows_before_anything_is_made(full: Recipe, data: Path) -> None:
    (data / "pairs" / "agreement_is.jsonl").write_text("{\n")
    with pytest.raises(CorruptDataError, match=r"agreement_is.jsonl, line 1"):
        stages_of(full)
    shutil.rmtree(data / "pairs")
    with pytest.raises(RecipeError, match="pairs: no such folder"):
        stages_of(full)
    write_pairs(data / "pairs")
    shutil.rmtree(data / "outside")
    with pytest.raises(RecipeError, match="outside does not exist"):
        stages_of(full)
