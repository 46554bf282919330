"""The certificate against a direct computation, and where it must be nothing."""

import itertools
import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from babyllama.distillation.caching.certificate import CONFUSED, Pooling, certify
from babyllama.distillation.loss import Divergence, Pool, pooled_log_probabilities
from babyllama.models.readout import Readout

WEIGHTS = [1.0, 3.0]


def readouts() -> list[Readout]:
    torch.manual_seed(1)
    sizes = (3, 4)
    return [Readout(torch.randn(9, d), torch.randn(11, d), torch.randn(11)) for d in sizes]


def noisy(size: float) -> list[Readout]:
    torch.manual_seed(2)
    return [
        r._replace(features=r.features + size * torch.randn_like(r.features)) for r in readouts()
    ]


def targets(given: list[Readout], pool: Pool, temperature: float) -> Tensor:
    logits = [r.logits(slice(None)).double() for r in given]
    return pooled_log_probabilities(logits, temperature=temperature, pool=pool, weights=WEIGHTS)


@pytest.mark.parametrize("pool", ["logits", "probabilities"])
@pytest.mark.parametrize("temperature", [1.0, 2.0])
@pytest.mark.parametrize("divergence", ["forward", "reverse"])
def test_it_is_the_kl_and_the_angle_of_the_gradients_at_a_students_head(
    divergence: Divergence, pool: Pool, temperature: float
) -> None:
    pair = Pooling(readouts(), WEIGHTS, pool), Pooling(noisy(0.1), WEIGHTS, pool)
    found = certify(*pair, temperature, divergence)
    log_q, log_cached = (targets(r, pool, temperature) for r in (readouts(), noisy(0.1)))
    kl = functional.kl_div(log_cached, log_q, log_target=True, reduction="batchmean")
    assert found.kl == pytest.approx(float(kl), rel=1e-4)
    features = torch.cat([r.features for r in readouts()], dim=1).double()
    student = (1 - CONFUSED) * log_q + CONFUSED * log_q.roll(1, dims=0)
    gradients = []
    for target in (log_q, log_cached):
        # Logits that give the student's probabilities, and through them the gradient at a head.
        head = torch.zeros(11, 7, dtype=torch.float64, requires_grad=True)
        logits = student + features @ head.T
        sides = [logits.log_softmax(-1), target]
        if divergence == "reverse":
            sides.reverse()
        functional.kl_div(*sides, log_target=True, reduction="sum").backward()
        assert head.grad is not None
        gradients.append(head.grad.flatten())
    cosine = functional.cosine_similarity(*gradients, dim=0)
    assert found.angle == pytest.approx(math.degrees(math.acos(float(cosine))), rel=1e-3)
    assert (found.positions, found.divergence) == (9, divergence)


def test_the_two_divergences_have_angles_of_their_own() -> None:
    pair = Pooling(readouts(), WEIGHTS), Pooling(noisy(0.1), WEIGHTS)
    forward, reverse = (certify(*pair, 2.0, d).angle for d in ("forward", "reverse"))
    assert abs(forward / reverse - 1) > 0.01


def test_the_signal_itself_is_off_by_nothing() -> None:
    for divergence in ("forward", "reverse"):
        same = Pooling(readouts(), WEIGHTS), Pooling(readouts(), WEIGHTS)
        found = certify(*same, 2.0, divergence)
        assert (found.kl, found.angle) == (0.0, 0.0)


def test_a_small_error_is_seen_and_a_larger_one_is_larger() -> None:
    errors = [
        certify(Pooling(readouts(), WEIGHTS), Pooling(noisy(size), WEIGHTS), 2.0)
        for size in (1e-4, 1e-3, 1e-2, 1e-1)
    ]
    for smaller, larger in itertools.pairwise(errors):
        assert 0 < smaller.kl < larger.kl
        assert larger.angle == pytest.approx(10 * smaller.angle, rel=0.5)


def test_it_says_what_was_measured() -> None:
    found = certify(Pooling(readouts(), WEIGHTS), Pooling(noisy(0.1), WEIGHTS), 2.0)
    assert str(found) == (
        f"{found.angle:.2f} degrees, {found.kl:.2g} nats at temperature 2 (9 held-out positions)"
    )
