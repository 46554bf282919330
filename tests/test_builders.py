"""How artifacts are made: from the inputs that were fingerprinted, with the run's own tokenizer."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from babyllama import builders
from babyllama.builders import nothing_to_check
from babyllama.errors import CorruptDataError
from babyllama.recipe import Recipe
from babyllama.recipe_distillation import Distillation
from babyllama.resolve import resolve
from babyllama.training.health import StopRequest
from tiny import LLAMA, recipe


@pytest.fixture
def bare(copied: Path) -> Path:
    """A model folder without a tokenizer."""
    folder = shutil.copytree(copied / "runs/first/models/student", copied / "bare")
    for path in folder.glob("*token*"):
        path.unlink()
    return folder


def test_scores_and_samples_are_made_with_the_tokenizer_of_the_run(
    bare: Path, copied: Path, data: Path
) -> None:
    run, resolved = copied / "runs" / "first", resolve(recipe(data))
    builders.make_scores(
        resolved,
        "student",
        "pairs",
        members={"student": bare},
        distillation=Distillation(),
        suite=data / "pairs",
        tokenizer=run / "tokenizer",
        out=bare,
        check_unchanged=nothing_to_check,
    )
    made, before = bare / "scores.json", run / "scores" / "student" / "pairs.json"
    assert without_time(made) == without_time(before)
    items = np.load(bare / "items.npy")
    assert np.array_equal(items, np.load(run / "scores" / "student" / "pairs.items.npy"))
    builders.make_samples(resolved, {"student": bare}, run / "tokenizer", bare)
    samples = (run / "samples" / "samples.json").read_text("utf-8")
    assert (bare / "samples.json").read_text("utf-8") == samples


def without_time(file: Path) -> dict[str, Any]:
    read = dict(json.loads(file.read_text("utf-8")))
    del read["seconds"]
    return read


def changed() -> None:
    raise CorruptDataError("changed")


def make_model(models: dict[str, Any], name: str, copied: Path, out: Path, **inputs: Any) -> None:
    run = copied / "runs" / "first"
    resolved: Recipe = resolve(recipe(copied, models=models))
    work = out / "work"
    work.mkdir(parents=True)
    builders.make_model(
        resolved,
        name,
        tokens=run / "tokens",
        tokenizer=run / "tokenizer",
        out=out,
        work=work,
        stop=StopRequest(),
        **{"teachers": {}, "check_unchanged": nothing_to_check, **inputs},
    )


def test_a_checkpoint_that_changed_is_refused_before_it_is_trained(
    copied: Path, tmp_path: Path
) -> None:
    models = {"a": {"checkpoint": str(copied / "runs/first/models/llama"), "training": {}}}
    with pytest.raises(CorruptDataError, match="changed"):
        make_model(models, "a", copied, tmp_path / "a", check_unchanged=changed)
    assert not [*(tmp_path / "a" / "work").iterdir()]


def test_scores_of_pairs_that_changed_are_refused(bare: Path, copied: Path, data: Path) -> None:
    with pytest.raises(CorruptDataError, match="changed"):
        builders.make_scores(
            resolve(recipe(data)),
            "student",
            "pairs",
            members={"student": bare},
            distillation=Distillation(),
            suite=data / "pairs",
            tokenizer=copied / "runs/first/tokenizer",
            out=bare,
            check_unchanged=changed,
        )


def test_one_checkpoint_under_two_names_is_one_ancestor_and_its_namesake_is_another(
    copied: Path, tmp_path: Path
) -> None:
    """`llama` is the first run's in one folder, and a checkpoint that is called so in another."""
    first = copied / "runs" / "first" / "models"
    models = {
        "llama": {"checkpoint": str(first / "gpt2")},
        "again": {"checkpoint": str(first / "gpt2")},
        "student": {"architecture": LLAMA, "teachers": ["llama", "again"]},
    }
    for name in ("llama", "again"):
        make_model(models, name, copied, tmp_path / name)
    teachers = {name: tmp_path / name for name in ("llama", "again")}
    make_model(models, "student", copied, tmp_path / "student", teachers=teachers)
    seen = {name: training(first / name)["words_seen"] for name in ("llama", "gpt2")}
    one = training(tmp_path / "student")
    assert one["teacher_words_seen"] == seen["gpt2"]
    make_model(
        models,
        "student",
        copied,
        tmp_path / "second",
        teachers={"llama": tmp_path / "llama", "again": first / "llama"},
    )
    two = training(tmp_path / "second")
    assert two["teacher_words_seen"] == seen["gpt2"] + seen["llama"]


def training(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "training.json").read_text("utf-8")))


@pytest.mark.parametrize("content", ["[]", '{"flops": null, "ancestors": 3}', "{"])
def test_a_strange_record_beside_a_checkpoint_is_no_obstacle(
    copied: Path, tmp_path: Path, content: str
) -> None:
    outside = shutil.copytree(copied / "runs/first/models/llama", copied / "outside")
    (outside / "training.json").write_text(content)
    models = {"a": {"checkpoint": str(outside)}, "b": {"checkpoint": str(outside), "training": {}}}
    make_model(models, "a", copied, tmp_path / "a")
    assert not (tmp_path / "a" / "training.json").exists()
    make_model(models, "b", copied, tmp_path / "b")
    assert training(tmp_path / "b")["ancestors"] == {}
