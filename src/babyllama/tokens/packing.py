"""Clean text as one memory-mapped vector of token ids, with the offsets of its documents."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from babyllama.corpus.pieces import Piece, in_groups
from babyllama.corpus.words import count_words
from babyllama.errors import CorruptDataError
from babyllama.tokens.tokenizer import plain_encoder

Ids = npt.NDArray[np.uint16] | npt.NDArray[np.uint32]
GROUP_CHARACTERS = 1 << 21


@dataclass(frozen=True)
class Packed:
    """One split: ids [tokens], document offsets [documents + 1]."""

    ids: Ids
    offsets: npt.NDArray[np.int64]
    words: int
    """Words of the text, by white space."""
    sources: Mapping[str, range]
    """Where the tokens of each source lie, in text order."""


def id_dtype(vocabulary: int) -> type[np.uint16] | type[np.uint32]:
    """Two bytes an id while they suffice.

    >>> id_dtype(65536).__name__, id_dtype(65537).__name__
    ('uint16', 'uint32')
    """
    return np.uint16 if vocabulary <= 1 << 16 else np.uint32


def pack(
    pieces: Iterable[Piece],
    tokenizer: Any,
    folder: Path,
    split: str,
    *,
    separators: bool,
) -> dict[str, dict[str, float]]:
    """Write `<split>.bin` and `<split>.offsets.npy`; return words and tokens per source.

    The pieces come sorted by source, as `read_pieces` gives them: readers count on it.

    With `separators`, `<s>` starts every document. Line ends stay in the text, so that a newline
    token starts every utterance after the first. Pieces are encoded apart: they end with their
    lines, where the pre-tokenizer cuts clean text too, so the ids are those of whole documents.
    """
    start = [tokenizer.bos_token_id] if separators else []
    dtype = id_dtype(len(tokenizer))
    words: Counter[str] = Counter()
    tokens: Counter[str] = Counter()
    offsets: list[int] = []
    position = 0
    with (folder / f"{split}.bin").open("wb") as out:
        for piece, ids in _encoded(pieces, plain_encoder(tokenizer)):
            if piece.starts or not offsets:
                offsets.append(position)
                ids[:0] = start
            np.asarray(ids, dtype).tofile(out)
            position += len(ids)
            words[piece.source] += count_words(piece.text)
            tokens[piece.source] += len(ids)
    np.save(folder / f"{split}.offsets.npy", np.asarray([*offsets, position], np.int64))
    return {source: {"words": words[source], "tokens": tokens[source]} for source in sorted(words)}


def _encoded(pieces: Iterable[Piece], encoder: Any) -> Iterator[tuple[Piece, list[int]]]:
    """Pieces and their ids; a group at a time, which the encoder spreads over all cores."""
    for group in in_groups(pieces, lambda piece: len(piece.text), GROUP_CHARACTERS):
        texts = [piece.text for piece in group]
        encodings = encoder.encode_batch_fast(texts, add_special_tokens=False)
        yield from ((p, e.ids) for p, e in zip(group, encodings, strict=True))


def read_packed(folder: Path, split: str) -> Packed:
    """Map a split that `pack` wrote.

    Raises:
        CorruptDataError: the split is empty or unreadable, or its ids, its offsets and what
            `tokens.json` says of them do not belong together.
    """
    path = folder / f"{split}.bin"
    if path.is_file() and not path.stat().st_size:
        raise CorruptDataError(f"{path} is empty: the {split} split has no text")
    try:
        summary = json.loads((folder / "tokens.json").read_text("utf-8"))
        vocabulary, sources = int(summary["vocabulary"]), summary[f"{split}_sources"]
        words, tokens = (_counts(sources, what) for what in ("words", "tokens"))
        ids: Ids = np.memmap(path, dtype=id_dtype(vocabulary), mode="r")
        offsets = np.load(folder / f"{split}.offsets.npy", allow_pickle=False)
    except Exception as error:  # what damaged JSON or a damaged array raises depends on where
        reason = f"{type(error).__name__} {error}"
        raise _damaged(path, f"cannot be read ({reason})") from None
    if len(ids) != sum(tokens.values()):
        raise _damaged(path, f"holds {len(ids)} ids, tokens.json says {sum(tokens.values())}")
    if not _covers(offsets, len(ids)):
        raise _damaged(path, f"does not match its offsets, which are to rise from 0 to {len(ids)}")
    if (highest := int(ids.max())) >= vocabulary:
        raise _damaged(path, f"holds the id {highest}, the vocabulary has {vocabulary}")
    return Packed(ids, offsets, sum(words.values()), _behind_one_another(tokens))


def _counts(sources: Mapping[str, Mapping[str, float]], what: str) -> dict[str, int]:
    """Words or tokens of every source, in the order in which `read_pieces` gives them."""
    return {name: int(sources[name][what]) for name in sorted(sources)}


def _behind_one_another(lengths: Mapping[str, int]) -> dict[str, range]:
    bounds = pairwise(accumulate(lengths.values(), initial=0))
    return {name: range(*ends) for name, ends in zip(lengths, bounds, strict=True)}


def _damaged(path: Path, what: str) -> CorruptDataError:
    return CorruptDataError(f"{path} {what}: delete {path.parent} and run again")


def _covers(offsets: npt.NDArray[np.int64], tokens: int) -> bool:
    """Whether offsets rise from 0 to the number of tokens."""
    if offsets.dtype != np.int64 or offsets.ndim != 1 or not len(offsets):
        return False
    return bool(offsets[0] == 0 and offsets[-1] == tokens and (np.diff(offsets) >= 0).all())
