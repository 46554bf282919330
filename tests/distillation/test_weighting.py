"""Weights that are learned, and teachers that are chosen, held against trying them all."""

from itertools import product

import numpy as np
import pytest
import torch

from babyllama.distillation.loss import Pool
from babyllama.distillation.pooling import PoolLoss, Predictions, pool_loss
from babyllama.distillation.weighting import choose, learned_weights
from babyllama.models.readout import Readout

POOLS: list[Pool] = ["logits", "probabilities"]
EQUAL = np.full(3, 1 / 3)


def pooled(pool: Pool, *strengths: float) -> PoolLoss:
    """Teachers whose features point at the token that comes, more or less."""
    draw, rows, words, width = torch.Generator().manual_seed(5), 400, 20, 6
    labels = torch.randint(words, (rows,), generator=draw)
    readouts = []
    for strength in strengths:
        head = torch.randn(words, width, generator=draw)
        noise = torch.randn(rows, width, generator=draw)
        readouts.append(Readout(strength * head[labels] + noise, head))
    return pool_loss(Predictions(readouts, labels), pool)


@pytest.mark.parametrize("pool", POOLS)
def test_no_weights_of_a_grid_are_better_than_those_learned(pool: Pool) -> None:
    loss = pooled(pool, 0.4, 0.2, 0.3)
    learned = learned_weights(loss, 3)
    assert learned.sum() == pytest.approx(1)
    assert min(learned) >= 0
    grid = [np.array([a, b, 20 - a - b]) / 20 for a, b in product(range(21), repeat=2)]
    best = min((w for w in grid if min(w) >= 0), key=loss.value)
    assert loss.value(learned) <= loss.value(best) + 1e-7
    assert learned == pytest.approx(best, abs=0.05)


@pytest.mark.parametrize("pool", POOLS)
def test_a_teacher_that_says_nothing_is_left_out(pool: Pool) -> None:
    learned = learned_weights(pooled(pool, 1.5, -0.8, 1.4), 3)
    assert learned[1] == 0
    assert min(learned[[0, 2]]) > 0.1


@pytest.mark.parametrize("pool", POOLS)
def test_the_same_predictions_give_the_same_weights(pool: Pool) -> None:
    one, other = (learned_weights(pooled(pool, 0.4, 0.2, 0.3), 3) for _ in range(2))
    assert one.tolist() == other.tolist()


class Strange:
    """A loss that no solver can make sense of."""

    flops = 0.0

    def value(self, weights: np.ndarray) -> float:
        return float(abs(weights - EQUAL).sum())

    def with_gradient(self, weights: np.ndarray) -> tuple[float, np.ndarray]:
        return self.value(weights), np.array([1.0, 2.0, -3.0])


def test_learned_weights_are_never_worse_than_equal_ones() -> None:
    assert learned_weights(Strange(), 3) == pytest.approx(EQUAL)


@pytest.mark.parametrize("pool", POOLS)
def test_each_teacher_that_is_chosen_is_the_best_addition(pool: Pool) -> None:
    loss = pooled(pool, 0.1, 0.5, 0.3)
    first, second = choose(loss, EQUAL, 2)
    alone = [loss.value(one) for one in np.eye(3)]
    assert (first.teacher, first.cross_entropy) == (1, pytest.approx(min(alone)))
    halves = {k: loss.value((np.eye(3)[1] + np.eye(3)[k]) / 2) for k in (0, 2)}
    assert second.teacher == min(halves, key=lambda k: halves[k])
    assert second.cross_entropy == pytest.approx(min(halves.values()))


def test_given_weights_count_when_teachers_are_chosen() -> None:
    loss = pooled("logits", 0.1, 0.5, 0.3)
    found = choose(loss, np.array([0.2, 0.6, 0.2]), 2)
    weights = np.zeros(3)
    weights[[one.teacher for one in found]] = [0.75, 0.25]
    assert found[-1].cross_entropy == pytest.approx(loss.value(weights))


def test_of_equal_teachers_the_first_is_chosen_and_none_twice() -> None:
    readout = Readout(torch.ones(5, 2), torch.ones(4, 2))
    same = Predictions([readout] * 3, torch.zeros(5, dtype=torch.int64))
    assert [one.teacher for one in choose(pool_loss(same, "logits"), EQUAL, 3)] == [0, 1, 2]
