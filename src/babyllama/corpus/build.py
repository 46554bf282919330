"""Build the corpus artifact: read, cut into documents, clean, part, sample, write.

    out/train/<source>.jsonl  out/dev/<source>.jsonl   pieces of documents, see `pieces`
    out/corpus.json                                    counts per split and source
    out/effects.json                                   what each cleaning rule did

Text streams through in blocks, on all cores; what is held is a few blocks and the number of words
of every piece. Where the corpus has no development files, `dev_share` of every source's words is
cut off for it, after cleaning and before sampling, so that the development split is the same for
any `words`. Sampling, and dropping what overlaps, touch the training split alone.
"""

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from babyllama.corpus.cleaners.cleaning import CLEANERS
from babyllama.corpus.cleaners.effects import Effect, merge
from babyllama.corpus.inputs import Input, find_inputs
from babyllama.corpus.overlap import collect, drop_overlap
from babyllama.corpus.pieces import Piece, read_rows, write_rows
from babyllama.corpus.prepare import CleanBatch, batches, clean_batch, cleaner_of
from babyllama.corpus.sampling import Row, draw, parted, quotas
from babyllama.corpus.words import count_words
from babyllama.corpus.workers import Map, cores, ordered_map
from babyllama.errors import CorruptDataError, IgnoredSettingWarning, RecipeError, did_you_mean
from babyllama.recipe import Corpus, OwnCleaner
from babyllama.store import write_json

SPLITS = ("train", "dev")
# Under so many bytes of text, starting processes takes longer than cleaning.
ALONE_BYTES = 4 << 20


@dataclass(kw_only=True)
class Counts:
    """What a source holds in a split. A word is what `words` says; bytes are of UTF-8.

    `words_raw` is the number of words before cleaning; where only a part of a source is in the
    split, that part of it.
    """

    files: int
    documents: int = 0
    lines: int = 0
    words: int = 0
    words_raw: int = 0
    bytes: int = 0
    bytes_replaced: int = 0
    """Bytes of the raw files that were not UTF-8."""
    lines_overlapping: int = 0
    """Lines that were dropped because what is measured on has them too."""


@dataclass(kw_only=True)
class Source:
    """A source of a split on disk, and what is known of it."""

    file: Path
    counts: Counts
    pieces: list[int] = field(default_factory=list)
    """Words of every piece."""
    effects: dict[str, Effect] = field(default_factory=dict)

    def write(self, rows: Iterable[Row]) -> None:
        """Put these rows in the place of what the file holds, and count them."""
        self.counts = replace(self.counts, documents=0, lines=0, words=0, bytes=0)
        self.pieces = []
        beside = self.file.with_suffix(".new")
        write_rows(beside, map(self._counted, rows))
        beside.replace(self.file)

    def keep(self, rows: Iterable[Row]) -> None:
        """Put a part of its own rows in their place."""
        words, raw = self.counts.words, self.counts.words_raw
        self.write(rows)
        self.counts.words_raw = round(raw * self.counts.words / max(1, words))

    def rows(self) -> Iterator[Row]:
        """What the file holds."""
        return read_rows(self.file)

    def _counted(self, row: Row) -> Row:
        text, starts = row
        words = count_words(text)
        self.pieces.append(words)
        self.counts.documents += starts
        self.counts.lines += text.count("\n")
        self.counts.words += words
        self.counts.bytes += len(text.encode())
        return row


Split = dict[str, Source]


def build_corpus(settings: Corpus, out: Path, avoid: Iterable[str] = ()) -> dict[str, Any]:
    """Write the corpus to `out`, a new or empty folder; return what `corpus.json` holds.

    `avoid` are sentences of evaluation sets, for `settings.drop_overlap`.

    Raises:
        RecipeError: settings that cannot be meant.
        CorruptDataError: unreadable or empty text.
    """
    inputs = find_inputs(settings.path, settings.dev_path, settings.bad_bytes)
    _check_cleaners(settings, sorted({given.source for given in inputs}))
    splits: dict[str, Split] = {split: {} for split in SPLITS}
    alone = sum(given.size for given in inputs) < ALONE_BYTES
    with ordered_map(1 if alone else cores()) as parallel:
        for given in inputs:
            splits[given.split][given.source] = _cleaned(settings, given, out, parallel)
    train, dev = splits["train"], splits["dev"]
    if not dev:
        _require_one_cleaning(settings)
        for name, source in train.items():
            dev[name] = _split_off(settings, source, out / "dev" / f"{name}.jsonl")
    if settings.drop_overlap:
        _drop_overlap(train, dev, avoid)
    if settings.words is not None:
        _sample(train, settings.words, settings.seed)
    for split in SPLITS:
        _require_text(settings, split, splits[split])
    write_json(out / "effects.json", _table(splits, lambda source: source.effects))
    counts = _table(splits, lambda source: asdict(source.counts))
    write_json(out / "corpus.json", counts)
    return counts


def _check_cleaners(settings: Corpus, sources: list[str]) -> None:
    for source, choice in settings.cleaners.items():
        key = f"corpus.cleaners.{source}"
        if source not in sources:
            hint = did_you_mean(source, sources)
            raise RecipeError(f"{key}: there is no source {source!r}{hint}")
        name = choice.base if isinstance(choice, OwnCleaner) else choice
        if name not in CLEANERS:
            raise RecipeError(f"{key}: there is no cleaner {name!r}{did_you_mean(name, CLEANERS)}")
        cleaner_of(choice)
    if settings.cleaners and not settings.clean and not settings.cleans_dev:
        message = "corpus.cleaners chooses documents only: corpus.clean is off"
        warnings.warn(message, IgnoredSettingWarning, stacklevel=3)


def _cleaned(settings: Corpus, given: Input, out: Path, parallel: Map[Any, Any]) -> Source:
    """Clean one source of one split onto disk."""
    choice = settings.cleaners.get(given.source, given.source)
    if isinstance(choice, OwnCleaner):
        parts = given.parts(choice.base, choice.document)
    else:
        parts = given.parts(choice, None)
    clean = settings.clean if given.split == "train" else settings.cleans_dev
    file = out / given.split / f"{given.source}.jsonl"
    source = Source(file=file, counts=Counts(files=len(given.texts)))
    done = parallel(partial(clean_batch, choice if clean else None), batches(parts))
    source.write(_joined(done, source))
    source.counts.bytes_replaced = given.bytes_replaced
    if not source.counts.words:
        message = f"{given.split} source {given.source!r} has no text left and is dropped"
        warnings.warn(message, stacklevel=3)
    return source


def _joined(done: Iterable[CleanBatch], source: Source) -> Iterator[Row]:
    """The rows of all batches, with what else they found added to the source."""
    pending = False
    for batch in done:
        source.counts.words_raw += batch.words_raw
        merge(source.effects, batch.effects)
        for text, starts in batch.rows:
            yield text, starts or pending
            pending = False
        pending = pending or batch.starts


def _split_off(settings: Corpus, train: Source, file: Path) -> Source:
    """Take the development split out of a source that is on disk."""
    name, pieces = file.stem, train.pieces
    quota = round(settings.dev_share * train.counts.words)
    drawn = draw(pieces, quota, seed=settings.seed, stream=f"dev/{name}")

    def side(wanted: bool) -> Iterator[Row]:
        return (row for at, row in parted(train.rows(), pieces, drawn) if at is wanted)

    dev = Source(file=file, counts=replace(train.counts, bytes_replaced=0))
    dev.keep(side(True))
    train.keep(side(False))
    return dev


def _drop_overlap(train: Split, dev: Split, avoid: Iterable[str]) -> None:
    """Drop the training lines that the development split or these sentences hold too."""
    held_out = (Piece(name, *row) for name, source in dev.items() for row in source.rows())
    sentences = (Piece("", sentence + "\n", True) for sentence in avoid)
    reference = collect(chain(held_out, sentences))
    for name, source in train.items():
        pieces = (Piece(name, *row) for row in source.rows())
        before = source.counts.lines
        source.keep((text, starts) for _, text, starts in drop_overlap(pieces, reference))
        source.counts.lines_overlapping = before - source.counts.lines


def _sample(train: Split, words: int, seed: int) -> None:
    """Cut every training source down to its quota."""
    quota = quotas({name: source.counts.words for name, source in train.items()}, words)
    for name, source in train.items():
        pieces = source.pieces
        drawn = draw(pieces, quota[name], seed=seed, stream=f"sample/{name}")
        kept = (row for inside, row in parted(source.rows(), pieces, drawn) if inside)
        source.keep(kept)


def _require_one_cleaning(settings: Corpus) -> None:
    """Refuse what would not be the same development text with and without cleaning."""
    if settings.cleans_dev != settings.clean:
        raise RecipeError(
            f"corpus.clean_dev is {settings.clean_dev} and corpus.clean {settings.clean}, which"
            " wants development text that does not depend on them: name some with corpus.dev_path,"
            " or leave corpus.clean_dev out"
        )


def _require_text(settings: Corpus, split: str, sources: Split) -> None:
    if any(source.counts.words for source in sources.values()):
        return
    if split == "dev" and not settings.dev_path and sources.keys():
        raise CorruptDataError(
            f"{settings.path} has too few lines to cut a development split of"
            f" {settings.dev_share:.0%} from: name held-out text with corpus.dev_path, raise"
            " corpus.dev_share, or break long lines"
        )
    origin = settings.path if split == "train" else settings.dev_path or settings.path
    effects = [effect for source in sources.values() for effect in source.effects.values()]
    if any(effect["dropped"] for effect in effects):
        hint = "set corpus.clean=false to see what cleaning removed"
    else:
        hint = "break long lines"
    raise CorruptDataError(
        f"the {split} split of {origin} has no text left: expected lines of text; add text, or"
        f" {hint}"
    )


def _table(splits: Mapping[str, Split], of: Callable[[Source], Any]) -> dict[str, dict[str, Any]]:
    """Split -> source -> a value, for the sources that have text."""
    return {
        split: {name: of(source) for name, source in sorted(sources.items()) if source.counts.words}
        for split, sources in splits.items()
    }
