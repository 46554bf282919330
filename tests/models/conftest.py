"""A tokenizer of 300 ids in its folder, and tiny models over it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from transformers import PreTrainedModel

from babyllama.models.architectures import build_model, model_config
from babyllama.recipe import Architecture
from babyllama.tokens.tokenizer import save_tokenizer, train_tokenizer

VOCABULARY = 300
SPECIAL = (0, 1, 2)
TEXT = "the heron waits in the reeds until the water is still\n" * 3

Tiny = Callable[..., Architecture]
Build = Callable[..., PreTrainedModel]


@pytest.fixture(scope="session")
def tiny() -> Tiny:
    """Width 16, 2 layers, 2 heads; anything else as given."""

    def make(kind: str = "llama", **changes: Any) -> Architecture:
        sizes = {"layers": 2, "heads": 2, "width": 16, "feed_forward": 24, "positions": 32}
        return Architecture(type=kind, **{**sizes, **changes})

    return make


@pytest.fixture(scope="session")
def build(tiny: Tiny) -> Build:
    """A tiny model of a kind, in evaluation mode."""

    def make(kind: str = "llama", seed: int = 1, **changes: Any) -> PreTrainedModel:
        model = build_model(model_config(tiny(kind, **changes), VOCABULARY, SPECIAL), seed)
        model.train(False)
        return model

    return make


@pytest.fixture(scope="session")
def tokenizer_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved tokenizer."""
    folder = tmp_path_factory.mktemp("tokenizer")
    save_tokenizer(train_tokenizer([TEXT], 275), folder)
    return folder
