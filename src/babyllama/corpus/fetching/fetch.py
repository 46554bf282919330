"""A name becomes a folder: downloaded or read from a copy, verified, unpacked, renamed in.

    FOLDER/NAME/             what was fetched; it is complete or not there
    FOLDER/.NAME.fetch/      what has arrived so far; the next fetch of NAME goes on with it
    FOLDER/fetch.lock.json   size and sha256 of every archive and file that the first fetch brought

A later fetch, here or with the same lock file on another machine, brings the same bytes or fails.
"""

import fcntl
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from babyllama.corpus.fetching.download import Patience, download
from babyllama.corpus.fetching.registry import Archive, Entry, entry
from babyllama.corpus.fetching.remote import Remote, verify
from babyllama.corpus.fetching.unpack import unpack
from babyllama.errors import BabyllamaError, CorruptDataError, RecipeError
from babyllama.store import file_digest, sync_path, sync_tree, write_json

LOCK = "fetch.lock.json"
PARTS = ("archives", "files")
BLOCK = 1 << 20
Files = dict[str, dict[str, Any]]
"""File name -> `bytes` and `sha256`, and for an archive its `url`."""


def fetch(
    name: str,
    folder: Path,
    *,
    source: Path | None = None,
    lock: Path | None = None,
    say: Callable[[str], None],
) -> Path:
    """Bring what is called `name` to `folder / name`, and return that folder.

    `source` is read in place of the network: an archive that was downloaded before, or a folder
    that holds each of the archives, or what it unpacks to. `lock` is by default `folder / LOCK`.
    What is there and agrees with the lock is left as it is.

    Raises:
        RecipeError: an unknown name, or a `source` that cannot be meant.
        CorruptDataError: other content than the registry or the lock expects, a damaged or unsafe
            archive. What was downloaded is deleted then.
        BabyllamaError: no network, or a server that does not give the file.
    """
    return fetch_entry(entry(name), folder, source=source, lock=lock, say=say)


def fetch_entry(
    known: Entry,
    folder: Path,
    *,
    source: Path | None = None,
    lock: Path | None = None,
    say: Callable[[str], None],
    patience: Patience | None = None,
    loopback: bool = False,
) -> Path:
    """The same for an entry of any registry; `patience` and `loopback` are for tests."""
    _check_paths(folder, source)
    get = partial(download, say=say, patience=patience, loopback=loopback)
    job = _Job(known, folder, source, lock or folder / LOCK, say, get)
    with _alone(folder):
        locked = _read_lock(job.lock).get(known.name)
        if _is_there(job.target):
            _check_complete(job, locked)
            shutil.rmtree(job.work, ignore_errors=True)
            return job.target
        try:
            _make(job, locked or {})
        except CorruptDataError:
            if source is None:
                shutil.rmtree(job.work, ignore_errors=True)
            raise
        finally:
            _tidy(job)
    return job.target


@dataclass(frozen=True)
class _Job:
    """One fetch."""

    known: Entry
    folder: Path
    source: Path | None
    lock: Path
    say: Callable[[str], None]
    get: Callable[..., None]
    """`download`, for this job's network."""

    @property
    def target(self) -> Path:
        return self.folder / self.known.name

    @property
    def work(self) -> Path:
        return self.folder / f".{self.known.name}.fetch"

    @property
    def unpacked(self) -> Path:
        return self.work / "unpacked"


def _make(job: _Job, locked: dict[str, Files]) -> None:
    """Get, check, unpack and check again beside the place; only then write the lock and move in."""
    known = job.known
    job.say(f"{known.name}: {known.about}")
    job.say(f"licence: {known.licence}")
    shutil.rmtree(job.unpacked, ignore_errors=True)
    job.unpacked.mkdir(parents=True)
    archives = _local(job) if job.source else [(a, _downloaded(job, a)) for a in known.archives]
    packed = [(archive, path) for archive, path in archives if path.is_file()]
    for archive, path in packed:
        verify(path, _remote(archive), archive.name)
    for archive, path in archives:
        unpack(path, job.unpacked, keep=archive.keep)
    _check_contents(known, job.unpacked)
    found = {
        "archives": {a.name: _seen(a, path) for a, path in packed if not a.generated},
        "files": _listing(job.unpacked),
    }
    remedy = f"if the change is meant, delete {known.name} from {job.lock} and fetch it again"
    _compare(job, locked, found, remedy)
    _write_lock(job, locked, found)
    sync_tree(job.unpacked)
    job.unpacked.rename(job.target)
    sync_path(job.folder)
    shutil.rmtree(job.work)
    size = sum(file["bytes"] for file in found["files"].values())
    job.say(f"{job.target}: {len(found['files'])} files, {size / 1e6:,.1f} MB, as in {job.lock}")
    job.say(f"use it: {known.use.format(folder=job.target)}")


def _local(job: _Job) -> list[tuple[Archive, Path]]:
    """Where `source` has each archive: in its file, or else as what it unpacks to, in a folder."""
    source, archives = job.source, job.known.archives
    assert source is not None
    if source.is_dir():
        files = [(archive, source / archive.name) for archive in archives]
        return [(archive, path if path.is_file() else source) for archive, path in files]
    if len(archives) > 1:
        names = " and ".join(archive.name for archive in archives)
        raise RecipeError(
            f"--from {source} is one file, but {job.known.name} comes in {names}: give the folder"
            " that holds them"
        )
    return [(archives[0], source)]


def _downloaded(job: _Job, archive: Archive) -> Path:
    path = job.work / archive.name
    if path.exists():
        return path
    by_hand = f"download {archive.name} by hand ({job.known.page}) and give it with --from"
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}:
        raise BabyllamaError(
            f"HF_HUB_OFFLINE is set, so {archive.url} is not asked for: unset it, or {by_hand}"
        )
    job.say(f"downloading {archive.name} from {archive.url}")
    remedy = f"check the network and run the same command again, or {by_hand}"
    job.get(_remote(archive), path, remedy=remedy)
    return path


def _remote(archive: Archive) -> Remote:
    return Remote(url=archive.url, size=archive.bytes, digest=archive.digest)


def _check_contents(known: Entry, folder: Path) -> None:
    """Compare unpacked files with the published counts."""
    for unit, counts, count in (
        ("bytes", known.bytes, _count_bytes),
        ("characters", known.characters, _count_characters),
    ):
        for name, expected in counts.items():
            path = folder / name
            found = count(path) if path.is_file() else None
            if found != expected:
                state = "it is missing" if found is None else f"found {found:,}"
                raise CorruptDataError(
                    f"{name} of {known.name} is not the official file: expected {expected:,}"
                    f" {unit}, {state}; get it from {known.page}"
                )


def _count_bytes(path: Path) -> int:
    return path.stat().st_size


def _count_characters(path: Path) -> int:
    """Characters as Python reads text, every line end being one."""
    try:
        with path.open(encoding="utf-8") as text:
            return sum(map(len, iter(partial(text.read, BLOCK), "")))
    except UnicodeDecodeError as error:
        raise CorruptDataError(
            f"{path.name} is not UTF-8: expected text; fetch it again, or from another place"
        ) from error


def _check_complete(job: _Job, locked: dict[str, Files] | None) -> None:
    """Compare what is there with the lock."""
    if locked is None:
        raise BabyllamaError(
            f"{job.target} is there, but {job.lock} does not know it: move it away and fetch again"
            " (with --from and its new place to take its files), or choose another --to"
        )
    found = {"archives": {}, "files": _listing(job.target)}
    _compare(job, locked, found, f"delete {job.target} and fetch it again")
    job.say(f"{job.target}: {len(found['files'])} files, complete and as in {job.lock}")


def _compare(job: _Job, locked: dict[str, Files], found: dict[str, Files], remedy: str) -> None:
    """Refuse files other than the locked ones; of archives, those that both know are compared."""
    if not locked:
        return
    old, new = locked["archives"], found["archives"]
    pairs = [(name, old.get(name), new.get(name)) for name in sorted(old.keys() & new.keys())]
    old, new = locked["files"], found["files"]
    pairs += [(name, old.get(name), new.get(name)) for name in sorted(old.keys() | new.keys())]
    for name, expected, seen in pairs:
        if _sha256(expected) != _sha256(seen):
            raise CorruptDataError(
                f"{name} of {job.known.name} differs from {job.lock}: expected"
                f" {_sha256(expected)}, found {_sha256(seen)}; {remedy}"
            )


def _sha256(file: dict[str, Any] | None) -> str:
    return f"sha256 {file['sha256']}" if file else "no such file"


def _seen(archive: Archive, path: Path) -> dict[str, Any]:
    return {"url": archive.url, "bytes": path.stat().st_size, "sha256": file_digest(path)}


def _listing(folder: Path) -> Files:
    """Every file below that is not hidden."""
    paths = {path.relative_to(folder): path for path in sorted(folder.rglob("*")) if path.is_file()}
    return {
        name.as_posix(): {"bytes": path.stat().st_size, "sha256": file_digest(path)}
        for name, path in paths.items()
        if not any(part.startswith(".") for part in name.parts)
    }


def _read_lock(lock: Path) -> dict[str, dict[str, Files]]:
    if not lock.exists():
        return {}
    try:
        found = json.loads(lock.read_text("utf-8"))
        return {name: {part: entry[part] for part in PARTS} for name, entry in found.items()}
    except (ValueError, AttributeError, KeyError, TypeError, RecursionError) as error:
        raise CorruptDataError(
            f"{lock} is not a lock file of fetch: restore it, or delete it to begin a new one"
        ) from error


def _write_lock(job: _Job, locked: dict[str, Files], found: dict[str, Files]) -> None:
    """Add what was found; an archive that was not needed this time stays known."""
    archives = locked.get("archives", {}) | found["archives"]
    entries = _read_lock(job.lock) | {job.known.name: found | {"archives": archives}}
    job.lock.parent.mkdir(parents=True, exist_ok=True)
    write_json(job.lock, dict(sorted(entries.items())))


def _check_paths(folder: Path, source: Path | None) -> None:
    if folder.exists() and not folder.is_dir():
        raise RecipeError(f"--to {folder} is a file: expected a folder")
    if source is not None and not source.exists():
        raise RecipeError(f"--from {source} does not exist: expected an archive or a folder")


def _is_there(target: Path) -> bool:
    return target.exists() and not (target.is_dir() and not any(target.iterdir()))


def _tidy(job: _Job) -> None:
    """Leave nothing behind but what the next fetch can go on with."""
    shutil.rmtree(job.unpacked, ignore_errors=True)
    with suppress(OSError):
        job.work.rmdir()


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keep other fetches out of the folder; the system lets go when the process dies."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / ".fetching"
    with path.open("a") as handle:
        if not _is_locked(handle.fileno(), path):
            raise BabyllamaError(f"another fetch is at work in {folder}: wait for it to end")
        try:
            yield
        finally:
            path.unlink(missing_ok=True)
            with suppress(OSError):
                folder.rmdir()  # only if nothing came of it


def _is_locked(handle: int, path: Path) -> bool:
    """Whether the lock could be taken, on the file that is still at `path`."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.path.samestat(os.fstat(handle), path.stat())
    except (BlockingIOError, FileNotFoundError):
        return False
