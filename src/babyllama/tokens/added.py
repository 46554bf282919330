"""What the tokenizer of a masked model or an encoder-decoder has beside the run's own.

The run's tokenizer stays as it is: a model's folder gets a copy with a few tokens more, whose ids
come after the vocabulary, and with the special tokens that the model has around every text.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, processors

from babyllama.tokens.tokenizer import END, START, save_tokenizer


@dataclass(frozen=True)
class Added:
    """Tokens behind the vocabulary, in the order of their ids, and what stands around a text."""

    names: tuple[str, ...]
    single: str
    """One text `$A`, in the words of `tokenizers`."""
    pair: str
    """Two of them."""


# Liu et al. 2019 (RoBERTa), section 3.1: `<s>` before, `</s>` behind, two between texts.
MASKED = Added(("<mask>",), f"{START} $A {END}", f"{START} $A {END} {END} $B {END}")
# Raffel et al. 2020 (T5): `</s>` behind. The released models have 100 sentinels.
SPANS = Added(tuple(f"<extra_id_{n}>" for n in range(100)), f"$A {END}", f"$A {END} $B {END}")


def write_extended(tokenizer: Path, added: Added, folder: Path) -> None:
    """Write the tokenizer of a folder with what is added, for `AutoTokenizer`."""
    backend = Tokenizer.from_file(str(tokenizer / "tokenizer.json"))
    backend.add_special_tokens([*added.names])
    backend.post_processor = processors.TemplateProcessing(
        single=added.single,
        pair=added.pair,
        special_tokens=[(token, backend.token_to_id(token)) for token in (START, END)],
    )
    more: dict[str, Any] = {"additional_special_tokens": [*added.names]}
    if added == MASKED:
        more = {"mask_token": added.names[0]}
    save_tokenizer(backend, folder, **more)
