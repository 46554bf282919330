"""Kept signals in whole runs: made once, shared, taken up after a kill, refused when spoilt."""

import hashlib
import json
import re
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from babyllama.errors import RecipeError
from babyllama.recipe import Recipe
from babyllama.resolve import resolve
from babyllama.signals import grid_offsets
from stale import fingerprints, replaced, stages_of, stale
from test_pipeline import made, read, up_to_date
from tiny import Finished, babyllama, recipe, started, write_recipe, write_text

FP16 = "distillation.signal=hidden-fp16"
SECOND = {"twin_of": "student", "seed": 7, "teachers": ["gpt2", "llama"]}
SECOND["distillation"] = {"temperature": 1.0, "teacher_weights": {"gpt2": 2.0}}


def go(folder: Path, source: Path, *overrides: str, run: str = "first") -> Finished:
    return babyllama(folder, "run", source, *overrides, "--run-dir", f"runs/{run}")


def weights(folder: Path, model: str) -> dict[str, torch.Tensor]:
    return load_file(folder / "models" / model / "model.safetensors")


def two_students(data: Path, place: Path) -> Path:
    raw = recipe(data, distillation={"signal": "hidden-fp16"})
    raw["models"] |= {"second": SECOND}
    return write_recipe(place / "two.yaml", raw)


def test_students_and_runs_share_one_cache(copied: Path, finished: Path, data: Path) -> None:
    command = go(copied, two_students(data, copied), run="two")
    assert command.code == 0, command.err
    trained = [name for name in made(command) if name.startswith(("signal", "models"))]
    assert trained == ["signal/student", "models/student", "models/second"]
    run = copied / "runs" / "two"
    assert re.search(
        r"hidden-fp16, 64 bytes a token\n +gradients off by 0\.\d\d degrees, ", command.err
    )
    kept = [read(run / "models" / name / "training.json") for name in ("student", "second")]
    assert {k["signal"]["fingerprint"] for k in kept} == {
        read(run / "signal/student/manifest.json")["fingerprint"]
    }
    assert {k["teacher_flops"] for k in kept} == {read(run / "signal/student/header.json")["flops"]}
    assert [k["signal"]["certificate"]["temperature"] for k in kept] == [2.0, 1.0]
    assert made(go(copied, two_students(data, copied), run="two")) == []
    hotter = go(copied, two_students(data, copied), "distillation.temperature=3", run="hot")
    assert "signal/student" in up_to_date(hotter)
    assert "making     models/student" in hotter.err
    # The student of the teachers themselves, which another run has.
    for name, tensor in weights(finished / "runs" / "first", "student").items():
        torch.testing.assert_close(weights(run, "student")[name], tensor, rtol=0, atol=2e-4)


def test_random_offsets_are_those_of_the_cache(copied: Path, data: Path) -> None:
    shifted = ("models.student.training.random_offsets=true", "models.student.training.epochs=3")
    command = go(copied, data / "tiny.yaml", FP16, *shifted)
    assert command.code == 0, command.err
    header = read(copied / "runs" / "first" / "signal" / "student" / "header.json")
    assert len(set(header["offsets"])) == 2
    assert (
        read(copied / "runs/first/models/student/training.json")["signal"]["kind"] == "hidden-fp16"
    )


@pytest.fixture(scope="module")
def whole(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a finished run whose cache has many shards, of wide teachers."""
    folder = tmp_path_factory.mktemp("whole")
    write_text(folder / "text", sentences=1500)
    raw = recipe(data, distillation={"signal": "hidden-int8", "cache_angle": 45.0})
    raw["corpus"]["path"] = str(folder / "text")
    raw["models"]["llama"]["architecture"] = raw["models"]["llama"]["architecture"] | {"width": 64}
    del raw["models"]["control"]
    raw["evaluation"] = {"suites": {}}
    write_recipe(folder / "r.yaml", raw)
    command = go(folder, folder / "r.yaml")
    assert command.code == 0, command.err
    return folder


@pytest.fixture
def again(whole: Path, tmp_path: Path) -> Path:
    """A copy of it without the student, so that the cache is read again."""
    folder = shutil.copytree(whole, tmp_path / "again", symlinks=True)
    shutil.rmtree((folder / "runs" / "first" / "models" / "student").resolve())
    return folder


def cache_of(folder: Path) -> Path:
    return (folder / "runs" / "first" / "signal" / "student").resolve()


def content(cache: Path) -> dict[str, bytes]:
    files = read(cache / "manifest.json")["files"]
    return {name: (cache / name).read_bytes() for name in files}


def test_a_build_that_is_killed_goes_on_and_ends_bit_identical(whole: Path, again: Path) -> None:
    cache, store = cache_of(again), again / "runs" / ".store"
    shutil.rmtree(cache)
    with started(again, "run", again / "r.yaml", "--run-dir", "runs/first") as command:
        command.wait_for(lambda: len([*store.glob("signal-*.partial/*.sha256")]) > 3)
        command.send(signal.SIGKILL)
        assert command.finish().code == -signal.SIGKILL
    (begun,) = store.glob("signal-*.partial")
    times = {p.name: p.stat().st_mtime_ns for p in begun.glob("*.bin")}
    resumed = go(again, again / "r.yaml")
    assert resumed.code == 0, resumed.err
    assert "going on with signal/student" in resumed.err
    assert content(cache_of(again)) == content(cache_of(whole))
    kept = [name for name, time in times.items() if (cache / name).stat().st_mtime_ns == time]
    assert len(kept) >= 3
    ours, theirs = (weights(f / "runs" / "first", "student") for f in (again, whole))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert not [*store.glob("*.partial")]


def flip(cache: Path) -> None:
    shard = cache / "train-rank0-00002.bin"
    held = bytearray(shard.read_bytes())
    held[1000] ^= 4
    shard.write_bytes(held)


def truncate(cache: Path) -> None:
    shard = cache / "train-rank0-00001.bin"
    shard.write_bytes(shard.read_bytes()[:-10])


def take_from_another(key: str) -> Callable[[Path], None]:
    """As a cache that was made from something else and put in this place."""

    def swap(cache: Path) -> None:
        header, manifest = read(cache / "header.json"), read(cache / "manifest.json")
        header["made_from"][key] = "0123456789abcdef"
        text = json.dumps(header)
        (cache / "header.json").write_text(text)
        record = {"bytes": len(text), "sha256": hashlib.sha256(text.encode()).hexdigest()}
        manifest["files"]["header.json"] = record
        (cache / "manifest.json").write_text(json.dumps(manifest))

    return swap


@pytest.mark.parametrize(
    ("spoil", "line"),
    [
        (flip, "train-rank0-00002.bin does not have the sha256 of its manifest: delete"),
        (truncate, "train-rank0-00001.bin is "),
        (take_from_another("corpus"), "was made with another corpus: delete it"),
        (take_from_another("tokenizer"), "was made with another tokenizer: delete it"),
        (take_from_another("models/gpt2"), "was made with another models/gpt2: delete it"),
    ],
    ids=["flipped byte", "truncated shard", "corpus", "tokenizer", "teacher"],
)
def test_a_spoilt_cache_is_refused_by_what_is_wrong(
    again: Path, spoil: Callable[[Path], None], line: str
) -> None:
    spoil(cache_of(again))
    command = go(again, again / "r.yaml")
    assert command.code == 4, command.err
    assert len(command.error_lines) == 1
    assert line in command.error_lines[0]


def test_a_dry_run_tells_what_a_kept_signal_takes(finished: Path, data: Path) -> None:
    command = babyllama(
        finished, "run", data / "tiny.yaml", FP16, "--run-dir", "runs/first", "--dry-run"
    )
    assert command.code == 0, command.err
    (row,) = [
        line for line in command.out.splitlines() if "signal/student" in line and "MiB" in line
    ]
    cells = [cell.strip() for cell in row.strip("│").split("│")]
    assert cells[:2] == ["signal/student", "hidden-fp16"]
    assert re.search(r"free: [\d,]+ MiB", command.out)
    assert re.fullmatch(r"about \d+ s", cells[3])
    assert cells[4] == "about 1 MiB"


@pytest.fixture
def tiny_recipe(data: Path) -> Callable[..., Recipe]:
    """The tiny recipe with settings of distillation and training for all."""

    def resolved(distillation: dict[str, Any], **training: Any) -> Recipe:
        raw = recipe(data, distillation=distillation)
        raw["training"] = raw["training"] | training
        return resolve(raw)

    return resolved


def test_a_student_that_runs_its_teachers_is_the_one_it_was(
    tiny_recipe: Callable[..., Recipe],
) -> None:
    stage = stages_of(tiny_recipe({}))["models/student"]
    assert {*stage.identity.settings["distillation"]} == {
        "temperature",
        "ce_weight",
        "pool",
        "kl_reduction",
        "teacher_weights",
    }
    assert {*stage.identity.inputs} == {"tokens", "tokenizer", "models/llama", "models/gpt2"}


def test_a_student_of_a_cache_is_made_from_it(tiny_recipe: Callable[..., Recipe]) -> None:
    stages = stages_of(tiny_recipe({"signal": "low-rank"}))
    inputs = stages["models/student"].identity.inputs
    assert {*inputs} == {"tokens", "tokenizer", "signal"}
    assert inputs["signal"] == stages["signal/student"].identity.fingerprint


@pytest.mark.parametrize(
    ("key", "value", "hidden", "low_rank"),
    [
        ("distillation.temperature", 1.0, False, False),
        ("distillation.ce_weight", 0.9, False, False),
        ("distillation.kl_reduction", "sequence", False, False),
        ("distillation.ce_weight_schedule", "wsd", False, False),
        ("distillation.mask_inputs", 0.1, False, False),
        ("distillation.divergence", "reverse", False, True),
        ("distillation.teacher_weights", {"llama": 2.0}, False, True),
        ("distillation.cache_angle", 1.0, False, True),
        ("distillation.cache_rank", 4, False, True),
        ("distillation.cache_offsets", 3, False, False),
        ("training.epochs", 3, False, False),
        ("training.random_offsets", True, True, True),
        ("seed", 9, False, False),
    ],
)
def test_what_makes_a_cache_stale(
    tiny_recipe: Callable[..., Recipe], key: str, value: Any, hidden: bool, low_rank: bool
) -> None:
    for kind, expected in (("hidden-int8", hidden), ("low-rank", low_rank)):
        before = tiny_recipe({"signal": kind})
        after = replaced(before, ("models", "student", *key.split(".")), value)
        assert ("signal/student" in stale(before, after)) == expected, kind


def test_offsets_are_those_of_the_recipe_whatever_the_models_seed(
    tiny_recipe: Callable[..., Recipe],
) -> None:
    given = {"signal": "hidden-int8", "cache_offsets": 4}
    shifted = tiny_recipe(given, random_offsets=True)
    first = grid_offsets(shifted, shifted.models["student"])
    assert len(set(first)) == 4
    other = replaced(shifted, ("models", "student", "seed"), 5)
    assert grid_offsets(other, other.models["student"]) == first
    plain = tiny_recipe({"signal": "hidden-int8"})
    assert grid_offsets(plain, plain.models["student"]) == (0,)


def test_a_student_that_does_not_listen_has_no_cache(tiny_recipe: Callable[..., Recipe]) -> None:
    with pytest.warns(UserWarning, match="no effect"):
        deaf = tiny_recipe({"signal": "hidden-int8", "ce_weight": 1})
    assert not any(name.startswith("signal") for name in fingerprints(deaf))
    schedule = {"ce_weight_schedule": "linear", "ce_weight_end": 0.5}
    later = tiny_recipe({"signal": "hidden-int8", "ce_weight": 1} | schedule)
    assert "signal/student" in fingerprints(later)


def test_low_rank_and_the_pool_of_probabilities_are_refused_together(
    tiny_recipe: Callable[..., Recipe],
) -> None:
    with pytest.raises(RecipeError, match=r"models\.student\.distillation\.signal: low-rank holds"):
        tiny_recipe({"signal": "low-rank", "pool": "probabilities"})


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"cache_angle": 1.0}, "cache_angle"),
        ({"signal": "hidden-int8", "cache_rank": 8}, "cache_rank"),
        ({"signal": "hidden-int8", "cache_offsets": 3}, "cache_offsets"),
    ],
)
def test_a_setting_without_effect_is_told(
    tiny_recipe: Callable[..., Recipe], settings: dict[str, Any], named: str
) -> None:
    with pytest.warns(UserWarning, match=rf"models\.student\.distillation\.{named} has no effect"):
        tiny_recipe(settings)
