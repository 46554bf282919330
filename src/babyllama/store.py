"""Every artifact once: written beside its place, synced, then renamed in.

`<root>/<kind>-<fingerprint>/` holds an artifact; its `manifest.json` names what it was made
from, the settings that matter to it, and the sha256 of its files. A stage that can go on after a
kill keeps its state in `<kind>-<fingerprint>.partial/` until the artifact is in place.
"""

import errno
import fcntl
import hashlib
import json
import os
import platform
import shutil
import socket
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any

from babyllama.errors import BabyllamaError, CorruptDataError

MANIFEST = "manifest.json"
VERIFIED = ".verified.json"
"""Beside the manifest: size and time of each file when its sha256 was last compared."""
STORE = ".store"
"""The folder of artifacts, beside the runs."""
SECONDS = "seconds"
"""In the folder of state: how long the attempts so far took."""
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
LIBRARIES = ("babyllama", "torch", "transformers", "tokenizers", "numpy")


@dataclass(frozen=True)
class Identity:
    """What makes an artifact the one it is."""

    kind: str
    version: int
    """Raised when a change of code alters the result."""
    settings: Mapping[str, Any]
    inputs: Mapping[str, str]
    """Name of an input -> its fingerprint."""

    @property
    def fingerprint(self) -> str:
        """Sixteen hexadecimal digits over all of it."""
        body = {
            "kind": self.kind,
            "version": self.version,
            "settings": self.settings,
            "inputs": sorted(self.inputs.items()),
        }
        text = json.dumps(body, sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Store:
    """The folder of artifacts that runs share."""

    root: Path

    def path(self, identity: Identity) -> Path:
        """Where the artifact is or will be."""
        return self.root / f"{identity.kind}-{identity.fingerprint}"

    def has(self, identity: Identity) -> bool:
        """Whether the artifact is complete.

        Raises:
            CorruptDataError: it is there, but a file is missing or has another size.
        """
        folder = self.path(identity)
        if not folder.exists():
            return False
        for name, record in read_manifest(folder)["files"].items():
            _check_file(folder, name, record["bytes"])
        return True

    def partial(self, identity: Identity) -> Path:
        """The folder for state that outlives a kill; the maker may use it or not."""
        return self.path(identity).with_suffix(".partial")

    def make(self, identity: Identity, build: Callable[[Path, Path], None]) -> Path:
        """Build an artifact with `build(out, partial)` and move it into its place.

        A build that raises leaves nothing but the state that it kept in `partial`.

        Raises:
            BabyllamaError: another process is making the same artifact.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        folder = self.path(identity)
        with self._lock(identity):
            if not self.has(identity):
                self._build(identity, folder, build)
        return folder

    def tidy(self, identity: Identity) -> None:
        """Drop what a process that was killed behind its last step left beside an artifact."""
        folder = self.path(identity)
        beside = [folder.with_suffix(suffix) for suffix in (".partial", ".new", ".lock")]
        if any(path.exists() for path in beside):
            # Refused where its maker is still there, or where the store is only read.
            with suppress(BabyllamaError, OSError), self._lock(identity):
                for path in beside[:2]:
                    shutil.rmtree(path, ignore_errors=True)

    def _build(self, identity: Identity, folder: Path, build: Callable[[Path, Path], None]) -> None:
        out, partial = folder.with_suffix(".new"), self.partial(identity)
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()
        partial.mkdir(exist_ok=True)
        sync_path(self.root)
        started = time.monotonic() - _spent_earlier(partial)
        try:
            build(out, partial)
            write_json(out / MANIFEST, _manifest(identity, out, time.monotonic() - started))
            write_json(out / VERIFIED, _stamps(out))
            sync_tree(out)
        except BaseException:
            shutil.rmtree(out, ignore_errors=True)
            _leave(partial, time.monotonic() - started)
            raise
        out.rename(folder)
        sync_path(self.root)
        shutil.rmtree(partial, ignore_errors=True)

    def _lock(self, identity: Identity) -> AbstractContextManager[None]:
        path = self.path(identity).with_suffix(".lock")
        return locked(
            path,
            lambda holder: (
                f"{path.stem} is being made by {holder}: wait for it, then run this again"
            ),
        )


def _spent_earlier(partial: Path) -> float:
    """Seconds that earlier attempts at an artifact took, those of a killed one not counted."""
    try:
        return float((partial / SECONDS).read_text("utf-8"))
    except (FileNotFoundError, ValueError):
        return 0.0


def _leave(partial: Path, seconds: float) -> None:
    """Note the time beside the state that an attempt has left; without state drop the folder."""
    if any(path.name != SECONDS for path in partial.iterdir()):
        with suppress(OSError):  # a full disk, of which the caller is about to hear
            (partial / SECONDS).write_text(f"{seconds:.3f}\n", "utf-8")
    else:
        shutil.rmtree(partial)


@contextmanager
def locked(path: Path, refusal: Callable[[str], str]) -> Iterator[None]:
    """Hold a lock; the system lets go of it when the process dies.

    Raises:
        BabyllamaError: another process has it; `refusal` puts that process into words.
    """
    with path.open("a+") as handle:
        if not _locked(handle, path):
            handle.seek(0)
            raise BabyllamaError(refusal(handle.read().strip() or "another process"))
        handle.truncate(0)
        handle.write(f"process {os.getpid()} on {socket.gethostname()}")
        handle.flush()
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def _locked(handle: IO[str], path: Path) -> bool:
    """Whether the lock could be taken, on the file that is still at `path`."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.path.samestat(os.fstat(handle.fileno()), path.stat())
    except (BlockingIOError, FileNotFoundError):
        return False
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        warnings.warn(
            f"the file system of {path.parent} has no locks: start no second run there meanwhile",
            stacklevel=4,
        )
        return True


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a finished artifact.

    Raises:
        CorruptDataError: there is none, or it is not one.
    """
    try:
        manifest = json.loads((folder / MANIFEST).read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        reason = str(error)
    else:
        if _lists_files(manifest):
            return dict(manifest)
        reason = "it does not list the files"
    raise CorruptDataError(
        f"artifact {folder} has no readable {MANIFEST} ({reason}): delete {folder} and run again"
    )


def _lists_files(manifest: Any) -> bool:
    if not (isinstance(manifest, dict) and {"files", "seconds"} <= manifest.keys()):
        return False
    files = manifest["files"]
    return isinstance(files, dict) and all(
        isinstance(record, dict) and {"bytes", "sha256"} <= record.keys()
        for record in files.values()
    )


def verify_stored(folder: Path) -> None:
    """Verify the artifact of a store that a folder is, or is in; others have nothing to hold.

    Raises:
        CorruptDataError: as `verify`.
    """
    place = folder.resolve()
    for artifact in (place, *place.parents):
        if artifact.parent.name == STORE and (artifact / MANIFEST).is_file():
            verify(artifact)


def verify(folder: Path, *, full: bool = False) -> None:
    """Compare every file of an artifact with the sha256 of its manifest.

    Unless `full`, a file that has the size and the time of change that it had when it was made or
    last compared is not read again.

    Raises:
        CorruptDataError: a file is missing, or is not what was made.
    """
    seen, stamps = _read_stamps(folder), _stamps(folder)
    for name, record in read_manifest(folder)["files"].items():
        if not full and seen.get(name) == stamps[name]:
            continue
        if file_digest(folder / name) != record["sha256"]:
            raise CorruptDataError(
                f"{folder / name} does not have the sha256 of its manifest: delete {folder} and"
                " run again"
            )
    if stamps != seen:
        with suppress(OSError):  # a store that is only read: compared again the next time
            write_json(folder / VERIFIED, stamps)


def _stamps(folder: Path) -> dict[str, list[int]]:
    """Size and time of change of every file, by name; their sizes are those of the manifest."""
    stamps = {}
    for name, record in read_manifest(folder)["files"].items():
        _check_file(folder, name, record["bytes"])
        status = (folder / name).stat()
        stamps[name] = [status.st_size, status.st_mtime_ns]
    return stamps


def _read_stamps(folder: Path) -> dict[str, Any]:
    try:
        stamps = json.loads((folder / VERIFIED).read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return stamps if isinstance(stamps, dict) else {}


def _check_file(folder: Path, name: str, size: int) -> None:
    path = folder / name
    found = path.stat().st_size if path.is_file() else None
    if found != size:
        state = "missing" if found is None else f"{found} bytes"
        raise CorruptDataError(
            f"{path} is {state}, expected {size} bytes: delete {folder} and run again"
        )


def _manifest(identity: Identity, out: Path, seconds: float) -> dict[str, Any]:
    files = sorted(p for p in out.rglob("*") if p.is_file())
    return {
        "kind": identity.kind,
        "fingerprint": identity.fingerprint,
        "version": identity.version,
        "settings": identity.settings,
        "inputs": identity.inputs,
        "files": {
            str(p.relative_to(out)): {"bytes": p.stat().st_size, "sha256": file_digest(p)}
            for p in files
        },
        "seconds": round(seconds, 3),
        "libraries": {name: version(name) for name in LIBRARIES}
        | {"python": platform.python_version()},
    }


def file_digest(path: Path) -> str:
    """The sha256 of a file, in hexadecimal."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def joint_digest(files: Iterable[Path]) -> str:
    """One sha256 over the names and contents of several files, in the order given."""
    lines = [f"{file.name} {file_digest(file)}" for file in files]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def write_json(path: Path, value: Any) -> None:
    """Write JSON for people to read, as `write_text` does."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a file: beside its place, synced, then renamed in."""
    beside = path.with_name(f".{path.name}.new")
    beside.write_text(text, "utf-8")
    sync_path(beside)
    beside.replace(path)
    sync_path(path.parent)


def sync_path(path: Path) -> None:
    """Make a file's content, or a folder's entries, survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(folder: Path) -> None:
    """Sync every file and folder below, and the folder itself."""
    for path in folder.rglob("*"):
        sync_path(path)
    sync_path(folder)
