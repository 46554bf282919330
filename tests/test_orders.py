"""Which order the models of a recipe get, and a run by a curriculum from text to report."""

import json
import warnings
from pathlib import Path
from typing import Any

import pytest

from babyllama.builders import VERSIONS
from babyllama.errors import RecipeError
from babyllama.orders import (
    chunk_order,
    number_of_buckets,
    planned,
    reads_table,
    warn_of_absent_sources,
    warn_of_unreached_phases,
)
from babyllama.resolve import resolve
from babyllama.tokens.batches import ChunkOrder
from babyllama.tokens.curriculum import Curriculum, Mixed
from babyllama.tokens.packing import read_packed
from babyllama.validated import validation_text
from stale import fingerprints, replaced
from tiny import LLAMA, TRAINING, Finished, babyllama, recipe, write_pairs, write_recipe, write_text

NAMED = [["easy", "easier"], ["absent"], ["middle"], ["hard"]]
LONG = (
    "The administrative consequences of constitutional disagreements necessitated an"
    " extraordinarily complicated reorganisation of governmental responsibilities .\n"
)


def raw(folder: Path, buckets: Any = NAMED, **training: Any) -> dict[str, Any]:
    """A curriculum and its control."""
    training = {**TRAINING, "batch_size": 8, "epochs": 2, **training}
    given = {"curriculum": {"buckets": buckets}}
    models = {
        "curriculum": {"architecture": LLAMA, "training": given},
        "control": {"twin_of": "curriculum", "training": {"curriculum": {"mixed": True}}},
    }
    return recipe(folder, models=models, training=training, evaluation={"suites": {}})


def taught(folder: Path, buckets: Any = NAMED) -> dict[str, Any]:
    """A teacher without a curriculum, and a student by one that learns from a kept signal."""
    given = {**raw(folder, buckets), "distillation": {"signal": "hidden-fp16"}}
    training = given["models"]["curriculum"]["training"]
    student = {"architecture": LLAMA, "training": training, "teachers": ["teacher"]}
    return given | {"models": {"teacher": {"architecture": LLAMA}, "student": student}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Text of three sources, and a run of it in `runs/tiny`."""
    folder = tmp_path_factory.mktemp("curriculum")
    for number, source in enumerate(("easy", "hard", "middle")):
        write_text(folder / "text" / source, sentences=150, seed=number)
    hard = folder / "text" / "hard" / "story.txt"
    hard.write_text(hard.read_text("utf-8") + LONG * 60, "utf-8")
    write_pairs(folder / "pairs")
    done = run(folder, raw(folder))
    assert done.code == 0, done.err
    assert done.err.count("the corpus has no easier, absent: 3 of 4 phases are left") == 2
    return folder


def run(folder: Path, given: dict[str, Any], *arguments: str) -> Finished:
    return babyllama(folder, "run", write_recipe(folder / "tiny.yaml", given), *arguments)


def facts(folder: Path, model: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    made = folder / "runs" / "tiny" / "models" / model
    rows = [json.loads(line) for line in (made / "log.jsonl").read_text("utf-8").splitlines()]
    return json.loads((made / "training.json").read_text("utf-8")), rows


def test_a_run_goes_through_the_phases_and_its_control_sees_as_many_tokens(folder: Path) -> None:
    record, rows = facts(folder, "curriculum")
    assert [phase["adds"] for phase in record["phases"]] == [["easy"], ["middle"], ["hard"]]
    assert [row["phase"] for row in rows if row["kind"] == "validation"] == [1, 1, 2, 2, 3, 3]
    assert sum(phase["steps"] for phase in record["phases"]) == record["steps"]
    control, mixed = facts(folder, "control")
    assert control["tokens_seen"] == record["tokens_seen"]
    assert control["flops"] == record["flops"]
    text = len(read_packed(folder / "runs" / "tiny" / "tokens", "train").ids)
    assert control["epochs"] == record["epochs"]
    assert record["epochs"] == pytest.approx(record["tokens_seen"] / text, rel=0.1)
    assert not any("phase" in row for row in mixed)


@pytest.mark.slow
def test_a_student_by_a_curriculum_learns_from_a_kept_signal_as_from_its_teacher(
    folder: Path,
) -> None:
    given = taught(folder)
    found = []
    for signal in ("hidden-fp16", "online"):
        given["distillation"] = {"signal": signal}
        done = run(folder, given, "--run-dir", f"runs/{signal}")
        assert done.code == 0, done.err
        path = folder / "runs" / signal / "models" / "student" / "training.json"
        found.append(json.loads(path.read_text("utf-8")))
    kept, online = found
    assert kept["phases"] == online["phases"]
    loss, expected = (record["validation"]["cross_entropy"] for record in found)
    assert loss == pytest.approx(expected, rel=1e-3)


def test_the_validation_text_has_all_sources_from_the_first_phase_on(folder: Path) -> None:
    tokens, resolved = folder / "runs" / "tiny" / "tokens", resolve(raw(folder))
    sources = read_packed(tokens, "dev").sources.values()
    starts = [start for batch in validation_text(resolved, tokens) for start in batch.starts]
    assert all(any(start in source for start in starts) for source in sources)


def test_orders_are_those_of_the_settings(folder: Path) -> None:
    packed = read_packed(folder / "runs" / "tiny" / "tokens", "train")
    resolved = resolve({**raw(folder), "models": raw(folder)["models"] | taught(folder)["models"]})
    kinds = {name: type(chunk_order(resolved, m, packed, 1)) for name, m in resolved.models.items()}
    expected = {"teacher": ChunkOrder, "curriculum": Curriculum, "control": Mixed}
    assert kinds == expected | {"student": Curriculum}


@pytest.mark.slow
def test_buckets_by_readability_are_made_once_for_all_models(folder: Path) -> None:
    given = raw(folder, 3)
    done = run(folder, given, "--run-dir", "runs/read")
    assert done.code == 0, done.err
    assert done.err.count("made       readability") == 1
    made = folder / "runs" / "read" / "models" / "curriculum" / "training.json"
    phases = json.loads(made.read_text("utf-8"))["phases"]
    assert phases[-1]["adds"] == ["hard"]
    assert sorted(phase["adds"] for phase in phases) == [["easy"], ["hard"], ["middle"]]
    assert run(folder, given, "--run-dir", "runs/read").err.count("making") == 0
    # A dry run knows the very number of steps by now.
    dry = run(folder, given, "--run-dir", "runs/read", "--dry-run").out
    rows = [line.split("│") for line in dry.splitlines() if line.startswith("│ curriculum ")]
    assert int(rows[0][4].replace(",", "")) == sum(phase["steps"] for phase in phases)


def test_phases_that_the_steps_do_not_reach_are_told_of(folder: Path) -> None:
    packed = read_packed(folder / "runs" / "tiny" / "tokens", "train")
    resolved = resolve(raw(folder))
    model = resolved.models["curriculum"]
    order = chunk_order(resolved, model, packed, 1)
    assert model.training
    last = sum(phase["steps"] for phase in order.phases(order.total_steps(2))[:-1])
    with pytest.warns(
        UserWarning, match=f"models.curriculum.training.steps: {last} end in phase 2 of 3"
    ):
        warn_of_unreached_phases(
            "curriculum", order, model.training.model_copy(update={"steps": last})
        )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for steps in (None, last + 1):
            settings = model.training.model_copy(update={"steps": steps})
            warn_of_unreached_phases("curriculum", order, settings)


def test_a_source_without_a_bucket_stops_the_run_before_anything_is_trained(folder: Path) -> None:
    done = run(folder, raw(folder, [["easy"], ["hard"]]), "--run-dir", "runs/other")
    assert done.code == 2
    [line] = done.error_lines
    assert "models.curriculum: training.curriculum.buckets: the source 'middle'" in line
    assert "add it to one" in line
    assert not (folder / "runs" / "other" / "models").exists()


def test_more_buckets_than_sources_are_refused(folder: Path) -> None:
    done = run(folder, raw(folder, 4), "--run-dir", "runs/other")
    assert done.code == 2
    assert "4 buckets cannot be made of 3 sources: expected 1 to 3" in done.error_lines[-1]


def test_only_a_model_that_takes_the_table_depends_on_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named, read = (resolve(taught(folder, buckets)) for buckets in (NAMED, 2))
    assert [reads_table(model) for model in read.models.values()] == [False, True]
    before, after = fingerprints(named), fingerprints(read)
    assert after.keys() - before.keys() == {"readability"}
    assert before["models/teacher"] == after["models/teacher"]
    assert before["signal/student"] == after["signal/student"]
    assert before["models/student"] != after["models/student"]
    other = fingerprints(replaced(read, ("corpus", "words"), 9))
    assert other["readability"] != after["readability"]
    monkeypatch.setitem(VERSIONS, "readability", 0)
    anew = fingerprints(read)
    assert anew["models/student"] != after["models/student"]
    assert anew["models/teacher"] == after["models/teacher"]


def test_nothing_is_told_where_every_name_is_in_the_corpus(folder: Path) -> None:
    resolved = resolve(raw(folder, [["EASY"], ["middle", "hard"]]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name, model in resolved.models.items():
            warn_of_absent_sources(name, model, ["easy", "hard", "middle"])


def test_steps_are_planned_as_of_equal_buckets_until_they_are_known(folder: Path) -> None:
    resolved = resolve(raw(folder))
    curriculum = resolved.models["curriculum"]
    plain = replaced(resolved, ("models", "curriculum", "training", "curriculum"), None)
    tokens = 16 * 8 * 40
    assert planned(plain, plain.models["curriculum"], tokens, {}).steps == 2 * 40
    assert planned(resolved, curriculum, tokens, {}).steps == 2 * (10 + 20 + 30 + 40)
    done = {"tokens": folder / "runs" / "tiny" / "tokens"}
    steps = planned(resolved, curriculum, tokens, done).steps
    assert steps == facts(folder, "curriculum")[0]["steps"]


def test_epochs_are_planned_as_they_will_be_counted(folder: Path) -> None:
    resolved = resolve(raw(folder))
    curriculum, control = resolved.models["curriculum"], resolved.models["control"]
    tokens = 16 * 8 * 40
    # Of four equal buckets, two epochs of each phase: 10, 20, 30 and 40 steps.
    estimated = planned(resolved, curriculum, tokens, {}).counted_epoch
    assert [estimated(step) for step in (0, 10, 20, 59, 119, 120, 199)] == [0, 1, 2, 3, 5, 6, 7]
    done = {"tokens": folder / "runs" / "tiny" / "tokens"}
    known = [planned(resolved, model, tokens, done) for model in (curriculum, control)]
    last = facts(folder, "curriculum")[0]["steps"] - 1
    assert [length.counted_epoch(last) for length in known] == [5, 5]


def test_last_epochs_of_a_curriculum_are_as_many_steps_in_its_control(folder: Path) -> None:
    given = raw(folder, sam={"last_epochs": 1})
    done = run(folder, given, "--run-dir", "runs/sharp")
    assert done.code == 0, done.err
    places = (folder / "runs" / "sharp" / "models" / name for name in given["models"])
    records = [json.loads((p / "training.json").read_text("utf-8")) for p in places]
    steps, flops = ([r[key] for r in records] for key in ("sam", "flops"))
    assert steps[0] == steps[1]
    assert flops[0] == flops[1]
    epoch = records[0]["phases"][-1]["steps"] // 2
    assert steps[0]["steps"] == epoch
    dry = run(folder, given, "--run-dir", "runs/sharp", "--dry-run")
    assert dry.code == 0


@pytest.mark.parametrize("steps", [None, 5])
def test_more_last_epochs_than_begin_are_refused(folder: Path, steps: int | None) -> None:
    given = raw(folder, sam={"last_epochs": 7}, steps=steps)
    done = run(folder, given, "--run-dir", "runs/other")
    assert done.code == 2
    begun = 1 if steps else 6
    assert f"sam.last_epochs is 7 in a training of {begun}: leave it out" in done.error_lines[-1]


def test_the_number_of_buckets_is_that_of_the_recipe(folder: Path) -> None:
    assert number_of_buckets(resolve(raw(folder, 2))) == 2
    assert number_of_buckets(resolve(raw(folder))) is None


def test_a_bucket_smaller_than_a_batch_is_refused(folder: Path) -> None:
    packed = read_packed(folder / "runs" / "tiny" / "tokens", "train")
    resolved = resolve(raw(folder, batch_size=300))
    with pytest.raises(RecipeError, match="the phase that adds easy has"):
        chunk_order(resolved, resolved.models["control"], packed, 1)
