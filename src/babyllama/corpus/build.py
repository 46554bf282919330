"""Build the corpus artifact: find, read, cut into documents, clean, part, sample, write.

    out/train/<source>.jsonl  out/dev/<source>.jsonl   a document a line, {"text": "..."}
    out/corpus.json                                    counts per split and source

One source is in memory at a time. Where the corpus has no development files, `dev_share` of
every source's words is cut off for it, after cleaning and before sampling, so that the
development split is the same for any `words`. Sampling touches the training split alone.
"""

import difflib
import json
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from babyllama.corpus.bible import BUILTIN_PATH, bible_digest, read_bible
from babyllama.corpus.cleaning import CLEANERS
from babyllama.corpus.documents import split_documents
from babyllama.corpus.sampling import count_words, part, quotas
from babyllama.corpus.sources import files_digest, find_files, read_text
from babyllama.errors import CorruptDataError, IgnoredSettingWarning, RecipeError

SPLITS = ("train", "dev")


@dataclass(frozen=True, kw_only=True)
class Counts:
    """What a source holds in a split. A word is what `str.split()` gives; bytes are of UTF-8.

    `words_raw` is the number of words before cleaning; where only a part of a source is in the
    split, that part of it.
    """

    files: int
    documents: int
    words: int
    words_raw: int
    bytes: int


@dataclass(frozen=True, kw_only=True)
class _Input:
    """A source of a split before it is read; `read` gives its raw texts, one a file or book."""

    split: str
    source: str
    files: int
    read: Callable[[], list[str]]


def build_corpus(
    *,
    path: str,
    dev_path: str | None,
    words: int | None,
    dev_share: float,
    clean: bool,
    cleaners: Mapping[str, str],
    seed: int,
    out: Path,
) -> dict[str, Any]:
    """Write the corpus to `out`, a new or empty folder; return what `corpus.json` holds.

    `path` is a folder or `builtin:bbe`. `cleaners` names another cleaner (and with it another
    definition of a document) for a source. Without `clean`, texts keep everything but their
    kinds of line end.

    Raises RecipeError for settings that cannot be meant, CorruptDataError for unreadable or
    empty text.
    """
    inputs = _inputs(path, dev_path)
    _check_cleaners(cleaners, sorted({given.source for given in inputs}), clean=clean)
    has_dev = any(given.split == "dev" for given in inputs)
    if not has_dev and not 0 < dev_share < 1:
        raise RecipeError(
            f"corpus.dev_share is {dev_share}: expected a number between 0 and 1, as {path} has"
            " no development files"
        )
    counts: dict[str, dict[str, Counts]] = {split: {} for split in SPLITS}
    for given in inputs:
        documents, words_raw = _prepared(given, clean=clean, cleaners=cleaners)
        parts = {given.split: documents}
        if not has_dev:
            parts = _parted(documents, given.source, dev_share=dev_share, seed=seed)
        for split, texts in parts.items():
            if texts:
                entry = _written(out, split, given, texts, words_raw * _share(texts, documents))
                counts[split][given.source] = entry
    for split in SPLITS:
        _require_text(counts, split, path if split == "train" else dev_path or path)
    if words is not None:
        counts["train"] = _sampled(out, counts["train"], words=words, seed=seed)
    result = {
        split: {source: asdict(entry) for source, entry in sorted(counts[split].items())}
        for split in SPLITS
    }
    (out / "corpus.json").write_text(_json(result, indent=1) + "\n", encoding="utf-8")
    return result


def read_documents(folder: Path, split: str) -> Iterator[tuple[str, str]]:
    """Yield source and text of every document of a split, sorted by source, in text order.

    Raises CorruptDataError where the split is missing or a line is not a document.
    """
    files = sorted((folder / split).glob("*.jsonl"), key=lambda file: file.stem)
    if not files:
        raise CorruptDataError(f"{folder / split} holds no documents: build the corpus again")
    for file in files:
        with file.open(encoding="utf-8", newline="\n") as lines:
            for number, line in enumerate(lines, start=1):
                yield file.stem, _text(line, file, number)


def raw_digest(path: str, dev_path: str | None) -> str:
    """Give a sha256 over split, source and content of every input (or of the embedded text)."""
    if _is_builtin(path):
        return bible_digest()
    return files_digest(find_files(Path(path), Path(dev_path) if dev_path else None))


def raw_size(path: str, dev_path: str | None) -> int:
    """Bytes of the training text before cleaning, without reading a folder's files."""
    if _is_builtin(path):
        books = (book for texts in read_bible()["train"].values() for book in texts)
        return sum(len(book.encode()) for book in books)
    files = find_files(Path(path), Path(dev_path) if dev_path else None)
    return sum(file.stat().st_size for _, file in files.train)


def _is_builtin(path: str) -> bool:
    if path.startswith("builtin:") and path != BUILTIN_PATH:
        raise RecipeError(f"corpus.path {path} is unknown: expected {BUILTIN_PATH} or a folder")
    return path == BUILTIN_PATH


def _inputs(path: str, dev_path: str | None) -> list[_Input]:
    """List what is to be read, training split first, sorted by source."""
    if not _is_builtin(path):
        files = find_files(Path(path), Path(dev_path) if dev_path else None)
        return [
            _Input(split=split, source=source, files=1, read=partial(_read_one, file))
            for split, pairs in (("train", files.train), ("dev", files.dev))
            for source, file in pairs
        ]
    if dev_path is not None:
        message = f"corpus.dev_path has no effect: {path} brings its own development books"
        warnings.warn(message, IgnoredSettingWarning, stacklevel=3)
    return [
        _Input(split=split, source=source, files=len(books), read=books.copy)
        for split, sources in read_bible().items()
        for source, books in sorted(sources.items())
    ]


def _read_one(file: Path) -> list[str]:
    return [read_text(file)]


def _check_cleaners(cleaners: Mapping[str, str], sources: list[str], *, clean: bool) -> None:
    for source, cleaner in cleaners.items():
        if source not in sources:
            raise RecipeError(_unknown("corpus.cleaners", "source", source, sources))
        if cleaner not in CLEANERS:
            name = f"corpus.cleaners.{source}"
            raise RecipeError(_unknown(name, "cleaner", cleaner, list(CLEANERS)))
    if cleaners and not clean:
        message = "corpus.cleaners chooses documents only: corpus.clean is off"
        warnings.warn(message, IgnoredSettingWarning, stacklevel=3)


def _unknown(setting: str, kind: str, name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"expected one of {', '.join(known)}"
    return f"{setting}: there is no {kind} {name!r}; {hint}"


def _prepared(given: _Input, *, clean: bool, cleaners: Mapping[str, str]) -> tuple[list[str], int]:
    """Give the clean documents of a source, and how many words its raw texts had."""
    kind = cleaners.get(given.source, given.source)
    cleaner = CLEANERS.get(kind, CLEANERS["generic"]) if clean else _end_line
    raw = given.read()
    cleaned = (cleaner(document) for text in raw for document in split_documents(kind, text))
    documents = [document for document in cleaned if not document.isspace() and document]
    if not documents:
        message = f"{given.split} source {given.source!r} has no text left and is dropped"
        warnings.warn(message, stacklevel=4)
    return documents, sum(map(count_words, raw))


def _end_line(text: str) -> str:
    text = text.strip("\n")
    return text + "\n" if text else ""


def _parted(
    documents: list[str], source: str, *, dev_share: float, seed: int
) -> dict[str, list[str]]:
    quota = round(dev_share * sum(map(count_words, documents)))
    dev, train = part(documents, quota, seed=seed, stream=f"dev/{source}")
    return {"train": [*map(_end_line, train)], "dev": [*map(_end_line, dev)]}


def _share(texts: list[str], documents: list[str]) -> float:
    return sum(map(count_words, texts)) / max(1, sum(map(count_words, documents)))


def _written(out: Path, split: str, given: _Input, texts: list[str], words_raw: float) -> Counts:
    _write(out / split / f"{given.source}.jsonl", texts)
    return Counts(
        files=given.files,
        documents=len(texts),
        words=sum(map(count_words, texts)),
        words_raw=round(words_raw),
        bytes=sum(len(text.encode()) for text in texts),
    )


def _require_text(counts: Mapping[str, Mapping[str, Counts]], split: str, origin: str) -> None:
    if not any(entry.words for entry in counts[split].values()):
        raise CorruptDataError(
            f"the {split} split of {origin} is empty after cleaning: expected lines of text;"
            " add text, or set corpus.clean=false to see what cleaning removed"
        )


def _sampled(
    out: Path, counts: Mapping[str, Counts], *, words: int, seed: int
) -> dict[str, Counts]:
    """Cut every written training source down to its quota."""
    sampled = {}
    quota = quotas({source: entry.words for source, entry in counts.items()}, words)
    for source, entry in counts.items():
        file = out / "train" / f"{source}.jsonl"
        with file.open(encoding="utf-8", newline="\n") as lines:
            documents = [_text(line, file, number) for number, line in enumerate(lines, start=1)]
        texts, _ = part(documents, quota[source], seed=seed, stream=f"sample/{source}")
        if not texts:
            file.unlink()
            continue
        _write(file, texts)
        kept = sum(map(count_words, texts))
        sampled[source] = Counts(
            files=entry.files,
            documents=len(texts),
            words=kept,
            words_raw=round(entry.words_raw * kept / entry.words),
            bytes=sum(len(text.encode()) for text in texts),
        )
    return sampled


def _json(value: object, indent: int | None = None) -> str:
    return json.dumps(value, ensure_ascii=False, indent=indent)


def _write(file: Path, texts: list[str]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", encoding="utf-8", newline="\n") as lines:
        lines.writelines(_json({"text": text}) + "\n" for text in texts)


def _text(line: str, file: Path, number: int) -> str:
    try:
        return str(json.loads(line)["text"])
    except (ValueError, KeyError, TypeError) as error:
        raise CorruptDataError(
            f'{file} line {number} is not {{"text": ...}}: build the corpus again'
        ) from error
