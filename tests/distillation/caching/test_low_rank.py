"""Pooled logits in few numbers: exact at full rank, and the best at less."""

import pytest
import torch
from torch import Tensor

from babyllama.distillation.caching.low_rank import Basis, Head, Moments, fit_basis
from babyllama.distillation.loss import pooled_log_probabilities

SHARES = [0.25, 0.75]


def heads() -> list[Head]:
    torch.manual_seed(2)
    return [Head(torch.randn(30, 4), None), Head(torch.randn(30, 3), torch.randn(30))]


def features(rows: int, seed: int) -> list[Tensor]:
    torch.manual_seed(seed)
    spread = 0.5 ** torch.arange(7)
    mixed = (torch.randn(rows, 7) * spread) @ torch.linalg.qr(torch.randn(7, 7))[0] + 0.3
    return [mixed[:, :4], mixed[:, 4:]]


def basis() -> Basis:
    return fit_basis(heads(), SHARES, Moments([features(100, 3), features(60, 3)]))


def exact(given: list[Tensor]) -> Tensor:
    logits = [
        f @ h.weight.T + (0 if h.bias is None else h.bias)
        for f, h in zip(given, heads(), strict=True)
    ]
    return pooled_log_probabilities(logits, weights=SHARES)


def coded(held: Basis, given: list[Tensor]) -> Tensor:
    logits = held.coordinates(given) @ held.weight.T + held.bias
    return logits.log_softmax(dim=-1)


def test_at_full_rank_the_probabilities_are_those_of_the_pooled_teachers() -> None:
    held = basis()
    assert held.rank == 7  # the constant feature does not vary
    given = features(20, 4)
    torch.testing.assert_close(coded(held, given), exact(given), rtol=0, atol=2e-5)


def test_on_the_text_it_is_fitted_on_coordinates_have_mean_zero_and_variance_one() -> None:
    held = basis()
    found = torch.cat([held.coordinates(features(n, 3)) for n in (100, 60)])
    torch.testing.assert_close(found.mean(dim=0), torch.zeros(7), rtol=0, atol=1e-4)
    torch.testing.assert_close(found.T @ found / 160, torch.eye(7), rtol=0, atol=1e-3)


def test_what_is_cut_off_is_what_moves_the_centred_logits_least() -> None:
    parts = zip(features(100, 3), features(60, 3), strict=True)
    held, given = basis(), [torch.cat(part) for part in parts]
    centred = exact(given) - exact(given).mean(dim=1, keepdim=True)
    values = torch.linalg.svdvals(centred - centred.mean(dim=0))
    for rank in (1, 3, 5):
        less = coded(held.cut(rank), given)
        error = less - less.mean(dim=1, keepdim=True) - centred
        assert float(error.norm()) == pytest.approx(float(values[rank:].norm()), rel=1e-3)


def test_a_constant_in_all_logits_changes_nothing() -> None:
    shifted = [Head(h.weight + 3.0, h.bias) for h in heads()]
    held = fit_basis(shifted, SHARES, Moments([features(100, 3), features(60, 3)]))
    assert held.rank == 7
    given = features(20, 4)
    torch.testing.assert_close(coded(held, given), exact(given), rtol=0, atol=2e-5)
