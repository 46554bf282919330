"""Training on one task: its steps, its best moment, its end."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import get_linear_schedule_with_warmup

from babyllama.errors import DivergedError, StoppedError
from babyllama.evaluation.finetuning import training as module
from babyllama.evaluation.finetuning.classifier import Classifier, make_classifier
from babyllama.evaluation.finetuning.presets import Settings
from babyllama.evaluation.finetuning.tasks import TASKS
from babyllama.evaluation.finetuning.training import Fit, Items, fit
from babyllama.seeds import generator

from .conftest import QUICK

TRAIN = Items([(n + 3, 40 + n % 2) for n in range(20)], [n % 2 for n in range(20)])
SELECTION = Items([(n + 60, 40 + n % 2, 9) for n in range(12)], [n % 2 for n in range(12)])
Make = Callable[[], Classifier]


@pytest.fixture
def make(pretrained: Path, tokenizer: Any) -> Make:
    cpu = torch.device("cpu")
    return lambda: make_classifier(
        pretrained, TASKS["rte"], tokenizer, seed=1, device=cpu, precision="fp32"
    )


def fitted(classifier: Classifier, settings: Settings = QUICK, train: Items = TRAIN) -> Fit:
    return fit(
        classifier, train, SELECTION, settings, "accuracy", label="tiny rte", pause=lambda: None
    )


def script(monkeypatch: pytest.MonkeyPatch, scores: Sequence[float]) -> None:
    """Let the evaluations of a training have these scores."""
    left: Iterator[float] = iter(scores)
    monkeypatch.setattr(module, "metric_value", lambda *_: next(left))


def weights(classifier: Classifier) -> dict[str, torch.Tensor]:
    return {name: part.clone() for name, part in classifier.model.state_dict().items()}


def test_a_task_is_learned(make: Make) -> None:
    found = fitted(make(), replace(QUICK, max_epochs=20, batch_size=4, learning_rate=3e-3))
    assert found.best.score == 1
    assert found.curve[-1].training_loss < found.curve[0].training_loss / 2


def test_the_side_of_the_padding_moves_no_score(make: Make) -> None:
    mixed = Items(
        [(*range(3, 4 + n % 5), row[1]) for n, row in enumerate(TRAIN.rows)], TRAIN.labels
    )
    right = make()
    left = Classifier(**{**vars(make()), "side": "left"})
    found = [fitted(classifier, train=mixed).curve for classifier in (right, left)]
    for one, other in zip(*found, strict=True):
        assert one.score == other.score
        assert one.loss == pytest.approx(other.loss, rel=1e-3)


def test_the_selection_split_is_scored_every_so_many_steps_and_at_every_epochs_end(
    make: Make,
) -> None:
    curve = fitted(make(), replace(QUICK, eval_every_steps=2)).curve
    assert [(moment.step, round(moment.epoch, 3)) for moment in curve] == [
        (2, 0.667),
        (3, 1.0),
        (4, 1.333),
        (6, 2.0),
    ]


def test_steps_are_those_of_adamw_with_a_linear_schedule(make: Make) -> None:
    classifier, plain = make(), make()
    settings = replace(QUICK, max_epochs=1)
    fitted(classifier, settings)
    model = plain.model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=settings.learning_rate, weight_decay=0)
    schedule = get_linear_schedule_with_warmup(optimizer, 0, 3)
    order = generator(settings.seed, "fine-tuning order", 0).permutation(20)
    for places in (order[:8], order[8:16], order[16:]):
        rows = torch.tensor([TRAIN.rows[at] for at in places])
        gold = torch.tensor([TRAIN.labels[at] for at in places])
        loss = model(rows, attention_mask=torch.ones_like(rows), labels=gold).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
    expected = plain.model.state_dict()
    for name, part in classifier.model.state_dict().items():
        torch.testing.assert_close(part, expected[name], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("losses", "best"), [((4, 2, 3, 1), 1), ((4, 3, 2, 1), 2)])
def test_the_weights_of_the_best_evaluation_come_back(
    make: Make, monkeypatch: pytest.MonkeyPatch, losses: Sequence[float], best: int
) -> None:
    classifier, seen = make(), []
    scores, left = iter([0.2, 0.8, 0.8, 0.5]), iter(losses)
    plain = module.cross_entropy

    def measured(*_: object) -> float:
        seen.append(weights(classifier))
        return next(scores)

    def loss(logits: torch.Tensor, gold: torch.Tensor) -> torch.Tensor:
        selecting = logits.dtype == torch.float64
        return torch.tensor(float(next(left))) if selecting else plain(logits, gold)

    monkeypatch.setattr(module, "metric_value", measured)
    monkeypatch.setattr(module, "cross_entropy", loss)
    found = fitted(classifier, replace(QUICK, eval_every_steps=2))
    assert (found.best, found.best.score) == (
        replace(found.curve[best], standard_error=found.best.standard_error),
        0.8,
    )
    after = weights(classifier)
    assert all(torch.equal(after[name], seen[best][name]) for name in after)
    assert not torch.equal(seen[1]["score.weight"], seen[2]["score.weight"])
    assert found.best.standard_error is not None


def test_training_ends_after_so_many_evaluations_without_a_higher_score(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    script(monkeypatch, [0.1, 0.5, 0.5, 0.6, 0.6, 0.5, 0.9])
    settings = replace(QUICK, eval_every_steps=1, max_epochs=9, patience=2)
    found = fitted(make(), settings)
    assert [moment.score for moment in found.curve] == [0.1, 0.5, 0.5, 0.6, 0.6, 0.5]
    assert found.best.score == 0.6


def test_a_seed_decides_all_of_it(make: Make) -> None:
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    first, second, other = make(), make(), make()
    assert fitted(first).curve == fitted(second).curve
    assert torch.equal(torch.random.get_rng_state(), before)
    assert fitted(other, replace(QUICK, seed=2)).curve != fitted(make()).curve
    one, two = weights(first), weights(second)
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_a_loss_that_is_not_finite_ends_training_by_name(make: Make) -> None:
    classifier = make()
    classifier.model.score.weight.data.fill_(math.nan)
    with pytest.raises(DivergedError, match="tiny rte diverged at step 1: loss nan; check that"):
        fitted(classifier)


def test_a_last_step_that_ruins_the_weights_is_seen(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    classifier = make()
    plain = torch.optim.AdamW.step

    def ruining(self: Any, *arguments: Any) -> None:
        plain(self, *arguments)
        classifier.model.score.weight.data.fill_(math.inf)

    monkeypatch.setattr(torch.optim.AdamW, "step", ruining)
    with pytest.raises(DivergedError, match="diverged at step 1"):
        fitted(classifier, replace(QUICK, eval_every_steps=1))


def test_training_stops_when_asked(make: Make) -> None:
    calls = []

    def pause() -> None:
        calls.append(1)
        if len(calls) == 3:
            raise StoppedError("asked")

    with pytest.raises(StoppedError):
        fit(make(), TRAIN, SELECTION, QUICK, "accuracy", label="x", pause=pause)
