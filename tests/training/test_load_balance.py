"""What a model with experts asks for beside the loss joins it, in training alone."""

import json
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from babyllama.models.architectures import build_model, model_config
from babyllama.recipe import Architecture
from babyllama.tokens.batches import counts
from babyllama.training.job import Job, make_objective
from babyllama.training.validation import validate
from tiny_jobs import CHUNK, VOCABULARY, new_job, new_teachers, run


def new_switch(**options: Any) -> Any:
    sizes = {"layers": 2, "heads": 2, "width": 16, "feed_forward": 32, "positions": CHUNK}
    given = {"experts": 4, "capacity_factor": 4.0, "jitter": 0.0, "load_balance": 0.5}
    architecture = Architecture(type="switch", **sizes, options=given | options)
    return build_model(model_config(architecture, VOCABULARY, (0, 1, 2)), 1)


def signal(job: Job, batch: Any) -> Any:
    return job.signal.signal(batch) if job.signal else ()


@pytest.mark.parametrize("taught", [False, True])
def test_it_is_added_by_the_part_of_the_tokens_that_a_micro_batch_has(taught: bool) -> None:
    teachers = new_teachers() if taught else None
    # Nothing is dropped or stirred: the rest of the loss is then that of evaluation.
    job = new_job(model=new_switch().double(), teachers=teachers)
    batch, objective = job.order.batch(0, 0), make_objective(job).train()
    whole = counts(batch)
    for size in (3, 8):
        micro = batch.micro_batches(size)[0]
        loss, parts = objective(micro, whole, signal(job, micro))
        job.model(input_ids=micro.input_ids)
        asked = job.model.auxiliary_loss()
        assert asked is not None
        torch.testing.assert_close(parts["load_balance"], asked.detach() * size / 8)
        assert not parts["load_balance"].requires_grad
        rest, others = objective.eval()(micro, whole, signal(job, micro))
        objective.train()
        torch.testing.assert_close(loss, rest + parts["load_balance"])
        assert "load_balance" not in others


def test_its_gradient_joins_that_of_the_loss() -> None:
    job = new_job(model=new_switch().double())
    batch, objective = job.order.batch(0, 0), make_objective(job)

    def gradients(loss: Tensor) -> list[Tensor]:
        found = torch.autograd.grad(loss, [*job.model.parameters()], allow_unused=True)
        kept = zip(found, job.model.parameters(), strict=True)
        return [torch.zeros_like(p) if gradient is None else gradient for gradient, p in kept]

    both = gradients(objective.train()(batch, counts(batch))[0])
    alone = gradients(objective.eval()(batch, counts(batch))[0])
    job.model.train()(input_ids=batch.input_ids)
    asked = gradients(job.model.auxiliary_loss())
    assert any(gradient.any() for gradient in asked)
    for a, b, c in zip(both, alone, asked, strict=True):
        torch.testing.assert_close(a, b + c, rtol=1e-9, atol=1e-13)


def test_the_log_has_the_sum_over_a_steps_micro_batches(tmp_path: Path) -> None:
    job = new_job(model=new_switch(), micro_batch=3, epochs=1)
    run(job, tmp_path / "work")
    rows = [json.loads(x) for x in (tmp_path / "work" / "log.jsonl").read_text().splitlines()]
    steps = [row for row in rows if row["kind"] == "step"]
    for row in steps:
        assert row["loss"] == pytest.approx(row["cross_entropy"] + row["load_balance"], rel=1e-6)
    # Two layers, each at least about 1 (even), at most 4 (all tokens to one expert).
    assert all(0.5 * 2 * 0.9 < row["load_balance"] < 0.5 * 2 * 4 for row in steps)


def test_a_model_without_experts_logs_nothing_of_it() -> None:
    job = new_job()
    batch = job.order.batch(0, 0)
    assert {*make_objective(job).train()(batch, counts(batch))[1]} == {"cross_entropy"}


def test_validation_is_of_the_text_alone() -> None:
    job = new_job(model=new_switch())
    found = validate(
        make_objective(job),
        job.validation,
        job.bytes_of_token,
        autocast=nullcontext,
        signal=lambda _: [],
        device=job.device,
    )
    assert found["objective"] == pytest.approx(found["cross_entropy"], rel=1e-6)
    assert job.model.auxiliary_loss() is None


def test_the_same_training_twice_is_the_same_with_jitter_and_drops(tmp_path: Path) -> None:
    models = [new_switch(jitter=0.2, capacity_factor=0.5) for _ in range(2)]
    for number, model in enumerate(models):
        torch.manual_seed(number)
        run(new_job(model=model, micro_batch=4), tmp_path / str(number))
    for a, b in zip(*(model.parameters() for model in models), strict=True):
        assert torch.equal(a, b)
