"""What a corpus is read from: the files of a folder, or the embedded text, source by source."""

import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from babyllama.corpus.bible import BUILTIN_PATH, bible_digest, read_bible
from babyllama.corpus.documents import Part, document_parts
from babyllama.corpus.sources import BadBytes, TextFile, files_digest, find_files
from babyllama.errors import IgnoredSettingWarning, RecipeError


@dataclass(frozen=True, kw_only=True)
class Input:
    """One source of one split, before it is read."""

    split: str
    source: str
    texts: tuple[TextFile | str, ...]
    """Files, or texts that are in memory; none goes on in the next."""

    @property
    def size(self) -> int:
        """Bytes of UTF-8; files are not read for it."""
        return sum(
            text.path.stat().st_size if isinstance(text, TextFile) else len(text.encode())
            for text in self.texts
        )

    @property
    def bytes_replaced(self) -> int:
        """Bytes that were not UTF-8, in the last reading."""
        return sum(text.replaced for text in self.texts if isinstance(text, TextFile))

    def parts(self, kind: str, opening: str | None) -> Iterator[Part]:
        """The raw text in parts of documents; see `document_parts`."""
        for text in self.texts:
            yield from document_parts(kind, _blocks(text), opening)


def _blocks(text: TextFile | str) -> Callable[[], Iterable[str]]:
    return text.blocks if isinstance(text, TextFile) else partial(iter, (text,))


def find_inputs(path: str, dev_path: str | None, bad_bytes: BadBytes = "fail") -> list[Input]:
    """List what is to be read, training split first, sorted by source.

    `path` is a folder or `builtin:bbe`. Raises RecipeError where there is no text.
    """
    if not _is_builtin(path):
        files = find_files(Path(path), Path(dev_path) if dev_path else None)
        return [
            Input(split=split, source=source, texts=tuple(TextFile(p, bad_bytes) for p in paths))
            for split, pairs in (("train", files.train), ("dev", files.dev))
            for source, paths in pairs
        ]
    if dev_path is not None:
        message = f"corpus.dev_path has no effect: {path} brings its own development books"
        warnings.warn(message, IgnoredSettingWarning, stacklevel=3)
    return [
        Input(split=split, source=source, texts=tuple(books))
        for split, sources in read_bible().items()
        for source, books in sorted(sources.items())
    ]


def raw_digest(path: str, dev_path: str | None) -> str:
    """Give a sha256 over split, source and content of every input (or of the embedded text)."""
    if _is_builtin(path):
        return bible_digest()
    return files_digest(find_files(Path(path), Path(dev_path) if dev_path else None))


def raw_size(path: str, dev_path: str | None) -> int:
    """Bytes of the training text before cleaning, without reading a folder's files."""
    return sum(given.size for given in find_inputs(path, dev_path) if given.split == "train")


def _is_builtin(path: str) -> bool:
    if path.startswith("builtin:") and path != BUILTIN_PATH:
        raise RecipeError(f"corpus.path {path} is unknown: expected {BUILTIN_PATH} or a folder")
    return path == BUILTIN_PATH
