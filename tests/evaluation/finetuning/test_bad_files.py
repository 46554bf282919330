"""Files of tasks that are missing or not right: what is said of them."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from babyllama.errors import CorruptDataError, RecipeError
from babyllama.evaluation.finetuning.files import TaskNotRun, read_task
from babyllama.evaluation.finetuning.tasks import TASKS

from .task_files import msgs, rte, write_lines, write_rows


@pytest.mark.parametrize(
    ("missing", "says"),
    [
        ("rte.train.jsonl", r"rte has no training file: put rte\.train\.jsonl"),
        ("rte.valid.jsonl", r"rte has no reported file: put rte\.valid\.jsonl"),
    ],
)
def test_a_task_without_a_file_says_which(folder: Path, missing: str, says: str) -> None:
    (folder / missing).unlink()
    with pytest.raises(TaskNotRun, match=says) as raised:
        read_task(TASKS["rte"], folder)
    assert raised.value.reason == str(raised.value)


def test_a_folder_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="nowhere does not exist"):
        read_task(TASKS["rte"], tmp_path / "nowhere")


GOOD = rte(3)


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ([], r"valid\.jsonl holds no items"),
        (["", "  "], r"valid\.jsonl holds no items"),
        ([json.dumps(GOOD[0]), "{"], r"valid\.jsonl, line 2 is not JSON"),
        (["[1]"], r"valid\.jsonl, line 1 is not a JSON object"),
        ([json.dumps({**GOOD[0], "label": 2})], r"line 1 has the label 2: expected one of entail"),
        ([json.dumps({**GOOD[0], "label": -1})], r"line 1 has the label -1"),
        ([json.dumps({**GOOD[0], "label": None})], r"line 1 has the label None"),
        ([json.dumps({**GOOD[0], "label": True})], r"line 1 has the label True"),
        ([json.dumps({**GOOD[0], "sentence2": " "})], r"line 1 has no text under 'sentence2'"),
        ([json.dumps({**GOOD[0], "sentence2": 3})], r"line 1 has no text under 'sentence2'"),
        (["", json.dumps({"sentence1": "a", "label": 1})], r"line 2 has no 'sentence2'"),
        ([json.dumps({"sentence1": "a", "sentence2": "b"})], r"line 1 has no 'label'"),
        ([json.dumps(GOOD[1]), json.dumps(GOOD[1])], r"line 2 has the id '1' of .*, line 1"),
    ],
)
def test_a_bad_line_is_named(folder: Path, lines: Sequence[str], says: str) -> None:
    write_lines(folder / "rte.valid.jsonl", *lines)
    with pytest.raises(CorruptDataError, match=says):
        read_task(TASKS["rte"], folder)


def test_training_items_may_share_an_id(folder: Path) -> None:
    write_rows(folder / "rte.train.jsonl", [GOOD[0], GOOD[0]])
    assert len(read_task(TASKS["rte"], folder).train) == 2


def test_a_file_that_is_not_utf8_is_named(folder: Path) -> None:
    (folder / "rte.train.jsonl").write_bytes(b"\xff\xfe")
    with pytest.raises(CorruptDataError, match=r"train\.jsonl is not UTF-8 at byte 0"):
        read_task(TASKS["rte"], folder)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("one\t1\textra", "line 2 has 3 columns: expected 2"),
        ("one", "line 2 has 1 columns"),
        ("one\t3", "line 2 has the label '3'"),
        (" \t1", "line 2 has no text under 'sentence'"),
    ],
)
def test_a_bad_line_of_a_table_is_named(tmp_path: Path, line: str, says: str) -> None:
    for name in ("train.tsv", "dev.tsv"):
        write_lines(tmp_path / "sst2" / name, "sentence\tlabel", line)
    with pytest.raises(CorruptDataError, match=says):
        read_task(TASKS["sst2"], tmp_path)


def test_a_table_without_its_columns_is_named(tmp_path: Path) -> None:
    for name in ("train.tsv", "dev.tsv"):
        write_lines(tmp_path / "sst2" / name, "good film\t1", "bad film\t0")
    with pytest.raises(CorruptDataError, match="line 2 has no 'sentence'"):
        read_task(TASKS["sst2"], tmp_path)


def test_msgs_without_conditions_or_without_test_items_is_refused(tmp_path: Path) -> None:
    own = tmp_path / "main_verb_control"
    write_rows(own / "train.jsonl", msgs(["training"] * 2))
    write_rows(own / "test.jsonl", msgs(["training"] * 2))
    with pytest.raises(CorruptDataError, match=r"test\.jsonl has no item with the condition"):
        read_task(TASKS["MV"], tmp_path)
    write_rows(own / "test.jsonl", [{"sentence": "s", "linguistic_feature_label": 1}])
    with pytest.raises(CorruptDataError, match="line 1 has no 'condition'"):
        read_task(TASKS["MV"], tmp_path)
