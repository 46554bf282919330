import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from babyllama.models.folders import folder_digest
from babyllama.training.ledger import Ledger, Record, crossed, identity, read_record, words_grid

LEDGER = Ledger(
    tokens_per_step=1000,
    words_per_token=0.75,
    flops_per_token=60.0,
    teacher_flops_per_token=40.0,
)


def test_steps_become_tokens_words_and_operations() -> None:
    assert LEDGER.words(4) == 3000
    assert LEDGER.totals(4) == {
        "tokens_seen": 4000,
        "words_seen": 3000,
        "teacher_words_seen": 0,
        "flops": 240_000,
        "teacher_flops": 160_000,
        "teacher_training_flops": 0,
        "ancestors": {},
        "origins": {},
    }


def test_a_step_of_two_passes_costs_two_and_an_update_what_it_multiplies() -> None:
    plain = LEDGER.totals(4)
    found = replace(LEDGER, update_flops=5.0).totals(4, 6)
    assert found == plain | {"flops": 6 * 60_000 + 4 * 5.0, "teacher_flops": 6 * 40_000}


def taught(steps: int, **teachers: Record) -> Record:
    """The record of a model, named as a teacher is."""
    return {"name": "taught", **replace(LEDGER, teachers=[*teachers.items()]).totals(steps)}


def test_teachers_of_teachers_count() -> None:
    grandparent = taught(10)
    parent = taught(20, grandparent=grandparent)
    student = taught(1, parent=parent)
    assert parent["teacher_words_seen"] == 7500
    assert student["words_seen"] == 750
    assert student["teacher_words_seen"] == 7500 + 15_000
    ran = grandparent["teacher_flops"] + parent["teacher_flops"]
    trained = grandparent["flops"] + parent["flops"]
    assert student["teacher_training_flops"] == ran + trained


def test_a_teacher_that_is_reached_by_two_paths_counts_once() -> None:
    grandparent = taught(10)
    parent = taught(20, grandparent=grandparent)
    by_parent = taught(1, parent=parent)
    assert taught(1, parent=parent, grandparent=grandparent) == by_parent
    assert list(by_parent["ancestors"]) == ["grandparent", "parent"]


def test_two_models_of_one_name_are_two() -> None:
    other = taught(20, theirs={**taught(10), "name": "llama"})
    totals = taught(1, other=other, ours={**taught(30), "name": "llama"})
    names = {key: entry["name"] for key, entry in totals["ancestors"].items()}
    assert names == {"theirs": "llama", "other": "taught", "ours": "llama"}
    assert totals["teacher_words_seen"] == 750 * (10 + 20 + 30)


def test_a_cached_signal_costs_its_whole_making_once_whatever_the_steps() -> None:
    cached = replace(LEDGER, teacher_flops_per_token=0.0, signal_flops=5e6)
    assert [cached.totals(steps)["teacher_flops"] for steps in (1, 100)] == [5e6, 5e6]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "config.json").write_text("{}")
    return tmp_path


def written(folder: Path, name: str, value: object) -> Path:
    (folder / name).write_text(json.dumps(value))
    return folder


def test_a_folder_without_a_record_has_none(folder: Path) -> None:
    assert read_record(folder) == {}


@pytest.mark.parametrize(
    "content",
    [
        "[1, 2]",
        "7",
        "null",
        "{",
        "\udcff",
        '{"flops": null, "ancestors": 3, "origin": 5}',
        '{"flops": NaN, "words_seen": -1, "teacher_flops": 1%s}' % ("0" * 400),
    ],
)
def test_a_file_that_is_no_record_counts_as_none(folder: Path, content: str) -> None:
    (folder / "training.json").write_bytes(content.encode("utf-8", "surrogateescape"))
    assert read_record(folder) == {}


def test_of_a_strangers_record_only_numbers_are_taken(folder: Path) -> None:
    theirs = {"flops": 5, "words_seen": None, "teacher_flops": "many", "model": [], "on": True}
    theirs |= {
        "steps": math.inf,
        "parameters": 7,
        "ancestors": {"a": {"flops": 3, "words_seen": {}}, "b": [], "c": {}},
    }
    record = read_record(written(folder, "training.json", theirs))
    nothing = {"words_seen": 0.0, "teacher_flops": 0.0}
    assert record == {
        "flops": 5,
        "ancestors": {
            "a": {"name": "a", "flops": 3.0, **nothing},
            "c": {"name": "c", "flops": 0.0, **nothing},
        },
    }
    assert replace(LEDGER, start=record).totals(1)["flops"] == 60_005


def test_an_artifact_is_counted_under_its_fingerprint(folder: Path) -> None:
    written(folder, "manifest.json", {"files": {}, "seconds": 1, "fingerprint": "abc"})
    assert identity(folder) == "abc"


def test_what_shows_an_outside_model_is_counted_as_that_model(folder: Path) -> None:
    written(folder, "manifest.json", {"files": {}, "seconds": 1, "fingerprint": "abc"})
    written(folder, "training.json", {"flops": 5, "origin": "theirs"})
    assert identity(folder) == "theirs"


@pytest.mark.parametrize("manifest", [None, [], {"files": {}, "seconds": 1}])
def test_any_other_folder_is_counted_under_its_content(folder: Path, manifest: object) -> None:
    if manifest is not None:
        written(folder, "manifest.json", manifest)
    before = identity(folder)
    assert before == folder_digest(folder)
    written(folder, "config.json", {"other": 1})
    assert identity(folder) != before


def test_a_start_from_a_checkpoint_counts_what_that_has_seen() -> None:
    teacher = taught(10)
    start = taught(20, teacher=teacher)
    continued = replace(LEDGER, start=start)
    assert continued.words(4) == start["words_seen"] + 3000
    totals = continued.totals(4)
    assert totals["flops"] == start["flops"] + 240_000
    assert totals["teacher_flops"] == start["teacher_flops"] + 160_000
    assert totals["teacher_words_seen"] == teacher["words_seen"]
    assert totals["tokens_seen"] == 4000


def test_the_babylm_grid_is_1m_to_9m_then_10m_to_100m() -> None:
    millions = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100]
    assert words_grid("babylm") == [n * 1_000_000 for n in millions]


def test_an_own_grid_is_sorted() -> None:
    assert words_grid([300, 20]) == [20, 300]
    assert words_grid([]) == []


@given(
    st.lists(st.integers(1, 50), unique=True),
    st.lists(st.integers(0, 60), min_size=1).map(sorted),
)
def test_every_mark_up_to_the_last_step_is_crossed_once(grid: list[int], words: list[int]) -> None:
    steps = zip([0, *words], words, strict=False)
    found = [mark for before, after in steps for mark in crossed(sorted(grid), before, after)]
    assert found == sorted(mark for mark in grid if mark <= words[-1])


def test_words_seen_counts_repetitions() -> None:
    assert LEDGER.words(30) == pytest.approx(3 * LEDGER.words(10))


def spent(steps: int, **parts: Any) -> Record:
    """The record of a model under a name of its own."""
    return {"name": "model", **replace(LEDGER, **parts).totals(steps)}


def started(steps: int, origin: str, record: Record) -> Record:
    told = {key: value for key, value in record.items() if key != "name"}
    return spent(steps, start={**told, "origin": origin, "model": f"the {origin}"})


def test_snapshots_of_one_run_count_as_its_longest_stretch() -> None:
    early, late = spent(10), spent(30)
    for teachers in ([early, late], [late, early], [late, late]):
        totals = replace(LEDGER, teachers=[("run", record) for record in teachers]).totals(1)
        assert totals["teacher_training_flops"] == late["flops"] + late["teacher_flops"]
        assert totals["teacher_words_seen"] == late["words_seen"]
        assert list(totals["ancestors"]) == ["run"]
    alone = replace(LEDGER, teachers=[("run", early)]).totals(1)
    assert alone["teacher_training_flops"] == early["flops"] + early["teacher_flops"]


def test_what_shows_the_weights_of_another_model_is_that_model() -> None:
    teacher = spent(5)
    pupil = spent(20, teachers=[("teacher", teacher)])
    shown = started(0, "pupil", pupil)
    for key in ("words_seen", "flops", "teacher_flops", "teacher_training_flops"):
        assert shown[key] == pupil[key], key
    both = spent(1, teachers=[("pupil", pupil), ("pupil", shown)])
    assert both == spent(1, teachers=[("pupil", pupil)])


def test_a_model_and_one_that_goes_on_from_it_are_two_trainings_each_counted_once() -> None:
    first = spent(20)
    second = started(3, "first", first)
    assert second["flops"] == first["flops"] + 3 * 60_000
    totals = replace(LEDGER, teachers=[("first", first), ("second", second)]).totals(1)
    assert totals["teacher_training_flops"] == 23 * 100_000
    assert totals["teacher_words_seen"] == second["words_seen"]
    third = started(2, "second", second)
    assert replace(LEDGER, teachers=[("third", third)]).totals(1)["ancestors"].keys() == {
        "first",
        "second",
        "third",
    }
    assert spent(1, teachers=[("third", third)])["teacher_training_flops"] == 25 * 100_000


def test_a_model_taught_by_what_it_started_from_pays_for_that_once() -> None:
    first = spent(20)
    again = spent(3, start={**first, "origin": "first"}, teachers=[("first", first)])
    cost = again["flops"] + again["teacher_flops"] + again["teacher_training_flops"]
    assert cost == 23 * 100_000
    # From a snapshot of it, and taught by all of it: what the start did not need is extra.
    early = spent(10)
    later = spent(3, start={**early, "origin": "first"}, teachers=[("first", first)])
    assert later["teacher_training_flops"] == 10 * 100_000


def test_origins_are_read_back(folder: Path) -> None:
    second = started(3, "first", spent(20))
    read = read_record(written(folder, "training.json", second))
    assert read["origins"] == second["origins"]
    assert read["origins"]["first"]["name"] == "the first"
