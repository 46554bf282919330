"""Tiny random models of the kinds of the paper's baselines, in folders with their tokenizers."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import processors
from transformers import (
    BertConfig,
    BertForMaskedLM,
    OPTConfig,
    OPTForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaForMaskedLM,
    T5Config,
    T5ForConditionalGeneration,
)

from babyllama.models.folders import save_model
from babyllama.tokens.tokenizer import END, PAD, START, train_tokenizer

POSITIONS = 40
MASK = "<mask>"
TEXT = "The heron waits in the reeds until the water is still\n" * 3
SENTENCES = [
    "The heron waits .",
    "The heron wait .",
    "until the water is still the heron waits",
    "until the water are still the heron waits",
    "still <mask> <extra_id_0> </s>",
    "reeds",
]
SPECIALS = {START: 1, END: 2}


def write_tokenizer(folder: Path, *, names: Sequence[str] = (), frame: str = "$A") -> Path:
    """A tokenizer with some special tokens more, and what it puts around a sentence by itself."""
    tokenizer = train_tokenizer([TEXT], 270)
    tokenizer.add_special_tokens(list(names))
    used = [(token, number) for token, number in SPECIALS.items() if token in frame.split()]
    tokenizer.post_processor = processors.TemplateProcessing(single=frame, special_tokens=used)
    own = {"pad": PAD, "bos": START, "eos": END} | ({"mask": MASK} if MASK in names else {})
    known = {f"{name}_token": token for name, token in own.items()}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **known).save_pretrained(str(folder))
    return folder


def masked_tokenizer(folder: Path) -> Path:
    """With a mask, and special tokens at both ends."""
    return write_tokenizer(folder, names=[MASK], frame="<s> $A </s>")


def span_tokenizer(folder: Path) -> Path:
    """With sentinels, and an end."""
    return write_tokenizer(folder, names=["<extra_id_0>", "<extra_id_1>"], frame="$A </s>")


def build_model(kind: str) -> PreTrainedModel:
    """A random model of width 16; its weights are large, so that scores differ."""
    ids: dict[str, Any] = {
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "vocab_size": 275,
    }
    wide: dict[str, Any] = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    long: dict[str, Any] = {"max_position_embeddings": POSITIONS}
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model: PreTrainedModel
        if kind == "roberta":
            model = RobertaForMaskedLM(RobertaConfig(intermediate_size=24, **wide, **long, **ids))
        elif kind == "bert":
            model = BertForMaskedLM(BertConfig(intermediate_size=24, **wide, **long, **ids))
        elif kind == "opt":
            config = OPTConfig(ffn_dim=24, word_embed_proj_dim=16, **wide, **long, **ids)
            model = OPTForCausalLM(config)
        else:
            sizes: dict[str, Any] = {
                "d_model": 16,
                "d_kv": 8,
                "d_ff": 24,
                "num_layers": 2,
                "num_heads": 2,
            }
            model = T5ForConditionalGeneration(T5Config(decoder_start_token_id=0, **sizes, **ids))
    for parameter in model.parameters():
        parameter.data.mul_(3)
    model.train(False)
    return model


def write_model(folder: Path, kind: str, tokenizer: Path | None = None) -> Path:
    """A model folder of a kind, with the tokenizer that it takes or another."""
    makers = {"t5": span_tokenizer, "roberta": masked_tokenizer, "bert": masked_tokenizer}
    own = tokenizer or makers.get(kind, write_tokenizer)(folder.parent / f"{folder.name}-tokenizer")
    save_model(build_model(kind), own, folder)
    return folder


@torch.no_grad()
def nats_of(logits: torch.Tensor, targets: Sequence[int]) -> float:
    """The sum of the log-probabilities of targets [T] under logits [T, V], in float64."""
    rows = logits.double().log_softmax(-1)
    return sum(float(row[target]) for row, target in zip(rows, targets, strict=True))


def own_ids(tokenizer: Any, text: str) -> list[int]:
    """Ids of a text, in which the names of special tokens are text."""
    ids = tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
    return [int(number) for number in ids]
