import json
import shutil
from pathlib import Path

import pytest

from babyllama.errors import BabyllamaError, CorruptDataError
from babyllama.report.results import read_results


def test_models_come_in_the_order_control_distilled_teachers_ensemble(run: Path) -> None:
    found = [(model.name, model.role) for model in read_results(run).models]
    assert found == [
        ("control", "control"),
        ("student", "distilled"),
        ("llama", "teacher"),
        ("gpt2", "teacher"),
        ("ensemble", "ensemble"),
    ]


def test_ensembles_come_in_the_order_of_the_recipe(run: Path) -> None:
    for name in ("six", "four", "two"):
        shutil.copytree(run / "scores/ensemble", run / "scores" / f"ensemble-{name}")
    recipe = run / "recipe.yaml"
    recipe.write_text(
        recipe.read_text("utf-8") + "ensembles: {two: {}, four: {}, not: {}, six: {}}\n"
    )
    found = [model.name for model in read_results(run).models if model.role == "ensemble"]
    assert found == ["ensemble-two", "ensemble-four", "ensemble-six", "ensemble"]


def test_the_ensembles_of_many_students_are_ensembles(run: Path) -> None:
    for student in ("one", "two"):
        shutil.copytree(run / "scores/ensemble", run / "scores" / f"ensemble-{student}")
    roles = {model.name: model.role for model in read_results(run).models}
    assert {roles[f"ensemble-{student}"] for student in ("one", "two")} == {"ensemble"}
    assert [name for name, role in roles.items() if role == "control"] == ["control"]


def test_a_model_that_learns_and_teaches_counts_as_distilled(run: Path) -> None:
    entries = "{a: {}, b: {teachers: [a]}, c: {teachers: [b]}}"
    (run / "recipe.yaml").write_text(f"models: {entries}")
    shutil.rmtree(run / "models")
    shutil.rmtree(run / "scores")
    roles = {model.name: model.role for model in read_results(run).models}
    assert roles == {"a": "teacher", "b": "distilled", "c": "distilled"}


def test_without_a_recipe_the_training_notes_name_the_teachers(run: Path) -> None:
    (run / "recipe.yaml").unlink()
    roles = {model.name: model.role for model in read_results(run).models}
    assert roles["student"] == "distilled"
    assert roles["llama"] == roles["gpt2"] == "teacher"
    assert roles["control"] == "control"


def test_figures_are_those_of_the_files(run: Path) -> None:
    results = read_results(run)
    student = next(model for model in results.models if model.name == "student")
    assert student.training is not None
    assert student.training.parameters == 11_214_080
    assert student.training.validation.cross_entropy == pytest.approx(4.16)
    written = json.loads((run / "scores/student/blimp.json").read_text())
    assert (
        student.scores["blimp"].macro_phenomena.accuracy == (written["macro_phenomena"]["accuracy"])
    )
    assert len(student.scores["blimp"].paradigms) == 67
    assert results.suites == ("blimp", "generated")
    assert results.stages[0].reused


def test_a_curve_is_drawn_over_the_tokens_seen(run: Path) -> None:
    student = next(model for model in read_results(run).models if model.name == "student")
    tokens = [x for x, _ in student.curve("step", "cross_entropy")]
    assert tokens[0] == 5 * 32 * 128
    assert tokens[-1] == 2160 * 32 * 128


def test_values_that_are_not_finite_are_left_out_of_curves(run: Path) -> None:
    log = run / "models/control/log.jsonl"
    log.write_text(
        '{"kind": "step", "step": 1, "cross_entropy": 9.0}\n'
        '{"kind": "step", "step": 2, "cross_entropy": NaN}\n'
    )
    control = read_results(run).models[0]
    assert [value for _, value in control.curve("step", "cross_entropy")] == [9.0]


def test_an_empty_run_names_every_part_that_is_missing(tmp_path: Path) -> None:
    results = read_results(tmp_path)
    assert results.models == ()
    assert len(results.gaps) == 7
    assert "No scores: this run has no scores/." in results.gaps


def test_an_outside_teacher_and_an_unscored_model_are_gaps(run: Path) -> None:
    shutil.rmtree(run / "models/llama")
    shutil.rmtree(run / "scores/gpt2")
    gaps = " ".join(read_results(run).gaps)
    assert "llama has no training.json" in gaps
    assert "gpt2 has no scores on blimp, generated." in gaps
    assert "ensemble has no" not in gaps


def test_a_teacher_named_by_its_path_is_not_read_from_there(run: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "config.json").write_text("{}")
    (run / "recipe.yaml").write_text(f"models: {{student: {{teachers: ['{outside}']}}}}")
    teacher = next(m for m in read_results(run).models if m.name == str(outside))
    assert teacher.role == "teacher"
    assert teacher.scores == {}


def test_the_note_of_an_artifact_is_not_a_suite(run: Path) -> None:
    (run / "scores/student/manifest.json").write_text("{}")
    assert read_results(run).suites == ("blimp", "generated")


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("models/student/training.json", "{"),
        ("models/student/training.json", '{"parameters": "many"}'),
        ("models/student/log.jsonl", '{"kind": "step"}\n'),
        ("scores/student/blimp.json", "{}"),
        ("corpus/corpus.json", '{"train": {"a": 3}}'),
        ("corpus/effects.json", '{"train": {"a": {"rule": {"lines": 3}}}}'),
        ("recipe.yaml", "models: [unclosed"),
    ],
)
def test_a_damaged_file_is_named_in_one_line(run: Path, file: str, content: str) -> None:
    (run / file).write_text(content)
    with pytest.raises(CorruptDataError) as caught:
        read_results(run)
    message = str(caught.value)
    assert file in message
    assert "run again" in message
    assert "\n" not in message


def test_a_missing_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BabyllamaError, match="expected a run directory"):
        read_results(tmp_path / "nowhere")
