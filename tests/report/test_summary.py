import json
import shutil
from pathlib import Path

import pytest

from babyllama.report.results import read_results
from babyllama.report.summary import compare, comparison_table, points, summary
from babyllama.report.tables import scores


def set_macro(run: Path, model: str, accuracy: float, error: float, suite: str = "blimp") -> None:
    file = run / "scores" / model / f"{suite}.json"
    found = json.loads(file.read_text())
    found["macro_phenomena"] = {"accuracy": accuracy, "standard_error": error, "n": 12}
    file.write_text(json.dumps(found))


def test_the_summary_states_the_scores_of_all_parties(run: Path) -> None:
    for model, accuracy in {"student": 0.681, "control": 0.669, "llama": 0.672}.items():
        set_macro(run, model, accuracy, 0.003)
    said = summary(read_results(run))
    assert said.startswith(
        "The student scores 68.1 ± 0.3 % on blimp (macro over 12 phenomena ± standard error); "
        "its undistilled twin (control) 66.9 ± 0.3 %; its teacher llama 67.2 ± 0.3 %; "
        "its teacher gpt2 "
    )
    assert "the pooled teachers " in said


def test_of_many_ensembles_the_summary_states_the_students_own(run: Path) -> None:
    for student in ("student", "other"):
        shutil.copytree(run / "scores/ensemble", run / "scores" / f"ensemble-{student}")
    shutil.rmtree(run / "scores/ensemble")
    said = summary(read_results(run))
    assert "the pooled teachers (ensemble-student) " in said
    assert "ensemble-other" not in said


@pytest.mark.parametrize(
    ("control", "reading"),
    [
        (0.669, "which excludes zero: the distilled model scores higher."),
        (0.675, "which includes zero: this run does not tell the two apart."),
        (0.681, "which includes zero: this run does not tell the two apart."),
        (0.695, "which excludes zero: the distilled model scores lower."),
    ],
)
def test_better_or_worse_is_said_only_where_the_interval_excludes_zero(
    run: Path, control: float, reading: str
) -> None:
    set_macro(run, "student", 0.681, 0.003)
    set_macro(run, "control", control, 0.003)
    said = summary(read_results(run))
    assert said.endswith(reading)
    assert "independent standard errors" in said


def test_the_interval_adds_the_two_errors_in_quadrature(run: Path) -> None:
    set_macro(run, "student", 0.70, 0.003)
    set_macro(run, "control", 0.69, 0.004)
    found = next(c for c in compare(read_results(run)) if c.suite == "blimp")
    assert found.standard_error == pytest.approx(0.005)
    assert found.interval == pytest.approx((0.01 - 1.96 * 0.005, 0.01 + 1.96 * 0.005), abs=1e-5)


def test_every_suite_of_every_student_is_compared(run: Path) -> None:
    table = comparison_table(compare(read_results(run)))
    assert [row[:3] for row in table.rows] == [
        ("student", "control", "blimp"),
        ("student", "control", "generated"),
    ]


def test_a_control_of_another_size_is_not_called_a_twin(run: Path) -> None:
    file = run / "models/control/training.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "parameters": 1000}))
    results = read_results(run)
    assert "twin" not in summary(results)
    assert "the undistilled model (control)" in summary(results)
    assert comparison_table(compare(results)).rows[0][1] == "control (not a twin)"


def test_a_model_that_sees_the_rest_of_the_text_is_no_control(run: Path) -> None:
    """Though it was trained without teachers: nobody is held against another objective."""
    file = run / "models/control/training.json"
    facts = json.loads(file.read_text()) | {"validation": {"masked_cross_entropy": 2.5}}
    file.write_text(json.dumps(facts))
    results = read_results(run)
    assert compare(results) == []
    row = next(row for row in scores(results).rows if row[0] == "control")
    at = scores(results).header.index("nats/masked token")
    assert row[at] == "2.500"
    assert row[at - 2 : at] == ("–", "–")


def test_without_a_control_nothing_is_compared(run: Path) -> None:
    shutil.rmtree(run / "scores/control")
    results = read_results(run)
    assert compare(results) == []
    assert "difference" not in summary(results)


def test_without_scores_the_validation_loss_is_stated(run: Path) -> None:
    shutil.rmtree(run / "scores")
    said = summary(read_results(run))
    assert said == (
        "This run has no scores for student. "
        "Validation cross-entropy in nats per token: 4.160 for student and 4.310 for control."
    )


def test_a_run_without_distillation_or_models_is_described_as_such(run: Path) -> None:
    (run / "recipe.yaml").write_text("models: {solo: {}}")
    shutil.rmtree(run / "models")
    shutil.rmtree(run / "scores")
    assert summary(read_results(run)) == "This run distils nothing; it holds solo."
    (run / "recipe.yaml").unlink()
    assert summary(read_results(run)) == "This run holds no models yet."


def test_points_are_signed() -> None:
    assert points(0.012) == "+1.2"
    assert points(-0.012) == "−1.2"
