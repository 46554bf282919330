"""A dry run: what would be done and what it would cost, and nothing made."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from babyllama.estimate import model_cost, throughput, training_tokens, trial_of
from babyllama.models.architectures import build_model, model_config
from babyllama.plan import plan
from babyllama.recipe import Recipe
from babyllama.resolve import load_recipe, resolve
from babyllama.store import Store
from babyllama.training.health import StopRequest
from tiny import LLAMA, TRAINING, babyllama, recipe


def rows(out: str) -> dict[str, list[str]]:
    """Cells of the printed tables, by the first of their row."""
    lines = [line for line in out.splitlines() if line.startswith("│")]
    cells = [[cell.strip() for cell in line.strip("│").split("│")] for line in lines]
    return {row[0]: row[1:] for row in cells}


def test_a_dry_run_shows_everything_and_makes_nothing(tmp_path: Path, data: Path) -> None:
    command = babyllama(tmp_path, "run", data / "tiny.yaml", "--run-dir", "runs/a", "--dry-run")
    assert command.code == 0, command.err
    assert command.err == ""
    assert not (tmp_path / "runs").exists()
    assert "name: tiny" in command.out
    assert "temperature: 2.0" in command.out
    table = rows(command.out)
    assert table["corpus"] == ["to do", ""]
    parameters, tokens, steps, time, memory = table["student"]
    assert parameters == "12,208"
    assert int(steps.replace(",", "")) * 32 * 16 == int(tokens.replace(",", ""))
    assert re.fullmatch(r"about \d+ s", time)
    assert re.fullmatch(r"about \d+\.\d\d GiB", memory)
    assert "estimated from the size of the text" in command.out
    assert re.search(r"training left: about \d+ s at [\d,]+ GFLOP/s; largest model", command.out)


def test_a_dry_run_tells_what_is_up_to_date_and_what_changed(finished: Path, data: Path) -> None:
    command = babyllama(
        finished,
        "run",
        data / "tiny.yaml",
        "models.llama.training.epochs=2",
        "--run-dir",
        "runs/first",
        "--dry-run",
    )
    table = rows(command.out)
    assert table["tokens"][0] == "up to date"
    assert table["models/llama"] == ["to do", "training.epochs 1 -> 2"]
    assert table["models/student"] == ["to do", "models/llama changed"]
    assert table["models/gpt2"] == ["up to date", ""]
    assert table["gpt2"][3] == "done"
    assert "(counted)" in command.out


def test_a_training_that_was_stopped_shows_as_begun(copied: Path, data: Path) -> None:
    (copied / "runs" / ".store").mkdir(exist_ok=True)
    model = (copied / "runs" / "first" / "models" / "control").resolve()
    model.rename(model.with_suffix(".partial"))
    command = babyllama(copied, "run", data / "tiny.yaml", "--run-dir", "runs/first", "--dry-run")
    assert rows(command.out)["models/control"] == ["begun", ""]


def costs_of(raw: dict[str, Any], name: str, tokens: int = 51_200) -> Any:
    return model_cost(resolve(raw), name, tokens)


def test_parameters_are_those_of_the_model(data: Path) -> None:
    resolved = resolve(recipe(data))
    for name in ("llama", "gpt2"):
        architecture = resolved.models[name].architecture
        assert architecture
        model = build_model(model_config(architecture, 300, (0, 1, 2)), seed=1)
        assert model_cost(resolved, name, 1000).parameters == model.num_parameters()


def test_steps_are_those_of_the_training(data: Path) -> None:
    training = TRAINING | {"epochs": 3, "batch_size": 8}
    cost = costs_of(recipe(data, training=training), "student", tokens=16 * 8 * 10 + 100)
    assert (cost.steps, cost.tokens) == (30, 30 * 8 * 16)


@pytest.mark.filterwarnings("ignore::babyllama.errors.IgnoredSettingWarning")
def test_a_student_costs_more_than_its_twin_by_the_forward_of_its_teachers(data: Path) -> None:
    raw = recipe(data)
    student, control, llama = (costs_of(raw, name) for name in ("student", "control", "llama"))
    gpt2 = costs_of(raw, "gpt2")
    assert student.flops == pytest.approx(control.flops + (llama.flops + gpt2.flops) / 3)
    assert student.memory > control.memory
    raw["distillation"] = {"ce_weight": 1}
    assert costs_of(raw, "student").flops == control.flops


def test_memory_counts_the_activations_of_the_micro_batch_that_is_run(data: Path) -> None:
    def memory(**training: Any) -> float:
        architecture = {**LLAMA, "layers": 8, "width": 32}
        models = {"a": {"architecture": architecture}}
        raw = recipe(data, models=models, training=TRAINING | training)
        return float(costs_of(raw, "a").memory)

    assert memory(batch_size=64) > 1.5 * memory(batch_size=16) > 1.5 * memory(micro_batch=1)
    assert memory(batch_size=64, micro_batch=16) == memory(batch_size=16)
    assert memory(precision="bf16") < memory(precision="fp32")


@pytest.mark.filterwarnings("ignore::babyllama.errors.IgnoredSettingWarning")
def test_steps_that_climb_cost_twice_and_keep_a_copy_of_the_weights(data: Path) -> None:
    def cost(name: str, **training: Any) -> Any:
        return costs_of(recipe(data, training=TRAINING | {"epochs": 4} | training), name)

    for name in ("student", "control"):
        plain = cost(name)
        assert cost(name, sam={}).flops == 2 * plain.flops
        last = cost(name, sam={"last_epochs": 1})
        assert last.flops == 1.25 * plain.flops
        assert (last.tokens, last.steps) == (plain.tokens, plain.steps)
        assert last.memory == plain.memory + 4 * plain.parameters


def test_what_muon_multiplies_is_counted(data: Path) -> None:
    models = {"a": {"architecture": LLAMA}}
    plain, found = (
        costs_of(recipe(data, models=models, training=TRAINING | {"optimizer": name}), "a")
        for name in ("adamw", "muon")
    )
    # Four matrices of 16 x 16 and three of 16 x 32: two products with the matrix, one square.
    square, oblong = (5 * (2 * 2 * 16 * 16 * b + 2 * 16 * 16 * 16) for b in (16, 32))
    assert found.flops - plain.flops == plain.steps * (4 * square + 3 * oblong)


def test_a_dry_run_shows_what_a_weight_decay_by_ratio_comes_to(data: Path, tmp_path: Path) -> None:
    overrides = ("training.weight_decay.by_ratio=2", "models.llama.training.weight_decay=1000")
    command = babyllama(tmp_path, "run", data / "tiny.yaml", *overrides, "--dry-run")
    assert command.code == 0, command.err
    (line,) = (row for row in command.out.splitlines() if row.startswith("weight decay of gpt2"))
    told = re.fullmatch(
        r"weight decay of gpt2: ([\d.]+), that is 2 x ([\d,]+) parameters / ([\d,]+) tokens", line
    )
    assert told
    decay, parameters, tokens = (float(group.replace(",", "")) for group in told.groups())
    assert decay == pytest.approx(2 * parameters / tokens, rel=1e-3)
    assert "weight decay of llama" not in command.out
    assert "models.llama.training.weight_decay: 1000 times the learning rate 0.002" in command.err


def test_an_outside_checkpoint_costs_no_training(data: Path, finished: Path) -> None:
    folder = finished / "runs" / "first" / "models" / "llama"
    models = {
        "outside": {"checkpoint": str(folder)},
        "student": {"architecture": LLAMA, "teachers": ["outside"]},
    }
    cost = costs_of(recipe(data, models=models), "outside")
    assert (cost.parameters, cost.steps, cost.flops) == (12_208, 0, 0.0)


def test_paper_is_estimated_without_its_memory() -> None:
    paper = load_recipe("paper")
    parameters = {name: model_cost(paper, name, 10**7).parameters for name in paper.models}
    assert parameters == {
        "gpt2": 704_732_160,
        "llama": 359_973_888,
        "student": 58_343_936,
        "control": 58_343_936,
    }


def tokens_of(resolved: Recipe, root: Path) -> tuple[int, bool]:
    store = Store(root)
    return training_tokens(resolved, plan(resolved, store, StopRequest()), store)


def test_tokens_are_counted_where_they_are_there_and_else_estimated(
    data: Path, finished: Path, tmp_path: Path
) -> None:
    resolved = resolve(recipe(data))
    counted, measured = tokens_of(resolved, finished / "runs" / ".store")
    assert measured
    guess, guessed = tokens_of(resolved, tmp_path)
    assert not guessed
    assert counted / 3 < guess < counted * 3
    few, _ = tokens_of(load_recipe(str(data / "tiny.yaml"), ["corpus.words=100"]), tmp_path)
    assert few < 200


def test_the_rate_of_this_machine_is_that_of_a_machine(data: Path) -> None:
    found = throughput(resolve(recipe(data)), seconds=2)
    assert found
    assert 1e6 < found.plain < 1e16
    assert 1e6 < found.taught < 1e16


def test_the_student_is_what_is_measured_with_the_teachers_that_change_it(data: Path) -> None:
    raw = recipe(data)
    found = trial_of(resolve(raw))
    assert found
    name, trial = found
    assert name == "student"
    assert (trial.tokens, trial.positions, trial.precision) == (32 * 16, 16, "fp32")
    assert {each: config.model_type for each, config in trial.teachers.items()} == {
        "llama": "llama",
        "gpt2": "gpt2",
    }


def test_without_students_it_is_the_last_model_that_is_trained(data: Path) -> None:
    models = {"first": {"architecture": LLAMA}, "last": {"architecture": {**LLAMA, "type": "gpt2"}}}
    found = trial_of(resolve(recipe(data, models=models)))
    assert found
    assert (found[0], found[1].student.model_type, found[1].teachers) == ("last", "gpt2", {})


def test_where_nothing_is_trained_nothing_is_measured(data: Path, finished: Path) -> None:
    folder = finished / "runs" / "first" / "models" / "llama"
    raw = recipe(data, models={"outside": {"checkpoint": str(folder)}})
    del raw["training"]
    resolved = resolve(raw)
    assert trial_of(resolved) is None
    assert throughput(resolved, 1) is None
    assert model_cost(resolved, "outside", 1000).seconds(None) == 0


def test_time_is_operations_by_the_rate_of_their_kind(data: Path) -> None:
    resolved = resolve(recipe(data))
    found = throughput(resolved, 1)
    assert found
    rate = replace(found, plain=1e6, taught=2e6)
    student, control = (model_cost(resolved, name, 51_200) for name in ("student", "control"))
    assert student.seconds(rate) == student.flops / 2e6
    assert control.seconds(rate) == control.flops / 1e6
    assert (student.micro_batch, control.micro_batch) == (32, 32)
