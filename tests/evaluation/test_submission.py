"""A hand-in: both published formats, one file for all tasks, what cannot be handed in."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from babyllama.errors import CorruptDataError, RecipeError
from babyllama.evaluation.submission import (
    SUB_TASKS,
    check_hand_in,
    pair_subtasks,
    pair_task,
    read_submission,
    subtask,
    write_submission,
)
from babyllama.evaluation.suites import FILTERED_PAIRS
from tiny import babyllama

PAIRS = [("good a", "bad a"), ("good\nb", "bad\nb"), ("good c", "bad c")]
CHOSEN = {PAIRS[0]: "bad a", PAIRS[1]: "good\nb", PAIRS[2]: "good c"}


def write_file(folder: Path, name: str, pairs: Sequence[tuple[str, str]], uids: str = "") -> Path:
    """A pair file; every row has its letter of `uids`, if there are any, as its paradigm."""
    folder.mkdir(exist_ok=True)
    rows: list[dict[str, Any]] = [{"sentence_good": g, "sentence_bad": b} for g, b in pairs]
    for row, uid in zip(rows, uids, strict=False):
        row["UID"] = uid
    (folder / f"{name}.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return folder


def test_there_are_as_many_subtasks_as_babylm_has() -> None:
    counts = {task: len(set(names)) for task, names in SUB_TASKS.items()}
    assert counts == {"blimp": 12 + 67, "supplement": 5, "glue": 11, "msgs": 11}


def test_the_format_of_2023_is_an_object_a_line(tmp_path: Path) -> None:
    suite = write_file(tmp_path / "s", "turn_taking", PAIRS)
    labels = subtask("glue", "cola", [(0, 1), (1, 0)])
    write_submission(tmp_path / "h.jsonl", [*pair_subtasks(suite, CHOSEN), labels])
    lines = (tmp_path / "h.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [
        {
            "task": "supplement",
            "sub_task": "turn_taking",
            "predictions": [
                {"id": "turn_taking_0", "pred": "bad a"},
                {"id": "turn_taking_1", "pred": "good\nb"},
                {"id": "turn_taking_2", "pred": "good c"},
            ],
        },
        {
            "task": "glue",
            "sub_task": "cola",
            "predictions": [{"id": "cola_0", "pred": "1"}, {"id": "cola_1", "pred": "0"}],
        },
    ]


def test_the_format_of_2024_and_2025_is_one_object(tmp_path: Path) -> None:
    suite = write_file(tmp_path / "s", "hypernym", PAIRS[:1])
    labels = subtask("glue", "boolq", [("boolq_0", 0), ("boolq_1", 1)])
    write_submission(tmp_path / "h.json", [*pair_subtasks(suite, CHOSEN), labels])
    assert json.loads((tmp_path / "h.json").read_text()) == {
        "blimp_supplement": {"hypernym": {"predictions": [{"id": "hypernym_0", "pred": "bad a"}]}},
        # The example in the README of the 2025 pipeline.
        "glue": {
            "boolq": {"predictions": [{"id": "boolq_0", "pred": 0}, {"id": "boolq_1", "pred": 1}]}
        },
    }


def test_a_file_is_a_subtask_in_the_order_of_its_lines_whatever_its_paradigms(
    tmp_path: Path,
) -> None:
    suite = write_file(tmp_path / "s", "binding", PAIRS, uids="xyx")
    (found,) = pair_subtasks(suite, CHOSEN)
    assert (found.task, found.sub_task) == ("blimp", "binding")
    assert [answer for _, answer in found.predictions] == ["bad a", "good\nb", "good c"]


@pytest.mark.parametrize("name", ["h.jsonl", "h.json"])
def test_a_file_gathers_tasks_and_replaces_what_is_made_again(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    first, second = subtask("glue", "rte", [(0, 1)]), subtask("supplement", "hypernym", [(0, "a")])
    write_submission(file, [first])
    write_submission(file, [second])
    write_submission(file, [subtask("glue", "rte", [(0, 0)])])
    found = {each.sub_task: each.predictions[0][1] for each in read_submission(file)}
    assert {key: str(value) for key, value in found.items()} == {"rte": "0", "hypernym": "a"}
    assert len(read_submission(file)) == 2
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_what_babylm_does_not_ask_for_is_no_subtask(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"CoLA is no subtask of glue in BabyLM: .*one of cola"):
        subtask("glue", "CoLA", [(0, 1)])
    with pytest.raises(RecipeError, match="glue/cola has no predictions"):
        subtask("glue", "cola", [])
    msgs = subtask("msgs", "main_verb_control", [(0, 1)])
    with pytest.raises(RecipeError, match=r"msgs is no task of BabyLM 2024 or 2025: name a .jsonl"):
        write_submission(tmp_path / "h.json", [msgs])
    assert not (tmp_path / "h.json").exists()


@pytest.mark.parametrize(
    ("models", "limit", "file", "message"),
    [
        (2, None, "h.jsonl", "a hand-in is of one model, and 2 are given"),
        (1, 5, "h.jsonl", "a hand-in has every pair: leave --limit out"),
        (1, None, "h.txt", r"h.txt: end its name in .jsonl \(BabyLM 2023\) or .json"),
    ],
)
def test_what_cannot_be_handed_in_is_refused_beforehand(
    tmp_path: Path, models: int, limit: int | None, file: str, message: str
) -> None:
    suite = write_file(tmp_path / "s", "hypernym", PAIRS)
    with pytest.raises(RecipeError, match=message):
        check_hand_in(tmp_path / file, suite, [Path(str(n)) for n in range(models)], limit)


def whole_supplement(folder: Path, **other: int) -> Path:
    """The supplement's files with as many pairs as BabyLM 2025 counts, or with others."""
    for name, count in {**FILTERED_PAIRS["blimp_supplement"], **other}.items():
        if count:
            write_file(folder, name, PAIRS[:1] * count)
    return folder


def test_a_whole_suite_can_be_handed_in(tmp_path: Path) -> None:
    check_hand_in(tmp_path / "h.json", whole_supplement(tmp_path / "s"), [Path("m")], None)


@pytest.mark.parametrize(("name", "count"), [("turn_taking", 279), ("hypernym", 0)])
def test_a_part_of_a_suite_is_refused_with_what_it_has_and_what_is_wanted(
    tmp_path: Path, name: str, count: int
) -> None:
    suite = whole_supplement(tmp_path / "s", **{name: count})
    wanted = FILTERED_PAIRS["blimp_supplement"][name]
    message = rf"supplement/{name} has {count} pairs, and BabyLM 2025 \(.json\) wants {wanted}"
    with pytest.raises(RecipeError, match=message):
        check_hand_in(tmp_path / "h.json", suite, [Path("m")], None)


def test_2023_has_phenomena_and_2025_paradigms(tmp_path: Path) -> None:
    paradigm = write_file(tmp_path / "p", "passive_1", PAIRS)
    with pytest.raises(RecipeError, match=r"passive_1 is a paradigm, and BabyLM 2023 \(.jsonl\)"):
        check_hand_in(tmp_path / "h.jsonl", paradigm, [Path("m")], None)
    phenomenon = write_file(tmp_path / "q", "binding", PAIRS)
    check_hand_in(tmp_path / "h.jsonl", phenomenon, [Path("m")], None)
    with pytest.raises(RecipeError, match=r"blimp/adjunct_island has 0 pairs"):
        check_hand_in(tmp_path / "h.json", phenomenon, [Path("m")], None)


def test_the_sizes_are_of_the_subtasks_that_babylm_has() -> None:
    assert set(FILTERED_PAIRS["blimp"]) == set(SUB_TASKS["blimp"][12:])
    assert set(FILTERED_PAIRS["blimp_supplement"]) == set(SUB_TASKS["supplement"])


def test_another_suite_cannot_be_handed_in(tmp_path: Path) -> None:
    suite = write_file(write_file(tmp_path / "s", "passive_1", PAIRS), "mine", PAIRS)
    with pytest.raises(RecipeError, match=r"mine in .* is no subtask of BabyLM's BLiMP"):
        pair_task(suite)
    mixed = write_file(write_file(tmp_path / "m", "passive_1", PAIRS), "hypernym", PAIRS)
    with pytest.raises(RecipeError, match="hypernym in "):
        pair_task(mixed)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("h.jsonl", "["),
        ("h.jsonl", "[]"),
        ("h.jsonl", '{"task": "glue", "sub_task": "cola"}'),
        ("h.jsonl", '{"task": "x", "sub_task": "cola", "predictions": []}'),
        ("h.json", "[1]"),
        ("h.json", '{"glue": {"cola": [1]}}'),
        ("h.json", "\xff"),
    ],
)
def test_a_file_that_is_something_else_is_not_added_to(
    tmp_path: Path, name: str, content: str
) -> None:
    file = tmp_path / name
    file.write_bytes(content.encode("latin-1"))
    with pytest.raises(CorruptDataError, match=f"{name} is there and is no hand-in") as caught:
        write_submission(file, [subtask("glue", "cola", [(0, 1)])])
    assert "\n" not in str(caught.value)
    assert file.read_bytes() == content.encode("latin-1")


def test_the_command_hands_in_what_its_accuracy_is_made_of(finished: Path, tmp_path: Path) -> None:
    pairs = [
        ("The king is old .", "The king are old ."),
        ("He .", "He ."),
        ("was king", "king was"),
    ]
    write_file(tmp_path / "s", "hypernym", pairs)
    model = finished / "runs" / "first" / "models" / "llama"
    told = ("--convention", "babylm-2023", "--out", "o.json", "--predictions", "h.jsonl")
    command = babyllama(tmp_path, "evaluate", model, "--suite", "s", *told)
    assert (command.code, command.err) == (0, "")
    found = json.loads((tmp_path / "h.jsonl").read_text())
    answers = [each["pred"] for each in found["predictions"]]
    right = [answer == good for answer, (good, _) in zip(answers, pairs, strict=True)]
    macro = json.loads((tmp_path / "o.json").read_text())[0]["value"]
    assert sum(right) / 3 == macro
    assert {answer in pair for answer, pair in zip(answers, pairs, strict=True)} == {True}
    again = babyllama(tmp_path, "evaluate", model, "--suite", "s", "--predictions", "h.jsonl")
    assert (again.code, again.err) == (
        0,
        "warning: h.jsonl has predictions of supplement already, which are replaced: hypernym\n",
    )


def test_the_command_refuses_a_part_before_it_scores(tmp_path: Path) -> None:
    write_file(tmp_path / "s", "hypernym", PAIRS)
    told = ("--limit", 1, "--predictions", "h.json")
    command = babyllama(tmp_path, "evaluate", "gone", "--suite", "s", *told)
    assert (command.code, command.out) == (2, "")
    assert command.err == "error: --predictions: a hand-in has every pair: leave --limit out\n"
