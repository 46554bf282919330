from collections.abc import Sequence
from typing import Any

import pytest
import torch
from loss_cases import (
    POOLS,
    REDUCTIONS,
    Case,
    assert_same,
    random_case,
)
from torch import Tensor, nn

from babyllama.distillation.loss import (
    DistillationLoss,
    LossTerms,
    Pool,
    Reduction,
    cross_entropy_share,
    distillation_loss,
    pooled_log_probabilities,
)
from babyllama.resolve import load_recipe
from babyllama.tokens.batches import IGNORED, Counts


def by_hand(case: Case, pool: Pool, temperature: float) -> tuple[Tensor, Tensor]:
    """Cross-entropy and KL of every position [B, T], from the definitions."""
    probabilities = torch.softmax(case.student, dim=-1)
    labels = case.labels.clamp(min=0)[..., None]
    nats = -probabilities.gather(-1, labels)[..., 0].log()
    if pool == "logits":
        target = torch.softmax(torch.stack(case.teachers).mean(dim=0) / temperature, dim=-1)
    else:
        target = torch.softmax(torch.stack(case.teachers) / temperature, dim=-1).mean(dim=0)
    soft = torch.softmax(case.student / temperature, dim=-1)
    return nats * (case.labels != IGNORED), (target * (target / soft).log()).sum(dim=-1)


@pytest.mark.parametrize("pool", POOLS)
def test_the_token_loss_is_the_formula_over_predicted_positions(pool: Pool) -> None:
    case = random_case(3, 4, 5)
    nats, kl = by_hand(case, pool, 3.0)
    terms = distillation_loss(*case.batch, temperature=3.0, ce_weight=0.25, pool=pool)
    predicted = case.labels != IGNORED
    cross_entropy, divergence = nats.sum() / 9, kl[predicted].sum() / 9
    expected = 0.25 * cross_entropy + 0.75 * 3.0**2 * divergence
    assert_same(terms, LossTerms(expected, cross_entropy, divergence), 1e-12)


@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_reverse_has_the_kl_of_the_student_to_the_teachers(
    reduction: Reduction, pool: Pool
) -> None:
    case = random_case(3, 4, 5)
    nats, _ = by_hand(case, pool, 3.0)
    soft = torch.softmax(case.student / 3, dim=-1)
    if pool == "logits":
        target = torch.softmax((case.teachers[0] + case.teachers[1]) / 6, dim=-1)
    else:
        target = sum(torch.softmax(logits / 3, dim=-1) for logits in case.teachers) / 2
    kl = (soft * (soft / target).log()).sum(dim=-1)
    divergence = kl[case.labels != IGNORED].sum() / 9 if reduction == "token" else kl.sum() / 3
    expected = 0.25 * nats.sum() / 9 + 0.75 * 3.0**2 * divergence
    given: dict[str, Any] = {"temperature": 3.0, "ce_weight": 0.25, "pool": pool}
    given |= {"kl_reduction": reduction}
    terms = distillation_loss(*case.batch, **given, divergence="reverse")
    assert_same(terms, LossTerms(expected, nats.sum() / 9, divergence), 1e-12)
    assert abs(float(terms.kl - distillation_loss(*case.batch, **given).kl)) > 0.01


@pytest.mark.parametrize("pool", POOLS)
def test_the_sequence_loss_sums_the_kl_of_all_positions(pool: Pool) -> None:
    case = random_case(3, 4, 5)
    nats, kl = by_hand(case, pool, 3.0)
    terms = distillation_loss(
        *case.batch, temperature=3.0, ce_weight=0.25, pool=pool, kl_reduction="sequence"
    )
    cross_entropy, divergence = nats.sum() / 9, kl.sum() / 3
    expected = 0.25 * cross_entropy + 0.75 * 3.0**2 * divergence
    assert_same(terms, LossTerms(expected, cross_entropy, divergence), 1e-12)


def test_an_ignored_position_counts_in_the_sequence_kl_alone() -> None:
    case = random_case(2, 4, 5)
    moved = case.student.clone()
    moved[0, -1] = 0.0
    assert case.labels[0, -1] == IGNORED
    for reduction, changes in (("token", False), ("sequence", True)):
        before = distillation_loss(*case.batch, kl_reduction=reduction)
        after = distillation_loss(moved, case.labels, case.teachers, kl_reduction=reduction)
        assert (not torch.equal(before.kl, after.kl)) == changes
        assert torch.equal(before.cross_entropy, after.cross_entropy)


def test_weights_are_the_shares_of_the_teachers() -> None:
    case = random_case(2, 3, 5)
    first, second = case.teachers
    logits = pooled_log_probabilities(case.teachers, weights=[3, 1])
    torch.testing.assert_close(logits, torch.log_softmax(0.75 * first + 0.25 * second, dim=-1))
    pooled = pooled_log_probabilities(case.teachers, pool="probabilities", weights=[3, 1])
    mixed = 0.75 * torch.softmax(first, dim=-1) + 0.25 * torch.softmax(second, dim=-1)
    torch.testing.assert_close(pooled.exp(), mixed)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_labels_that_are_all_ignored_give_no_nan(reduction: Reduction) -> None:
    case = random_case(2, 3, 5)
    case.labels[:] = IGNORED
    student = case.student.requires_grad_()
    terms = distillation_loss(student, case.labels, case.teachers, kl_reduction=reduction)
    terms.loss.backward()
    assert student.grad is not None
    assert torch.isfinite(student.grad).all()
    assert float(terms.cross_entropy) == 0
    assert (float(terms.kl) > 0) == (reduction == "sequence")


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.float64, 1e-12)])
def test_paper_as_released_is_the_textbook_expression(dtype: torch.dtype, tolerance: float) -> None:
    recipe = load_recipe("paper-as-released").models["student"].distillation
    assert recipe is not None
    case = random_case(4, 128, 50, dtype=dtype)
    temperature, student = 2.0, case.student
    soft_targets = torch.softmax(torch.stack(case.teachers).mean(dim=0) / temperature, dim=-1)
    kl = nn.KLDivLoss(reduction="batchmean")(
        torch.log_softmax(student / temperature, dim=-1), soft_targets
    )
    hard = nn.CrossEntropyLoss()(student[:, :-1].flatten(0, 1), case.labels[:, :-1].flatten())
    expected = 0.5 * hard + 0.5 * temperature**2 * kl

    settings = {"temperature", "ce_weight", "pool", "kl_reduction"}
    loss = DistillationLoss(**recipe.model_dump(include=settings))
    terms = loss(student, case.labels, case.teachers)
    torch.testing.assert_close(terms.loss, expected, rtol=tolerance, atol=0)


def test_the_released_reduction_leaves_cross_entropy_under_one_percent() -> None:
    case = random_case(4, 128, 50)
    terms = distillation_loss(*case.batch, kl_reduction="sequence")
    share = cross_entropy_share(
        float(terms.cross_entropy), float(terms.kl), temperature=2.0, ce_weight=0.5
    )
    assert 0 < share < 0.01


def test_one_teacher_may_be_given_as_its_logits() -> None:
    case = random_case(3, 4, 5, teachers=1)
    for loss in (distillation_loss, DistillationLoss()):
        bare = loss(case.student, case.labels, case.teachers[0])
        assert_same(bare, loss(case.student, case.labels, case.teachers), 0)


@pytest.mark.parametrize("shape", [(5,), (4, 5), (1, 4, 5), (3, 4, 6), (2, 3, 4, 5)])
def test_logits_of_another_shape_than_the_students_are_refused(shape: tuple[int, ...]) -> None:
    case = random_case(3, 4, 5, teachers=1)
    other = torch.zeros(shape)
    sizes = ", ".join(map(str, shape))
    message = rf"teacher 2 have the shape \[{sizes}\], the student's \[3, 4, 5\]"
    with pytest.raises(ValueError, match=message):
        distillation_loss(case.student, case.labels, [*case.teachers, other])
    with pytest.raises(ValueError, match="teacher 1 have the shape"):
        distillation_loss(case.student, case.labels, other)


@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("narrow", [torch.bfloat16, torch.float16])
def test_narrow_logits_are_widened_before_the_softmax(narrow: torch.dtype, pool: Pool) -> None:
    case = random_case(3, 4, 50, dtype=narrow)
    student = case.student.requires_grad_()
    terms = distillation_loss(student, case.labels, case.teachers, pool=pool)
    wide = [logits.double() for logits in (case.student.detach(), *case.teachers)]
    exact = distillation_loss(wide[0], case.labels, wide[1:], pool=pool)
    assert {term.dtype for term in terms} == {torch.float32}
    for ours, expected in zip(terms, exact, strict=True):
        torch.testing.assert_close(ours.double(), expected, rtol=1e-5, atol=0)
    (gradient,) = torch.autograd.grad(terms.loss, student)
    assert gradient.dtype == narrow


def test_float64_logits_give_a_float64_loss() -> None:
    case = random_case(1, 2, 3)
    assert {term.dtype for term in distillation_loss(*case.batch)} == {torch.float64}


def test_the_share_of_cross_entropy_is_its_part_of_the_value() -> None:
    case = random_case(2, 3, 5)
    terms = distillation_loss(*case.batch, temperature=2.0, ce_weight=0.3)
    share = cross_entropy_share(
        float(terms.cross_entropy), float(terms.kl), temperature=2.0, ce_weight=0.3
    )
    assert share * float(terms.loss) == pytest.approx(0.3 * float(terms.cross_entropy))


def test_the_share_of_cross_entropy_is_all_where_there_is_nothing_else() -> None:
    assert cross_entropy_share(2.0, 5.0, temperature=2.0, ce_weight=1.0) == 1
    assert cross_entropy_share(0.0, 0.0, temperature=2.0, ce_weight=0.5) == 1
    assert cross_entropy_share(2.0, 5.0, temperature=2.0, ce_weight=0.0) == 0


@pytest.mark.parametrize(
    ("weights", "teachers"),
    [
        ([1.0, 0.0], 2),
        ([1.0, -1.0], 2),
        ([1.0, float("nan")], 2),
        ([1.0, float("inf")], 2),
        ([1.0], 2),
        ([1.0, 1.0, 1.0], 2),
        (None, 0),
        ([], 0),
    ],
)
def test_weights_that_do_not_fit_the_teachers_are_refused(
    weights: Sequence[float] | None, teachers: int
) -> None:
    logits = [torch.zeros(1, 2, 3)] * teachers
    with pytest.raises(ValueError, match=f"{teachers} teachers"):
        pooled_log_probabilities(logits, weights=weights)


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"temperature": 0.0}, "temperature 0.0"),
        ({"temperature": -1.0}, "temperature -1.0"),
        ({"temperature": float("nan")}, "temperature nan"),
        ({"ce_weight": 1.1}, "ce_weight 1.1"),
        ({"ce_weight": -0.1}, "ce_weight -0.1"),
        ({"pool": "logit"}, "pool 'logit' must be one of logits, probabilities"),
        ({"kl_reduction": "mean"}, "kl_reduction 'mean' must be one of token, sequence"),
        ({"divergence": "back"}, "divergence 'back' must be one of forward, reverse"),
    ],
)
def test_a_setting_out_of_its_range_is_refused(wrong: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        DistillationLoss(**wrong)
    case = random_case(1, 2, 3)
    with pytest.raises(ValueError, match=named):
        distillation_loss(*case.batch, **wrong)


def test_the_module_is_the_function() -> None:
    case = random_case(3, 4, 5)
    held: dict[str, Any] = {
        "temperature": 1.5,
        "ce_weight": 0.2,
        "pool": "probabilities",
        "kl_reduction": "sequence",
        "teacher_weights": [1.0, 2.0],
        "divergence": "reverse",
    }
    module = DistillationLoss(**held)
    for counts in (None, Counts(20, 7)):
        called = module(*case.batch, counts)
        assert_same(called, distillation_loss(*case.batch, **held, counts=counts), 0)
    assert not [*module.parameters()]
