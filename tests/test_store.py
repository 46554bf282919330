"""Artifacts: made once, whole or not at all, by one process at a time."""

import errno
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from babyllama import store as stores
from babyllama.errors import BabyllamaError, CorruptDataError
from babyllama.store import (
    MANIFEST,
    VERIFIED,
    Identity,
    Store,
    file_digest,
    read_manifest,
    verify,
    verify_stored,
)

IDENTITY = Identity("corpus", 1, {"words": 5, "clean": True}, {"text": "abc"})
HOLD = """\
import sys
from pathlib import Path
from babyllama.store import Identity, Store

def build(out, partial):
    (out / "text").write_text("from the other process")
    print("building", flush=True)
    sys.stdin.readline()

Store(Path(sys.argv[1])).make(Identity("corpus", 1, {"words": 5, "clean": True}, {"text": "abc"}), build)
"""  # noqa: E501


def write(text: str = "hello") -> Callable[[Path, Path], None]:
    def build(out: Path, partial: Path) -> None:
        (out / "inner").mkdir()
        (out / "inner" / "text").write_text(text)

    return build


def never(out: Path, partial: Path) -> None:
    raise AssertionError("built again")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "runs" / ".store")


def names(store: Store) -> list[str]:
    return sorted(path.name for path in store.root.iterdir())


settings = st.dictionaries(
    st.text(max_size=3),
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats(allow_nan=False)
        | st.text(max_size=3),
        lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner),
        max_leaves=4,
    ),
    max_size=4,
)


def reordered(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {key: reordered(value[key]) for key in reversed(value)}


@given(settings, st.dictionaries(st.text(max_size=3), st.text(max_size=3)))
def test_the_fingerprint_does_not_depend_on_the_order_of_keys(
    values: dict[str, Any], inputs: dict[str, str]
) -> None:
    one = Identity("model", 1, values, inputs)
    other = Identity("model", 1, reordered(values), reordered(inputs))
    assert one.fingerprint == other.fingerprint
    assert re.fullmatch(r"[0-9a-f]{16}", one.fingerprint)


@pytest.mark.parametrize(
    "other",
    [
        Identity("tokens", 1, {"words": 5, "clean": True}, {"text": "abc"}),
        Identity("corpus", 2, {"words": 5, "clean": True}, {"text": "abc"}),
        Identity("corpus", 1, {"words": 6, "clean": True}, {"text": "abc"}),
        Identity("corpus", 1, {"words": 5, "clean": None}, {"text": "abc"}),
        Identity("corpus", 1, {"words": 5, "clean": True}, {"text": "abd"}),
        Identity("corpus", 1, {"words": 5, "clean": True}, {"other": "abc"}),
    ],
)
def test_the_fingerprint_depends_on_everything_else(other: Identity) -> None:
    assert other.fingerprint != IDENTITY.fingerprint


def test_the_fingerprint_is_the_same_in_every_process() -> None:
    assert IDENTITY.fingerprint == "2824c326f17c6312"


def test_an_artifact_comes_with_a_manifest_of_what_it_is_made_from(store: Store) -> None:
    folder = store.make(IDENTITY, write())
    manifest = read_manifest(folder)
    assert folder == store.root / f"corpus-{IDENTITY.fingerprint}"
    assert manifest["settings"] == IDENTITY.settings
    assert manifest["inputs"] == IDENTITY.inputs
    assert manifest["files"] == {
        "inner/text": {"bytes": 5, "sha256": file_digest(folder / "inner" / "text")}
    }
    assert manifest["libraries"].keys() >= {"babyllama", "torch", "python"}
    assert names(store) == [folder.name]


def test_a_finished_artifact_is_not_made_again(store: Store) -> None:
    assert not store.has(IDENTITY)
    folder = store.make(IDENTITY, write())
    before = (folder / MANIFEST).stat()
    assert store.has(IDENTITY)
    assert store.make(IDENTITY, never) == folder
    assert (folder / MANIFEST).stat() == before


def test_a_build_that_raises_leaves_nothing_but_its_state(store: Store) -> None:
    def fail(out: Path, partial: Path) -> None:
        (out / "half").write_text("half")
        (partial / "state").write_text("7")
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        store.make(IDENTITY, fail)
    assert not store.has(IDENTITY)
    assert names(store) == [f"corpus-{IDENTITY.fingerprint}.partial"]

    def go_on(out: Path, partial: Path) -> None:
        (out / "text").write_text((partial / "state").read_text())

    folder = store.make(IDENTITY, go_on)
    assert sorted(path.name for path in folder.iterdir()) == [VERIFIED, MANIFEST, "text"]
    assert names(store) == [folder.name]


def seconds(folder: Path) -> float:
    return float(read_manifest(folder)["seconds"])


def test_the_time_of_an_attempt_that_left_its_state_counts(store: Store) -> None:
    def stop(out: Path, partial: Path) -> None:
        (partial / "state").touch()
        time.sleep(0.1)
        raise KeyboardInterrupt

    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            store.make(IDENTITY, stop)
    assert 0.2 <= seconds(store.make(IDENTITY, write())) < 5


@pytest.mark.parametrize("error", [OSError(28, "full"), KeyboardInterrupt()])
def test_a_build_without_state_that_raises_leaves_nothing(
    store: Store, error: BaseException
) -> None:
    def fail(out: Path, partial: Path) -> None:
        raise error

    with pytest.raises(type(error)):
        store.make(IDENTITY, fail)
    assert names(store) == []


def test_what_a_killed_process_left_is_no_obstacle(store: Store) -> None:
    place = store.path(IDENTITY)
    for suffix in (".new", ".partial"):
        place.with_suffix(suffix).mkdir(parents=True)
        (place.with_suffix(suffix) / "half").write_text("half")
    place.with_suffix(".lock").write_text("process 1 on another")
    folder = store.make(IDENTITY, write())
    assert sorted(path.name for path in folder.iterdir()) == [VERIFIED, "inner", MANIFEST]
    assert names(store) == [folder.name]


def test_a_missing_file_is_named(store: Store) -> None:
    folder = store.make(IDENTITY, write())
    (folder / "inner" / "text").unlink()
    with pytest.raises(CorruptDataError) as caught:
        store.has(IDENTITY)
    expected = f"{folder / 'inner' / 'text'} is missing, expected 5 bytes: delete {folder} and run"
    assert expected in str(caught.value)


def test_a_truncated_file_is_named(store: Store) -> None:
    folder = store.make(IDENTITY, write())
    (folder / "inner" / "text").write_text("hel")
    with pytest.raises(CorruptDataError, match=r"inner/text is 3 bytes, expected 5 bytes: delete"):
        store.make(IDENTITY, never)


@pytest.mark.parametrize(
    "content",
    [
        *(None, "", "{", "[]", "{}", '{"files": {}}', "7"),
        pytest.param("[" * 100_000, id="deep"),
        '{"files": {"a": 1}, "seconds": 1}',
        '{"files": {"a": {"bytes": 1}}, "seconds": 1}',
    ],
)
def test_an_artifact_without_a_manifest_is_corrupt(store: Store, content: str | None) -> None:
    folder = store.make(IDENTITY, write())
    (folder / MANIFEST).unlink()
    if content is not None:
        (folder / MANIFEST).write_text(content)
    with pytest.raises(CorruptDataError, match=rf"{folder} has no readable manifest.json .*delete"):
        store.has(IDENTITY)


@contextmanager
def other_process(store: Store) -> Iterator[subprocess.Popen[str]]:
    """A process that is in the middle of making the artifact."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(store.root)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == "building\n"
        try:
            yield process
        finally:
            process.kill()


def test_a_second_process_that_makes_the_same_artifact_is_refused(store: Store) -> None:
    with other_process(store) as first:
        with pytest.raises(BabyllamaError, match=rf"is being made by process {first.pid} on"):
            store.make(IDENTITY, never)
        first.communicate("\n", timeout=20)
    folder = store.make(IDENTITY, never)
    assert (folder / "text").read_text() == "from the other process"
    assert names(store) == [folder.name]


def test_the_lock_of_a_process_that_was_killed_is_no_obstacle(store: Store) -> None:
    with other_process(store) as first:
        first.kill()
        first.wait()
    assert store.path(IDENTITY).with_suffix(".lock").exists()
    assert store.make(IDENTITY, write()).exists()


def test_a_lock_on_a_file_that_is_gone_from_its_place_does_not_count(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process that had it deleted it between our opening and our locking."""
    lock = store.path(IDENTITY).with_suffix(".lock")
    monkeypatch.setattr("fcntl.flock", lambda *_: lock.unlink())
    with pytest.raises(BabyllamaError, match="being made by another process"):
        store.make(IDENTITY, never)


def test_verifying_finds_a_changed_byte_by_the_name_of_its_file(store: Store) -> None:
    folder = store.make(IDENTITY, write())
    verify(folder)
    (folder / "inner" / "text").write_text("hellp")
    for _ in range(2):
        with pytest.raises(CorruptDataError, match=r"inner/text does not have the sha256 of its"):
            verify(folder)


def test_verifying_reads_only_what_changed_since_the_last_time(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def build(out: Path, partial: Path) -> None:
        for name in ("a", "b"):
            (out / name).write_text(name)

    folder, taken = store.make(IDENTITY, build), list[str]()
    monkeypatch.setattr(
        stores, "file_digest", lambda path: (taken.append(path.name), file_digest(path))[1]
    )
    verify(folder)
    assert taken == []  # it was hashed when it was made
    (folder / "b").write_text("b")
    for _ in range(2):
        verify(folder)
        assert taken == ["b"]
    verify(folder, full=True)
    assert taken == ["b", "a", "b"]
    (folder / VERIFIED).unlink()
    verify(folder)
    assert taken == ["b", "a", "b", "a", "b"]
    assert store.has(IDENTITY)


def test_a_change_that_hides_behind_the_old_time_is_found_in_full(store: Store) -> None:
    folder = store.make(IDENTITY, write())
    text = folder / "inner" / "text"
    before = text.stat()
    text.write_text("hellp")
    os.utime(text, ns=(before.st_atime_ns, before.st_mtime_ns))
    verify(folder)
    with pytest.raises(CorruptDataError, match=r"inner/text does not have the sha256"):
        verify(folder, full=True)


def test_a_folder_is_held_against_the_artifact_that_it_is_in(store: Store, tmp_path: Path) -> None:
    folder = store.make(IDENTITY, write())
    link, copy = tmp_path / "link", shutil.copytree(folder, tmp_path / "copy")
    link.symlink_to(folder / "inner")
    (copy / "inner" / "text").write_text("mine")
    for place in (folder, link, copy, tmp_path / "gone"):
        verify_stored(place)
    (folder / "inner" / "text").write_text("hellp")
    for place in (folder, link):
        with pytest.raises(CorruptDataError, match=r"inner/text does not have the sha256"):
            verify_stored(place)
    verify_stored(copy)


def test_what_a_process_left_that_was_killed_behind_its_last_step_goes(store: Store) -> None:
    folder = store.make(IDENTITY, write())
    for suffix in (".new", ".partial"):
        folder.with_suffix(suffix).mkdir()
    folder.with_suffix(".lock").write_text("process 1 on another")
    store.tidy(IDENTITY)
    assert names(store) == [folder.name]
    store.tidy(IDENTITY)
    assert names(store) == [folder.name]


def test_what_belongs_to_a_process_that_is_at_work_stays(store: Store) -> None:
    with other_process(store):
        before = names(store)
        store.tidy(IDENTITY)
        assert names(store) == before
        assert len(before) == 3


def test_where_locks_are_unknown_a_run_warns_and_goes_on(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", refuse)
    with pytest.warns(UserWarning, match="has no locks: start no second run"):
        store.make(IDENTITY, write())
    assert names(store) == [store.path(IDENTITY).name]


def test_a_store_that_is_only_read_can_be_verified(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError

    folder = store.make(IDENTITY, write())
    monkeypatch.setattr(stores, "write_json", refuse)
    verify(folder)


def test_json_is_written_for_people(store: Store) -> None:
    folder = store.make(IDENTITY, lambda out, _: (out / "é").touch())
    text = (folder / MANIFEST).read_text("utf-8")
    assert "\n" in text
    assert "é" in text
    assert json.loads(text)["kind"] == "corpus"
