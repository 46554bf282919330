"""The recipe of the Switch Transformers from text to report, on a text of seconds."""

import json
from pathlib import Path

import pytest
from transformers import AutoModelForCausalLM

from babyllama.models.folders import load_model
from tiny import QUICK, babyllama, write_pairs, write_text

SMALL = [
    *QUICK,
    "models.dense.architecture.layers=1",
    "models.dense.architecture.width=16",
    "models.dense.architecture.feed_forward=32",
    *(f"models.experts{name}=null" for name in ("1", "8", "2-roomy", "4-roomy", "8-roomy")),
]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("switch")
    write_text(folder / "text", sentences=200)
    write_pairs(folder / "pairs")
    done = babyllama(folder, "run", "appendix-switch-micro", *SMALL)
    assert done.code == 0, done.err
    return folder / "runs" / "appendix-switch-micro"


def test_the_models_are_made_scored_and_reported(run: Path) -> None:
    page = (run / "report" / "index.html").read_text("utf-8")
    for name in ("dense", "experts2", "experts4"):
        assert (run / "scores" / name / "pairs.json").exists()
        assert name in page
    facts = json.loads((run / "models" / "experts4" / "training.json").read_text("utf-8"))
    assert facts["architecture"] == "switch"
    assert facts["micro_batch"] == 32
    model = AutoModelForCausalLM.from_pretrained(run / "models" / "experts4")
    assert type(model) is type(load_model(run / "models" / "experts4"))
    assert (model.config.experts, model.config.eval_capacity_factor) == (4, None)


def test_the_load_of_the_experts_is_in_the_log_of_those_that_have_some(run: Path) -> None:
    for name, balanced in (("dense", False), ("experts4", True)):
        lines = (run / "models" / name / "log.jsonl").read_text("utf-8").splitlines()
        steps = [row for row in map(json.loads, lines) if row["kind"] == "step"]
        assert steps
        assert all(("load_balance" in row) is balanced for row in steps)
