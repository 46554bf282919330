import itertools
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from babyllama.distillation.loss import distillation_loss
from babyllama.distillation.masking import masked_inputs
from babyllama.resolve import load_recipe
from babyllama.tokens.batches import IGNORED, Batch, Counts, counts
from babyllama.training.job import Job, make_objective
from babyllama.training.objectives import Distilled, Objective
from tiny_jobs import new_job, new_model, new_teachers


def double(job: Job) -> Job:
    """The same job in float64."""
    for model in [job.model, *(job.signal.models.values() if job.signal else ())]:
        model.double()
    return job


def uneven_batch(job: Job) -> Batch:
    """Eight sequences, of which the first three predict nothing and one predicts one token."""
    batch = job.order.batch(0, 0)
    batch.labels[:3] = IGNORED
    batch.labels[6, 1:] = IGNORED
    return batch


def signal(job: Job, batch: Batch) -> Any:
    return job.signal.signal(batch) if job.signal else ()


def gradients(objective: Objective) -> dict[str, Tensor]:
    found = {n: p.grad.clone() for n, p in objective.named_parameters() if p.grad is not None}
    objective.zero_grad()
    return found


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_cross_entropy_is_the_mean_over_predicted_tokens(kind: str) -> None:
    job = double(new_job(model=new_model(kind)))
    batch, objective = uneven_batch(job), make_objective(job)
    loss, parts = objective(batch, counts(batch))
    loss.backward()
    found = gradients(objective)
    logits = job.model(input_ids=batch.input_ids).logits
    expected = functional.cross_entropy(logits.flatten(0, 1), batch.labels.flatten())
    torch.testing.assert_close(loss.detach(), expected.detach(), rtol=1e-12, atol=0)
    torch.testing.assert_close(parts["cross_entropy"], loss.detach())
    expected.backward()
    for name, gradient in gradients(objective).items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-9, atol=1e-14, msg=name)


@pytest.mark.parametrize(
    ("pool", "reduction"),
    [*itertools.product(["logits", "probabilities"], ["token", "sequence"])],
)
def test_distillation_is_the_loss_on_logits(pool: Any, reduction: Any) -> None:
    settings: dict[str, Any] = {
        "temperature": 3.0,
        "ce_weight": 0.25,
        "pool": pool,
        "kl_reduction": reduction,
    }
    job = double(new_job(teachers=new_teachers(), distillation=settings))
    assert job.signal
    job.signal.weights[:] = [1.0, 3.0]
    batch, objective = uneven_batch(job), make_objective(job)
    loss, parts = objective(batch, counts(batch), signal(job, batch))
    loss.backward()
    found = gradients(objective)
    teachers = [m(input_ids=batch.input_ids).logits for m in job.signal.models.values()]
    logits = job.model(input_ids=batch.input_ids).logits
    terms = distillation_loss(
        logits, batch.labels, teachers, **settings, teacher_weights=[1.0, 3.0]
    )
    torch.testing.assert_close(loss.detach(), terms.loss.detach(), rtol=1e-12, atol=0)
    torch.testing.assert_close(parts["cross_entropy"], terms.cross_entropy)
    torch.testing.assert_close(parts["kl"], terms.kl)
    terms.loss.backward()
    for name, gradient in gradients(objective).items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-9, atol=1e-14, msg=name)


@pytest.mark.parametrize("teachers", [False, True])
@pytest.mark.parametrize("size", [4, 3, 1])
def test_micro_batches_add_up_value_parts_and_gradient(teachers: bool, size: int) -> None:
    job = double(new_job(teachers=new_teachers() if teachers else None))
    batch, objective = uneven_batch(job), make_objective(job)

    def step(size: int) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        sums: dict[str, Tensor] = {}
        for micro in batch.micro_batches(size):
            loss, parts = objective(micro, counts(batch), signal(job, micro))
            loss.backward()
            terms = parts | {"loss": loss.detach()}
            sums = {name: sums.get(name, 0) + value for name, value in terms.items()}
        return sums, gradients(objective)

    for whole, added in zip(step(8), step(size), strict=True):
        for name, value in whole.items():
            torch.testing.assert_close(added[name], value, rtol=1e-10, atol=1e-14, msg=name)


def test_the_student_alone_reads_masked_inputs_and_only_in_training() -> None:
    job = double(new_job(teachers=new_teachers(), distillation={"mask_inputs": 0.5}))
    objective, batch = make_objective(job), job.order.batch(0, 0)
    assert isinstance(objective, Distilled)
    taught = [readout.features for readout in signal(job, batch)]

    def losses(ids: Tensor) -> Tensor:
        teachers = [m(input_ids=batch.input_ids).logits for m in job.signal.models.values()]
        return distillation_loss(job.model(input_ids=ids).logits, batch.labels, teachers).loss

    for step in (3, 4):
        objective.train().begin(step)
        masked = masked_inputs(batch, 0.5, seed=job.seed, step=step)
        found = objective(batch, counts(batch), signal(job, batch))[0]
        torch.testing.assert_close(found, losses(masked), rtol=1e-12, atol=0)
        plain = objective.eval()(batch, counts(batch), signal(job, batch))[0]
        torch.testing.assert_close(plain, losses(batch.input_ids), rtol=1e-12, atol=0)
        assert abs(found.item() - plain.item()) > 1e-4
    assert all(map(torch.equal, taught, [r.features for r in signal(job, batch)]))


def test_parts_carry_no_gradient() -> None:
    job = new_job(teachers=new_teachers())
    batch = job.order.batch(0, 0)
    loss, parts = make_objective(job)(batch, counts(batch), signal(job, batch))
    assert loss.requires_grad
    assert {*parts} == {"cross_entropy", "kl"}
    assert not any(part.requires_grad for part in parts.values())


def test_the_counts_divide_not_the_micro_batch() -> None:
    job = new_job()
    batch, objective = job.order.batch(0, 0), make_objective(job)
    own = objective(batch, counts(batch))[0]
    double_counts = Counts(2 * counts(batch).tokens, 2 * counts(batch).sequences)
    torch.testing.assert_close(objective(batch, double_counts)[0], own / 2)


@pytest.mark.parametrize(
    ("wide", "tolerance"), [(False, 1e-6), (True, 1e-12)], ids=["float32", "float64"]
)
def test_paper_as_released_trains_on_the_textbook_expression(wide: bool, tolerance: float) -> None:
    recipe = load_recipe("paper-as-released").models["student"].distillation
    assert recipe is not None
    job = new_job(teachers=new_teachers(), distillation=recipe.model_dump())
    job = double(job) if wide else job
    batch = job.order.batch(0, 0)
    loss, _ = make_objective(job)(batch, counts(batch), signal(job, batch))

    assert job.signal
    student = job.model(input_ids=batch.input_ids).logits
    taught = [m(input_ids=batch.input_ids).logits for m in job.signal.models.values()]
    soft_targets = torch.softmax(torch.stack(taught).mean(dim=0) / 2, dim=-1)
    kl = nn.KLDivLoss(reduction="batchmean")(torch.log_softmax(student / 2, dim=-1), soft_targets)
    hard = nn.CrossEntropyLoss()(student[:, :-1].flatten(0, 1), batch.input_ids[:, 1:].flatten())
    expected = 0.5 * hard + 0.5 * 2**2 * kl
    torch.testing.assert_close(loss, expected, rtol=tolerance, atol=0)
