"""Tasks read from every layout, split by passage, and refused by name where they are not right."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from babyllama.evaluation.finetuning.files import TaskNotRun, read_task
from babyllama.evaluation.finetuning.tasks import TASKS

from .task_files import msgs, rte, write_lines, write_rows

DATA = Path(__file__).parents[4] / "shared" / "data" / "evaluation"


def test_a_task_is_read_with_its_parts_labels_and_ids(folder: Path) -> None:
    read = read_task(TASKS["rte"], folder)
    assert (len(read.train), len(read.reported)) == (5, 3)
    second = read.reported[1]
    assert (second.id, second.parts, second.label) == ("91", ("Heron 91.", "It waits."), 1)
    assert all(example.scored for example in read.reported)
    assert not read.split_of_reported
    assert {role: path.name for role, path in read.files.items()} == {
        "train": "rte.train.jsonl",
        "reported": "rte.valid.jsonl",
    }


@pytest.mark.parametrize(
    ("train", "reported"),
    [
        ("rte.train.jsonl", "rte.valid.jsonl"),
        ("rte.train.json", "rte.validation.json"),
        ("glue_filtered/rte.train.jsonl", "glue_filtered/rte.valid.jsonl"),
        ("glue_filtered/rte.train.json", "glue_filtered/rte.validation.json"),
        ("full_eval/glue_filtered/rte.train.jsonl", "full_eval/glue_filtered/rte.valid.jsonl"),
        ("glue/rte.train.jsonl", "glue/rte.valid.jsonl"),
        (
            "glue/babylm2025_filtered/rte.train.jsonl",
            "glue/babylm2025_filtered/rte.valid.jsonl",
        ),
    ],
)
def test_every_babylm_layout_is_found(tmp_path: Path, train: str, reported: str) -> None:
    write_rows(tmp_path / train, rte(2))
    write_rows(tmp_path / reported, rte(1))
    read = read_task(TASKS["rte"], tmp_path)
    assert read.files == {"train": tmp_path / train, "reported": tmp_path / reported}


def test_of_two_layouts_the_first_counts(folder: Path) -> None:
    write_rows(folder / "glue_filtered" / "rte.train.jsonl", rte(9))
    write_rows(folder / "glue_filtered" / "rte.valid.jsonl", rte(9))
    assert len(read_task(TASKS["rte"], folder).train) == 5


def test_a_layout_with_both_files_counts_before_one_with_half(folder: Path) -> None:
    (folder / "rte.train.jsonl").unlink()
    write_rows(folder / "glue" / "rte.train.jsonl", rte(9))
    write_rows(folder / "glue" / "rte.valid.jsonl", rte(7))
    read = read_task(TASKS["rte"], folder, split_reported=True)
    assert (len(read.train), len(read.reported)) == (9, 7)


def test_files_of_two_layouts_are_not_mixed(folder: Path) -> None:
    (folder / "rte.valid.jsonl").rename(folder / "rte.validation.json")
    with pytest.raises(TaskNotRun, match=r"rte has no training file: put rte\.train\.json,"):
        read_task(TASKS["rte"], folder)


def test_a_label_may_be_a_number_a_name_or_true(tmp_path: Path) -> None:
    rows = [
        {"question": "q", "passage": "p", "label": label} for label in (1, "1", "True", True, False)
    ]
    write_rows(tmp_path / "boolq.train.jsonl", rows)
    write_rows(tmp_path / "boolq.valid.jsonl", rows)
    assert [example.label for example in read_task(TASKS["boolq"], tmp_path).train] == [
        *(1, 1, 1, 1, 0)
    ]


def test_the_third_label_has_its_number_and_its_name(tmp_path: Path) -> None:
    labels = [0, 1, 2, "entailment", "neutral", "contradiction"]
    rows = [{"premise": "p", "hypothesis": "h", "label": label} for label in labels]
    write_rows(tmp_path / "mnli.train.jsonl", rows)
    write_rows(tmp_path / "mnli.valid.jsonl", rows)
    read = read_task(TASKS["mnli"], tmp_path)
    assert [example.label for example in read.reported] == [0, 1, 2, 0, 1, 2]


def test_a_text_may_hold_any_separator_but_a_line_feed(folder: Path) -> None:
    text = "One\u2028two\x85 three."
    row = json.dumps({**rte(1)[0], "sentence1": text}, ensure_ascii=False)
    (folder / "rte.valid.jsonl").write_bytes(f"\ufeff{row}\r\n".encode())
    assert read_task(TASKS["rte"], folder).reported[0].parts[0] == text


def test_ids_are_the_rows_own_or_their_places(tmp_path: Path) -> None:
    row = {"paragraph": "p", "question": "q", "answer": "a", "label": 0}
    rows = [{**row, "idx": {"paragraph": 2, "question": 31, "answer": 4}}, row]
    write_rows(tmp_path / "multirc.train.jsonl", rows)
    write_rows(tmp_path / "multirc.valid.jsonl", rows)
    reported = read_task(TASKS["multirc"], tmp_path).reported
    assert [example.id for example in reported] == ["2-31-4", "1"]


def test_mnli_mm_is_scored_with_what_mnli_is_trained_on(tmp_path: Path) -> None:
    rows = [{"premise": "p", "hypothesis": "h", "label": 2, "idx": at} for at in range(4)]
    write_rows(tmp_path / "mnli.train.json", rows)
    write_rows(tmp_path / "mnli.validation_matched.json", rows[:3])
    write_rows(tmp_path / "mnli.validation_mismatched.json", rows[:2])
    matched, mismatched = (read_task(TASKS[name], tmp_path) for name in ("mnli", "mnli_mm"))
    assert (len(matched.reported), len(mismatched.reported)) == (3, 2)
    assert mismatched.train == matched.train
    assert mismatched.files["train"] == matched.files["train"]


def test_mnli_mm_goes_with_a_split_of_mnli(tmp_path: Path) -> None:
    rows = [{"premise": f"p {at}", "hypothesis": "h", "label": 2, "idx": at} for at in range(10)]
    write_rows(tmp_path / "mnli.valid.jsonl", rows)
    write_rows(tmp_path / "mnli-mm.valid.jsonl", rows)
    with pytest.raises(TaskNotRun, match="mnli has no training file"):
        read_task(TASKS["mnli_mm"], tmp_path)
    read = read_task(TASKS["mnli_mm"], tmp_path, split_reported=True)
    assert (len(read.train), len(read.reported), read.split_of_reported) == (8, 10, True)
    assert read.files["train"].name == "mnli.valid.jsonl"


def test_cola_is_read_as_released_and_reported_on_both_of_its_sets(tmp_path: Path) -> None:
    raw = tmp_path / "glue" / "cola" / "cola_public" / "raw"
    write_lines(raw / "in_domain_train.tsv", 'gj04\t1\t\tHe said "no.', "gj04\t0\t*\tHe said.")
    write_lines(raw / "in_domain_dev.tsv", "bc01\t1\t\tIn.", "bc01\t0\t*\tIn in.")
    write_lines(raw / "out_of_domain_dev.tsv", "clc95\t0\t*\tOut.")
    read = read_task(TASKS["cola"], tmp_path)
    assert [(example.parts[0], example.label) for example in read.train] == [
        ('He said "no.', 1),
        ("He said.", 0),
    ]
    assert [(example.id, example.parts[0]) for example in read.reported] == [
        *(("0", "In."), ("1", "In in."), ("2", "Out."))
    ]
    assert [*read.files] == ["train", "reported", "reported-2"]


def test_sst2_and_qnli_are_read_from_tables(tmp_path: Path) -> None:
    write_lines(tmp_path / "glue/sst2/train_full.tsv", "sentence\tlabel\r", "so good \t1\r")
    write_lines(tmp_path / "glue/sst2/dev.tsv", "sentence\tlabel", 'bad " one\t0')
    sst2 = read_task(TASKS["sst2"], tmp_path)
    assert [(example.parts, example.label) for example in (*sst2.train, *sst2.reported)] == [
        *((("so good ",), 1), (('bad " one',), 0))
    ]
    head = "index\tquestion\tsentence\tlabel"
    write_lines(tmp_path / "QNLI/train.tsv", head, "7\tWho?\tAnn.\tentailment")
    write_lines(tmp_path / "QNLI/dev.tsv", head, "9\tWho?\tIt.\tnot_entailment")
    qnli = read_task(TASKS["qnli"], tmp_path)
    assert [(each.id, each.label) for each in (*qnli.train, *qnli.reported)] == [("7", 0), ("9", 1)]


def test_msgs_is_scored_on_the_disambiguating_items_alone(tmp_path: Path) -> None:
    own = tmp_path / "msgs" / "main_verb_relative_token_position"
    write_rows(own / "train.jsonl", msgs(["training"] * 4))
    write_rows(own / "test.jsonl", msgs(["training", "test", "control", "test"]))
    read = read_task(TASKS["MV_RTP"], tmp_path)
    assert [example.scored for example in read.reported] == [False, True, False, True]
    assert all(example.scored for example in read.train)


def test_a_surface_task_takes_the_surface_label(tmp_path: Path) -> None:
    rows = msgs(["training", "test"], feature="surface")
    assert rows[0]["linguistic_feature_label"] is None
    write_rows(tmp_path / "relative_position_control.train.json", rows)
    write_rows(tmp_path / "relative_position_control.validation.json", rows)
    assert [example.label for example in read_task(TASKS["RP"], tmp_path).train] == [0, 1]


def test_the_label_of_the_2023_files_counts_before_the_features(tmp_path: Path) -> None:
    rows = [{**row, "label": 1} for row in msgs(["test"] * 2)]
    write_rows(tmp_path / "msgs_filtered" / "main_verb_control.train.json", rows)
    write_rows(tmp_path / "msgs_filtered" / "main_verb_control.validation.json", rows)
    assert [example.label for example in read_task(TASKS["MV"], tmp_path).reported] == [1, 1]


def passages(count: int) -> list[dict[str, Any]]:
    """BoolQ rows, two or three a passage."""
    return [
        {"question": f"q {at}", "passage": f"p {at * 2 // 5}", "label": at % 2, "idx": at}
        for at in range(count)
    ]


def test_a_reported_file_alone_is_split_by_passage_when_asked(tmp_path: Path) -> None:
    write_rows(tmp_path / "boolq.valid.jsonl", passages(50))
    read = read_task(TASKS["boolq"], tmp_path, split_reported=True)
    assert read.split_of_reported
    assert sorted(int(each.id) for each in (*read.train, *read.reported)) == [*range(50)]
    assert not {each.parts[1] for each in read.train} & {each.parts[1] for each in read.reported}
    assert 10 <= len(read.reported) <= 12
    assert [int(each.id) for each in read.train] == sorted(int(each.id) for each in read.train)


def test_a_split_is_the_same_each_time(tmp_path: Path) -> None:
    write_rows(tmp_path / "boolq.valid.jsonl", passages(50))
    first, again = (read_task(TASKS["boolq"], tmp_path, split_reported=True) for _ in range(2))
    assert first == again
    assert [int(each.id) for each in first.reported] != [*range(len(first.reported))]


def test_a_task_with_its_own_training_file_is_not_split(folder: Path) -> None:
    assert read_task(TASKS["rte"], folder, split_reported=True) == read_task(TASKS["rte"], folder)


def test_a_single_passage_cannot_be_split(tmp_path: Path) -> None:
    write_rows(tmp_path / "boolq.valid.jsonl", passages(2))
    with pytest.raises(TaskNotRun, match="boolq cannot be split"):
        read_task(TASKS["boolq"], tmp_path, split_reported=True)


def test_msgs_is_never_trained_on_its_test_items(tmp_path: Path) -> None:
    write_rows(tmp_path / "main_verb_control" / "test.jsonl", msgs(["training", "test"] * 5))
    with pytest.raises(TaskNotRun, match=r"main_verb_control/train\.jsonl"):
        read_task(TASKS["MV"], tmp_path, split_reported=True)


def test_the_digest_is_of_files_and_split(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "boolq.valid.jsonl", passages(20))
    split = read_task(TASKS["boolq"], tmp_path, split_reported=True).digest
    write_rows(tmp_path / "boolq.train.jsonl", passages(20))
    whole = read_task(TASKS["boolq"], tmp_path).digest
    write_rows(path, passages(21))
    assert len({split, whole, read_task(TASKS["boolq"], tmp_path).digest}) == 3


def test_where_the_files_lie_is_not_in_the_digest(folder: Path, tmp_path: Path) -> None:
    before = read_task(TASKS["rte"], folder).digest
    (tmp_path / "elsewhere").mkdir()
    for path in folder.glob("rte.*"):
        path.rename(tmp_path / "elsewhere" / path.name)
    assert read_task(TASKS["rte"], tmp_path / "elsewhere").digest == before


# Training items, reported items, and those of them that are scored.
COUNTS = {
    **{"cola": (8551, 1043, 1043), "sst2": (67349, 872, 872), "mrpc": (3668, 204, 204)},
    **{"qqp": (10000, 20215, 20215), "mnli": (10000, 4908, 4908), "rte": (2490, 139, 139)},
    **{"wsc": (554, 52, 52)},
    **dict.fromkeys(("CR", "LC", "MV", "RP", "SC"), (500, 1000, 500)),
    **dict.fromkeys(("CR_LC", "CR_RTP", "MV_LC", "MV_RTP", "SC_LC", "SC_RP"), (500, 1500, 500)),
}
SPLIT = {"qnli": 5463, "boolq": 1635, "multirc": 2424}
here = pytest.mark.skipif(not DATA.is_dir(), reason="the data is not beside the checkout")


@pytest.mark.slow
@here
@pytest.mark.parametrize("name", TASKS)
def test_the_real_files_are_read_whole(name: str) -> None:
    if name not in COUNTS:
        with pytest.raises(TaskNotRun, match=f"{name} has no"):
            read_task(TASKS[name], DATA)
        return
    read = read_task(TASKS[name], DATA)
    scored = [example.label for example in read.reported if example.scored]
    assert (len(read.train), len(read.reported), len(scored)) == COUNTS[name]
    assert {*scored} == {*range(len(TASKS[name].labels))}


@pytest.mark.slow
@here
@pytest.mark.parametrize("name", SPLIT)
def test_the_real_files_without_training_items_are_split(name: str) -> None:
    task = TASKS[name]
    read = read_task(task, DATA, split_reported=True)
    assert len(read.train) + len(read.reported) == SPLIT[name]
    assert len(read.reported) / SPLIT[name] == pytest.approx(0.2, abs=0.01)
    at = task.fields.index(task.passage or "")
    assert not {each.parts[at] for each in read.train} & {each.parts[at] for each in read.reported}
    assert {replace(each, scored=True) for each in read.reported} == {*read.reported}
