"""Models that take their weights from others of the same recipe: which, when, and at what cost."""

import json
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from babyllama import pools
from babyllama.builders import outline
from babyllama.errors import IgnoredSettingWarning, RecipeError
from babyllama.estimate import model_cost
from babyllama.evaluation.comparing.controls import controls
from babyllama.lineage import training_order
from babyllama.models.costs import parameter_count
from babyllama.pipeline import check_models
from babyllama.recipe import Recipe
from babyllama.recipe_distillation import Distillation
from babyllama.report.results import read_results
from babyllama.report.summary import compare
from babyllama.resolve import resolve
from several import started_together
from stale import replaced, stale
from tiny import LLAMA, TRAINING, babyllama, recipe, write_recipe, write_text

GAP = {"ascent": True, "steps": 3, "batch_size": 1, "schedule": "constant", "warmup_steps": 0}
MODELS: dict[str, Any] = {
    "pupil": {"architecture": LLAMA, "teachers": ["early", "late", "whole"]},
    "mean": {"start": {"model": "pupil", "weights": "ema"}},
    "worse": {"start": {"model": "pupil"}, "training": GAP, "healthy": {"cross_entropy": [0, 1]}},
    "early": {"start": {"model": "run", "weights": "cycle-1"}},
    "late": {"start": {"model": "run", "weights": "cycle-2"}},
    "whole": {"start": {"model": "run"}},
    "run": {
        "architecture": {**LLAMA, "type": "gpt2"},
        "training": {"schedule": "cyclic", "cycles": 2, "epochs": 2, "precision": "bf16"},
    },
    "control": {"twin_of": "pupil"},
    "control-mean": {"start": {"model": "control", "weights": "ema"}},
}
MODELS["pupil"]["training"] = {"ema": 0.9}


WIDTH = LLAMA["width"]
NOT_OF_KEYS = [*range(WIDTH), *range(2 * WIDTH, 3 * WIDTH)]
"""Of the joint bias of queries, keys and values."""


def of(folder: Path, models: dict[str, Any] = MODELS) -> Recipe:
    return resolve(recipe(folder, models=models, training={**TRAINING, "batch_size": 16}))


@pytest.fixture(scope="module")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of all of these models, through the command line."""
    from tiny import write_pairs

    folder = tmp_path_factory.mktemp("starts")
    write_text(folder / "text", sentences=200)
    write_pairs(folder / "pairs")
    untrained = MODELS["mean"] | {"healthy": {"cross_entropy": [0, 1]}}
    models = MODELS | {"mean": untrained}
    raw = recipe(folder, models=models, training={**TRAINING, "batch_size": 16})
    command = babyllama(folder, "run", write_recipe(folder / "r.yaml", raw), "--run-dir", "runs/a")
    assert command.code == 0, command.err
    (folder / "told").write_text(command.err, "utf-8")
    return folder / "runs" / "a"


def facts(run: Path, name: str) -> dict[str, Any]:
    return dict(json.loads((run / "models" / name / "training.json").read_text("utf-8")))


def weights(run: Path, place: str) -> dict[str, torch.Tensor]:
    return load_file(run / "models" / place / "model.safetensors")


def same(run: Path, first: str, second: str) -> bool:
    ours, theirs = weights(run, first), weights(run, second)
    return ours.keys() == theirs.keys() and all(torch.equal(ours[n], theirs[n]) for n in ours)


def test_without_training_an_entry_is_those_weights(finished_run: Path) -> None:
    assert same(finished_run, "mean", "pupil/weights/ema")
    assert not same(finished_run, "mean", "pupil")
    assert same(finished_run, "early", "run/weights/cycle-1")
    assert same(finished_run, "late", "run")
    assert same(finished_run, "whole", "run")
    assert not same(finished_run, "early", "late")
    AutoModelForCausalLM.from_pretrained(finished_run / "models" / "mean")


def test_with_training_a_model_goes_on_from_them(finished_run: Path) -> None:
    before, after = (weights(finished_run, name) for name in ("pupil", "worse"))
    moved = max(float((before[name] - after[name]).abs().max()) for name in before)
    # Adam moves no weight by more than about the learning rate a step.
    assert 0 < moved < 1.1 * GAP["steps"] * TRAINING["learning_rate"]
    losses = [facts(finished_run, n)["validation"]["cross_entropy"] for n in ("pupil", "worse")]
    assert losses[1] > losses[0]


def test_a_range_of_an_ascent_is_held_against_its_losses(finished_run: Path) -> None:
    told = (finished_run.parent.parent / "told").read_text("utf-8")
    assert told.count("OUTSIDE the healthy 0 to 1") == 1
    # Of the others only the student, which has a loss of two parts, is told of.
    assert told.count("last epoch:") == 2
    assert "models.mean.healthy.cross_entropy has no effect: it is not trained" in told


def test_every_entry_is_validated_as_what_it_is(finished_run: Path) -> None:
    from babyllama.tokens.batches import validation_batches
    from babyllama.tokens.packing import read_packed

    dev = read_packed(finished_run / "tokens", "dev")
    batches = validation_batches(dev.ids, 16, chunks=8, seed=1, batch_size=8)
    for name, rounding in (("mean", 1e-5), ("worse", 1e-5), ("early", 5e-3), ("late", 5e-3)):
        model = AutoModelForCausalLM.from_pretrained(finished_run / "models" / name)
        nats = []
        with torch.no_grad():
            for batch in batches:
                logits = model(batch.input_ids).logits[:, :-1].log_softmax(-1)
                nats.append(-logits.gather(2, batch.input_ids[:, 1:, None]).flatten())
        recorded = facts(finished_run, name)["validation"]["cross_entropy"]
        assert float(torch.cat(nats).mean()) == pytest.approx(recorded, abs=rounding), name


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_an_ensemble_of_snapshots_is_validated_in_the_precision_of_their_run(
    finished_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: str
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(pools, "_autocast", lambda _, p: asked.append(p) or nullcontext())
    members = {name: finished_run / "models" / name for name in ("early", "late")}
    pools.make_ensemble(
        replaced(of(tmp_path), ("models", "run", "training", "precision"), precision),
        "snapshots",
        members=members,
        candidates=members,
        distillation=Distillation(),
        weighing_flops=0.0,
        tokens=finished_run / "tokens",
        tokenizer=finished_run / "tokenizer",
        out=tmp_path,
    )
    assert asked == [precision]


def test_the_last_weights_under_another_name_have_the_same_validation(finished_run: Path) -> None:
    assert facts(finished_run, "whole")["validation"] == facts(finished_run, "run")["validation"]


def test_snapshots_of_one_run_cost_that_run_once(finished_run: Path) -> None:
    run, pupil = facts(finished_run, "run"), facts(finished_run, "pupil")
    early, late = facts(finished_run, "early"), facts(finished_run, "late")
    assert early["flops"] == pytest.approx(run["flops"] / 2)
    assert late["flops"] == run["flops"]
    assert early["origin"] == late["origin"]
    assert len(pupil["ancestors"]) == 1
    assert pupil["teacher_training_flops"] == run["flops"]
    assert pupil["teacher_words_seen"] == run["words_seen"]


def test_an_average_costs_what_its_training_did_and_an_ascent_what_is_new(
    finished_run: Path,
) -> None:
    pupil, mean, worse = (facts(finished_run, n) for n in ("pupil", "mean", "worse"))
    for key in ("flops", "teacher_flops", "teacher_training_flops", "words_seen"):
        assert mean[key] == pupil[key], key
    per_token = (pupil["flops"]) / pupil["tokens_seen"]
    assert worse["tokens_seen"] == 3 * 16
    assert worse["flops"] == pytest.approx(pupil["flops"] + 3 * 16 * per_token)
    for key in ("teacher_flops", "teacher_training_flops"):
        assert worse[key] == pupil[key], key


def test_the_report_knows_what_each_entry_is(finished_run: Path) -> None:
    results = read_results(finished_run)
    assert {model.name: model.role for model in results.models if model.role != "ensemble"} == {
        "run": "teacher",
        "early": "teacher",
        "late": "teacher",
        "whole": "teacher",
        "pupil": "distilled",
        "mean": "distilled",
        "worse": "distilled",
        "control": "control",
        "control-mean": "control",
    }
    held = {found.distilled: (found.control, found.twin) for found in compare(results)}
    assert held == {
        "pupil": ("control", True),
        "mean": ("control-mean", True),
        "worse": ("control", False),
    }
    page = (finished_run / "report" / "index.html").read_text("utf-8")
    assert "control-mean" in page


def test_controls_of_a_recipe_are_those_of_its_report(tmp_path: Path) -> None:
    expected = {"pupil": "control", "mean": "control-mean", "worse": "control"}
    assert controls(of(tmp_path)) == expected
    reversed_order = dict(reversed(MODELS.items()))
    assert controls(of(tmp_path, reversed_order)) == expected


def test_a_run_again_makes_nothing(finished_run: Path) -> None:
    folder = finished_run.parent.parent
    command = babyllama(folder, "run", "r.yaml", "--run-dir", "runs/a")
    assert command.code == 0, command.err
    assert "making" not in command.err
    dry = babyllama(folder, "run", "r.yaml", "--run-dir", "runs/a", "--dry-run")
    assert dry.code == 0, dry.err


def test_an_origin_comes_before_what_starts_from_it(tmp_path: Path) -> None:
    order = training_order(of(tmp_path).models)
    for name, needed in (("mean", "pupil"), ("early", "run"), ("pupil", "late")):
        assert order.index(needed) < order.index(name)


def test_what_changes_an_origin_makes_stale_what_starts_from_it(tmp_path: Path) -> None:
    raw = recipe(tmp_path, models=MODELS, evaluation={"suites": {}})
    write_text(tmp_path / "text", sentences=20)
    before = resolve(raw)
    found = stale(before, replaced(before, ("models", "pupil", "training", "epochs"), 2))
    assert found == {"models/pupil", "models/mean", "models/worse", "samples"}
    found = stale(before, replaced(before, ("models", "mean", "start", "weights"), "last"))
    assert found == {"models/mean"}
    early = stale(before, replaced(before, ("models", "early", "start", "weights"), "cycle-2"))
    assert {"models/early", "models/pupil", "models/worse"} <= early


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"start": {"model": "pupl"}}, "models.x.start.model: no model 'pupl'; did you mean 'pup"),
        ({"start": {"model": "x"}}, "go in a circle: x -> x"),
        (
            {"start": {"model": "control", "weights": "cycle-1"}},
            "models.x.start.weights: no cycle-1, since models.control.training.schedule is cosine",
        ),
        (
            {"start": {"model": "run", "weights": "cycle-3"}},
            "models.x.start.weights: no cycle-3, since models.run.training.cycles is 2: raise it",
        ),
        (
            {"start": {"model": "run", "weights": "ema"}},
            "models.x.start.weights: no ema, since models.run.training.ema is not set",
        ),
        (
            {"start": {"model": "mean", "weights": "ema"}},
            "models.x.start.weights: no ema, since models.mean is not trained: take last",
        ),
        (
            {"start": {"model": "run"}, "training": {"ascent": True, "keep": "best"}},
            "models.x.training.keep: best would undo what its ascent does",
        ),
        ({"start": {"model": "run"}, "architecture": LLAMA}, "give either an architecture or"),
    ],
)
def test_weights_that_there_are_not_are_refused(
    tmp_path: Path, entry: dict[str, Any], message: str
) -> None:
    with pytest.raises(RecipeError) as refusal:
        of(tmp_path, {**MODELS, "x": entry})
    assert message in str(refusal.value)


def test_a_circle_through_a_start_and_a_teacher_is_refused(tmp_path: Path) -> None:
    models = {
        "a": {"architecture": LLAMA, "teachers": ["b"]},
        "b": {"start": {"model": "a"}},
    }
    with pytest.raises(RecipeError, match="circle: a -> b -> a"):
        of(tmp_path, models)


def test_cycles_of_another_schedule_have_no_effect(tmp_path: Path) -> None:
    models = {"a": {"architecture": LLAMA, "training": {"cycles": 2}}}
    with pytest.warns(IgnoredSettingWarning, match=r"models.a.training.cycles has no effect"):
        of(tmp_path, models)


def test_a_twin_of_a_model_that_starts_from_another_starts_there_too(tmp_path: Path) -> None:
    longer = {"twin_of": "worse", "training": {"steps": 7}}
    models = of(tmp_path, {**MODELS, "longer": longer}).models
    assert models["longer"].start == models["worse"].start
    assert models["longer"].training == models["worse"].training.model_copy(update={"steps": 7})  # type: ignore[union-attr]


def test_a_dry_run_counts_what_is_trained_and_nothing_of_what_is_not(tmp_path: Path) -> None:
    resolved = of(tmp_path)
    check_models(resolved)
    costs = {name: model_cost(resolved, name, 51_200) for name in resolved.models}
    assert parameter_count(outline(resolved, "mean")) == costs["pupil"].parameters
    assert (costs["mean"].steps, costs["mean"].flops) == (0, 0.0)
    assert (costs["worse"].steps, costs["worse"].tokens) == (3, 3 * 16)


def test_an_average_is_held_in_memory(tmp_path: Path) -> None:
    plain = {"plain": {"twin_of": "pupil", "training": {"ema": None}}}
    resolved = of(tmp_path, MODELS | plain)
    averaged, without = (model_cost(resolved, name, 51_200) for name in ("control", "plain"))
    assert averaged.memory - without.memory == 4 * averaged.parameters


@pytest.mark.slow
def test_two_processes_leave_what_one_does(finished_run: Path) -> None:
    folder, models = finished_run.parent.parent, {**MODELS}
    del models["worse"]  # one sequence a step is for one process
    raw = recipe(folder, models=models, training={**TRAINING, "batch_size": 16})
    command = ("run", write_recipe(folder / "two.yaml", raw), "--run-dir", "other/two")
    with started_together(folder, *command) as processes:
        assert [process.finish().code for process in processes] == [0, 0], processes[0].err
    # The snapshots are of a training in bf16, which rounds the parts of two processes apart.
    for place, bound in (("mean", 1e-5), ("control-mean", 1e-5), ("early", 1e-3), ("late", 1e-3)):
        ours, theirs = weights(folder / "other" / "two", place), weights(finished_run, place)
        for name in ours:
            # No softmax sees the keys' bias: its gradient is rounding, which Adam enlarges.
            seen = NOT_OF_KEYS if name.endswith("c_attn.bias") else slice(None)
            apart = (ours[name] - theirs[name])[seen].abs().max()
            assert apart < bound, (place, name)
