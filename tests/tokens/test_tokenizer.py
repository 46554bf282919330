"""The tokenizer loses nothing but what NFKC folds, and is the same wherever it is loaded."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer
from tokenizers.normalizers import NFKC
from transformers import AutoTokenizer

from babyllama.builders import make_tokenizer
from babyllama.errors import CorruptDataError, RecipeError
from babyllama.resolve import load_recipe
from babyllama.tokens.tokenizer import (
    SPECIAL,
    load_tokenizer,
    plain_encoder,
    save_tokenizer,
    token_bytes,
    tokenizer_rules,
    train_tokenizer,
)

# Any text at all, and text made of what tends to go wrong: a ligature, a full-width and a
# combining character, white space of many kinds, the special tokens spelt out.
AWKWARD = ["ﬁ", "＞", "<s", "<s>", "</s>", "<pad>", "e", "́", "̸", "¨", "🐚", "the"]
AWKWARD += [" ", "\n", "\t", "\u00a0", "\u2028", "\x1c", "\0"]
TEXTS = st.text() | st.lists(st.sampled_from(AWKWARD)).map("".join)


def nfkc(text: str) -> str:
    return str(NFKC().normalize_str(text))


def plain_ids(tokenizer: Any, text: str) -> list[int]:
    return list(plain_encoder(tokenizer).encode(text, add_special_tokens=False).ids)


def write_corpus(folder: Path, **splits: str) -> Path:
    for split, text in splits.items():
        (folder / split).mkdir(parents=True)
        (folder / split / "source.jsonl").write_text(
            json.dumps({"text": text, "starts": True}) + "\n", "utf-8"
        )
    return folder


@given(text=TEXTS)
def test_plain_transformers_gives_the_ids_of_the_tokenizer_that_was_saved(
    trained: Tokenizer, tokenizer_folder: Path, text: str
) -> None:
    loaded = AutoTokenizer.from_pretrained(str(tokenizer_folder))
    assert loaded(text)["input_ids"] == trained.encode(text).ids
    assert loaded.encode(text, add_special_tokens=False) == trained.encode(text).ids


@given(text=TEXTS)
def test_decoding_gives_back_the_text_after_nfkc(tokenizer: Any, text: str) -> None:
    assert tokenizer.decode(plain_ids(tokenizer, text)) == nfkc(text)


@given(text=TEXTS)
def test_no_id_lies_outside_the_vocabulary(tokenizer: Any, text: str) -> None:
    assert all(0 <= i < len(tokenizer) == 320 for i in plain_ids(tokenizer, text))


@given(text=TEXTS)
def test_text_never_becomes_a_special_token(tokenizer: Any, text: str) -> None:
    special = set(tokenizer.convert_tokens_to_ids(list(SPECIAL)))
    assert not special & set(plain_ids(tokenizer, text))


@given(text=TEXTS)
def test_token_bytes_add_up_to_the_bytes_of_the_text(tokenizer: Any, text: str) -> None:
    sizes = token_bytes(tokenizer)
    assert sum(sizes[i] for i in plain_ids(tokenizer, text)) == len(nfkc(text).encode())
    assert [sizes[i] for i in tokenizer.convert_tokens_to_ids(list(SPECIAL))] == [0, 0, 0]
    assert len(sizes) == len(tokenizer)


def test_the_special_tokens_are_the_first_three_ids_with_their_roles(tokenizer: Any) -> None:
    assert tokenizer.convert_tokens_to_ids(["<pad>", "<s>", "</s>"]) == [0, 1, 2]
    roles = [tokenizer.pad_token, tokenizer.bos_token, tokenizer.eos_token]
    assert roles == ["<pad>", "<s>", "</s>"]


def test_a_word_at_the_start_of_a_line_gets_no_space_before_it(tokenizer: Any) -> None:
    assert tokenizer.tokenize("The")[0] != tokenizer.tokenize(" The")[0]
    assert tokenizer.decode(plain_ids(tokenizer, "The")) == "The"


def test_training_twice_gives_the_same_ids() -> None:
    texts = ["the rain in the valley\n" * 3, "a valley of rain\n"]
    assert train_tokenizer(texts, 270).to_str() == train_tokenizer(texts, 270).to_str()


@pytest.mark.parametrize("text", ["rain rain rain\n", "", "\n\n"])
def test_a_vocabulary_that_the_text_does_not_support_is_refused_with_both_numbers(
    text: str,
) -> None:
    with pytest.raises(RecipeError, match=r"tokenizer.vocabulary.* supports (\d+) ids, not 5000"):
        train_tokenizer([text], 5000)


def test_the_number_in_the_refusal_is_one_that_works() -> None:
    with pytest.raises(RecipeError) as refused:
        train_tokenizer(["rain rain rain\n"], 5000)
    supported = int(str(refused.value).split("at most ")[1].split(",")[0])
    assert train_tokenizer(["rain rain rain\n"], supported).get_vocab_size() == supported


def test_a_word_of_the_dev_split_alone_gets_no_merge(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path, train="the goat sleeps\n" * 9, dev="zugzwang " * 99)
    recipe = load_recipe("demo", ["tokenizer.vocabulary=268"])
    make_tokenizer(recipe, corpus, tmp_path)
    loaded = load_tokenizer(tmp_path)
    assert len(loaded.tokenize("goat")) < len("goat")
    assert len(loaded.tokenize("zugzwang")) == len("zugzwang")


def test_rules_tell_two_tokenizers_apart_and_a_copy_from_neither(
    tokenizer_folder: Path, tokenizer: Any, tmp_path: Path
) -> None:
    copy, other = tmp_path / "copy", tmp_path / "other"
    shutil.copytree(tokenizer_folder, copy)
    save_tokenizer(train_tokenizer(["another town, another text\n" * 3], 270), other)
    assert tokenizer_rules(load_tokenizer(copy)) == tokenizer_rules(tokenizer)
    assert tokenizer_rules(load_tokenizer(other)) != tokenizer_rules(tokenizer)


@pytest.mark.parametrize("content", [None, "", "{", "{}", '{"model": 3}'])
def test_a_folder_without_a_usable_tokenizer_is_corrupt(
    tokenizer_folder: Path, tmp_path: Path, content: str | None
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tokenizer_folder, folder)
    (folder / "tokenizer.json").unlink()
    if content is not None:
        (folder / "tokenizer.json").write_text(content)
    with pytest.raises(CorruptDataError, match=r"no usable tokenizer in .*model: [^\n]+$"):
        load_tokenizer(folder)


def test_loading_a_missing_folder_asks_no_server(tmp_path: Path) -> None:
    with pytest.raises(CorruptDataError, match=r"no usable tokenizer in .*gone"):
        load_tokenizer(tmp_path / "gone")
