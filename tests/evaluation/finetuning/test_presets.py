"""Hyper-parameters by name, against the published figures."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from babyllama.evaluation.finetuning.presets import Settings, preset, preset_note
from babyllama.evaluation.finetuning.tasks import TASKS

PUBLISHED = Path(__file__).parents[4] / "shared" / "reference" / "published.json"
PIPELINE = Settings(
    learning_rate=5e-5, batch_size=64, max_epochs=10, patience=10, eval_every_steps=200, seed=12
)
NOT_FOUND = {"CR_RTP", "MV_LC", "MV_RTP", "SC_LC", "SC_RP"}


def test_the_pipeline_has_one_setting_for_all_tasks() -> None:
    assert {preset("pipeline", task) for task in TASKS.values()} == {PIPELINE}
    assert (PIPELINE.max_length, PIPELINE.selection_share) == (128, 0.1)


def test_the_paper_tuned_each_task() -> None:
    multirc = preset("paper", TASKS["multirc"])
    assert (multirc.learning_rate, multirc.max_epochs, multirc.seed) == (1e-4, 7, 42)
    wsc = preset("paper", TASKS["wsc"])
    assert (wsc.learning_rate, wsc.batch_size, wsc.patience) == (5e-7, 1, 1000)
    assert preset("paper", TASKS["mnli"]) == preset("paper", TASKS["mnli_mm"])


def test_what_table_3_lacks_is_the_pipelines_and_is_said() -> None:
    for name in NOT_FOUND:
        assert preset("paper", TASKS[name]) == PIPELINE
        assert f"of Table 3's row for {name} nothing could be read" in preset_note(
            "paper", TASKS[name]
        )
    assert preset("paper", TASKS["CR_LC"]).learning_rate == 1e-3
    assert preset("paper", TASKS["CR_LC"]).max_epochs == 10
    assert "only learning_rate could be read" in preset_note("paper", TASKS["CR_LC"])


def test_nothing_is_said_where_nothing_is_lacking() -> None:
    noted = {name for name, task in TASKS.items() if preset_note("paper", task)}
    assert noted == {*NOT_FOUND, "CR_LC"}
    assert not any(preset_note("pipeline", task) for task in TASKS.values())


@pytest.mark.skipif(not PUBLISHED.is_file(), reason="the published figures are not beside it")
def test_both_are_as_published() -> None:
    table = json.loads(PUBLISHED.read_text("utf-8"))["table3_finetuning_hyperparameters"]
    assert asdict(PIPELINE).items() >= table["pipeline_defaults"].items()
    for name, row in table["tasks"].items():
        assert asdict(preset("paper", TASKS[name])).items() >= row.items()
        assert not preset_note("paper", TASKS[name])
