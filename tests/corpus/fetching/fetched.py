"""A small set of text to fetch: its archive, its entry in the registry, and what comes of it."""

import zipfile
from pathlib import Path
from typing import Any

import pytest

from babyllama.corpus.fetching.download import Patience
from babyllama.corpus.fetching.fetch import fetch_entry
from babyllama.corpus.fetching.registry import Archive, Entry
from babyllama.errors import BabyllamaError

TRAIN = {"data/train/a.train": "one\r\ntwo é\n".encode(), "data/train/b.train": b"three\n"}
DEV = {"data/dev/a.dev": b"four\n"}
UNPACKED = {name.removeprefix("data/"): content for name, content in (TRAIN | DEV).items()}


def make_zip(path: Path, files: dict[str, bytes], *, year: int = 2023) -> bytes:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            info = zipfile.ZipInfo(name, (year, 1, 1, 0, 0, 0))
            archive.writestr(info, content, zipfile.ZIP_DEFLATED)
    return path.read_bytes()


def known(*archives: Archive, **more: Any) -> Entry:
    texts = dict.fromkeys(("about", "licence", "citation"), "words")
    texts |= {"page": "https://data.example/", "use": "corpus.path={folder}/train"}
    return Entry(name="tiny", archives=list(archives), **texts, **more)


def both(url: str, **more: Any) -> Archive:
    return Archive(name="tiny.zip", url=url, keep={"train": "train", "dev": "dev"}, **more)


def brought(entry: Entry, folder: Path, **options: Any) -> list[str]:
    """Fetch with little patience; the lines that it said."""
    said: list[str] = []
    patience = Patience(pause=0.001, tries=2)
    place = fetch_entry(entry, folder, say=said.append, patience=patience, loopback=True, **options)
    assert place == folder / "tiny"
    return said


def failure(entry: Entry, folder: Path, **options: Any) -> BabyllamaError:
    """The error of a fetch: one line, and nothing under the final name."""
    with pytest.raises(BabyllamaError) as caught:
        brought(entry, folder, **options)
    assert not (folder / "tiny").exists()
    assert "\n" not in str(caught.value)
    return caught.value


def contents(folder: Path) -> dict[str, bytes]:
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def visible(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())
