"""Which ranges of a recipe say something, and what is said of a training that they are held to."""

import warnings
from pathlib import Path
from typing import Any

import pytest

from babyllama.errors import IgnoredSettingWarning
from babyllama.resolve import resolve
from babyllama.training.healthy import warn_of_idle_ranges
from tiny import LLAMA, recipe

ROBERTA = {**LLAMA, "type": "roberta"}
T5 = {**LLAMA, "type": "t5"}
DISTILLED = {"architecture": LLAMA, "teachers": ["plain"]}


def ranges(entry: dict[str, Any], *quantities: str) -> None:
    """Resolve a model with such ranges, beside one that it may learn or start from."""
    healthy = {quantity: [0, 1] for quantity in quantities}
    models = {"plain": {"architecture": LLAMA}, "model": {**entry, "healthy": healthy}}
    warn_of_idle_ranges(resolve(recipe(Path("data"), models=models)).models)


@pytest.mark.parametrize(
    ("entry", "quantities"),
    [
        (DISTILLED, ["cross_entropy", "kl", "cross_entropy_share"]),
        ({"architecture": LLAMA}, ["cross_entropy"]),
        ({"architecture": ROBERTA}, ["masked_cross_entropy"]),
        ({"architecture": T5}, ["span_cross_entropy"]),
        ({"start": {"model": "plain"}, "training": {"steps": 3}}, ["cross_entropy"]),
    ],
)
def test_a_range_of_what_is_logged_is_taken(entry: dict[str, Any], quantities: list[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ranges(entry, *quantities)


@pytest.mark.filterwarnings("ignore:models.model.teachers")
@pytest.mark.parametrize(
    ("entry", "quantity", "why"),
    [
        ({"start": {"model": "plain"}}, "cross_entropy", "it is not trained"),
        ({"architecture": LLAMA}, "kl", "its log has cross_entropy$"),
        ({"architecture": ROBERTA}, "cross_entropy", "its log has masked_cross_entropy$"),
        ({"architecture": T5}, "masked_cross_entropy", "its log has span_cross_entropy$"),
        ({**DISTILLED, "distillation": {"ce_weight": 1}}, "kl", "its log has cross_entropy$"),
    ],
)
def test_a_range_of_what_is_not_logged_is_told(
    entry: dict[str, Any], quantity: str, why: str
) -> None:
    with pytest.warns(
        IgnoredSettingWarning, match=f"model.healthy.{quantity} has no effect: {why}"
    ):
        ranges(entry, quantity)
