"""What the tests of training share: a tokenizer's folder."""

from pathlib import Path

import pytest
from tiny_jobs import VOCABULARY

from babyllama.tokens.tokenizer import save_tokenizer, train_tokenizer


@pytest.fixture(scope="session")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tokenizer's folder."""
    folder = tmp_path_factory.mktemp("tokenizer")
    words = "the quick brown foxes jump over lazy dogs while seven wizards make toxic brew"
    save_tokenizer(train_tokenizer([f"{words}\n"] * 9, VOCABULARY), folder)
    return folder
