"""The fused loss is the dense one: same value, same gradient, without the logits."""

import itertools
import math

import pytest
import torch
from torch import Tensor

from babyllama.distillation import fused
from babyllama.distillation.fused import fused_loss
from babyllama.distillation.loss import distillation_loss
from babyllama.models import readout
from babyllama.models.readout import Readout
from babyllama.tokens.batches import IGNORED, Counts

BATCH, TIME, VOCABULARY, WIDTH = 3, 5, 11, 4
COUNTS = Counts(tokens=40, sequences=8)  # of a larger step that this micro-batch is a part of


@pytest.fixture(autouse=True)
def several_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of 5 rows, so that 15 rows are three of them."""
    monkeypatch.setitem(readout.CHUNK_LOGITS, "cpu", 5 * VOCABULARY)


def case(dtype: torch.dtype, *, bias: bool) -> tuple[list[Tensor], Tensor, list[Readout]]:
    torch.manual_seed(1)

    def random(*shape: int) -> Tensor:
        return torch.randn(*shape, dtype=dtype)

    rows = BATCH * TIME
    student = [random(rows, WIDTH), random(VOCABULARY, WIDTH), *([random(VOCABULARY)] * bias)]
    labels = torch.randint(0, VOCABULARY, (BATCH, TIME))
    labels[:, -1] = labels[0, 1] = IGNORED
    teachers = [Readout(random(rows, d), random(VOCABULARY, d), random(VOCABULARY)) for d in (3, 6)]
    return [x.requires_grad_() for x in student], labels, teachers


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 2e-6)])
@pytest.mark.parametrize(
    ("pool", "reduction", "bias"),
    [*itertools.product(["logits", "probabilities"], ["token", "sequence"], [True, False])],
)
def test_value_and_gradient_are_those_of_the_dense_loss(
    dtype: torch.dtype, tolerance: float, pool: str, reduction: str, bias: bool
) -> None:
    student, labels, teachers = case(dtype, bias=bias)
    settings = {
        "temperature": 2.0,
        "ce_weight": 0.3,
        "pool": pool,
        "kl_reduction": reduction,
        "teacher_weights": [1.0, 3.0],
        "counts": COUNTS,
    }
    ours = fused_loss(Readout(*student), labels.flatten(), teachers, **settings)
    shape = (BATCH, TIME, VOCABULARY)
    dense = distillation_loss(
        torch.nn.functional.linear(*student).view(shape),
        labels,
        [teacher.logits(slice(None)).view(shape) for teacher in teachers],
        **settings,
    )
    torch.testing.assert_close(tuple(ours), tuple(dense), rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(
        torch.autograd.grad(1.7 * ours.loss, student),
        torch.autograd.grad(1.7 * dense.loss, student),
        rtol=tolerance,
        atol=tolerance,
    )


@pytest.mark.parametrize("pool", ["logits", "probabilities"])
@pytest.mark.parametrize("reduction", ["token", "sequence"])
def test_ids_that_teachers_rule_out_leave_value_and_gradient_those_of_the_dense_loss(
    pool: str, reduction: str
) -> None:
    student, labels, teachers = case(torch.float64, bias=True)
    for teacher in teachers:  # of the first two ids, the second teacher rules out only one
        assert teacher.bias is not None
        teacher.bias[: 2 if teacher is teachers[0] else 1] = -math.inf
    settings = {"ce_weight": 0.3, "pool": pool, "kl_reduction": reduction, "counts": COUNTS}
    ours = fused_loss(Readout(*student), labels.flatten(), teachers, temperature=2.0, **settings)
    shape = (BATCH, TIME, VOCABULARY)
    dense = distillation_loss(
        torch.nn.functional.linear(*student).view(shape),
        labels,
        [teacher.logits(slice(None)).view(shape) for teacher in teachers],
        temperature=2.0,
        **settings,
    )
    assert all(torch.isfinite(term) for term in ours)
    torch.testing.assert_close(tuple(ours), tuple(dense))
    torch.testing.assert_close(
        torch.autograd.grad(ours.loss, student), torch.autograd.grad(dense.loss, student)
    )


@pytest.mark.parametrize("reduction", ["token", "sequence"])
def test_gradient_passes_gradcheck(reduction: str) -> None:
    student, labels, teachers = case(torch.float64, bias=True)

    def loss(*tensors: Tensor) -> Tensor:
        return fused_loss(
            Readout(*tensors),
            labels.flatten(),
            teachers,
            counts=COUNTS,
            temperature=2.0,
            ce_weight=0.5,
            kl_reduction=reduction,
        ).loss

    assert torch.autograd.gradcheck(loss, student)


def test_without_teachers_it_is_cross_entropy() -> None:
    student, labels, _ = case(torch.float64, bias=False)
    ours = fused_loss(Readout(*student), labels.flatten(), counts=COUNTS, ce_weight=0.2)
    logits = torch.nn.functional.linear(*student)
    expected = torch.nn.functional.cross_entropy(logits, labels.flatten(), reduction="sum") / 40
    torch.testing.assert_close(ours.loss, expected)
    torch.testing.assert_close(ours.cross_entropy, expected.detach())


def test_validation_has_the_value_without_the_work_for_a_gradient(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    student = Readout(torch.randn(12, 8), torch.randn(20, 8, requires_grad=True), None)
    labels = torch.randint(20, (12,))
    counts = Counts(12, 1)
    expected = fused_loss(student, labels, counts=counts)
    monkeypatch.delattr(fused, "_Gradients")
    with torch.no_grad():
        found = fused_loss(student, labels, counts=counts)
    assert torch.equal(found.loss, expected.loss)
    assert torch.equal(found.cross_entropy, expected.cross_entropy)


def test_logits_themselves_are_a_read_out() -> None:
    """A model that caps its logits has no linear head: its logits go in as they are."""
    student, labels, teachers = case(torch.float64, bias=False)
    features = torch.nn.functional.linear(*student).detach().requires_grad_()
    through_head = fused_loss(
        Readout(*student), labels.flatten(), teachers, counts=COUNTS, ce_weight=0.5
    )
    as_logits = fused_loss(
        Readout(features), labels.flatten(), teachers, counts=COUNTS, ce_weight=0.5
    )
    torch.testing.assert_close(as_logits.loss, through_head.loss)
    (slope,) = torch.autograd.grad(as_logits.loss, [features])
    (expected,) = torch.autograd.grad(through_head.loss, student[:1])
    torch.testing.assert_close(slope @ student[1], expected)


def test_micro_batches_add_up_to_the_step() -> None:
    student, labels, teachers = case(torch.float64, bias=False)
    features, weight = student
    settings = {"counts": COUNTS, "ce_weight": 0.5, "temperature": 2.0}
    whole = fused_loss(Readout(features, weight), labels.flatten(), teachers, **settings).loss
    parts = [
        fused_loss(
            Readout(features[rows], weight),
            labels.flatten()[rows],
            [Readout(t.features[rows], t.weight, t.bias) for t in teachers],
            **settings,
        ).loss
        for rows in (slice(0, 5), slice(5, 15))
    ]
    torch.testing.assert_close(sum(parts), whole)
    torch.testing.assert_close(
        torch.autograd.grad(sum(parts), student), torch.autograd.grad(whole, student)
    )


def test_bf16_products_stay_near_float32() -> None:
    student, labels, teachers = case(torch.float32, bias=False)
    settings = {"counts": COUNTS, "ce_weight": 0.5, "temperature": 2.0}
    exact = fused_loss(Readout(*student), labels.flatten(), teachers, **settings).loss
    with torch.autocast("cpu", torch.bfloat16):
        rounded = fused_loss(Readout(*student), labels.flatten(), teachers, **settings).loss
    assert rounded.dtype == torch.float32
    assert rounded != exact
    torch.testing.assert_close(rounded, exact, rtol=2e-2, atol=0)
    assert all(g.dtype == torch.float32 for g in torch.autograd.grad(rounded, student))
