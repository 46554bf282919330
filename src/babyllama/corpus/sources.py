"""Find the raw text files of a corpus, name their sources, and read them strictly."""

import hashlib
import re
import warnings
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from babyllama.errors import CorruptDataError, RecipeError

TRAIN_SUFFIX = ".train"
DEV_SUFFIX = ".dev"
OFFICIAL_DEV = ("babylm_dev", "dev")
TEXT_SUFFIXES = (".txt", ".text", ".md")
_NAME_LENGTH = 60  # characters: at most 240 bytes of UTF-8, under the 255 of a file name


@dataclass(frozen=True, kw_only=True)
class RawFiles:
    """The files of a corpus: pairs of source name and path, sorted by name."""

    train: list[tuple[str, Path]] = field(default_factory=list)
    dev: list[tuple[str, Path]] = field(default_factory=list)


def find_files(path: Path, dev_path: Path | None = None) -> RawFiles:
    """Find the training and development files under `path` and `dev_path`, in depth.

    In the BabyLM layout `<source>.train` and `<source>.dev` say what they are; the `.dev` files
    lie in `dev_path`, or where none is given in `path` or in the folder `babylm_dev` or `dev`
    beside it, as the official archives have them. In any other folder every text file (.txt,
    .text, .md) is a source of its own. Hidden files and folders are skipped; files of any other
    kind are named in a warning.

    Raises RecipeError for a folder that is missing or holds no text.
    """
    files = _visible_files(path, "corpus.path")
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
    return RawFiles(train=_named(train, path), dev=_named(dev, dev_path or path))


def read_text(path: Path) -> str:
    """Read a UTF-8 file: its text without its byte-order mark, every line end a newline.

    Raises CorruptDataError, naming file and byte, for an empty or a binary file or bytes that
    are not UTF-8.
    """
    content = _read_bytes(path)
    if not content:
        raise CorruptDataError(f"{path} has zero bytes: expected text; delete the file or fill it")
    if (position := content.find(b"\0")) >= 0:
        raise CorruptDataError(
            f"{path} is binary (NUL at byte {position}): expected UTF-8 text;"
            " remove the file or convert it to UTF-8"
        )
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise CorruptDataError(
            f"{path} is not UTF-8 (byte 0x{content[error.start]:02x} at offset {error.start}):"
            " convert it to UTF-8, or mend that byte"
        ) from error
    return text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")


def files_digest(files: RawFiles) -> str:
    """Give a sha256 over split, source and content of every file, whatever its folder is called."""
    digest = hashlib.sha256()
    for split, pairs in (("dev", files.dev), ("train", files.train)):
        for source, path in pairs:
            content = hashlib.sha256(_read_bytes(path)).hexdigest()
            digest.update(f"{split}\t{source}\t{content}\n".encode())
    return digest.hexdigest()


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CorruptDataError(
            f"{path} cannot be read ({error.strerror}): check the file and its permissions"
        ) from error


def _visible_files(folder: Path, setting: str) -> list[Path]:
    if not folder.exists():
        raise RecipeError(f"{setting} {folder} does not exist: expected a folder of text files")
    if not folder.is_dir():
        raise RecipeError(f"{setting} {folder} is a file: expected the folder that holds it")
    return sorted(
        file
        for file in folder.rglob("*")
        if file.is_file() and not any(p.startswith(".") for p in file.relative_to(folder).parts)
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


def _named(files: list[Path], folder: Path) -> list[tuple[str, Path]]:
    """Give every file a name that is unique (also where case is not told apart)."""
    taken: set[str] = set()
    named = []
    for file in files:
        base = name = _source_name(file.relative_to(folder))
        number = 2
        while name.casefold() in taken:
            name = f"{base}-{number}"
            number += 1
        taken.add(name.casefold())
        named.append((name, file))
    return sorted(named)


def _source_name(relative: Path) -> str:
    """Keep letters, digits, `_`, `.` and `-` of the path without its suffix."""
    return re.sub(r"[^\w.-]+", "_", "_".join(relative.with_suffix("").parts))[:_NAME_LENGTH]
