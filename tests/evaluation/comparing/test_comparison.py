"""Comparing runs: what is paired, what is refused, what is said."""

import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from babyllama.errors import BabyllamaError, CorruptDataError, RecipeError
from babyllama.evaluation.comparing.answers import read_answers
from babyllama.evaluation.comparing.comparison import compare, to_json
from babyllama.evaluation.comparing.comparison_tables import comparison_blocks
from babyllama.evaluation.minimal_pairs import Paradigm
from babyllama.evaluation.statistics import holm
from babyllama.report.results import read_results
from babyllama.report.summary import compare as held_against_control
from babyllama.report.summary import comparison_table, summary
from babyllama.rundir import SCORE_FILES
from made_runs import add_model, items, write_manifest
from tiny import babyllama


@pytest.fixture
def first(tmp_path: Path) -> Path:
    add_model(tmp_path / "a", "student", items(0.8), loss=4.0)
    add_model(tmp_path / "a", "control", items(0.6), loss=4.4)
    return tmp_path / "a"


@pytest.fixture
def second(tmp_path: Path) -> Path:
    add_model(tmp_path / "b", "student", items(0.6), loss=4.5)
    add_model(tmp_path / "b", "control", items(0.61), loss=4.4)
    return tmp_path / "b"


def test_each_phenomenon_can_be_compared_by_itself(first: Path, second: Path) -> None:
    found = compare([first, second], models=["student"], by_phenomenon=True)
    assert [(row.phenomenon, row.pairs) for row in found.rows] == [("x", 180), ("y", 100)]
    sides = [np.load(run / "scores/student/blimp.items.npy") for run in (first, second)]
    right = [side[:, 0] > side[:, 1] for side in sides]
    for row, pairs in zip(found.rows, (slice(0, 180), slice(180, 280)), strict=True):
        assert row.accuracies == pytest.approx([answers[pairs].mean() for answers in right])
        assert row.found.difference == pytest.approx(row.accuracies[0] - row.accuracies[1])
    alone = [row.found.p for row in found.rows]
    assert [row.p_holm for row in found.rows] == pytest.approx(holm(alone))
    (whole,) = compare([first, second], models=["student"]).rows
    means = [row.found.difference for row in found.rows]
    assert whole.found.difference == pytest.approx(sum(means) / 2)
    stated = [row["phenomenon"] for row in to_json(found)["rows"]]
    assert stated == ["x", "y"]
    assert "phenomenon" not in to_json(compare([first, second]))["rows"][0]


def test_a_phenomenon_over_its_paradigms_is_the_mean_of_their_means(
    first: Path, second: Path
) -> None:
    found = compare([first, second], models=["student"], over="paradigms", by_phenomenon=True)
    items_of = np.load(first / "scores/student/blimp.items.npy")
    right = items_of[:, 0] > items_of[:, 1]
    expected = (right[:120].mean() + right[120:180].mean()) / 2
    assert found.rows[0].accuracies[0] == pytest.approx(expected)


def test_phenomena_are_named_beside_their_suite(first: Path, second: Path) -> None:
    command = babyllama(first.parent, "compare", first, second, "--by-phenomenon")
    assert command.code == 0, command.err
    assert "blimp: x" in command.out
    assert "by phenomenon over pairs" in command.out
    both = babyllama(first.parent, "compare", first, second, "--by-phenomenon", "--seeds")
    assert (both.code, both.out) == (2, "")
    assert "exclude each other" in both.err


def test_models_of_the_same_name_are_compared_first_minus_second(first: Path, second: Path) -> None:
    found = compare([first, second])
    rows = {row.first.model: row for row in found.rows}
    assert list(rows) == ["control", "student"]
    student = rows["student"]
    assert student.found.difference == pytest.approx(
        student.accuracies[0] - student.accuracies[1], abs=1e-12
    )
    stated = [
        json.loads((run / "scores/student/blimp.json").read_text())["macro_phenomena"]["accuracy"]
        for run in (first, second)
    ]
    assert student.accuracies == pytest.approx(stated)
    assert student.found.low > 0.1
    assert student.verdict == "higher"
    assert rows["control"].verdict == "not told apart"
    back = {row.first.model: row for row in compare([second, first]).rows}
    assert back["student"].verdict == "lower"


def test_the_macro_over_paradigms_is_another_number(first: Path, second: Path) -> None:
    found = compare([first, second], models=["student"], over="paradigms")
    stated = json.loads((first / "scores/student/blimp.json").read_text())["macro_paradigms"]
    assert found.rows[0].accuracies[0] == pytest.approx(stated["accuracy"])


def test_p_values_are_corrected_for_the_rows_shown(first: Path, second: Path) -> None:
    both = compare([first, second])
    assert [row.p_holm for row in both.rows] == holm([row.found.p for row in both.rows])
    alone = compare([first, second], models=["student"]).rows[0]
    assert alone.p_holm == alone.found.p < both.rows[1].p_holm


def test_a_verdict_that_the_correction_takes_back_says_so(tmp_path: Path) -> None:
    base = items(0.6)
    better = base.copy()
    better[[n for n in range(280) if base[n, 0] < 0][:7], 0] = 1.0
    for number in range(6):
        add_model(tmp_path / "a", f"m{number}", better if number == 0 else items(0.6))
        add_model(tmp_path / "b", f"m{number}", base)
    row = compare([tmp_path / "a", tmp_path / "b"]).rows[0]
    assert row.found.low > 0
    assert row.found.p < 0.05 < row.p_holm
    assert row.verdict == "higher, but not after Holm's correction"


def test_two_models_of_one_run_or_of_two(first: Path, second: Path) -> None:
    one = compare([first], between=("student", "control")).rows
    assert [(str(row.first), str(row.second)) for row in one] == [("a/student", "a/control")]
    two = compare([first, second], between=("student", "control")).rows
    assert [(str(row.first), str(row.second)) for row in two] == [("a/student", "b/control")]


def test_runs_of_the_same_name_are_called_as_they_were_given(first: Path, second: Path) -> None:
    namesake = second.parent / "other" / "a"
    add_model(namesake, "student", items(0.6))
    row = compare([first, namesake]).rows[0]
    assert (str(row.first), str(row.second)) == (f"{first}/student", f"{namesake}/student")


def test_validation_differences_have_no_interval_and_say_why(first: Path, second: Path) -> None:
    found = compare([first, second], models=["student"])
    assert found.validation[0].differences == pytest.approx(
        {"cross_entropy": -0.5, "bits_per_byte": -0.5 / 3}
    )
    assert "no interval: a run keeps one mean" in " ".join(
        block for block in comparison_blocks(found) if isinstance(block, str)
    )
    json.dumps(to_json(found))


def test_losses_on_other_validation_tokens_are_not_subtracted(first: Path, tmp_path: Path) -> None:
    add_model(tmp_path / "b", "student", items(0.6), loss=4.5, tokens="t2")
    found = compare([first, tmp_path / "b"])
    assert found.validation[0].differences == {}
    assert found.validation[0].reason == "other validation tokens"
    assert len(found.rows) == 1


def test_a_model_that_both_runs_link_to_is_no_row(first: Path, second: Path) -> None:
    shutil.rmtree(second / "models/control")
    (second / "models/control").symlink_to(first / "models/control")
    found = compare([first, second])
    assert [row.first.model for row in found.rows] == ["student"]
    assert found.same == ("control",)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pairs": "p2"}, "the pairs differ (280 with fingerprint p1, 280 with p2)"),
        ({"prefix": "<s>"}, "the conventions differ (prefix newline and <s>)"),
        ({"ties": "good"}, "the conventions differ (ties half and good)"),
        ({"precision": "bf16"}, "the conventions differ (precision fp32 and bf16)"),
    ],
)
def test_runs_that_were_measured_otherwise_are_refused_with_the_difference(
    first: Path, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    add_model(tmp_path / "b", "student", items(0.6), **change)
    with pytest.raises(BabyllamaError) as caught:
        compare([first, tmp_path / "b"])
    assert str(caught.value).startswith(
        f"a/student and b/student cannot be compared on blimp: {message}"
    )


def test_the_name_of_a_convention_decides_nothing(first: Path, tmp_path: Path) -> None:
    add_model(tmp_path / "b", "student", items(0.6), name="mine", headline="paradigms")
    assert compare([first, tmp_path / "b"]).rows


def test_another_suite_can_differ_where_one_is_chosen(first: Path, tmp_path: Path) -> None:
    add_model(first, "student", items(0.7), suite="own")
    add_model(tmp_path / "b", "student", items(0.6), suite="own", pairs="p2")
    add_model(tmp_path / "b", "student", items(0.6))
    with pytest.raises(BabyllamaError, match="on own: the pairs differ"):
        compare([first, tmp_path / "b"])
    assert [row.suite for row in compare([first, tmp_path / "b"], suite="blimp").rows] == ["blimp"]


def test_ties_count_as_the_convention_says(tmp_path: Path) -> None:
    for name, tie in (("half", 0.5), ("good", 1.0)):
        add_model(tmp_path / name, "student", np.zeros((280, 2)), ties=name)
        answers = read_answers(tmp_path / name / "scores/student/blimp.json")
        assert answers is not None
        assert set(answers.outcomes) == {tie}


@pytest.mark.parametrize(
    "damage",
    [
        lambda file: file.write_bytes(b"x"),
        lambda file: file.write_bytes(b""),
        lambda file: np.save(file, items(0.2)),
        lambda file: np.save(file, items(0.8)[:-1]),
        lambda file: np.save(file, items(0.8)[:, 0]),
    ],
)
def test_items_that_do_not_give_the_scores_are_refused(first: Path, damage: Any) -> None:
    file = first / "scores/student/blimp.items.npy"
    damage(file.resolve())
    with pytest.raises(CorruptDataError, match=r"blimp\.items\.npy .* and run again") as caught:
        read_answers(first / "scores/student/blimp.json")
    assert "\n" not in str(caught.value)


def test_scores_without_items_are_refused_by_name(first: Path, second: Path) -> None:
    (second / "scores/student/blimp.items.npy").unlink()
    with pytest.raises(
        BabyllamaError, match=r"scores of student on blimp have no blimp\.items\.npy"
    ):
        compare([first, second])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"runs": ["a"]}, "give two runs, or one and --models"),
        ({"runs": ["a", "b", "a"]}, "3 runs given"),
        ({"runs": ["a", "none"]}, "none is no run with scores"),
        ({"models": ["pupil"]}, "a has no scores of pupil: it has control, student"),
        ({"between": ("student", "pupil")}, "b has no scores of pupil"),
        ({"suite": "glue"}, "share no scores on glue"),
        ({"models": ["student"], "between": ("student", "control")}, "exclude each other"),
    ],
)
def test_a_comparison_that_cannot_be_meant(
    first: Path, second: Path, given: dict[str, Any], message: str
) -> None:
    runs = [first.parent / name for name in given.pop("runs", ["a", "b"])]
    with pytest.raises(RecipeError, match=message):
        compare(runs, **given)


def test_a_paradigm_of_one_pair_is_refused(tmp_path: Path, monkeypatch: Any) -> None:
    suite = [Paradigm("one", "x", [("a", "b")] * 9), Paradigm("two", "x", [("a", "b")])]
    monkeypatch.setattr("made_runs.SUITE", suite)
    for run in ("a", "b"):
        add_model(tmp_path / run, "student", items(0.5, pairs=10))
    with pytest.raises(BabyllamaError, match="paradigm two has a single pair"):
        compare([tmp_path / "a", tmp_path / "b"])


@pytest.fixture
def reported(first: Path) -> Path:
    models = "{llama: {}, student: {teachers: [llama]}, control: {}}"
    (first / "recipe.yaml").write_text(f"models: {models}")
    return first


def test_the_report_pairs_the_answers_of_student_and_control(reported: Path) -> None:
    found = held_against_control(read_results(reported))
    expected = compare([reported], between=("student", "control")).rows[0].found
    assert [each.interval for each in found] == [(expected.low, expected.high)]
    assert found[0].difference == pytest.approx(expected.difference)
    assert comparison_table(found).rows[0][-2:] == ("paired", "higher")
    assert "(paired bootstrap), which excludes zero" in summary(read_results(reported))


@pytest.mark.parametrize("lacking", ["items", "manifest"])
def test_without_answers_to_the_same_pairs_the_report_takes_the_errors_as_independent(
    reported: Path, lacking: str
) -> None:
    items = reported / "scores/control/blimp.items.npy"
    gone = {"items": items, "manifest": items.resolve().parent / "manifest.json"}[lacking]
    gone.unlink()
    found = held_against_control(read_results(reported))[0]
    assert found.interval[1] - found.difference == pytest.approx(1.96 * found.standard_error, 1e-3)
    assert comparison_table([found]).rows[0][-2] == "independent"
    assert "(independent standard errors)" in summary(read_results(reported))


def test_the_command_prints_differences_and_writes_them(finished: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    command = babyllama(
        finished, "compare", "runs/first", "--models", "student", "control", "--out", out
    )
    assert command.code == 0, command.err
    assert "first/student" in command.out
    assert "no interval" in command.out
    found = json.loads(out.read_text())
    row = found["rows"][0]
    scores = [
        json.loads((finished / f"runs/first/scores/{name}/pairs.json").read_text())
        for name in ("student", "control")
    ]
    one, two = (each["macro_phenomena"]["accuracy"] for each in scores)
    assert row["difference"] == pytest.approx(one - two)
    assert row["low"] <= row["difference"] <= row["high"]
    assert math.isfinite(found["validation"][0]["cross_entropy"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["runs/first"], "error: compare: 1 runs given"),
        (["runs/none", "runs/first"], "error: runs/none is no run with scores: give the folder"),
        (["runs/first", "--correlate", "--model", "student"], "error: --correlate is over all"),
        (["runs/first", "runs/first", "--out", "no/x.json"], "error: --out no/x.json"),
    ],
)
def test_a_command_that_cannot_be_meant_ends_with_2(
    finished: Path, options: list[str], message: str
) -> None:
    command = babyllama(finished, "compare", *options)
    assert command.code == 2
    assert command.err.startswith(message)
    assert command.err.count("\n") == 1


def test_a_finished_run_keeps_its_items_in_the_store(finished: Path) -> None:
    run = finished / "runs/first"
    for suffix, file in SCORE_FILES.items():
        place = run / "scores/student" / f"pairs{suffix}"
        assert place.resolve().name == file
        manifest = json.loads((place.resolve().parent / "manifest.json").read_text())
        assert file in manifest["files"]
    found = np.load(run / "scores/student/pairs.items.npy")
    assert found.dtype == np.float64
    assert found.shape[1] == 2
    assert "student" in comparison_table(held_against_control(read_results(run))).rows[0]
    assert "(paired bootstrap)" in summary(read_results(run))


def add_ensemble(run: Path, loss: float, flops: float) -> None:
    """The validation of an ensemble as the pipeline leaves it."""
    folder = run / "ensembles" / "ensemble"
    folder.mkdir(parents=True)
    found = {
        "validation": {"cross_entropy": loss, "bits_per_byte": loss / 3},
        **{"flops": 0.0, "teacher_flops": 1.0, "teacher_training_flops": flops},
    }
    (folder / "ensemble.json").write_text(json.dumps(found))
    write_manifest(folder, {"tokens": "t1"})


def test_an_ensemble_is_compared_by_its_validation_and_its_cost(tmp_path: Path) -> None:
    for name, loss, flops in (("a", 4.0, 1e9), ("b", 4.5, 3e9)):
        add_model(tmp_path / name, "ensemble", items(loss / 10))
        add_model(tmp_path / name, "student", items(0.5), loss=loss)
        add_ensemble(tmp_path / name, loss, flops)
    found = compare([tmp_path / "a", tmp_path / "b"])
    (row,) = (row for row in found.validation if row.first.model == "ensemble")
    assert row.differences["cross_entropy"] == pytest.approx(-0.5)
    assert row.flops == (1e9 + 1, 3e9 + 1)
    (written,) = (row for row in to_json(found)["validation"] if row["model_first"] == "ensemble")
    assert (written["flops_first"], written["flops_second"]) == row.flops
    (student,) = (row for row in found.validation if row.first.model == "student")
    assert student.flops == (None, None)
