"""Ensembles beside the mean of their members, and what a model cost with all before it."""

import json
from pathlib import Path
from statistics import fmean

import pytest

from babyllama.report import tables
from babyllama.report.ensembles import ensembles
from babyllama.report.page import write_report
from babyllama.report.records import Taught
from babyllama.report.results import read_results
from babyllama.report.summary import summary


@pytest.fixture
def pooled(run: Path) -> Path:
    """The run with a validated ensemble."""
    folder = run / "ensembles" / "ensemble"
    folder.mkdir(parents=True)
    found = {
        "ensemble": "ensemble",
        "pool": "logits",
        "members": {
            "llama": {"weight": 0.7, "cross_entropy": 4.0},
            "gpt2": {"weight": 0.3, "cross_entropy": 4.5},
        },
        "validation": {"cross_entropy": 3.9, "bits_per_byte": 1.3},
        "flops": 0.0,
        "teacher_flops": 1e12,
        "teacher_training_flops": 2e15,
    }
    (folder / "ensemble.json").write_text(json.dumps(found))
    return run


def test_an_ensemble_stands_below_the_mean_of_its_members(pooled: Path) -> None:
    results = read_results(pooled)
    table = ensembles(results)
    mean, whole = (dict(zip(table.header, row, strict=True)) for row in table.rows)
    assert mean["ensemble"] == "mean of members of ensemble"
    assert mean["nats/token"] == "4.250"
    assert (whole["nats/token"], whole["pool"]) == ("3.900", "logits")
    assert whole["members"] == "llama 0.700, gpt2 0.300"
    assert whole["FLOPs in all"] == "2.00 × 10¹⁵"
    scored = {m.name: m.scores["blimp"].macro_phenomena.accuracy for m in results.models}
    expected = fmean([scored["llama"], scored["gpt2"]])
    assert mean["blimp, %"] == f"{100 * expected:.1f}"
    assert whole["blimp, %"] == f"{100 * scored['ensemble']:.1f}"


def test_the_score_table_has_the_validation_of_an_ensemble(pooled: Path) -> None:
    table = tables.scores(read_results(pooled))
    row = next(row for row in table.rows if row[0] == "ensemble")
    found = dict(zip(table.header, row, strict=True))
    assert (found["nats/token"], found["bits/byte"]) == ("3.900", "1.300")


def test_the_report_has_the_table_where_there_are_ensembles(pooled: Path, tmp_path: Path) -> None:
    write_report(pooled, tmp_path / "with")
    assert "mean of members of ensemble" in (tmp_path / "with/report.md").read_text("utf-8")
    (pooled / "ensembles/ensemble/ensemble.json").unlink()
    write_report(pooled, tmp_path / "without")
    assert "mean of members" not in (tmp_path / "without/report.md").read_text("utf-8")


def test_the_summary_names_the_ensemble_of_the_students_own_teachers_alone(pooled: Path) -> None:
    assert "the pooled teachers" in summary(read_results(pooled))
    file = pooled / "ensembles/ensemble/ensemble.json"
    found = json.loads(file.read_text("utf-8"))
    found["members"]["control"] = found["members"].pop("gpt2")
    file.write_text(json.dumps(found))
    assert "the pooled teachers" not in summary(read_results(pooled))


def test_all_operations_are_those_of_a_model_its_teachers_and_their_training(run: Path) -> None:
    file = run / "models" / "student" / "training.json"
    record = json.loads(file.read_text("utf-8"))
    spent = {"flops": 1e15, "teacher_flops": 2e15, "teacher_training_flops": 4e15}
    file.write_text(json.dumps(record | spent))
    results = read_results(run)
    for table in (tables.scores(results), tables.ledger(results)):
        row = next(row for row in table.rows if row[0] == "student")
        assert dict(zip(table.header, row, strict=True))["FLOPs in all"] == "7.00 × 10¹⁵"


def test_weights_of_teachers_are_told_where_they_differ() -> None:
    assert Taught().shares(["a", "b"]) == "a, b"
    given = Taught(teacher_weights={"a": 3}, best_teachers=2)
    assert given.shares(["a", "b"]) == "a 0.750, b 0.250 (best 2)"
    learned = Taught(teacher_weights={"a": 0.5, "b": 0.5}, learned_weights=True)
    assert learned.shares(["a", "b"]) == "a, b (learned)"
