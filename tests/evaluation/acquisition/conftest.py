"""A list of words, utterances that hold them, and model folders."""

import csv
import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from transformers import PreTrainedModel

from babyllama.evaluation.acquisition.words import CATEGORIES, Category, ListedWord
from babyllama.models.folders import save_model
from babyllama.tokens.tokenizer import save_tokenizer, train_tokenizer

FORMS = {
    "nouns": ["heron", "reed", "water", "fish", "ball", "can", "ice cream"],
    "predicates": ["waits", "is", "sees", "run", "still", "go", "all gone"],
    "function_words": ["the", "in", "until", "we", "to", "and", "dont"],
}
AUXILIARY = ListedWord("can", "can (auxiliary)", "function_words", 2.1, 90.0, 27.5)

Build = Callable[..., PreTrainedModel]


def make_words(seed: int = 1) -> list[ListedWord]:
    """22 words; the form `can` is there as a noun and as a function word."""
    chance = random.Random(seed)  # noqa: S311 (made up)

    def word(form: str, category: Category) -> ListedWord:
        numbers = (chance.uniform(1, 5), chance.randint(2, 900), chance.uniform(17, 30))
        return ListedWord(form, form, category, *numbers)

    words = [word(form, category) for category in CATEGORIES for form in FORMS[category]]
    return [*words, AUXILIARY]


def write_words(file: Path, words: Sequence[ListedWord]) -> Path:
    """The list in the layout of BabyLM 2023."""
    header = ["word_clean", "definition", "lexical_category", "concreteness", "frequency", "aoa"]
    with file.open("w", newline="", encoding="utf-8") as out:
        lines = csv.writer(out)
        lines.writerow(header)
        lines.writerows([*vars(word).values()] for word in words)
    return file


def write_utterances(file: Path, sentences: dict[str, Sequence[str]]) -> Path:
    """Sentences and the listed words that they hold."""
    items = [{"sent": sentence, "words": words} for sentence, words in sentences.items()]
    file.write_text(json.dumps(items), "utf-8")
    return file


def chatter(lines: int = 30) -> dict[str, Sequence[str]]:
    """Sentences of the listed words, all of which occur."""
    chance = random.Random(2)  # noqa: S311 (made up)
    forms = [form for group in FORMS.values() for form in group]
    chosen = [*([form] for form in forms), *(chance.sample(forms, 4) for _ in range(lines))]
    return {f"oh {' '.join(held)} .": held for held in chosen}


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """Words and utterances."""
    return (
        write_words(tmp_path / "words.csv", make_words()),
        write_utterances(tmp_path / "said.json", chatter()),
    )


@pytest.fixture
def save(tmp_path: Path, build: Build) -> Callable[..., Path]:
    """Write a random model with its tokenizer to a folder below the test's own."""
    tokens = tmp_path / "tokens"
    save_tokenizer(train_tokenizer(["the heron waits in the reeds\n" * 3], 275), tokens)

    def to(name: str, **changes: Any) -> Path:
        save_model(build(**changes), tokens, tmp_path / name)
        return tmp_path / name

    return to
