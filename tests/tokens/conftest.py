"""A tokenizer of 320 ids, learned from a little text, and its folder."""

from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer

from babyllama.tokens.tokenizer import load_tokenizer, save_tokenizer, train_tokenizer

VOCABULARY = 320
TEXT = (
    "The baker sold three loaves before the rain came.\n"
    'Nobody saw the brown goose; "where is it?" asked the miller.\n'
    "A café on the hill, 27 chairs, and a long, long winter.\n"
) * 4


@pytest.fixture(scope="session")
def trained() -> Tokenizer:
    """A tokenizer before it is saved."""
    return train_tokenizer([TEXT], VOCABULARY)


@pytest.fixture(scope="session")
def tokenizer_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved tokenizer."""
    folder = tmp_path_factory.mktemp("tokenizer")
    save_tokenizer(train_tokenizer([TEXT], VOCABULARY), folder)
    return folder


@pytest.fixture(scope="session")
def tokenizer(tokenizer_folder: Path) -> Any:
    """The same tokenizer, as transformers loads it."""
    return load_tokenizer(tokenizer_folder)
