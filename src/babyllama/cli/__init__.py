"""The commands: parse, call one function, print. Heavy imports wait until they are needed."""

from babyllama.cli import (  # each adds its commands
    acquisition,
    corpus,
    finetuning,
    machine,
    runs,
    scores,
)
from babyllama.cli.app import app, prepare

__all__ = [
    "acquisition",
    "app",
    "corpus",
    "finetuning",
    "machine",
    "prepare",
    "runs",
    "scores",
]
