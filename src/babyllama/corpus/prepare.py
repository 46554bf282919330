"""Raw parts of documents to clean rows, in batches that any process can take."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from babyllama.corpus.cleaners.cleaning import CLEANERS, Cleaner, own_cleaner
from babyllama.corpus.cleaners.effects import Effect
from babyllama.corpus.documents import Part
from babyllama.corpus.pieces import cut_pieces, in_groups
from babyllama.corpus.sampling import Row
from babyllama.corpus.words import count_words
from babyllama.recipe import OwnCleaner

BATCH_CHARACTERS = 1 << 18

Choice = str | OwnCleaner | None
"""How a source is cleaned: by name, by expressions of one's own, or not at all."""


class CleanBatch(NamedTuple):
    """What a worker gives back for a batch of raw parts."""

    rows: list[Row]
    starts: bool
    """Whether the next row starts a document: its first lines may have been cleaned away."""
    words_raw: int
    effects: dict[str, Effect]


def batches(parts: Iterable[Part]) -> Iterator[list[Part]]:
    """Parts in lists that are worth sending to another process."""
    return in_groups(parts, lambda part: len(part[0]), BATCH_CHARACTERS)


def clean_batch(choice: Choice, parts: list[Part]) -> CleanBatch:
    """Clean a batch; without a cleaner, texts keep everything but blank lines at their ends."""
    raw = [text for text, _ in parts]
    texts, effects = [*map(_end_line, raw)], dict[str, Effect]()
    if choice is not None:
        texts, effects = cleaner_of(choice).traced_texts(raw)
    rows: list[Row] = []
    pending = False
    for text, (_, starts) in zip(texts, parts, strict=True):
        pending = pending or starts
        for piece in cut_pieces(text):
            rows.append((piece, pending))
            pending = False
    return CleanBatch(rows, pending, sum(map(count_words, raw)), effects)


def cleaner_of(choice: str | OwnCleaner) -> Cleaner:
    """The cleaner of a source; `generic` for a name that none has.

    Raises:
        RecipeError: an expression that is none.
    """
    if isinstance(choice, str):
        return CLEANERS.get(choice, CLEANERS["generic"])
    return own_cleaner(
        "own",
        drop_lines=choice.drop_lines,
        drop=choice.drop,
        replace=choice.replace,
        base=choice.base,
    )


def _end_line(text: str) -> str:
    text = text.strip("\n")
    return text + "\n" if text and not text.isspace() else ""
