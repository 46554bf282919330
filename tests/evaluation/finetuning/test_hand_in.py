"""A hand-in of fine-tuned predictions: BabyLM's names and ids, and what cannot be handed in."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from babyllama.errors import CorruptDataError, RecipeError
from babyllama.evaluation.finetuning import job, suite
from babyllama.evaluation.finetuning.hand_in import write_hand_in
from babyllama.evaluation.finetuning.job import Choices
from babyllama.evaluation.finetuning.results import Finetuning
from babyllama.evaluation.finetuning.tasks import TASKS, resolve_tasks
from babyllama.evaluation.submission import SUB_TASKS, read_submission
from tiny import babyllama

from .conftest import QUICK

Run = Callable[..., Finetuning]


@pytest.fixture
def run(
    pretrained: Path, tasks_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Run:
    monkeypatch.setattr(suite, "preset", lambda *_: QUICK)

    def tuned(*names: str, file: Path, models: Any = None, **choices: Any) -> Finetuning:
        given = Choices(precision="fp32", predictions=file, **choices)
        folders = models or [pretrained]
        return suite.finetune(folders, resolve_tasks(names), tasks_folder, tmp_path / "out", given)

    return tuned


@pytest.fixture
def untrained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for a hand-in; training anything fails."""

    def training(*_: Any, **__: Any) -> None:
        raise AssertionError("something was trained")

    monkeypatch.setattr(job, "fit", training)
    return tmp_path


def test_predictions_come_back_with_the_names_and_places_of_babylm(
    run: Run, tmp_path: Path
) -> None:
    file = tmp_path / "hand-in.jsonl"
    found = run("mnli", "mnli_mm", "MV", file=file)
    names = {"mnli": "mnli", "mnli_mm": "mnli-mm", "MV": "main_verb_control"}
    read = {each.sub_task: each for each in read_submission(file)}
    assert [*read] == [*names.values()]
    for result in found.results:
        handed, name = read[names[result.task]], names[result.task]
        assert handed.task == result.group
        # All items of the file, of MSGS also the six that are not scored.
        assert len(handed.predictions) == result.n + (6 if name == "main_verb_control" else 0)
        assert handed.predictions == tuple(
            (f"{name}_{at}", str(each["pred"])) for at, each in enumerate(result.predictions)
        )


def test_the_format_of_2024_and_2025_has_numbers_and_gathers(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "hand-in.json"
    result = run("rte", file=file).results[0]
    rte = [{"id": f"rte_{at}", "pred": each["pred"]} for at, each in enumerate(result.predictions)]
    assert json.loads(file.read_text()) == {"glue": {"rte": {"predictions": rte}}}
    run("mnli", file=file)
    assert json.loads(file.read_text())["glue"].keys() == {"rte", "mnli"}


def test_every_task_is_a_subtask_of_babylm() -> None:
    for task in TASKS.values():
        assert (task.long_name or task.name.replace("_", "-")) in SUB_TASKS[task.group]


def test_without_results_no_file_is_written(tmp_path: Path) -> None:
    write_hand_in(tmp_path / "hand-in.json", [])
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize(
    ("names", "given", "message"),
    [
        (["MV"], ("h.jsonl", {"limit": 4}), "a hand-in has every item: leave --limit out"),
        (["MV"], ("h.jsonl", {"seeds": (1, 2)}), "of one seed, and 2 are given"),
        (["MV", "boolq"], ("h.jsonl", {"split_reported": True}), "some of boolq are trained on"),
        (["rte", "MV"], ("h.json", {}), "BabyLM 2024 and 2025 have no MV: name a .jsonl"),
        (["MV"], ("h.csv", {}), "end its name in .jsonl"),
        (["MV"], ("none/h.jsonl", {}), "none is no folder: create it first"),
        (["MV"], ("other.jsonl", {}), "is no hand-in of that format"),
    ],
)
def test_what_cannot_be_handed_in_is_refused_before_any_training(
    run: Run,
    untrained: Path,
    names: list[str],
    given: tuple[str, dict[str, Any]],
    message: str,
) -> None:
    (untrained / "other.jsonl").write_text("[]")
    name, choices = given
    with pytest.raises((RecipeError, CorruptDataError), match=message):
        run(*names, file=untrained / name, **choices)


def test_two_models_are_no_hand_in(run: Run, pretrained: Path, untrained: Path) -> None:
    second = untrained / "second"
    second.symlink_to(pretrained)
    with pytest.raises(RecipeError, match="of one model, and 2 are given: name one"):
        run("MV", file=untrained / "h.jsonl", models=[pretrained, second])


def test_the_command_takes_the_file_of_a_hand_in(
    pretrained: Path, tasks_folder: Path, tmp_path: Path
) -> None:
    options = ["--data", tasks_folder, "--out", "out", "--tasks", "MV", "--limit", 4]
    command = babyllama(tmp_path, "finetune", pretrained, *options, "--predictions", "h.jsonl")
    assert command.code == 2
    assert "a hand-in has every item: leave --limit out" in command.err
