import math
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.nn import functional

from babyllama.distillation.loss import distillation_loss
from babyllama.tokens.batches import IGNORED, Batch
from babyllama.training.job import Job, make_objective
from babyllama.training.objectives import Objective
from babyllama.training.validation import validate
from dense import teacher_logits
from tiny_jobs import VOCABULARY, new_job, new_model, new_teachers


def result(job: Job, objective: Objective | None = None) -> dict[str, float]:
    return validate(
        objective or make_objective(job),
        job.validation,
        job.bytes_of_token,
        autocast=nullcontext,
        signal=lambda batch: job.signal.signal(batch) if job.signal else [],
        device=job.device,
    )


def whole_subset(job: Job) -> Batch:
    """All batches as one."""
    ids = torch.cat([batch.input_ids for batch in job.validation])
    starts = torch.cat([batch.starts for batch in job.validation])
    return Batch(ids, torch.cat([batch.labels for batch in job.validation]), starts, "dev")


def test_the_subset_is_more_than_one_batch_of_one_size() -> None:
    assert [len(batch.labels) for batch in new_job().validation] == [3, 1]


def test_cross_entropy_is_the_mean_over_predicted_tokens() -> None:
    job = new_job(model=new_model(width=32))
    batch = whole_subset(job)
    with torch.no_grad():
        logits = job.model.eval()(input_ids=batch.input_ids).logits[:, :-1]
    nats = functional.cross_entropy(logits.flatten(0, 1), batch.input_ids[:, 1:].flatten())
    found = result(job)
    assert found["cross_entropy"] == pytest.approx(float(nats), rel=1e-6)
    assert found["objective"] == pytest.approx(float(nats), rel=1e-6)


def test_tokens_count_alike_in_batches_of_any_size() -> None:
    job = new_job()
    first, last = job.validation
    labels = last.labels.clone()
    labels[:, 2:] = IGNORED
    uneven = new_job(fields={"validation": [first, replace(last, labels=labels)]})
    batch = whole_subset(uneven)
    with torch.no_grad():
        logits = uneven.model.eval()(input_ids=batch.input_ids).logits
    nats = functional.cross_entropy(logits.flatten(0, 1), batch.labels.flatten())
    assert result(uneven)["cross_entropy"] == pytest.approx(float(nats), rel=1e-6)


def test_bits_per_byte_divides_by_the_bytes_of_the_predicted_tokens() -> None:
    job = new_job()
    predicted = whole_subset(job).input_ids[:, 1:].flatten()
    text_bytes = sum(int(job.bytes_of_token[token]) for token in predicted)
    found = result(job)
    bits = found["cross_entropy"] * len(predicted) / math.log(2)
    assert found["bits_per_byte"] == pytest.approx(bits / text_bytes, rel=1e-9)


def test_a_model_that_knows_nothing_needs_the_bits_of_an_id_over_its_bytes() -> None:
    model = new_model()
    model.get_output_embeddings().weight.data.zero_()
    job = new_job(model=model, fields={"bytes_of_token": torch.full((VOCABULARY,), 8)})
    assert result(job)["bits_per_byte"] == pytest.approx(math.log2(VOCABULARY) / 8, rel=1e-6)


def test_without_bytes_there_is_no_division_by_zero() -> None:
    job = new_job(fields={"bytes_of_token": torch.zeros(VOCABULARY, dtype=torch.long)})
    assert math.isfinite(result(job)["bits_per_byte"])


@pytest.mark.parametrize("reduction", ["token", "sequence"])
def test_the_objective_of_a_distilled_model_is_its_mixed_loss(reduction: Any) -> None:
    settings: dict[str, Any] = {"ce_weight": 0.25, "temperature": 3.0, "kl_reduction": reduction}
    job = new_job(teachers=new_teachers(), distillation=settings)
    batch = whole_subset(job)
    assert job.signal
    with torch.no_grad():
        logits = job.model.eval()(input_ids=batch.input_ids).logits
    teachers = teacher_logits(job.signal, batch.input_ids)
    expected = distillation_loss(logits, batch.labels, teachers, **settings)
    found = result(job)
    assert found["objective"] == pytest.approx(float(expected.loss), rel=1e-5)
    assert found["cross_entropy"] == pytest.approx(float(expected.cross_entropy), rel=1e-5)


def test_dropout_is_off_while_validating_and_on_again_after() -> None:
    job = new_job(model=new_model("gpt2", dropout=0.5))
    objective = make_objective(job).train()
    assert result(job, objective) == result(job, objective)
    assert all(module.training for module in objective.modules())


def test_no_gradient_is_kept() -> None:
    job = new_job()
    result(job)
    assert all(parameter.grad is None for parameter in job.model.parameters())
