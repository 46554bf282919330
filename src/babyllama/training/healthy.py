"""Is my run right? The last epoch's means beside the ranges that the recipe states."""

import json
import warnings
from collections.abc import Mapping
from pathlib import Path

from babyllama.errors import IgnoredSettingWarning
from babyllama.lineage import active_teachers
from babyllama.models.kinds import kind_of_model
from babyllama.recipe import LOGGED, Model
from babyllama.training.denoising import QUANTITIES


def warn_of_idle_ranges(models: Mapping[str, Model]) -> None:
    """Tell of ranges for what the log of a model will not have."""
    for name, model in models.items():
        logged = _logged(models, name)
        why = f"its log has {', '.join(logged)}" if logged else "it is not trained"
        for quantity in model.healthy:
            if quantity not in logged:
                message = f"models.{name}.healthy.{quantity} has no effect: {why}"
                warnings.warn(message, IgnoredSettingWarning, stacklevel=2)


def _logged(models: Mapping[str, Model], name: str) -> list[str]:
    if not models[name].training:
        return []
    if quantity := QUANTITIES.get(kind_of_model(models, name)):
        return [quantity]
    mixed = ["kl", "cross_entropy_share"] if active_teachers(models[name]) else []
    return ["cross_entropy", *mixed]


def last_epoch_means(log: Path) -> dict[str, float]:
    """Means of what `log.jsonl` logs of the loss, over the steps of the last epoch."""
    rows = [json.loads(line) for line in log.read_text("utf-8").splitlines()]
    steps = [row for row in rows if row["kind"] == "step"]
    last = [row for row in steps if row["epoch"] == steps[-1]["epoch"]]
    return {key: sum(row[key] for row in last) / len(last) for key in LOGGED if key in steps[-1]}


def judgement(means: Mapping[str, float], ranges: Mapping[str, tuple[float, float]]) -> str:
    """One line: each mean, and whether it lies in its range.

    >>> judgement({"kl": 0.5, "cross_entropy": 3.0}, {"kl": (0.1, 0.3)})
    'kl 0.500 (OUTSIDE the healthy 0.1 to 0.3), cross_entropy 3.000'
    """
    parts = []
    for key, mean in means.items():
        part = f"{key} {mean:.3f}"
        if key in ranges:
            low, high = ranges[key]
            word = "within" if low <= mean <= high else "OUTSIDE"
            part += f" ({word} the healthy {low:g} to {high:g})"
        parts.append(part)
    return ", ".join(parts)
