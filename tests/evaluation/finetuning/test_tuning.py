"""The grid, the best try, and what is called erratic."""

import itertools
import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from babyllama.errors import CorruptDataError, DivergedError
from babyllama.evaluation.finetuning.presets import Settings
from babyllama.evaluation.finetuning.training import Fit, Moment
from babyllama.evaluation.finetuning.tuning import Roughness, grid, roughness, tune

BASE = Settings(
    learning_rate=3e-5, batch_size=64, max_epochs=10, patience=10, eval_every_steps=200, seed=12
)


def fit_of(score: float, loss: float = 0.5, error: float | None = 0.02) -> Fit:
    moment = Moment(
        step=1, epoch=1.0, training_loss=1.0, loss=loss, score=score, standard_error=error
    )
    return Fit(curve=[moment], best=moment, seconds=1.0)


def judged(score: Callable[[Settings], float], error: float = 0.02) -> Roughness:
    """The roughness of a grid with these scores."""
    tries = [
        {"settings": asdict(each), "best": asdict(fit_of(score(each), error=error).best)}
        for each in grid(BASE)
    ]
    return roughness(tries)


def test_the_grid_is_three_rates_two_epochs_two_batches_around_the_preset() -> None:
    found = [(each.learning_rate, each.max_epochs, each.batch_size) for each in grid(BASE)]
    assert found == [*itertools.product((1e-5, 3e-5, 9e-5), (5, 10), (32, 64))]
    assert BASE in grid(BASE)


def test_what_cannot_be_halved_stands_alone() -> None:
    found = grid(replace(BASE, batch_size=1, max_epochs=1))
    assert [(each.max_epochs, each.batch_size) for each in found] == [(1, 1)] * 3


def test_the_highest_selection_score_is_taken_and_of_equal_ones_the_lowest_loss(
    tmp_path: Path,
) -> None:
    scores = iter([(0.5, 0.1), (0.8, 0.9), (0.8, 0.7), (0.8, 0.8), *[(0.1, 0.1)] * 8])
    best, told = tune(BASE, lambda _: fit_of(*next(scores)), tmp_path)
    assert best == grid(BASE)[2]
    assert told["best"] == asdict(best)
    assert [each["best"]["score"] for each in told["tries"][:3]] == [0.5, 0.8, 0.8]
    assert json.loads(json.dumps(told)) == json.loads(json.dumps(told))


def test_a_try_that_is_there_is_not_made_again(tmp_path: Path) -> None:
    made: list[Settings] = []

    def stopping(settings: Settings) -> Fit:
        if len(made) == 5:
            raise KeyboardInterrupt
        made.append(settings)
        return fit_of(0.1 * len(made))

    with pytest.raises(KeyboardInterrupt):
        tune(BASE, stopping, tmp_path)
    rest: list[Settings] = []
    best, told = tune(BASE, lambda each: (rest.append(each), fit_of(0.2))[1], tmp_path)
    assert made + rest == grid(BASE)
    assert best == grid(BASE)[4]
    assert len(told["tries"]) == 12


def test_a_diverged_try_is_kept_and_cannot_win(tmp_path: Path) -> None:
    def fit(settings: Settings) -> Fit:
        if settings.learning_rate > 5e-5:
            raise DivergedError("x diverged at step 3")
        return fit_of(-0.1)

    best, told = tune(BASE, fit, tmp_path)
    assert best == grid(BASE)[0]
    assert told["tries"][-1]["diverged"] == "x diverged at step 3"
    assert told["roughness"] | {"residual": 0, "freedom": 0} == {
        "residual": 0,
        "standard_error": 0.02,
        "freedom": 0,
        "diverged": 4,
        "erratic": True,
    }


def test_where_every_try_diverges_the_task_does(tmp_path: Path) -> None:
    def fit(_: Settings) -> Fit:
        raise DivergedError("at once")

    with pytest.raises(DivergedError, match="all 12 tries diverged, the first: at once"):
        tune(BASE, fit, tmp_path)


@pytest.mark.parametrize("text", ["", "{}", "[1]"])
def test_a_file_that_is_no_try_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "00.json").write_text(text)
    with pytest.raises(CorruptDataError, match=r"00.json cannot be read .*: delete it"):
        tune(BASE, lambda _: fit_of(0.1), tmp_path)


def log(settings: Settings) -> tuple[float, float, float]:
    rate, epochs, batch = settings.learning_rate, settings.max_epochs, settings.batch_size
    return float(np.log(rate / 3e-5)), float(np.log(epochs / 10)), float(np.log(batch / 64))


SMOOTH: dict[str, Callable[[float, float, float], float]] = {
    "flat": lambda *_: 0.4,
    "rising": lambda rate, epochs, _: 0.4 + 0.2 * rate + 0.1 * epochs,
    "a best rate": lambda rate, *_: 0.5 - 0.3 * rate**2,
    "rate for batch": lambda rate, epochs, batch: 0.5 + 0.3 * rate * batch - 0.2 * rate * epochs,
}


@pytest.mark.parametrize("name", SMOOTH)
def test_scores_that_follow_the_hyper_parameters_are_not_erratic(name: str) -> None:
    found = judged(lambda each: SMOOTH[name](*log(each)), error=0.001)
    assert found.residual == pytest.approx(0, abs=1e-9)
    assert (found.freedom, found.erratic) == (4, False)


def test_scores_that_jump_are_erratic() -> None:
    jumps = iter([0.0, 0.4, 0.1, 0.5, 0.5, 0.0, 0.4, 0.0, 0.1, 0.6, 0.5, 0.0])
    assert judged(lambda _: next(jumps), error=0.05).erratic


def test_one_try_that_falls_out_is_erratic_only_beyond_the_noise() -> None:
    def score(each: Settings) -> float:
        return 0.3 if each == BASE else 0.5

    assert judged(score, error=0.02).erratic
    assert not judged(score, error=0.1).erratic


def test_noise_of_the_standard_error_is_seldom_erratic() -> None:
    draw = np.random.default_rng(1)
    marked = sum(judged(lambda _: draw.normal(0.5, 0.02)).erratic for _ in range(1000))
    assert 2 <= marked <= 25


def test_without_degrees_of_freedom_nothing_is_called_erratic() -> None:
    rates = grid(replace(BASE, batch_size=1, max_epochs=1))
    small: list[dict[str, Any]] = [
        {"settings": asdict(each), "best": asdict(fit_of(score, error=0.01).best)}
        for each, score in zip(rates, (0, 1, 0), strict=True)
    ]
    assert roughness(small).erratic is False
