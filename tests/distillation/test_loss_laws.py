"""What holds of the loss for all logits, labels, weights and settings, in float64."""

import math
from typing import Any

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from loss_cases import (
    DIVERGENCES,
    KINDS,
    LAW,
    POOLS,
    Case,
    assert_same,
    cases,
    loss_settings,
    random_case,
)
from torch import Tensor, nn
from torch.nn import functional

from babyllama.distillation.loss import (
    LEAST_LOG,
    DistillationLoss,
    Divergence,
    LossTerms,
    Pool,
    Reduction,
    distillation_loss,
    pooled_log_probabilities,
)
from babyllama.tokens.batches import IGNORED, Counts


@LAW
@given(cases(most_teachers=1), loss_settings())
def test_a_student_that_equals_its_teacher_has_no_kl_and_no_gradient_from_it(
    case: Case, chosen: dict[str, Any]
) -> None:
    student = case.student.clone().requires_grad_()
    terms = distillation_loss(student, case.labels, [case.student], **chosen | {"ce_weight": 0.0})
    assert abs(float(terms.kl)) < 1e-12
    (gradient,) = torch.autograd.grad(terms.loss, student)
    assert float(gradient.abs().max()) < 1e-12


@LAW
@given(cases(), loss_settings())
def test_kl_is_never_negative(case: Case, chosen: dict[str, Any]) -> None:
    assert float(distillation_loss(*case.batch, **chosen).kl) > -1e-12


@LAW
@given(cases(most_teachers=1), loss_settings(), st.floats(0.1, 10))
def test_an_ensemble_of_one_is_that_teacher(
    case: Case, chosen: dict[str, Any], weight: float
) -> None:
    temperature = chosen["temperature"]
    alone = functional.log_softmax(case.teachers[0] / temperature, dim=-1)
    for pool in POOLS:
        pooled = pooled_log_probabilities(
            case.teachers, temperature=temperature, pool=pool, weights=[weight]
        )
        torch.testing.assert_close(pooled, alone, rtol=1e-12, atol=1e-12)


@LAW
@given(cases(), loss_settings(), st.integers(2, 3))
def test_a_teacher_listed_many_times_is_one_teacher(
    case: Case, chosen: dict[str, Any], times: int
) -> None:
    once = distillation_loss(case.student, case.labels, case.teachers[:1], **chosen)
    many = distillation_loss(case.student, case.labels, case.teachers[:1] * times, **chosen)
    assert_same(once, many)


@LAW
@given(cases(), loss_settings(), st.randoms(use_true_random=False))
def test_the_order_of_the_teachers_does_not_matter(
    case: Case, chosen: dict[str, Any], random: Any
) -> None:
    order = random.sample(range(len(case.teachers)), len(case.teachers))
    straight = distillation_loss(*case.batch, **chosen, teacher_weights=case.weights)
    shuffled = distillation_loss(
        case.student,
        case.labels,
        [case.teachers[i] for i in order],
        **chosen,
        teacher_weights=[case.weights[i] for i in order],
    )
    assert_same(straight, shuffled)


@LAW
@given(cases(), loss_settings(), st.floats(-50, 50))
def test_a_constant_added_to_a_teachers_logits_at_a_position_changes_nothing(
    case: Case, chosen: dict[str, Any], constant: float
) -> None:
    moved = [z.clone() for z in case.teachers]
    moved[-1][0, -1] += constant
    before = distillation_loss(*case.batch, **chosen, teacher_weights=case.weights)
    after = distillation_loss(
        case.student, case.labels, moved, **chosen, teacher_weights=case.weights
    )
    assert_same(before, after)


@LAW
@given(cases(), loss_settings(), st.floats(1e-3, 1e3))
def test_only_the_proportions_of_the_weights_matter(
    case: Case, chosen: dict[str, Any], scale: float
) -> None:
    plain = distillation_loss(*case.batch, **chosen, teacher_weights=case.weights)
    scaled = [scale * w for w in case.weights]
    assert_same(plain, distillation_loss(*case.batch, **chosen, teacher_weights=scaled))


@LAW
@given(cases(), loss_settings())
def test_inputs_are_left_as_they_were(case: Case, chosen: dict[str, Any]) -> None:
    student = case.student.clone().requires_grad_()
    before = [x.clone() for x in (student, case.labels, *case.teachers)]
    distillation_loss(student, case.labels, case.teachers, **chosen).loss.backward()
    pooled_log_probabilities(case.teachers, pool=chosen["pool"])
    after = [student, case.labels, *case.teachers]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


@LAW
@given(cases(), st.sampled_from(POOLS))
def test_pooled_probabilities_sum_to_one(case: Case, pool: Pool) -> None:
    pooled = pooled_log_probabilities(case.teachers, pool=pool, weights=case.weights)
    sums = pooled.exp().sum(dim=-1)
    torch.testing.assert_close(sums, torch.ones_like(sums), rtol=1e-12, atol=0)


@LAW
@given(cases(), loss_settings(), st.randoms(use_true_random=False))
def test_micro_batches_add_up_to_the_step(case: Case, chosen: dict[str, Any], random: Any) -> None:
    cut = random.randint(1, len(case.labels))
    whole = Counts(int((case.labels != IGNORED).sum()), len(case.labels))
    at_once = distillation_loss(*case.batch, **chosen)
    parts = [
        distillation_loss(
            case.student[rows],
            case.labels[rows],
            [z[rows] for z in case.teachers],
            **chosen,
            counts=whole,
        )
        for rows in (slice(cut), slice(cut, None))
        if len(case.labels[rows])
    ]
    sums = LossTerms(*(sum(values, torch.tensor(0.0)) for values in zip(*parts, strict=True)))
    assert_same(at_once, sums)


@pytest.mark.parametrize("divergence", DIVERGENCES)
@pytest.mark.parametrize(("pool", "reduction"), KINDS)
def test_the_gradient_is_that_of_the_value(
    pool: Pool, reduction: Reduction, divergence: Divergence
) -> None:
    case = random_case(2, 3, 5)
    loss = DistillationLoss(
        temperature=1.7,
        ce_weight=0.3,
        pool=pool,
        kl_reduction=reduction,
        teacher_weights=[1.0, 3.0],
        divergence=divergence,
    )
    assert torch.autograd.gradcheck(
        lambda logits: loss(logits, case.labels, case.teachers).loss,
        case.student.requires_grad_(),
    )


def test_no_gradient_flows_to_the_teachers() -> None:
    case = random_case(2, 3, 5)
    teachers = [z.requires_grad_() for z in case.teachers]
    loss = distillation_loss(case.student.requires_grad_(), case.labels, teachers).loss
    loss.backward()
    assert case.student.grad is not None
    assert [z.grad for z in teachers] == [None, None]


@pytest.mark.parametrize(("pool", "reduction"), KINDS)
@pytest.mark.parametrize("size", [8, 5, 1])
def test_one_batch_of_16_has_the_raw_gradient_of_its_parts(
    pool: Pool, reduction: Reduction, size: int
) -> None:
    case = random_case(16, 4, 7)
    # Spread unevenly, so that a mean of means would differ: one part may have none at all.
    case.labels[:5] = IGNORED
    case.labels[9, 1:] = IGNORED
    weight = torch.randn(7, 7, dtype=torch.float64).requires_grad_()
    whole = Counts(int((case.labels != IGNORED).sum()), 16)

    def gradient(size: int) -> Tensor:
        weight.grad = None
        for rows in torch.arange(16).split(size):
            distillation_loss(
                case.student[rows] @ weight,
                case.labels[rows],
                [z[rows] for z in case.teachers],
                pool=pool,
                kl_reduction=reduction,
                counts=whole,
            ).loss.backward()
        assert weight.grad is not None
        return weight.grad

    torch.testing.assert_close(gradient(size), gradient(16), rtol=1e-12, atol=1e-14)


@LAW
@given(cases(), loss_settings(), st.data())
def test_an_id_that_the_teachers_rule_out_adds_nothing(
    case: Case, chosen: dict[str, Any], data: st.DataObject
) -> None:
    ruled_out = data.draw(
        st.lists(st.booleans(), min_size=case.vocabulary, max_size=case.vocabulary)
    )
    assume(not all(ruled_out))
    mask = torch.tensor(ruled_out)
    teachers = [logits.masked_fill(mask, -math.inf) for logits in case.teachers]
    temperature, student = chosen["temperature"], case.student.clone().requires_grad_()
    chosen |= {"ce_weight": 0.0, "kl_reduction": "sequence", "divergence": "forward"}
    terms = distillation_loss(student, case.labels, teachers, **chosen)
    (gradient,) = torch.autograd.grad(terms.loss, student)

    pooled = pooled_log_probabilities(teachers, temperature=temperature, pool=chosen["pool"])
    log_student = functional.log_softmax(student / temperature, dim=-1)
    kl = nn.KLDivLoss(reduction="batchmean")(log_student, pooled.exp())
    torch.testing.assert_close(terms.kl, kl.detach(), rtol=1e-9, atol=1e-12)
    (expected,) = torch.autograd.grad(temperature**2 * kl, student)
    torch.testing.assert_close(gradient, expected, rtol=1e-9, atol=1e-12)


@LAW
@given(cases(), loss_settings(), st.data())
def test_reverse_an_id_that_the_teachers_rule_out_costs_as_the_least_float_and_is_driven_out(
    case: Case, chosen: dict[str, Any], data: st.DataObject
) -> None:
    ruled_out = data.draw(
        st.lists(st.booleans(), min_size=case.vocabulary, max_size=case.vocabulary)
    )
    assume(any(ruled_out) and not all(ruled_out))
    mask = torch.tensor(ruled_out)
    teachers = [logits.masked_fill(mask, -math.inf) for logits in case.teachers]
    temperature, student = chosen["temperature"], case.student.clone().requires_grad_()
    chosen |= {"ce_weight": 0.0, "kl_reduction": "sequence", "divergence": "reverse"}
    terms = distillation_loss(student, case.labels, teachers, **chosen)
    (gradient,) = torch.autograd.grad(terms.loss, student)

    pooled = pooled_log_probabilities(teachers, temperature=temperature, pool=chosen["pool"])
    p = functional.softmax(case.student / temperature, dim=-1)
    costs = torch.where(mask, -math.log(2.0**-126), -pooled)  # the least normal number of float32
    expected = (torch.special.xlogy(p, p) + p * costs).sum() / len(case.labels)
    torch.testing.assert_close(terms.kl, expected, rtol=1e-9, atol=1e-12)
    assert torch.isfinite(gradient).all()
    assert (gradient[..., mask].sum(dim=-1) >= 0).all()
    assert pytest.approx(-126 * math.log(2)) == LEAST_LOG


@pytest.mark.parametrize("divergence", DIVERGENCES)
def test_an_id_that_student_and_teachers_rule_out_adds_nothing(divergence: Divergence) -> None:
    case = random_case(2, 3, 5)
    case.labels.clamp_(max=3)
    shorter = distillation_loss(
        case.student[..., :4],
        case.labels,
        [logits[..., :4] for logits in case.teachers],
        divergence=divergence,
    )
    for logits in (case.student, *case.teachers):
        logits[..., 4] = -math.inf
    student = case.student.requires_grad_()
    masked = distillation_loss(student, case.labels, case.teachers, divergence=divergence)
    assert_same(masked, shorter, 1e-12)
    assert torch.isfinite(torch.autograd.grad(masked.loss, student)[0]).all()


@LAW
@given(cases(), loss_settings())
def test_the_kl_carries_the_temperature_squared(case: Case, chosen: dict[str, Any]) -> None:
    temperature = chosen["temperature"]
    terms = distillation_loss(*case.batch, **chosen | {"ce_weight": 0.0})
    torch.testing.assert_close(terms.loss, temperature**2 * terms.kl)


@LAW
@given(cases(), loss_settings())
def test_ce_weight_one_is_cross_entropy_alone(case: Case, chosen: dict[str, Any]) -> None:
    assume(bool((case.labels != IGNORED).any()))
    terms = distillation_loss(*case.batch, **chosen | {"ce_weight": 1.0})
    expected = functional.cross_entropy(case.student.flatten(0, 1), case.labels.flatten())
    torch.testing.assert_close(terms.loss, expected)
