"""A file at an official address: which addresses are safe, and whether a file is that file."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from babyllama.errors import BabyllamaError, CorruptDataError

BLOCK = 1 << 18
LOOPBACK = ("127.0.0.1", "::1", "localhost")


@dataclass(frozen=True, kw_only=True)
class Remote:
    """A file at an address, and what is known of it beforehand."""

    url: str
    size: int | None = None
    """Bytes."""
    digest: str | None = None
    """`sha256:`, `md5:` or `git:` (the id of a git blob), and hexadecimal digits."""
    limit: int = 8 << 30
    """Bytes that are taken at most where the size is unknown."""


def check_address(url: str, *, loopback: bool = False) -> None:
    """Refuse anything but https; with `loopback` also allow http to this machine.

    Raises:
        BabyllamaError: the address is of another kind.
    """
    parts = urlsplit(url)
    if parts.scheme == "https" and parts.hostname:
        return
    if not (loopback and parts.scheme == "http" and parts.hostname in LOOPBACK):
        raise BabyllamaError(
            f"refused to download from {url}: expected https, which keeps others from changing the"
            " file on its way; download it by hand and give it with --from"
        )


def verify(path: Path, remote: Remote, name: str) -> None:
    """Compare a file with what is known of it.

    Raises:
        CorruptDataError: it is another file.
    """
    found = path.stat().st_size
    if remote.size is not None and found != remote.size:
        raise differs(name, "bytes", f"{remote.size:,}", f"{found:,}")
    if remote.digest is not None:
        kind, _, expected = remote.digest.partition(":")
        hexadecimal = _digest(path, kind)
        if hexadecimal != expected:
            raise differs(name, kind, expected, hexadecimal)


def differs(name: str, what: str, expected: str, found: str) -> CorruptDataError:
    """The error for a file that is another one than the official one."""
    return CorruptDataError(
        f"{name} is not the official file: expected {what} {expected}, found {found}; fetch it"
        " again, or download it by hand from its official page and give it with --from"
    )


def _digest(path: Path, kind: str) -> str:
    """A digest in hexadecimal; that of a git blob covers a header with the length, too."""
    digest = hashlib.new("sha1" if kind == "git" else kind, usedforsecurity=False)
    if kind == "git":
        digest.update(f"blob {path.stat().st_size}\0".encode())
    with path.open("rb") as content:
        while block := content.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()
