"""Weight decay as a number: given as one, or by the model's parameters per token of its text.

Kim et al. 2025 (arXiv 2509.14786) tuned the weight decay of models that go over 200M tokens many
times: 0.8 at 150M parameters, 1.6 at 300M, 3.2 at 600M and at 1.4B. Up to 600M that is 1.07 times
the parameters per token, against the usual 0.1 for all of them.
"""

import warnings

from babyllama.recipe_training import DecayByRatio, Training


def with_absolute_decay(settings: Training, *, parameters: int, tokens: int) -> Training:
    """The settings with their weight decay as a number, for a model and a training split."""
    decay = settings.weight_decay
    if isinstance(decay, DecayByRatio):
        decay = decay.by_ratio * parameters / tokens
    return settings.model_copy(update={"weight_decay": decay})


def absolute_decay(settings: Training) -> float:
    """The weight decay of settings that were made by `with_absolute_decay`, or give a number."""
    assert isinstance(settings.weight_decay, float)
    return settings.weight_decay


def warn_of_strong_decay(name: str, settings: Training) -> None:
    """Tell where a step takes a weight to zero or past it: w becomes w - rate x decay x w."""
    own = settings.muon.learning_rate if settings.optimizer == "muon" and settings.muon else None
    rate, decay = max(settings.learning_rate, own or 0.0), absolute_decay(settings)
    if rate * decay >= 1:
        warnings.warn(
            f"models.{name}.training.weight_decay: {decay:g} times the learning rate {rate:g} is"
            f" {rate * decay:.3g}, so that a step turns the sign of weights: stay well below 1",
            stacklevel=3,
        )
