"""Rows and table: means name their tasks, and nothing vanishes."""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from babyllama.errors import CorruptDataError
from babyllama.evaluation.finetuning.results import (
    Finetuning,
    NotRun,
    Result,
    read_result,
)
from babyllama.evaluation.finetuning.tasks import TASKS

RESULT = Result(
    model="m/a",
    task="rte",
    group="glue",
    metric="accuracy",
    value=0.6,
    standard_error=0.03,
    n=100,
    seed=1,
    labels=("entailment", "not_entailment"),
    selection="held-out",
    selection_n=10,
    training_n=90,
    preset="pipeline",
    note="",
    settings={"selection_share": 0.1},
    precision="fp32",
    limit=None,
    split_of_reported=False,
    best={"step": 3},
    curve=[],
    tuning=None,
    predictions=[{"id": "9", "pred": 1}, {"id": "7", "pred": 0}],
    files={"train": "rte.train.jsonl"},
    data_sha256="d",
    model_sha256="s",
    fingerprint="f",
    seconds=1.0,
)
MRPC = replace(RESULT, task="mrpc", metric="f1", value=0.8, standard_error=0.04)
MV = replace(RESULT, task="MV", group="msgs", metric="mcc", value=-0.1, standard_error=0.1)


def found(results: Sequence[Result], *not_run: NotRun) -> Finetuning:
    names = [*(each.task for each in results), *(each.task for each in not_run)]
    tasks = [task for task in TASKS.values() if task.name in names]
    models = list(dict.fromkeys(each.model for each in (*results, *not_run)))
    return Finetuning(tasks, models, results, not_run)


def printed(finetuning: Finetuning) -> str:
    console = Console(width=200)
    with console.capture() as text:
        console.print(finetuning.table())
    return text.get()


def test_a_result_comes_back_from_its_file(tmp_path: Path) -> None:
    file = tmp_path / "new" / "rte.json"
    RESULT.write(file)
    assert read_result(file) == replace(RESULT, labels=[*RESULT.labels])


@pytest.mark.parametrize("text", ["", "[]", '{"task": "rte"}'])
def test_what_is_no_result_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "rte.json").write_text(text)
    with pytest.raises(CorruptDataError, match=r"rte.json is no result of fine-tuning .*: delete"):
        read_result(tmp_path / "rte.json")


def test_a_row_says_how_its_figure_was_made() -> None:
    row = found([RESULT]).rows()[0]
    assert row == {
        "model": "m/a",
        "task": "rte",
        "metric": "accuracy",
        "value": 0.6,
        "standard_error": 0.03,
        "n": 100,
        "seeds": [1],
        "deviation": None,
        "erratic": False,
        "over": None,
        "not_run": None,
        "suite": "glue",
        "convention": "selection held-out, preset pipeline, tuned False, split_of_reported False,"
        " precision fp32",
        "limit": None,
        "data_sha256": "d",
        "model_sha256": "s",
    }


def test_a_mean_names_the_tasks_it_is_over() -> None:
    boolq = NotRun("m/a", "boolq", "glue", "boolq has no training file")
    rows = {row["task"]: row for row in found([RESULT, MRPC, MV], boolq).rows()}
    mean = rows["mean/glue"]
    assert mean["over"] == ["mrpc", "rte"]
    assert (mean["value"], mean["n"]) == (pytest.approx(0.7), 2)
    assert mean["standard_error"] == pytest.approx(math.hypot(0.03, 0.04) / 2)
    assert rows["mean/msgs"]["over"] == ["MV"]
    missing = rows["boolq"]
    assert (missing["value"], missing["not_run"]) == (None, "boolq has no training file")
    assert all(row.keys() == mean.keys() for row in rows.values())


def test_the_table_leaves_no_task_out() -> None:
    boolq = NotRun("m/a", "boolq", "glue", "boolq has no training file: put it there")
    text = printed(found([RESULT, MRPC, MV], boolq))
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert lines[2:8] == [
        "mrpc F1 80.00 ± 4.00",
        "rte accuracy 60.00 ± 3.00",
        "boolq accuracy not run",
        "mean of (Super)GLUE 70.00 ± 2.50 (2 of 3 tasks)",
        "MV MCC -10.00 ± 10.00",
        "mean of MSGS -10.00 ± 10.00 (1 of 1 tasks)",
    ]
    assert "m/a: mean of (Super)GLUE over mrpc, rte" in lines
    assert "not run: boolq: boolq has no training file: put it there" in lines
    assert "selected on 10 % held out of the training data" in lines


def test_a_task_that_one_model_lacks_stands_with_that_model() -> None:
    other = replace(RESULT, model="m/b")
    lost = NotRun("m/b", "mrpc", "glue", "mrpc diverged", diverged=True)
    text = printed(found([RESULT, MRPC, other], lost))
    assert "m/a: mean of (Super)GLUE over mrpc, rte" in text
    assert "m/b: mean of (Super)GLUE over rte" in text
    assert "not run: mrpc (m/b): mrpc diverged" in text


def test_over_seeds_stand_mean_and_deviation() -> None:
    second = replace(RESULT, seed=2, value=0.7, standard_error=0.05)
    third, fourth = replace(MRPC, seed=1, value=0.8), replace(MRPC, seed=2, value=0.6)
    finetuning = found([RESULT, second, third, fourth])
    rows = [row for row in finetuning.rows() if row["task"] == "rte"]
    assert [(row["seeds"], row["value"]) for row in rows[:2]] == [([1], 0.6), ([2], 0.7)]
    over = rows[2]
    assert (over["seeds"], over["value"]) == ([1, 2], pytest.approx(0.65))
    assert over["deviation"] == pytest.approx(0.1 / math.sqrt(2))
    assert over["standard_error"] == pytest.approx(0.04)
    mean = finetuning.rows()[-1]
    assert mean["value"] == pytest.approx(0.675)
    # Seed by seed: (0.6 + 0.8) / 2 and (0.7 + 0.6) / 2.
    assert mean["deviation"] == pytest.approx(0.05 / math.sqrt(2))
    text = printed(finetuning)
    assert "standard deviation over seeds" in text
    assert "65.00 ± 7.07" in text
    assert "seeds 1, 2" in text


def test_figures_over_different_numbers_of_seeds_say_theirs() -> None:
    two = [RESULT, replace(RESULT, seed=2, value=0.7)]
    text = " ".join(printed(found([*two, MRPC, MV])).split())
    assert "± standard deviation over (n) seeds, with (1) ± standard error" in text
    assert "rte accuracy 65.00 ± 7.07 (2)" in text
    assert "mrpc F1 80.00 ± 4.00 (1)" in text
    # Seed 1 alone is of both tasks: the standard error of their mean.
    assert "mean of (Super)GLUE 72.50 ± 2.50 (1) (2 of 2 tasks)" in text


def test_seeds_that_differ_from_task_to_task_are_no_deviation() -> None:
    finetuning = found([RESULT, replace(MRPC, seed=2)])
    text = " ".join(printed(finetuning).split())
    assert "score in % ± standard error" in text
    assert "deviation" not in text
    assert "mean of (Super)GLUE 70.00 ± 2.50 (2 of 2 tasks)" in text
    mean = finetuning.rows()[-1]
    assert (mean["seeds"], mean["deviation"]) == ([1, 2], None)


@pytest.mark.parametrize("changed", [0, 1])
def test_a_mean_is_marked_as_its_parts_are(changed: int) -> None:
    parts = [MRPC, RESULT]
    tuning = {"roughness": {"erratic": True}}
    parts[changed] = replace(parts[changed], split_of_reported=True, tuning=tuning)
    mean = found(parts).rows()[-1]
    assert mean["task"] == "mean/glue"
    assert mean["erratic"]
    assert "tuned True, split_of_reported True" in mean["convention"]
    assert "70.00 ± 2.50†* (2 of 2 tasks)" in printed(found(parts))


@pytest.mark.parametrize(
    ("change", "mark", "note"),
    [
        (
            {"tuning": {"roughness": {"erratic": True}}},
            "60.00 ± 3.00†",
            "† the selection score moved erratically with the hyper-parameters",
        ),
        (
            {"split_of_reported": True},
            "60.00 ± 3.00*",
            "* trained on four fifths of the reported file, scored on the rest",
        ),
        ({"selection": "reported"}, "60.00 ± 3.00", "SELECTED ON THE REPORTED SPLIT"),
        ({"limit": 50}, "60.00 ± 3.00", "at most 50 items a split: a trial, not a result"),
        ({"note": "nothing of Table 3"}, "60.00 ± 3.00", "nothing of Table 3"),
    ],
)
def test_what_a_reader_must_know_is_marked(change: dict[str, Any], mark: str, note: str) -> None:
    plain, marked = printed(found([RESULT])), printed(found([replace(RESULT, **change)]))
    assert mark in marked
    assert note in marked
    assert note not in plain
    assert "†" not in plain
