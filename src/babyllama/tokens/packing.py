"""Clean text as one memory-mapped vector of token ids, with the offsets of its documents."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from babyllama.errors import CorruptDataError
from babyllama.tokens.tokenizer import plain_encoder

Ids = npt.NDArray[np.uint16] | npt.NDArray[np.uint32]
PIECE = 1 << 16
PIECES_AT_ONCE = 64


@dataclass(frozen=True)
class Packed:
    """One split: ids [tokens], document offsets [documents + 1]."""

    ids: Ids
    offsets: npt.NDArray[np.int64]
    words: int
    """Words of the text, by white space."""


def id_dtype(vocabulary: int) -> type[np.uint16] | type[np.uint32]:
    """Two bytes an id while they suffice.

    >>> id_dtype(65536).__name__, id_dtype(65537).__name__
    ('uint16', 'uint32')
    """
    return np.uint16 if vocabulary <= 1 << 16 else np.uint32


def pack(
    documents: Iterable[tuple[str, str]],
    tokenizer: Any,
    folder: Path,
    split: str,
    *,
    separators: bool,
) -> dict[str, dict[str, float]]:
    """Write `<split>.bin` and `<split>.offsets.npy`; return words and tokens per source.

    With `separators`, `<s>` starts every document. Line ends stay in the text, so that a newline
    token starts every utterance after the first.
    """
    encoder = plain_encoder(tokenizer)
    start = [tokenizer.bos_token_id] if separators else []
    dtype = id_dtype(len(tokenizer))
    words: Counter[str] = Counter()
    tokens: Counter[str] = Counter()
    offsets = [0]
    with (folder / f"{split}.bin").open("wb") as out:
        for source, text in documents:
            length = 0
            for ids in _encode(encoder, text, start):
                np.asarray(ids, dtype).tofile(out)
                length += len(ids)
            offsets.append(offsets[-1] + length)
            words[source] += len(text.split())
            tokens[source] += length
    np.save(folder / f"{split}.offsets.npy", np.asarray(offsets, np.int64))
    return {source: {"words": words[source], "tokens": tokens[source]} for source in sorted(words)}


def _encode(encoder: Any, text: str, start: list[int]) -> Iterator[list[int]]:
    """Ids of one document, in pieces cut at line ends, so that memory stays bounded."""
    yield start
    pieces = _pieces(text)
    while group := list(islice(pieces, PIECES_AT_ONCE)):
        for encoding in encoder.encode_batch_fast(group, add_special_tokens=False):
            yield encoding.ids


def _pieces(text: str) -> Iterator[str]:
    r"""Runs of whole lines of at least `PIECE` characters.

    A cut lies behind a lone line end: between "x\n" and "y". The pre-tokenizer splits there too,
    so the ids are those of the whole text.
    """
    begin = 0
    while begin < len(text):
        end = begin + PIECE
        while end < len(text) and not _is_cut(text, end):
            end += 1
        yield text[begin:end]
        begin = end


def _is_cut(text: str, at: int) -> bool:
    alone = not text[at].isspace() and not text[at - 2 : at - 1].isspace()
    return text[at - 1] == "\n" and alone


def read_packed(folder: Path, split: str) -> Packed:
    """Map a split that `pack` wrote.

    Raises:
        CorruptDataError: the split is empty or unreadable, or its ids and offsets do not belong
            together.
    """
    path = folder / f"{split}.bin"
    if path.is_file() and not path.stat().st_size:
        raise CorruptDataError(f"{path} is empty: the {split} split has no text")
    try:
        summary = json.loads((folder / "tokens.json").read_text("utf-8"))
        ids: Ids = np.memmap(path, dtype=id_dtype(summary["vocabulary"]), mode="r")
        offsets = np.load(folder / f"{split}.offsets.npy", allow_pickle=False)
    except (OSError, EOFError, ValueError) as error:
        raise CorruptDataError(f"{path} cannot be read ({error}): delete {folder}") from None
    if not _covers(offsets, len(ids)):
        raise CorruptDataError(f"{path}: offsets do not match its {len(ids)} ids: delete {folder}")
    words = sum(int(source["words"]) for source in summary[f"{split}_sources"].values())
    return Packed(ids, offsets, words)


def _covers(offsets: npt.NDArray[np.int64], tokens: int) -> bool:
    """Whether offsets rise from 0 to the number of tokens."""
    if not len(offsets) or (np.diff(offsets) < 0).any():
        return False
    return bool(offsets[0] == 0 and offsets[-1] == tokens)
