"""The lock file: what was fetched stays what it was, or it is told."""

import hashlib
import json
from pathlib import Path

import pytest

from babyllama.corpus.fetching.fetch import LOCK
from babyllama.errors import BabyllamaError, CorruptDataError
from corpus.fetching.fetched import (
    DEV,
    TRAIN,
    UNPACKED,
    both,
    brought,
    contents,
    failure,
    known,
    make_zip,
    visible,
)
from corpus.fetching.webserver import Answer, Site


def test_the_lock_names_every_archive_and_file(site: Site, body: bytes, tmp_path: Path) -> None:
    archive = both(site.put("/a", Answer(body=body)))
    brought(known(archive), tmp_path / "data", lock=tmp_path / "locks/one.json")
    lock = json.loads((tmp_path / "locks/one.json").read_text("utf-8"))
    assert lock["tiny"]["archives"]["tiny.zip"] == {
        "url": archive.url,
        "bytes": len(body),
        "sha256": hashlib.sha256(body).hexdigest(),
    }
    assert {name: file["sha256"] for name, file in lock["tiny"]["files"].items()} == {
        name: hashlib.sha256(content).hexdigest() for name, content in UNPACKED.items()
    }
    assert visible(tmp_path / "data") == ["tiny"]


def test_a_second_fetch_asks_nobody(site: Site, body: bytes, tmp_path: Path) -> None:
    entry = known(both(site.put("/a", Answer(body=body))))
    brought(entry, tmp_path / "data")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "data").rglob("*")}
    site.asked.clear()
    assert "complete" in " ".join(brought(entry, tmp_path / "data"))
    assert site.asked == []
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "data").rglob("*")}


@pytest.mark.parametrize("change", ["edit", "add", "remove"])
def test_what_differs_from_the_lock_is_told_not_mended(
    site: Site, body: bytes, tmp_path: Path, change: str
) -> None:
    entry = known(both(site.put("/a", Answer(body=body))))
    brought(entry, tmp_path / "data")
    file = tmp_path / "data/tiny/train/b.train"
    if change == "remove":
        file.unlink()
    else:
        (file if change == "edit" else file.with_name("c.train")).write_text("other")
    with pytest.raises(CorruptDataError, match=r"train/[bc]\.train of tiny differs from .*delete"):
        brought(entry, tmp_path / "data")


def test_a_folder_that_the_lock_does_not_know_is_left_alone(
    site: Site, body: bytes, tmp_path: Path
) -> None:
    (tmp_path / "data/tiny").mkdir(parents=True)
    entry = known(both(site.put("/a", Answer(body=body))))
    brought(entry, tmp_path / "data")  # it was empty
    (tmp_path / "data" / LOCK).unlink()
    with pytest.raises(BabyllamaError, match="move it away"):
        brought(entry, tmp_path / "data")
    assert contents(tmp_path / "data/tiny") == UNPACKED


def test_other_bytes_than_the_first_time_are_refused(
    site: Site, body: bytes, tmp_path: Path
) -> None:
    brought(known(both(site.put("/a", Answer(body=body)))), tmp_path / "data")
    lock = tmp_path / "data" / LOCK
    before = lock.read_bytes()
    other = make_zip(tmp_path / "other.zip", TRAIN | {"data/dev/a.dev": b"five\n"})
    entry = known(both(site.put("/b", Answer(body=other))))
    error = failure(entry, tmp_path / "other", lock=lock)
    assert isinstance(error, CorruptDataError)
    assert "tiny.zip of tiny differs" in str(error)
    assert f"delete tiny from {lock}" in str(error)
    assert lock.read_bytes() == before
    assert not (tmp_path / "other").exists()


def test_an_archive_that_is_packed_anew_is_known_by_its_files(
    site: Site, body: bytes, tmp_path: Path
) -> None:
    again = make_zip(tmp_path / "again.zip", TRAIN | DEV, year=2024)
    url = site.put("/a", Answer(body=body), Answer(body=again))
    entry, lock = known(both(url, generated=True)), tmp_path / "lock.json"
    brought(entry, tmp_path / "1", lock=lock)
    brought(entry, tmp_path / "2", lock=lock)
    assert json.loads(lock.read_text("utf-8"))["tiny"]["archives"] == {}
    assert contents(tmp_path / "2/tiny") == UNPACKED


def test_what_the_lock_knows_of_an_archive_outlives_a_fetch_without_it(
    site: Site, body: bytes, tmp_path: Path
) -> None:
    entry, lock = known(both(site.put("/a", Answer(body=body)))), tmp_path / "lock.json"
    brought(entry, tmp_path / "1", lock=lock)
    before = lock.read_bytes()
    brought(entry, tmp_path / "2", lock=lock, source=tmp_path / "1/tiny")
    assert lock.read_bytes() == before


def test_a_lock_that_is_none_is_told(tmp_path: Path) -> None:
    for text in ("{", "[]", '{"tiny": {}}', '{"tiny": 3}'):
        (tmp_path / "lock.json").write_text(text)
        error = failure(known(both("")), tmp_path / "data", lock=tmp_path / "lock.json")
        assert isinstance(error, CorruptDataError)
        assert "not a lock file" in str(error)
