"""A tokenizer of 275 ids, and tiny models over it."""

from collections.abc import Callable
from typing import Any

import pytest
from transformers import PreTrainedModel

from babyllama.models.architectures import build_model, model_config
from babyllama.recipe import Architecture
from babyllama.tokens.tokenizer import load_tokenizer, save_tokenizer, train_tokenizer

VOCABULARY = 275
TEXT = "the heron waits in the reeds until the water is still\n" * 3

Build = Callable[..., PreTrainedModel]


@pytest.fixture(scope="session")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A tokenizer as transformers loads it."""
    folder = tmp_path_factory.mktemp("tokenizer")
    save_tokenizer(train_tokenizer([TEXT], VOCABULARY), folder)
    return load_tokenizer(folder)


@pytest.fixture(scope="session")
def build() -> Build:
    """A random model of width 16 and 2 layers, by kind, in evaluation mode."""

    def make(kind: str = "llama", seed: int = 1, **changes: Any) -> PreTrainedModel:
        sizes = {"layers": 2, "heads": 2, "width": 16, "feed_forward": 24, "positions": 48}
        architecture = Architecture(type=kind, **{**sizes, **changes})
        model = build_model(model_config(architecture, VOCABULARY, (0, 1, 2)), seed)
        for parameter in model.parameters():  # far from uniform, so that scores differ
            parameter.data.mul_(4)
        model.train(False)
        return model

    return make
