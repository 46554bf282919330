"""Models on tasks that end before their time: what is kept, what is listed, what is refused."""

import os
import shutil
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from babyllama.errors import CorruptDataError, DivergedError, RecipeError, StoppedError
from babyllama.evaluation.finetuning import job as job_module
from babyllama.evaluation.finetuning.results import NotRun
from babyllama.evaluation.finetuning.suite import check_complete
from babyllama.evaluation.finetuning.training import Fit, _Loop

from .conftest import Run


def test_a_stopped_suite_keeps_what_is_done_and_goes_on(
    run: Run, fits: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(_Loop, "update", _stopping(_Loop.update, in_label="MV"))
        with pytest.raises(StoppedError, match="the finished tasks are kept"):
            run("rte", "MV")
    results = (tmp_path / "out").glob("tiny-*/*.json")
    assert [path.name.split("-")[0] for path in results] == ["rte"]
    run("rte", "MV")
    assert fits == ["tiny rte seed 12", "tiny MV seed 12", "tiny MV seed 12"]


def _stopping(update: Any, in_label: str) -> Any:
    def step(self: _Loop, number: int) -> None:
        update(self, number)
        if in_label in self.label:
            os.kill(os.getpid(), signal.SIGTERM)

    return step


def test_a_diverged_task_is_listed_and_the_others_are_made(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = job_module.fit

    def diverging(*arguments: Any, label: str, **rest: Any) -> Fit:
        if "rte" in label:
            raise DivergedError(f"{label} diverged at step 2")
        return plain(*arguments, label=label, **rest)

    monkeypatch.setattr(job_module, "fit", diverging)
    found = run("rte", "MV")
    assert [each.task for each in found.results] == ["MV"]
    assert [(each.task, each.reason) for each in found.not_run] == [
        ("rte", "tiny rte seed 12 diverged at step 2")
    ]
    with pytest.raises(DivergedError, match=r"diverged: rte \(.*tiny\); all others are done"):
        check_complete(found)
    check_complete(replace(found, not_run=[]))


def test_where_no_task_was_run_it_is_no_success(run: Run) -> None:
    with pytest.raises(RecipeError, match=r"no task was run \(rte, boolq\): add the files"):
        check_complete(replace(run("boolq"), results=[], not_run=[*lost("rte"), *lost("boolq")]))
    check_complete(run("boolq", "MV"))


def lost(task: str) -> list[NotRun]:
    return [NotRun(model, task, "glue", "no files") for model in ("a", "b")]


def test_without_memory_the_batch_is_named(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> Fit:
        raise MemoryError

    monkeypatch.setattr(job_module, "fit", full)
    with pytest.raises(Exception, match="tiny MV seed 12: out of memory with batches of 8"):
        run("MV")


def refusals() -> Iterator[tuple[dict[str, Any], str]]:
    yield {"models": [Path("none")]}, "model folder none does not exist: check the path"
    yield {"seeds": (1, 1)}, "one is named twice"
    yield {"data": Path("none")}, "data folder none does not exist"


@pytest.mark.parametrize(("given", "message"), [*refusals()])
def test_what_cannot_be_meant_is_refused(run: Run, given: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        run("MV", **given)


def test_a_model_that_cannot_be_used_is_refused_before_another_is_trained(
    run: Run, fits: list[str], pretrained: Path, tmp_path: Path
) -> None:
    broken = shutil.copytree(pretrained, tmp_path / "broken")
    (broken / "model.safetensors").write_bytes(b"")
    with pytest.raises(CorruptDataError, match="broken holds no model that can be a classifier"):
        run("MV", models=[pretrained, broken])
    assert not fits


def test_a_model_is_named_once_and_results_go_into_a_folder(
    run: Run, pretrained: Path, tmp_path: Path
) -> None:
    with pytest.raises(RecipeError, match="is named twice: name it once"):
        run("MV", models=[pretrained, pretrained])
    (tmp_path / "out").touch()
    with pytest.raises(RecipeError, match="out is a file: name a folder"):
        run("MV")
