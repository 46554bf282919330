"""Unpack what is not trusted: a zip, a tar.gz, or a folder that is read as if it were one.

Only plain files come out, under names that stay in the folder on any file system. Refused are
absolute names, `..`, drives and backslashes, links and devices, names that differ only in case,
encrypted members, damaged ones, and more files or bytes than an archive of that size can mean.
Hidden files and what macOS adds (`__MACOSX`) are left out.
"""

import errno
import gzip
import re
import stat
import struct
import tarfile
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO

from babyllama.errors import CorruptDataError

BLOCK = 1 << 20
NAME_BYTES = 255
SMALL = 16 << 20
"""Bytes that any archive may unpack to, whatever its ratio."""
DAMAGE = (zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError)
UNSUPPORTED = (NotImplementedError, RuntimeError)  # zipfile: unknown compression, encryption
HEADERS = (ValueError, IndexError, struct.error)  # zipfile, where single bytes of a header differ


@dataclass(frozen=True, kw_only=True)
class Caps:
    """More than this is not unpacked."""

    files: int = 20_000
    bytes: int = 8 << 30
    ratio: int = 200
    """Unpacked bytes for every byte of the archive; text reaches 3 to 20."""


@dataclass(frozen=True)
class _Member:
    name: str
    size: int
    kind: str
    """`file`, `folder`, or what else it is."""
    open: Callable[[], IO[bytes]]


def unpack(
    source: Path, into: Path, *, keep: Mapping[str, str], caps: Caps | None = None
) -> list[str]:
    """Write the files of some folders of `source` below `into`; the names written, sorted.

    `keep` maps these folders, which lie in the archive or in a top folder of it, to where they go
    (`.` is `into` itself). `into` may be left half full by an error: unpack into a folder that is
    thrown away then.

    Raises:
        CorruptDataError: damaged, unsafe, too large, or without a folder of `keep`.
    """
    unpacking = _Unpacking(source, into, keep, caps or Caps())
    with _damage_told(source):
        for member in _members(source):
            unpacking.take(member)
    missing = sorted(keep.keys() - unpacking.found)
    if missing:
        raise CorruptDataError(
            f"{source.name} does not hold the folder {missing[0]!r}: expected the official archive"
            " or what it unpacks to; get it from its official page"
        )
    return sorted(unpacking.written)


def safe_path(name: str) -> PurePosixPath:
    """The path that a member's name means, if it stays inside on every file system.

    Raises:
        ValueError: it does not; the message says why.

    >>> safe_path("./data/a b.txt")
    PurePosixPath('data/a b.txt')
    >>> safe_path("../a.txt")
    Traceback (most recent call last):
    ValueError: leads out of the folder
    """
    path = PurePosixPath(name)
    if path.is_absolute() or re.match(r"[A-Za-z]:", name):
        raise ValueError("is absolute")
    if ".." in path.parts:
        raise ValueError("leads out of the folder")
    if "\\" in name or any(unicodedata.category(sign) in ("Cc", "Cs") for sign in name):
        raise ValueError("holds a backslash or a control character")
    if not path.parts or any(len(part.encode()) > NAME_BYTES for part in path.parts):
        raise ValueError("is empty or too long")
    return path


@dataclass
class _Unpacking:
    """What has been unpacked so far."""

    source: Path
    into: Path
    keep: Mapping[str, str]
    caps: Caps
    members: int = 0
    bytes: int = 0
    found: set[str] = field(default_factory=set)
    """The folders of `keep` that had a file."""
    written: list[str] = field(default_factory=list)
    files: set[str] = field(default_factory=set)
    folders: set[str] = field(default_factory=set)
    """Names as a file system takes them that does not tell case apart."""

    def take(self, member: _Member) -> None:
        """Check a member, and write it if it is wanted."""
        self.members += 1
        if member.kind == "folder" and member.name in (".", "./"):
            return  # how tar tells of the folder that it was called in
        if self.members > self.caps.files:
            raise self._refused(f"it holds more than {self.caps.files:,} files")
        try:
            path = safe_path(member.name)
        except ValueError as error:
            raise self._refused(f"the name {member.name!r} {error}") from error
        depth = None if _is_hidden(path) else self._wanted(path)
        if depth is None or member.kind == "folder":
            self._count(member.size)
            return
        if member.kind != "file":
            raise self._refused(f"{member.name!r} is a {member.kind}, not a plain file")
        folder = path.parts[depth]
        self.found.add(folder)
        place = PurePosixPath(self.keep[folder], *path.parts[depth + 1 :])
        self._claim(place)
        self._write(member, place)
        self.written.append(str(place))

    def _wanted(self, path: PurePosixPath) -> int | None:
        """At which depth the folder lies for which a file is kept, or None if it is not."""
        folders = path.parts[:-1][:2]
        return next((d for d, folder in enumerate(folders) if folder in self.keep), None)

    def _claim(self, place: PurePosixPath) -> None:
        """Refuse a second file of the same name, and a file that is also a folder."""
        name, *parents = (_folded(path) for path in (place, *place.parents))
        if name in self.files or name in self.folders or not self.files.isdisjoint(parents):
            raise self._refused(f"it holds {str(place)!r} twice, or in two spellings")
        self.files.add(name)
        self.folders.update(parents)

    def _write(self, member: _Member, place: PurePosixPath) -> None:
        target = self.into / place
        target.parent.mkdir(parents=True, exist_ok=True)
        with member.open() as content, target.open("xb") as out:
            while block := content.read(BLOCK):
                self._count(len(block))
                out.write(block)

    def _count(self, size: int) -> None:
        self.bytes += size
        most = self.caps.bytes
        if self.source.is_file():
            most = min(most, max(SMALL, self.caps.ratio * self.source.stat().st_size))
        if self.bytes > most:
            raise self._refused(f"it unpacks to more than {most:,} bytes")

    def _refused(self, reason: str) -> CorruptDataError:
        return CorruptDataError(
            f"{self.source.name} is not safe to unpack: {reason}; expected plain files that stay in"
            " their folder: get it from its official page"
        )


def _is_hidden(path: PurePosixPath) -> bool:
    return any(part.startswith(".") or part == "__MACOSX" for part in path.parts)


def _folded(path: PurePosixPath) -> str:
    return unicodedata.normalize("NFC", str(path)).casefold()


@contextmanager
def _damage_told(source: Path) -> Iterator[None]:
    try:
        yield
    except (*DAMAGE, *UNSUPPORTED, *HEADERS, OSError) as error:
        wrong_place = isinstance(error, OSError) and error.errno == errno.EINVAL  # of a seek
        if isinstance(error, OSError) and not isinstance(error, DAMAGE) and not wrong_place:
            raise  # the disk's fault, not the archive's
        raise CorruptDataError(
            f"{source.name} is damaged or of an unknown kind ({error}): expected a whole zip or"
            " tar.gz; fetch it anew"
        ) from error


def _members(source: Path) -> Iterator[_Member]:
    if source.is_dir():
        return _folder_members(source)
    with source.open("rb") as content:
        start = content.read(4)
    if start[:2] == b"PK":
        return _zip_members(source)
    if start[:2] == b"\x1f\x8b":
        return _tar_members(source)
    raise tarfile.ReadError("it begins like neither")


def _folder_members(source: Path) -> Iterator[_Member]:
    for path in sorted(source.rglob("*")):
        name = path.relative_to(source)
        if not _is_hidden(PurePosixPath(name)):
            mode = path.lstat().st_mode
            # What is not copied costs nothing, so it is not counted.
            yield _Member(name.as_posix(), size=0, kind=_kind(mode), open=partial(_opened, path))


def _opened(path: Path) -> IO[bytes]:
    return path.open("rb")


def _zip_members(source: Path) -> Iterator[_Member]:
    with zipfile.ZipFile(source) as archive:
        for info in archive.infolist():
            mode = info.external_attr >> 16
            kind = _kind(mode) if stat.S_IFMT(mode) else "file"
            yield _Member(
                info.filename,
                size=info.file_size,
                kind="folder" if info.is_dir() else kind,
                open=partial(archive.open, info),
            )


def _tar_members(source: Path) -> Iterator[_Member]:
    with gzip.open(source) as stream, tarfile.open(fileobj=stream, mode="r|") as archive:
        for info in archive:
            kind = "folder" if info.isdir() else "file" if info.isreg() else "link or device"
            content = partial(_tar_content, archive, info)
            yield _Member(info.name, size=info.size, kind=kind, open=content)
        # gzip's check sum comes at the very end, behind the padding of the tar.
        if stream.read(SMALL) and stream.read(1):
            raise tarfile.ReadError("it goes on behind its end")


def _tar_content(archive: tarfile.TarFile, info: tarfile.TarInfo) -> IO[bytes]:
    content = archive.extractfile(info)
    if content is None:
        raise tarfile.ReadError(f"{info.name} has no content")
    return content


def _kind(mode: int) -> str:
    if stat.S_ISDIR(mode):
        return "folder"
    return "file" if stat.S_ISREG(mode) else "link or device"
