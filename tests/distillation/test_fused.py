"""The fused loss is the dense one: same value, same gradient, without the logits."""

import itertools
import math

import pytest
import torch
from torch import Tensor

from babyllama.distillation import fused
from babyllama.distillation.fused import fused_loss
from babyllama.distillation.loss import distillation_loss
from babyllama.errors import RecipeError
from babyllama.models import readout
from babyllama.models.readout import Readout
from babyllama.tokens.batches import IGNORED, Counts

BATCH, TIME, VOCABULARY, WIDTH = 3, 5, 11, 4
COUNTS = Counts(tokens=40, sequences=8)  # of a larger step that this micro-batch is a part of


@pytest.fixture(autouse=True)
def several_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of 8 rows in chunks of 3, so that 15 rows are two of them, unequal."""
    monkeypatch.setitem(readout.CHUNK_LOGITS, "cpu", 3 * VOCABULARY)
    monkeypatch.setattr(readout, "PRODUCT_ROWS", 8)


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


@pytest.mark.parametrize("divergence", ["forward", "reverse"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize(
    ("pool", "reduction", "bias"),
    [*itertools.product(["logits", "probabilities"], ["token", "sequence"], [True, False])],
)
def test_value_and_gradient_are_those_of_the_dense_loss(
    dtype: torch.dtype, pool: str, reduction: str, bias: bool, divergence: str
) -> None:
    tolerance = 1e-12 if dtype == torch.float64 else 2e-6
    student, labels, teachers = case(dtype, bias=bias)
    settings = {
        "temperature": 2.0,
        "ce_weight": 0.3,
        "pool": pool,
        "kl_reduction": reduction,
        "teacher_weights": [1.0, 3.0],
        "divergence": divergence,
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


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("divergence", ["forward", "reverse"])
@pytest.mark.parametrize("pool", ["logits", "probabilities"])
@pytest.mark.parametrize("reduction", ["token", "sequence"])
def test_ids_that_teachers_rule_out_leave_value_and_gradient_those_of_the_dense_loss(
    pool: str, reduction: str, divergence: str, dtype: torch.dtype
) -> None:
    student, labels, teachers = case(dtype, bias=True)
    for teacher in teachers:  # of the first two ids, the second teacher rules out only one
        assert teacher.bias is not None
        teacher.bias[: 2 if teacher is teachers[0] else 1] = -math.inf
    settings = {"ce_weight": 0.3, "pool": pool, "kl_reduction": reduction, "counts": COUNTS}
    settings["divergence"] = divergence
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


EDGES: dict[str, dict[str, object]] = {
    "as it is": {},
    "cold": {"temperature": 0.5},
    "at one": {"temperature": 1.0},
    "at three": {"temperature": 3.0},
    "hot": {"temperature": 8.0},
    "KL alone": {"ce_weight": 0.0},
    "cross-entropy alone": {"ce_weight": 1.0},
    "three teachers": {"teachers": 3, "teacher_weights": [1.0, 3.0, 0.5]},
    "one teacher": {"teachers": 1},
    "no bias": {"bias": False},
    "weights": {"ce_weights": 1, "kl_weights": 1},
    "one token": {"rows": slice(2, 3)},
    "nothing predicted": {"rows": slice(4, 5)},
}


def edge(name: str, dtype: torch.dtype) -> tuple[list[Tensor], Tensor, list[Readout], dict]:
    """Student, labels [N], teachers, and the settings that both losses take."""
    chosen = {"temperature": 2.0, "ce_weight": 0.3, "teachers": 2, "bias": True} | EDGES[name]
    student, labels, teachers = case(dtype, bias=bool(chosen.pop("bias")))
    rows, number = chosen.pop("rows", slice(None)), chosen.pop("teachers")
    student[0] = student[0].detach()[rows].requires_grad_()
    taught = [*teachers, teachers[0]._replace(features=teachers[0].features.flip(0))][:number]
    for key in ("ce_weights", "kl_weights"):
        if key in chosen:
            chosen[key] = torch.rand(BATCH * TIME, dtype=dtype).round(decimals=1)
    taught = [t._replace(features=t.features[rows]) for t in taught]
    return student, labels.flatten()[rows], taught, chosen | {"counts": COUNTS}


@pytest.mark.parametrize("pool", ["logits", "probabilities"])
@pytest.mark.parametrize("reduction", ["token", "sequence"])
@pytest.mark.parametrize("divergence", ["forward", "reverse"])
@pytest.mark.parametrize("name", EDGES)
def test_gradient_passes_gradcheck_and_float32_is_the_dense_loss_at_every_edge(
    name: str, divergence: str, reduction: str, pool: str
) -> None:
    kind = {"pool": pool, "kl_reduction": reduction, "divergence": divergence}
    student, labels, teachers, settings = edge(name, torch.float64)

    def loss(*tensors: Tensor) -> Tensor:
        return fused_loss(Readout(*tensors), labels, teachers, **settings, **kind).loss

    assert torch.autograd.gradcheck(loss, student, fast_mode=name != "as it is")
    student, labels, teachers, settings = edge(name, torch.float32)
    ours = fused_loss(Readout(*student), labels, teachers, **settings, **kind)
    dense_settings = {
        k: v[None] if k.endswith("_weights") and isinstance(v, Tensor) else v
        for k, v in settings.items()
    }
    dense = distillation_loss(
        torch.nn.functional.linear(*student)[None],
        labels[None],
        [teacher.logits(slice(None))[None] for teacher in teachers],
        **dense_settings,
        **kind,
    )
    torch.testing.assert_close(tuple(ours), tuple(dense), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(
        torch.autograd.grad(ours.loss, student),
        torch.autograd.grad(dense.loss, student),
        rtol=1e-6,
        atol=1e-6,
    )


def test_a_tied_head_gets_both_of_its_gradients() -> None:
    _, labels, teachers = case(torch.float64, bias=False)
    table = torch.randn(VOCABULARY, WIDTH, dtype=torch.float64, requires_grad=True)
    features = torch.tanh(table[torch.arange(BATCH * TIME) % VOCABULARY])
    settings = {"counts": COUNTS, "ce_weight": 0.3, "temperature": 2.0}
    ours = fused_loss(Readout(features, table), labels.flatten(), teachers, **settings)
    dense = distillation_loss(
        (features @ table.T)[None],
        labels.flatten()[None],
        [teacher.logits(slice(None))[None] for teacher in teachers],
        **settings,
    )
    (found,) = torch.autograd.grad(ours.loss, table, retain_graph=True)
    (expected,) = torch.autograd.grad(dense.loss, table)
    torch.testing.assert_close(found, expected)


def test_a_frozen_head_costs_no_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    (features, weight, bias), labels, _ = case(torch.float32, bias=True)
    made: list[fused._Gradients] = []
    add = fused._Gradients.add
    monkeypatch.setattr(fused._Gradients, "add", lambda s, *a: (made.append(s), add(s, *a))[1])
    frozen = Readout(features, weight.detach(), bias.detach())
    fused_loss(frozen, labels.flatten(), counts=COUNTS).loss.backward()
    assert features.grad is not None
    assert made[0].weight is made[0].bias is None
    made.clear()
    trained = Readout(features.detach(), weight, bias.detach())
    fused_loss(trained, labels.flatten(), counts=COUNTS).loss.backward()
    assert weight.grad is not None
    assert made[0].features is made[0].bias is None


def test_float16_is_refused_by_name() -> None:
    student, labels, teachers = case(torch.float32, bias=False)
    refused = pytest.raises(RecipeError, match=r"float16 .* bf16 or fp32")
    with refused, torch.autocast("cpu", torch.float16):
        fused_loss(Readout(*student), labels.flatten(), counts=COUNTS)
    half = Readout(*student).to(torch.float16)
    with pytest.raises(RecipeError, match="float16"):
        fused_loss(half, labels.flatten(), counts=COUNTS)
    with pytest.raises(RecipeError, match="float16"):
        fused_loss(
            Readout(*student), labels.flatten(), [teachers[0].to(torch.float16)], counts=COUNTS
        )


def test_without_teachers_it_is_cross_entropy() -> None:
    student, labels, _ = case(torch.float64, bias=False)
    ours = fused_loss(Readout(*student), labels.flatten(), counts=COUNTS, ce_weight=0.2)
    logits = torch.nn.functional.linear(*student)
    expected = torch.nn.functional.cross_entropy(logits, labels.flatten(), reduction="sum") / 40
    torch.testing.assert_close(ours.loss, expected)
    torch.testing.assert_close(ours.cross_entropy, expected.detach())


def test_a_position_that_counts_for_nothing_may_be_infinitely_wrong() -> None:
    """An ignored label is looked up as id 0, which this student rules out."""
    (features, weight, bias), labels, _ = case(torch.float64, bias=True)
    with torch.no_grad():
        bias[0] = -math.inf
    labels = labels.masked_fill(labels == 0, 1).flatten()
    assert (labels == IGNORED).any()
    logits = torch.nn.functional.linear(features, weight, bias)
    summed = torch.nn.functional.cross_entropy(logits, labels, reduction="sum")
    ours = fused_loss(Readout(features, weight, bias), labels, counts=COUNTS)
    torch.testing.assert_close(ours.loss, summed / COUNTS.tokens)


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


@pytest.mark.parametrize("pool", ["logits", "probabilities"])
def test_the_softmax_of_bf16_logits_is_in_float32(pool: str) -> None:
    student, labels, teachers = case(torch.float32, bias=False)
    narrow = torch.nn.functional.linear(*student).detach().bfloat16()
    taught = [teacher.logits(slice(None)).bfloat16() for teacher in teachers]
    settings = {"counts": COUNTS, "ce_weight": 0.5, "temperature": 2.0, "pool": pool}
    in_bf16 = fused_loss(Readout(narrow), labels.flatten(), [*map(Readout, taught)], **settings)
    wide = [Readout(logits.float()) for logits in taught]
    in_float32 = fused_loss(Readout(narrow.float()), labels.flatten(), wide, **settings)
    torch.testing.assert_close(tuple(in_bf16), tuple(in_float32), rtol=1e-6, atol=0)


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
