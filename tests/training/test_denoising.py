"""Masked models and encoder-decoders train by the same loop, on what was taken out of the text."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional

from babyllama.distillation.compiling import can_compile
from babyllama.errors import StoppedError
from babyllama.tokens.batches import IGNORED, Batch, ChunkOrder, counts
from babyllama.training.denoising import Denoising, as_validated
from babyllama.training.health import StopRequest
from babyllama.training.job import Job, make_objective
from babyllama.training.processes import processes
from babyllama.training.trainer import Trainer, train
from several import call_together
from tiny_jobs import CHUNK, STEPS_PER_EPOCH, assert_equal_weights, new_job, new_model, run

KINDS = pytest.mark.parametrize("kind", ["roberta", "t5"])
QUANTITY = {"roberta": "masked_cross_entropy", "t5": "span_cross_entropy"}


def job_of(kind: str, *, dropout: float = 0.0, **settings: Any) -> Job:
    model = new_model(kind, dropout=dropout)
    for parameter in model.parameters():  # so that losses differ from those of chance
        parameter.data.mul_(2)
    job = new_job(model=model, **settings)
    return replace(job, validation=as_validated(model, job.validation, 3))


def direct(model: Any, batch: Batch) -> Tensor:
    """Transformers' own logits, and the mean over what is predicted."""
    more = {}
    if model.config.is_encoder_decoder:
        start = torch.full_like(batch.labels[:, :1], model.config.pad_token_id)
        more = {"decoder_input_ids": torch.cat([start, batch.labels[:, :-1]], dim=1)}
    logits = model(input_ids=batch.input_ids, **more).logits
    return functional.cross_entropy(
        logits.flatten(0, 1), batch.labels.flatten(), ignore_index=IGNORED
    )


@KINDS
def test_value_and_gradient_are_those_of_the_models_own_logits(kind: str) -> None:
    job = job_of(kind)
    model: Any = job.model.double()
    batch = job.batch(0, 0)
    loss, parts = make_objective(job)(batch, counts(batch), [])
    expected = direct(model, batch)
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=1e-12)
    assert [*parts] == [QUANTITY[kind]]
    torch.testing.assert_close(parts[QUANTITY[kind]], loss.detach())
    assert not parts[QUANTITY[kind]].requires_grad
    weights = [*model.parameters()]
    found = torch.autograd.grad(loss, weights, allow_unused=True)
    for ours, theirs in zip(
        found, torch.autograd.grad(expected, weights, allow_unused=True), strict=True
    ):
        assert (ours is None) == (theirs is None)
        if ours is not None:
            torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)


@KINDS
def test_transformers_own_loss_is_the_same(kind: str) -> None:
    job = job_of(kind)
    batch = job.batch(1, 2)
    objective = make_objective(job).eval()
    loss, _ = objective(batch, counts(batch), [])
    own = job.model(input_ids=batch.input_ids, labels=batch.labels).loss
    torch.testing.assert_close(loss, own)


def test_rows_with_fewer_places_to_predict_are_counted_by_what_they_have() -> None:
    """Special tokens are not predicted: a row with many of them has fewer labels than others."""
    job = job_of("roberta")
    ids = torch.full((3, CHUNK), 9)
    ids[1, 1:] = 1
    text = Batch(ids, ids, torch.arange(3), "train")
    [batch] = as_validated(job.model, [text], 1)
    assert (batch.labels != IGNORED).sum(1).tolist() == [2, 1, 2]
    loss, _ = Denoising(job.model).eval()(batch, counts(batch), [])
    torch.testing.assert_close(loss, direct(job.model.eval(), batch))


@KINDS
def test_gradients_of_micro_batches_add_up_to_those_of_the_batch(kind: str) -> None:
    """Though rows differ in what they have to predict."""
    found = []
    for size in (1, 3, 8):
        job = job_of(kind)
        job.order.ids[7:30] = 1  # special tokens
        job.model.double()
        batch, objective = job.batch(0, 1), make_objective(job)
        whole = counts(batch)
        for micro in batch.micro_batches(size):
            objective(micro, whole, [])[0].backward()
        found.append([p.grad for p in job.model.parameters() if p.grad is not None])
    for others in found[1:]:
        for first, other in zip(found[0], others, strict=True):
            torch.testing.assert_close(other, first, rtol=1e-9, atol=1e-13)


def in_process(folder: Path, name: str, kind: str) -> None:
    job = job_of(kind, micro_batch=3, clip_norm=0.05)
    job.order.ids[7:30] = 1
    job.model.double()
    trainer = Trainer(job, folder)
    rows = [trainer.step() for _ in range(3)]
    if processes().leads:
        save_file(dict(job.model.named_parameters()), folder / f"{name}.safetensors")
        (folder / f"{name}.json").write_text(json.dumps([row["loss"] for row in rows]))


@KINDS
def test_two_processes_are_one(tmp_path: Path, kind: str) -> None:
    in_process(tmp_path, "one", kind)
    call_together(in_process, tmp_path, "two", kind)
    losses = [json.loads((tmp_path / f"{name}.json").read_text()) for name in ("one", "two")]
    assert losses[0] == pytest.approx(losses[1], rel=1e-9)
    one, two = (load_file(tmp_path / f"{name}.safetensors") for name in ("one", "two"))
    for name, tensor in one.items():
        torch.testing.assert_close(two[name], tensor, rtol=1e-8, atol=1e-10)


@KINDS
def test_a_step_reads_its_batch_corrupted_by_seed_and_epoch(kind: str) -> None:
    order = ChunkOrder(job_of(kind).order.ids, 3 * CHUNK, 8, seed=1)  # of two spans
    first, again = (replace(job_of(kind), order=order).batch(0, 0) for _ in range(2))
    assert torch.equal(first.input_ids, again.input_ids)
    assert torch.equal(first.starts, order.batch(0, 0).starts)
    other = replace(job_of(kind), order=order, seed=2).batch(0, 0)
    assert torch.equal(first.starts, other.starts)
    assert not torch.equal(first.input_ids, other.input_ids)
    later = replace(job_of(kind), order=order).batch(1, 0)
    by_place = [each.input_ids[each.starts.argsort()] for each in (first, later)]
    assert not torch.equal(*by_place)


def test_a_causal_model_reads_the_text_as_it_is() -> None:
    job = new_job()
    assert torch.equal(job.batch(0, 1).input_ids, job.order.batch(0, 1).input_ids)
    assert as_validated(job.model, job.validation, 3) == [*job.validation]


@KINDS
@pytest.mark.parametrize("keep", ["last", "best"])
def test_validation_is_its_own_loss_on_one_corruption(tmp_path: Path, kind: str, keep: str) -> None:
    record = run(job_of(kind, keep=keep, epochs=3), tmp_path)
    validation = record["validation"]
    assert {*validation} == {QUANTITY[kind], "objective"}
    assert validation[QUANTITY[kind]] == pytest.approx(validation["objective"])
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    values = [row[QUANTITY[kind]] for row in rows if row["kind"] == "validation"]
    assert validation[QUANTITY[kind]] == (min(values) if keep == "best" else values[-1])
    assert not any("cross_entropy" in row or "bits_per_byte" in row for row in rows)
    assert values[-1] < values[0]


@KINDS
def test_the_figure_is_the_mean_over_all_that_the_validation_predicts(kind: str) -> None:
    job = job_of(kind)
    trainer = Trainer(job, Path())
    found = trainer._validate(job.validation)
    model, whole = job.model.eval(), [counts(batch).tokens for batch in job.validation]
    with torch.no_grad():
        nats = sum(float(direct(model, b)) * n for b, n in zip(job.validation, whole, strict=True))
    assert found[QUANTITY[kind]] == pytest.approx(nats / sum(whole), rel=1e-5)


class AfterSteps(StopRequest):
    """A request that comes after some steps."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.steps = steps

    def reached(self, step: int, total_steps: int) -> None:
        if self.steps <= step < total_steps:
            self.signal = "test"


@KINDS
def test_a_training_that_was_stopped_ends_bit_for_bit_as_one_that_was_not(
    tmp_path: Path, kind: str
) -> None:
    whole = job_of(kind, dropout=0.2, micro_batch=3)
    run(whole, tmp_path / "whole")
    (tmp_path / "parts").mkdir()
    for steps in (1, STEPS_PER_EPOCH + 1):
        begun = job_of(kind, dropout=0.2, micro_batch=3)
        with pytest.raises(StoppedError):
            train(begun, tmp_path / "parts", AfterSteps(steps))
    parts = job_of(kind, dropout=0.2, micro_batch=3)
    run(parts, tmp_path / "parts")
    assert_equal_weights(whole.model, parts.model)


@KINDS
@pytest.mark.slow
@pytest.mark.skipif(not can_compile("cpu"), reason="no working compiler")
def test_compiled_kernel_and_layers_give_the_same(kind: str) -> None:
    batch, found = None, []
    for form in ("plain", "compiled"):
        job = job_of(kind)
        trainer = Trainer(job, Path())
        trainer.position.kernel = trainer.position.layers = form  # type: ignore[assignment]
        trainer._compile()
        batch = job.batch(0, 0)
        found.append(trainer._backward(batch, counts(batch))["loss"])
    torch.testing.assert_close(*found, rtol=1e-5, atol=1e-6)


@KINDS
def test_in_bf16_it_learns_as_it_does_in_float32(tmp_path: Path, kind: str) -> None:
    found = []
    for precision in ("fp32", "bf16"):
        record = run(job_of(kind, precision=precision, epochs=3), tmp_path / precision)
        found.append(record["validation"]["objective"])
    assert found[0] == pytest.approx(found[1], rel=0.02)
