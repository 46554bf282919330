"""Find the raw text files of a corpus, name their sources, and read them strictly."""

import hashlib
import os
import re
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from babyllama.errors import CorruptDataError, RecipeError

TRAIN_SUFFIX = ".train"
DEV_SUFFIX = ".dev"
OFFICIAL_DEV = ("babylm_dev", "dev")
TEXT_SUFFIXES = (".txt", ".text", ".md")
MOST_SOURCES = 20
BLOCK_BYTES = 1 << 18
BadBytes = Literal["fail", "replace"]
_HELD_OUT = ("dev", "valid", "validation", "test")
_ESCAPED = re.compile("[\udc80-\udcff]")
_NAME_LENGTH = 60  # characters: at most 240 bytes of UTF-8, under the 255 of a file name


@dataclass(frozen=True, kw_only=True)
class RawFiles:
    """The files of a corpus: name and files of every source, sorted."""

    train: list[tuple[str, list[Path]]] = field(default_factory=list)
    dev: list[tuple[str, list[Path]]] = field(default_factory=list)


def find_files(path: Path, dev_path: Path | None = None) -> RawFiles:
    """Find the training and development files under `path` and `dev_path`, in depth.

    In the BabyLM layout `<source>.train` and `<source>.dev` say what they are; the `.dev` files
    lie in `dev_path`, or where none is given in `path` or in the folder `babylm_dev` or `dev`
    beside it, as the official archives have them. In any other folder text files (.txt, .text,
    .md) are sources: a subfolder is one source and each of its files a document; a file beside
    them is a source of its own, unless there are more than `MOST_SOURCES`: then they are the
    documents of one source. Hidden files and folders are skipped; files of any other kind are
    named in a warning.

    Raises RecipeError for a folder that is missing or holds no text, and where no `dev_path` is
    given for folders `train` and `dev` in `path`; CorruptDataError for a folder that is unreadable.
    """
    files = _visible_files(path, "corpus.path")
    if dev_path is None:
        _refuse_splits(path, files)
    dev_files = files
    dev_path = dev_path or _official_dev(path, files)
    if dev_path is not None:
        dev_files = _visible_files(dev_path, "corpus.dev_path")
        files, dev_files = _outside(files, path, dev_path), _outside(dev_files, dev_path, path)
    train = _with_suffix(files, TRAIN_SUFFIX) or _with_suffix(files, *TEXT_SUFFIXES)
    dev = _with_suffix(dev_files, DEV_SUFFIX)
    if dev_path is not None:
        dev = dev or [file for file in _with_suffix(dev_files, *TEXT_SUFFIXES) if file not in train]
        _require(dev, dev_path, "corpus.dev_path", DEV_SUFFIX)
    _require(train, path, "corpus.path", TRAIN_SUFFIX)
    _warn_of_unused({*files, *dev_files} - {*train, *dev})
    return RawFiles(train=_sources(train, path), dev=_sources(dev, dev_path or path))


class TextFile:
    """A raw text file, read in blocks of whole lines so that its size does not matter."""

    def __init__(self, path: Path, bad_bytes: BadBytes = "fail") -> None:
        self.path = path
        self.bad_bytes = bad_bytes
        self.replaced = 0
        """Bytes that were not UTF-8 and were replaced, in the last reading."""

    def blocks(self) -> Iterator[str]:
        """Give the text without its byte-order mark, every line end a newline.

        Raises CorruptDataError, naming file and byte, for an empty or a binary file or bytes
        that are not UTF-8 (unless those are to be replaced).
        """
        self.replaced = offset = 0
        try:
            with self.path.open("rb") as file:
                while content := file.read(BLOCK_BYTES) + file.readline():
                    text = self._decoded(content, offset)
                    yield text if offset else text.removeprefix("\ufeff")
                    offset += len(content)
        except OSError as error:
            raise _unreadable(self.path, error) from error
        if not offset:
            raise CorruptDataError(
                f"{self.path} has zero bytes: expected text; delete the file or fill it"
            )

    def _decoded(self, content: bytes, offset: int) -> str:
        if (position := content.find(b"\0")) >= 0:
            raise CorruptDataError(
                f"{self.path} is binary (NUL at byte {offset + position}): expected UTF-8 text;"
                " remove the file or convert it to UTF-8"
            )
        try:
            text = content.decode("utf-8")
        except UnicodeDecodeError as error:
            if self.bad_bytes == "fail":
                raise CorruptDataError(
                    f"{self.path} is not UTF-8 (byte 0x{content[error.start]:02x} at offset"
                    f" {offset + error.start}): convert it to UTF-8, mend that byte, or set"
                    " corpus.bad_bytes=replace"
                ) from error
            text = content.decode("utf-8", "replace")
            # One sign may stand for several bytes; escaped, each bad byte is a surrogate.
            self.replaced += len(_ESCAPED.findall(content.decode("utf-8", "surrogateescape")))
        return text.replace("\r\n", "\n").replace("\r", "\n")


def files_digest(files: RawFiles) -> str:
    """Give a sha256 over split, source and content of every file, whatever its folder is called."""
    digest = hashlib.sha256()
    for split, pairs in (("dev", files.dev), ("train", files.train)):
        for source, paths in pairs:
            for path in paths:
                digest.update(f"{split}\t{source}\t{_digest(path)}\n".encode())
    return digest.hexdigest()


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> CorruptDataError:
    return CorruptDataError(
        f"{path} cannot be read ({error.strerror}): check the file and its permissions"
    )


def _visible_files(folder: Path, setting: str) -> list[Path]:
    if not folder.exists():
        raise RecipeError(
            f"{setting} {folder} does not exist: expected a folder of text files; set"
            f" {setting}=FOLDER"
        )
    if not folder.is_dir():
        raise RecipeError(f"{setting} {folder} is a file: expected the folder that holds it")
    found = []
    seen = set()
    for place, folders, names in os.walk(folder, onerror=_refuse, followlinks=True):
        # A link may lead back to where it came from.
        real = os.path.realpath(place)
        folders[:] = [] if real in seen else [name for name in folders if name[0] != "."]
        if real not in seen:
            found += [Path(place) / name for name in names if name[0] != "."]
        seen.add(real)
    return sorted(file for file in found if file.is_file())


def _refuse(error: OSError) -> None:
    raise _unreadable(Path(error.filename), error) from error


def _refuse_splits(path: Path, files: list[Path]) -> None:
    """A folder that holds both splits is no training text."""
    inside = [file.relative_to(path).parts for file in files]
    folders = {parts[0].lower(): parts[0] for parts in inside if len(parts) > 1}
    held_out = next((folders[name] for name in _HELD_OUT if name in folders), None)
    if held_out is not None and "train" in folders:
        train, dev = path / folders["train"], path / held_out
        raise RecipeError(
            f"corpus.path {path} holds {train.name}/ and {dev.name}/: expected training text alone;"
            f" set corpus.path={train} corpus.dev_path={dev}"
        )


def _official_dev(path: Path, files: list[Path]) -> Path | None:
    """Find the dev folder of an unpacked BabyLM archive, where `path` is its training folder."""
    if not _with_suffix(files, TRAIN_SUFFIX) or _with_suffix(files, DEV_SUFFIX):
        return None
    beside = [path.resolve().parent / name for name in OFFICIAL_DEV]
    return next((f for f in beside if f.is_dir() and any(f.rglob(f"*{DEV_SUFFIX}"))), None)


def _outside(files: list[Path], folder: Path, other: Path) -> list[Path]:
    """Keep the files of a folder that are not in the other one, if that lies inside the folder."""
    inner = other.resolve()
    if inner == folder.resolve() or not inner.is_relative_to(folder.resolve()):
        return files
    return [file for file in files if not file.resolve().is_relative_to(inner)]


def _with_suffix(files: Iterable[Path], *suffixes: str) -> list[Path]:
    return [file for file in files if file.suffix.lower() in suffixes]


def _require(files: list[Path], folder: Path, setting: str, suffix: str) -> None:
    if not files:
        raise RecipeError(
            f"{setting} {folder} holds no text: expected <source>{suffix} files"
            f" or text files ({', '.join(TEXT_SUFFIXES)})"
        )


def _warn_of_unused(files: set[Path]) -> None:
    if files:
        names = sorted(str(file) for file in files)
        more = f" and {len(names) - 10} more" if len(names) > 10 else ""
        warnings.warn(f"not part of the corpus: {', '.join(names[:10])}{more}", stacklevel=3)


def _sources(files: list[Path], folder: Path) -> list[tuple[str, list[Path]]]:
    """Group files into sources and name these."""
    beside = [file for file in files if file.parent == folder]
    alone = beside if len(beside) <= MOST_SOURCES else []
    groups: dict[tuple[Path, Path], list[Path]] = {}
    for file in files:
        relative = file.relative_to(folder)
        if file in alone or file.suffix.lower() in (TRAIN_SUFFIX, DEV_SUFFIX):
            place, name = relative, relative.with_suffix("")
        elif len(relative.parts) == 1:
            place, name = Path(), Path(folder.resolve().name)
        else:
            place = name = Path(relative.parts[0])
        groups.setdefault((place, name), []).append(file)
    return _named((name, group) for (_, name), group in groups.items())


def _named(groups: Iterable[tuple[Path, list[Path]]]) -> list[tuple[str, list[Path]]]:
    """Give every source a name that is unique (also where case is not told apart)."""
    taken: set[str] = set()
    named = []
    for group, files in groups:
        base = name = _safe_name(group)
        number = 2
        while name.casefold() in taken:
            name = f"{base}-{number}"
            number += 1
        taken.add(name.casefold())
        named.append((name, files))
    return sorted(named)


def _safe_name(group: Path) -> str:
    """Keep letters, digits, `_`, `.` and `-`."""
    return re.sub(r"[^\w.-]+", "_", "_".join(group.parts))[:_NAME_LENGTH] or "text"
