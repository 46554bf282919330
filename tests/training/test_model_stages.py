"""Models as the stages of a run make them: what the weight of a loss term comes to."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from babyllama.errors import DivergedError
from babyllama.lineage import active_teachers
from babyllama.plan import plan
from babyllama.recipe import Recipe
from babyllama.resolve import resolve
from babyllama.stages import Stage
from babyllama.store import Store
from babyllama.training.health import StopRequest
from tiny import LLAMA, TRAINING, recipe, write_text

# One of the models has teachers and no weight for them.
pytestmark = pytest.mark.filterwarnings("ignore::babyllama.errors.IgnoredSettingWarning")

STUDENT = {"architecture": {**LLAMA, "dropout": 0.1}, "teachers": ["llama", "gpt2"]}
MODELS = {
    "llama": {"architecture": LLAMA},
    "gpt2": {"architecture": {**LLAMA, "type": "gpt2"}},
    "control": {"architecture": {**LLAMA, "dropout": 0.1}},
    "all": {**STUDENT, "distillation": {"ce_weight": 1}},
    "nearly": {**STUDENT, "distillation": {"ce_weight": 1 - 1e-6}},
    "half": {**STUDENT, "distillation": {"ce_weight": 0.5}},
    "pupil": {"architecture": LLAMA, "teachers": ["half"]},
}


def tiny_recipe(folder: Path, **training: Any) -> Recipe:
    write_text(folder / "text", sentences=200)
    return resolve(recipe(folder, models=MODELS, training={**TRAINING, **training}))


def make(recipe: Recipe, root: Path) -> dict[str, Path]:
    """Everything up to the models; stage -> folder."""
    store = Store(root)
    root.mkdir()
    # Scores read their pairs while they are planned.
    bare = recipe.model_copy(
        update={"evaluation": recipe.evaluation.model_copy(update={"suites": {}})}
    )
    stages: list[Stage] = plan(bare, store, StopRequest())
    wanted = [stage for stage in stages if stage.name != "samples"]
    return {stage.name: store.make(stage.identity, stage.build) for stage in wanted}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("run")
    return make(tiny_recipe(folder, batch_size=16), folder / "store")


def weights(made: dict[str, Path], name: str) -> dict[str, torch.Tensor]:
    return load_file(made[f"models/{name}"] / "model.safetensors")


def training(made: dict[str, Path], name: str) -> dict[str, Any]:
    return dict(json.loads((made[f"models/{name}"] / "training.json").read_text("utf-8")))


def distance(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> float:
    return max(float((first[name] - second[name]).abs().max()) for name in first)


def test_ce_weight_one_has_no_teachers(tmp_path: Path) -> None:
    models = tiny_recipe(tmp_path).models
    assert active_teachers(models["all"]) == []
    assert active_teachers(models["nearly"]) == ["llama", "gpt2"]


def test_ce_weight_one_is_the_control_bit_for_bit(made: dict[str, Path]) -> None:
    control, student = weights(made, "control"), weights(made, "all")
    assert control.keys() == student.keys()
    assert all(torch.equal(control[name], student[name]) for name in control)
    summary = training(made, "all")
    assert summary["steps"] > 10
    assert summary["teachers"] == []
    assert summary["teacher_flops"] == summary["teacher_words_seen"] == 0
    assert summary["validation"] == training(made, "control")["validation"]


def test_ce_weight_just_below_one_is_nearly_the_control(made: dict[str, Path]) -> None:
    control = weights(made, "control")
    assert 0 < distance(control, weights(made, "nearly")) < 1e-5
    assert distance(control, weights(made, "half")) > 1e-3


def test_the_ledger_of_a_run_holds_teachers_of_teachers(made: dict[str, Path]) -> None:
    seen = training(made, "llama")["words_seen"]
    assert training(made, "half")["teacher_words_seen"] == 2 * seen
    assert training(made, "pupil")["teacher_words_seen"] == 3 * seen
    assert training(made, "pupil")["teachers"] == ["half"]
    pupil, half = training(made, "pupil"), training(made, "half")
    assert pupil["teacher_training_flops"] == pytest.approx(
        half["flops"] + half["teacher_flops"] + half["teacher_training_flops"]
    )


def test_a_diverged_model_leaves_no_artifact_and_keeps_its_checkpoint(tmp_path: Path) -> None:
    settings = {"learning_rate": 1e30, "warmup_steps": 0, "checkpoint_minutes": 1e-9}
    with pytest.raises(DivergedError, match=r"models\.llama\.training\.learning_rate"):
        make(tiny_recipe(tmp_path, **settings), tmp_path / "store")
    assert not [*tmp_path.rglob("training.json")]
    names = {path.name.split("-")[0] for path in (tmp_path / "store").iterdir()}
    assert {"corpus", "tokenizer", "tokens"} <= names
    assert [*(tmp_path / "store").glob("model-*.partial/checkpoints/step-00000001/sha256.json")]
