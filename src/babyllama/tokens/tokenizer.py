"""Byte-level BPE, trained on the training split alone, saved for `AutoTokenizer`."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from babyllama.errors import CorruptDataError, RecipeError

PAD, START, END = "<pad>", "<s>", "</s>"
SPECIAL = (PAD, START, END)
BATCH = 1000


def train_tokenizer(texts: Iterable[str], vocabulary: int) -> Tokenizer:
    """Learn `vocabulary` ids, the 3 special ones and the 256 bytes included.

    Raises:
        RecipeError: the text does not hold so many merges.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=list(SPECIAL),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_batches(texts), trainer)
    found = tokenizer.get_vocab_size()
    if found < vocabulary:
        raise RecipeError(
            f"tokenizer.vocabulary: the training text supports {found} ids, not {vocabulary}:"
            f" lower it to at most {found}, or add text"
        )
    return tokenizer


def _batches(texts: Iterable[str]) -> Iterator[list[str]]:
    """Lines in lists: the trainer counts words in parallel over a list, and a line is enough."""
    batch: list[str] = []
    for text in texts:
        for line in text.splitlines(keepends=True):
            batch.append(line)
            if len(batch) == BATCH:
                yield batch
                batch = []
    yield batch


def save_tokenizer(tokenizer: Tokenizer, folder: Path, **more: Any) -> None:
    """Write what `AutoTokenizer.from_pretrained` needs for identical ids.

    `more` are special tokens by what transformers calls them, as `mask_token`.
    """
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        bos_token=START,
        eos_token=END,
        clean_up_tokenization_spaces=False,
        model_input_names=["input_ids", "attention_mask"],
        **more,
    )
    fast.save_pretrained(str(folder))


def load_tokenizer(folder: Path) -> Any:
    """The tokenizer in a Hugging Face folder, as plain transformers loads it.

    Raises:
        CorruptDataError: the folder holds none that can be read.
    """
    try:
        return AutoTokenizer.from_pretrained(
            str(folder), local_files_only=True, trust_remote_code=False
        )
    except Exception as error:  # what a damaged file raises depends on where it is damaged
        raise CorruptDataError(f"no usable tokenizer in {folder}: {reason_of(error)}") from None


def reason_of(error: Exception) -> str:
    """What transformers says of a folder, in a line; code in the folder is never run here."""
    if "trust_remote_code" in str(error):
        return "it wants to run code of its own: take a model of a type that transformers has"
    return " ".join(str(error).split())[:300]


def tokenizer_rules(tokenizer: Any) -> dict[str, Any]:
    """All that decides a tokenizer's ids, for comparing two of them."""
    whole = json.loads(tokenizer.backend_tokenizer.to_str())
    rules = {key: whole[key] for key in ("normalizer", "pre_tokenizer", "model")}
    return rules | {"special": [tokenizer.pad_token, tokenizer.bos_token, tokenizer.eos_token]}


def plain_encoder(tokenizer: Any) -> Tokenizer:
    """The backend with special tokens read as ordinary text.

    A corpus that holds the characters `<s>` must not start a document there.
    """
    backend = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    backend.encode_special_tokens = True
    backend.post_processor = None
    backend.no_padding()
    backend.no_truncation()
    return backend


def token_bytes(tokenizer: Any) -> list[int]:
    """Bytes of text behind every id; 0 for the special tokens.

    A byte-level token is written with one character a byte, so its length is its bytes.
    """
    special = set(tokenizer.all_special_ids)
    pieces = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))
    return [0 if i in special else len(piece) for i, piece in enumerate(pieces)]
