"""babyllama: small language models from little text, by distilling an ensemble of teachers.

The loss is public: `babyllama.distillation_loss`, `babyllama.DistillationLoss` and the
`babyllama.Counts` that both take serve any training loop. Everything else is reached through the
command `babyllama`.
"""

from importlib import import_module
from importlib.metadata import version
from typing import Any

__all__ = ["Counts", "DistillationLoss", "distillation_loss"]
__version__ = version("babyllama")


def __getattr__(name: str) -> Any:
    """Import torch only when the loss is asked for, so that `babyllama --help` stays quick."""
    if name in __all__:
        return getattr(import_module("babyllama.distillation.loss"), name)
    raise AttributeError(f"module 'babyllama' has no attribute {name!r}")
