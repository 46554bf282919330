"""Models on tasks: what is made, what is kept, what is made again, what is refused."""

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForSequenceClassification, PreTrainedModel

from babyllama.evaluation.finetuning import job as job_module
from babyllama.evaluation.finetuning import suite as module
from babyllama.evaluation.finetuning.classifier import Classifier
from babyllama.evaluation.finetuning.encoding import encode
from babyllama.evaluation.finetuning.files import read_task
from babyllama.evaluation.finetuning.results import read_result
from babyllama.evaluation.finetuning.splits import held_out
from babyllama.evaluation.finetuning.tasks import TASKS, metric_value
from babyllama.models.folders import folder_digest, save_model
from babyllama.tokens.tokenizer import load_tokenizer
from tiny import babyllama

from .conftest import QUICK, Run, pairs
from .task_files import write_rows

Build = Callable[..., PreTrainedModel]


def files(folder: Path) -> dict[str, int]:
    """Name -> when it was written, of every result."""
    return {path.name: path.stat().st_mtime_ns for path in (folder / "out").glob("tiny-*/*.json")}


def test_a_result_is_the_score_of_the_trained_classifier(
    run: Run, pretrained: Path, tasks_folder: Path, tmp_path: Path
) -> None:
    result = run("MV", save_models=True).results[0]
    (file,) = (tmp_path / "out").glob("tiny-*/MV-seed-12-*.json")
    assert read_result(file) == replace(result, labels=[*result.labels])
    data, tokenizer = read_task(TASKS["MV"], tasks_folder), load_tokenizer(pretrained)
    model = AutoModelForSequenceClassification.from_pretrained(file.with_suffix(""))
    predicted = [
        int(model(torch.tensor([row])).logits.argmax())
        for row in encode(load_tokenizer(file.with_suffix("")), TASKS["MV"], data.reported, 32)
    ]
    assert [each["pred"] for each in result.predictions] == predicted
    assert [each["id"] for each in result.predictions] == [each.id for each in data.reported]
    counted = [at for at, example in enumerate(data.reported) if example.scored]
    gold = [data.reported[at].label for at in counted]
    assert result.value == metric_value("mcc", gold, [predicted[at] for at in counted])
    assert (result.n, result.training_n, result.selection_n) == (8, 18, 2)
    assert result.model_sha256 == folder_digest(pretrained)
    assert result.data_sha256 == data.digest
    assert len(tokenizer) == 275


def test_rows_of_all_that_was_asked_for_are_written(run: Run, tmp_path: Path) -> None:
    found = run("rte", "boolq", "MV")
    rows = json.loads((tmp_path / "out" / "rows.json").read_text())
    assert rows == json.loads(json.dumps(found.rows()))
    assert [row["task"] for row in rows] == ["rte", "MV", "mean/glue", "mean/msgs", "boolq"]
    assert "boolq has no training file" in rows[-1]["not_run"]


def test_the_reported_items_are_read_once_and_last(
    run: Run,
    small_grid: None,
    monkeypatch: pytest.MonkeyPatch,
    tasks_folder: Path,
    pretrained: Path,
) -> None:
    data, tokenizer = read_task(TASKS["rte"], tasks_folder), load_tokenizer(pretrained)
    _, out = held_out(data.train, 0.1, QUICK.seed, passage=0)
    selection = set(encode(tokenizer, TASKS["rte"], out, 32))
    # The tiny files share texts: the reported ones get others.
    changed = [replace(each, parts=(f"x{each.id}", each.parts[1])) for each in data.reported]
    reported = set(encode(tokenizer, TASKS["rte"], changed, 32))
    monkeypatch.setattr(module, "read_task", lambda *_, **__: replace(data, reported=changed))
    seen: list[set[Any]] = []
    plain = Classifier.logits

    def watched(self: Classifier, rows: Any) -> torch.Tensor:
        seen.append(set(rows))
        return plain(self, rows)

    monkeypatch.setattr(Classifier, "logits", watched)
    run("rte", tune=True)
    touched = [at for at, rows in enumerate(seen) if rows & reported]
    assert touched == [len(seen) - 1]
    assert seen[-1] == reported
    assert sum(rows == selection for rows in seen) >= 6


def test_selection_on_the_reported_items_is_done_and_marked(run: Run) -> None:
    result = run("MV", selection="reported").results[0]
    assert (result.selection, result.selection_n, result.training_n) == ("reported", 8, 20)
    assert result.value == pytest.approx(max(each["score"] for each in result.curve))
    honest = run("MV").results[0]
    assert (honest.selection, honest.selection_n) == ("held-out", 2)
    assert honest.fingerprint != result.fingerprint


def test_what_is_done_is_not_made_again(run: Run, fits: list[str], tmp_path: Path) -> None:
    first = run("rte", "MV")
    assert fits == ["tiny rte seed 12", "tiny MV seed 12"]
    before = files(tmp_path)
    assert run("rte", "MV").rows() == first.rows()
    assert len(fits) == 2
    next((tmp_path / "out").glob("tiny-*/rte-*.json")).unlink()
    assert run("rte", "MV").rows() == first.rows()
    assert fits[2:] == ["tiny rte seed 12"]
    kept = {name: when for name, when in before.items() if "MV" in name}
    assert kept.items() <= files(tmp_path).items()


@pytest.mark.parametrize(
    "change",
    [{"limit": 6}, {"selection": "reported"}, {"seeds": (3,)}, {"tune": True}],
    ids=str,
)
@pytest.mark.usefixtures("small_grid")
def test_another_choice_is_another_result_and_the_first_stays(
    run: Run, fits: list[str], tmp_path: Path, change: dict[str, Any]
) -> None:
    trainings = 4 if "tune" in change else 2
    run("MV")
    before = files(tmp_path)
    run("MV", **change)
    assert len(fits) == trainings
    assert before.items() <= files(tmp_path).items()
    run("MV")
    run("MV", **change)
    assert len(fits) == trainings


def test_other_data_is_made_anew(
    run: Run, fits: list[str], tasks_folder: Path, tmp_path: Path
) -> None:
    run("MV")
    data = shutil.copytree(tasks_folder, tmp_path / "data")
    file = data / "main_verb_control" / "train.jsonl"
    file.write_text(file.read_text().replace("heron", "reeds"))
    run("MV", data=data)
    assert len(fits) == 2


def test_models_of_one_name_keep_apart_and_one_model_under_two_names_is_one(
    run: Run, fits: list[str], pretrained: Path, tmp_path: Path, build: Build
) -> None:
    first = run("MV").results[0]
    other, copy = tmp_path / "other" / "tiny", tmp_path / "copy" / "tiny"
    save_model(build("llama", seed=2), pretrained, other)
    shutil.copytree(pretrained, copy)
    found = run("MV", models=[pretrained, other, copy])
    assert len(fits) == 2
    assert [each.model for each in found.results] == [str(pretrained), str(other), str(copy)]
    assert found.results[2] == replace(found.results[0], model=str(copy))
    assert found.results[0] == replace(first)
    assert found.results[1].model_sha256 != first.model_sha256


def test_mnli_mm_is_scored_with_the_classifier_of_mnli(
    run: Run, fits: list[str], tmp_path: Path
) -> None:
    found = run("mnli", "mnli_mm")
    assert fits == ["tiny mnli seed 12"]
    assert [(each.task, each.n) for each in found.results] == [("mnli", 9), ("mnli_mm", 12)]
    assert found.results[0].best == found.results[1].best
    alone = run("mnli_mm")
    assert len(fits) == 1
    assert alone.results == found.results[1:]


def test_mnli_mm_alone_selects_on_the_reported_items_of_mnli(run: Run) -> None:
    alone = run("mnli_mm", selection="reported").results[0]
    first, second = run("mnli", "mnli_mm", selection="reported").results
    assert replace(alone, seconds=0) == replace(second, seconds=0)
    assert alone.selection_n == first.n == 9


def test_items_of_a_passage_are_not_trained_and_selected_on(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    rows = pairs(20, fields=("question", "passage"))
    for at, row in enumerate(rows):
        row["passage"] = f"passage {at // 4}"
    write_rows(tmp_path / "data" / "boolq.train.jsonl", rows)
    write_rows(tmp_path / "data" / "boolq.valid.jsonl", rows)
    parts: list[Any] = []
    plain = job_module.held_out

    def watched(*arguments: Any) -> Any:
        parts.extend(plain(*arguments))
        return tuple(parts)

    monkeypatch.setattr(job_module, "held_out", watched)
    run("boolq", data=tmp_path / "data")
    train, out = ({each.parts[1] for each in part} for part in parts)
    assert len(train) == 4
    assert len(out) == 1
    assert not train & out


@pytest.mark.parametrize(("name", "extra"), [("MV", {}), ("rte", {"held out": "whole passages"})])
def test_results_of_tasks_without_passages_keep_their_key(
    run: Run, pretrained: Path, tasks_folder: Path, name: str, extra: dict[str, Any]
) -> None:
    body = {
        "version": 1,
        "task": name,
        "model": folder_digest(pretrained),
        "data": [read_task(TASKS[name], tasks_folder).digest],
        "settings": asdict(QUICK),
        "selection": "held-out",
        "limit": None,
        "precision": "fp32",
        "tuning": None,
    }
    digest = hashlib.sha256(json.dumps(body | extra, sort_keys=True).encode()).hexdigest()
    assert run(name).results[0].fingerprint == digest[:8]


def test_a_task_with_reported_items_alone_is_split_if_asked(run: Run) -> None:
    assert not run("boolq").results
    result = run("boolq", split_reported=True).results[0]
    assert result.split_of_reported
    assert result.training_n + result.selection_n + result.n == 10


def test_seeds_are_trained_each(run: Run, fits: list[str]) -> None:
    found = run("MV", seeds=(1, 2))
    assert fits == ["tiny MV seed 1", "tiny MV seed 2"]
    assert [each.seed for each in found.results] == [1, 2]
    assert found.results[0].curve != found.results[1].curve


def test_tuning_tries_the_grid_once_for_all_seeds_and_draws_it(
    run: Run, small_grid: None, fits: list[str], tmp_path: Path
) -> None:
    found = run("MV", tune=True, seeds=(1, 2))
    assert len(fits) == 2 + 2
    best = found.results[0].tuning
    assert best is not None
    assert len(best["tries"]) == 2
    assert all(each["curve"] for each in best["tries"])
    assert [{**each.settings, "seed": 1} for each in found.results] == [best["best"]] * 2
    assert found.results[0].best["score"] == max(each["best"]["score"] for each in best["tries"])
    (picture,) = (tmp_path / "out").glob("tiny-*/MV-tuning-*.png")
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.usefixtures("small_grid")
def test_tries_that_are_lost_are_made_again_with_the_first_seed(run: Run, tmp_path: Path) -> None:
    first = run("MV", tune=True, seeds=(1, 2)).results[1]
    (out,) = (tmp_path / "out").glob("tiny-*")
    (tries,) = (path for path in out.glob("MV-tuning-*") if path.is_dir())
    shutil.rmtree(tries)
    next(out.glob("MV-seed-2-*.json")).unlink()
    again = run("MV", tune=True, seeds=(1, 2)).results[1]
    assert replace(again, seconds=0) == replace(first, seconds=0)


@pytest.mark.usefixtures("quick")
def test_the_command_prints_the_table(pretrained: Path, tasks_folder: Path, tmp_path: Path) -> None:
    options = ["--data", tasks_folder, "--limit", 4, "--out", "out", "--tasks", "MV"]
    command = babyllama(tmp_path, "finetune", pretrained, *options, "--tasks", "boolq")
    assert command.code == 0, command.err
    assert "not run: boolq: boolq has no training file" in command.out
    assert "MV" in command.out
    assert "making tiny MV seed 12" in command.err
    options[-1] = "boolq"
    nothing = babyllama(tmp_path, "finetune", pretrained, *options)
    assert nothing.code == 2
    assert "not run: boolq" in nothing.out
    assert nothing.err.splitlines()[-1].endswith("or check --data")
