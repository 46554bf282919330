"""The measurement: what is run, what is run instead, and what the figures mean."""

import time
from dataclasses import replace
from typing import Any

import pytest
import torch

from babyllama.machine import throughput
from babyllama.machine.throughput import COUNTED, WARM_UP, Throughput, Trial, measure
from babyllama.models.architectures import model_config
from babyllama.recipe import Architecture
from babyllama.recipe_distillation import Distillation
from babyllama.recipe_training import Training
from babyllama.training.muon import update_flops

GIB = 2**30


def config(kind: str = "llama", **sizes: int) -> Any:
    given = {"layers": 2, "heads": 2, "width": 16, "feed_forward": 32, "positions": 64} | sizes
    return model_config(Architecture(type=kind, **given), 300, (0, 1, 2))


def trial(**fields: Any) -> Trial:
    given: dict[str, Any] = {
        "student": config(),
        "teachers": {"a": config(), "b": config("gpt2")},
        "training": Training(batch_size=8, precision="fp32"),
        "positions": 16,
        "device": torch.device("cpu"),
        "precision": "fp32",
        "distillation": Distillation(),
    }
    return Trial(**given | fields)


@pytest.fixture
def seconds_of_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that only steps move: seconds of a plain step, of one with teachers."""
    lengths, now = [2.0, 5.0], [0.0]

    class Made:
        def __init__(self, _: Trial, *, taught: bool) -> None:
            self.taught = taught

        def step(self) -> None:
            now[0] += lengths[self.taught]

    monkeypatch.setattr(throughput, "_trainer", Made)
    monkeypatch.setattr(throughput, "_expected_rate", lambda _: 1e12)
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])


def measured(free: float = 100 * GIB, seconds: float = 1000, **fields: Any) -> Throughput:
    return measure(trial(**fields), free, seconds)


@pytest.mark.usefixtures("seconds_of_steps")
def test_the_figures_are_operations_by_seconds_of_a_step() -> None:
    found = measured()
    plain, teaching = trial().flops
    assert (found.own, found.steps) == (True, COUNTED)
    assert found.plain == pytest.approx(plain / 2)
    assert found.taught == pytest.approx((plain + teaching) / 5)


def test_the_steps_are_of_one_pass_and_count_the_products_of_their_optimizer() -> None:
    asked = {"sam": {}, "weight_decay": {"by_ratio": 1.0}, "optimizer": "muon", "batch_size": 2}
    found = trial(training=Training.model_validate(asked), teachers={})
    trainer = throughput._trainer(found, taught=False)
    assert "sharpness" not in trainer.step()
    plain = trial(training=Training(batch_size=2), teachers={})
    assert found.flops[0] - plain.flops[0] == update_flops(trainer.job.model, found.training) > 0


@pytest.mark.usefixtures("seconds_of_steps")
def test_without_teachers_there_is_one_kind_of_step() -> None:
    found = measured(teachers={})
    assert found.taught == found.plain == pytest.approx(trial().flops[0] / 2)


@pytest.mark.usefixtures("seconds_of_steps")
@pytest.mark.parametrize(("seconds", "steps"), [(1, 1), (20, 1), (21, 2), (35, 4), (1000, 7)])
def test_it_ends_with_its_time_but_not_before_the_first_step(seconds: float, steps: int) -> None:
    """A turn takes 7 seconds, and one is not counted."""
    assert WARM_UP == 1
    assert measured(seconds=seconds).steps == steps


@pytest.mark.usefixtures("seconds_of_steps")
def test_what_does_not_fit_the_memory_is_cut() -> None:
    large = trial(student=config(width=1024, layers=8, feed_forward=4096))
    found = measure(large, 100 * GIB, 1e6)
    assert found.own
    found = measure(large, 2 * GIB, 1e6)
    assert not found.own
    assert 1 <= found.trial.student.num_hidden_layers < 8
    assert found.trial.student.hidden_size == 1024
    assert large.student.num_hidden_layers == 8


@pytest.mark.usefixtures("seconds_of_steps")
def test_what_does_not_fit_the_time_has_one_layer_then_fewer_sequences(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(throughput, "FLOPS_A_WEIGHT", 0)
    flat = trial(student=config(layers=1), teachers={"a": config(layers=1)})
    per_turn = (WARM_UP + throughput.LEAST) * (2 * flat.flops[0] + flat.flops[1])
    deep = trial(student=config(layers=8), teachers={"a": config(layers=8)})
    found = measure(deep, 100 * GIB, per_turn / 1e12 * 0.6)
    assert found.trial.student.num_hidden_layers == 1
    assert found.trial.teachers["a"].num_hidden_layers == 1
    assert found.trial.training.batch_size == 4


@pytest.mark.usefixtures("seconds_of_steps")
def test_what_fits_nowhere_is_a_small_model() -> None:
    found = measured(free=1.0)
    assert not found.own
    assert found.trial.student.vocab_size == 4096
    assert [*found.trial.teachers] == ["a", "b"]
    assert found.plain == pytest.approx(found.trial.flops[0] / 2)


@pytest.mark.usefixtures("seconds_of_steps")
def test_a_model_that_cannot_be_cut_is_passed_over() -> None:
    student = config("qwen3", layers=4)
    student.layer_types = ["full_attention"] * 4
    found = measured(student=student, free=1.0)
    assert found.trial.student.vocab_size == 4096


def test_real_steps_are_run_on_a_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throughput, "COUNTED", 2)
    for pool in ("logits", "probabilities"):
        found = measure(trial(distillation=Distillation(pool=pool)), 100 * GIB, 60)
        assert found.own
        assert found.steps == 2
        assert found.plain > 0
        assert found.taught > 0


def test_the_state_of_torchs_random_numbers_is_no_matter_of_the_weights() -> None:
    small = replace(trial(), teachers={})
    first, second = (throughput._trainer(small, taught=False).job.model for _ in range(2))
    for one, other in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(one, other)
