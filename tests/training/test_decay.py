"""Weight decay by parameters per token, and weight decay that is too strong."""

from pathlib import Path
from typing import Any

import pytest

from babyllama.recipe_training import DecayByRatio, Training
from babyllama.training.decay import absolute_decay, with_absolute_decay
from tiny_jobs import new_job, run


def test_it_is_so_many_times_the_parameters_per_token() -> None:
    settings = Training(weight_decay=DecayByRatio(by_ratio=1.5))
    found = with_absolute_decay(settings, parameters=3_000, tokens=2_000)
    assert absolute_decay(found) == pytest.approx(2.25)
    same = with_absolute_decay(Training(weight_decay=0.1), parameters=3_000, tokens=2_000)
    assert same == Training(weight_decay=0.1)


@pytest.mark.parametrize(
    ("settings", "product"),
    [
        ({"weight_decay": 99.0}, None),
        ({"weight_decay": 100.0}, "1"),
        ({"weight_decay": 50.0, "optimizer": "muon"}, None),
        ({"weight_decay": 50.0, "optimizer": "muon", "muon": {"learning_rate": 0.03}}, "1.5"),
    ],
)
def test_weights_that_would_turn_their_sign_are_told(
    settings: dict[str, Any], product: str | None, tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    run(new_job(epochs=1, clip_norm=None, **settings), tmp_path)
    told = [str(warning.message) for warning in recwarn if "weight_decay" in str(warning.message)]
    assert len(told) == (product is not None)
    assert all(f"is {product}, so that a step turns the sign" in message for message in told)
