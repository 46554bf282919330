"""The commands: parse, call one function, print. Heavy imports wait until they are needed."""

from babyllama.cli import acquisition, corpus, finetuning, runs, scores  # each adds its commands
from babyllama.cli.app import app, prepare

__all__ = ["acquisition", "app", "corpus", "finetuning", "prepare", "runs", "scores"]
