"""The cross-entropy of a pool as a function of its weights, held against logits in full."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

from babyllama.distillation.loss import Pool
from babyllama.distillation.pooling import Predictions, joined, pool_loss, predictions
from babyllama.models.readout import Readout
from babyllama.tokens.batches import IGNORED

VOCABULARY = 30
POOLS: list[Pool] = ["logits", "probabilities"]


@pytest.fixture
def heard() -> Predictions:
    """Three teachers of other widths; one has a bias, one gives its logits in full."""
    draw = torch.Generator().manual_seed(3)
    rows = 1200  # more than one block
    readouts = [
        Readout(torch.randn(rows, 8, generator=draw), torch.randn(VOCABULARY, 8, generator=draw)),
        Readout(
            torch.randn(rows, 5, generator=draw),
            torch.randn(VOCABULARY, 5, generator=draw),
            torch.randn(VOCABULARY, generator=draw),
        ),
        Readout(torch.randn(rows, VOCABULARY, generator=draw)),
    ]
    return Predictions(readouts, torch.randint(VOCABULARY, (rows,), generator=draw))


def in_full(heard: Predictions, weights: Sequence[float], pool: Pool) -> float:
    """The same number from all logits at once, in float64."""
    z = [dense(readout).double() for readout in heard.readouts]
    if pool == "logits":
        logs = torch.stack([w * x for w, x in zip(weights, z, strict=True)]).sum(0).log_softmax(-1)
    else:
        parts = [w * x.softmax(-1) for w, x in zip(weights, z, strict=True)]
        logs = torch.stack(parts).sum(0).log()
    return -float(logs[torch.arange(len(heard.labels)), heard.labels].mean())


def dense(readout: Readout) -> Tensor:
    if readout.weight is None:
        return readout.features
    bias = torch.zeros(VOCABULARY) if readout.bias is None else readout.bias
    return readout.features @ readout.weight.T + bias


@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("weights", [[0.2, 0.5, 0.3], [1.0, 0.0, 0.0], [0.4, 0.0, 0.6]])
def test_the_value_is_that_of_all_logits_at_once(
    heard: Predictions, pool: Pool, weights: list[float]
) -> None:
    loss = pool_loss(heard, pool)
    expected = in_full(heard, weights, pool)
    assert loss.value(np.array(weights)) == pytest.approx(expected, rel=1e-5)
    assert loss.with_gradient(np.array(weights))[0] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("pool", POOLS)
def test_the_gradient_is_the_slope_of_the_value(heard: Predictions, pool: Pool) -> None:
    weights, step = np.array([0.2, 0.5, 0.3]), 1e-6
    slopes = [
        (in_full(heard, weights + step * one, pool) - in_full(heard, weights - step * one, pool))
        / (2 * step)
        for one in np.eye(3)
    ]
    _, gradient = pool_loss(heard, pool).with_gradient(weights)
    assert gradient == pytest.approx(slopes, rel=1e-4)


def test_a_teacher_that_weighs_nothing_costs_nothing(heard: Predictions) -> None:
    loss = pool_loss(heard, "logits")
    loss.value(np.array([1.0, 0.0, 0.0]))
    assert loss.flops == 2 * 1200 * 8 * VOCABULARY
    loss.value(np.array([0.5, 0.5, 0.0]))
    assert loss.flops == 2 * 1200 * (8 + 8 + 5) * VOCABULARY


def test_positions_without_a_next_token_are_left_out_and_batches_are_joined() -> None:
    labels = torch.tensor([[3, 4, IGNORED], [5, IGNORED, IGNORED]])
    readout = Readout(torch.arange(6.0)[:, None], torch.ones(9, 1))
    found = predictions([readout], labels)
    assert found.labels.tolist() == [3, 4, 5]
    assert found.readouts[0].features[:, 0].tolist() == [0, 1, 3]
    twice = joined([found, found])
    assert twice.labels.tolist() == [3, 4, 5, 3, 4, 5]
    assert twice.readouts[0].features[:, 0].tolist() == [0, 1, 3, 0, 1, 3]
    assert twice.readouts[0].weight is readout.weight
