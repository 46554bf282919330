"""From a name to a folder: complete or not there, the same bytes every time."""

import fcntl
import hashlib
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from babyllama.corpus.fetching.fetch import LOCK, fetch, fetch_entry
from babyllama.corpus.fetching.registry import Archive
from babyllama.corpus.sources import find_files
from babyllama.errors import BabyllamaError, CorruptDataError, RecipeError
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


def test_a_name_becomes_a_folder_that_a_corpus_can_be_read_from(
    site: Site, body: bytes, tmp_path: Path
) -> None:
    digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
    archive = both(site.put("/a", Answer(body=body)), digest=digest, bytes=len(body))
    said = brought(known(archive), tmp_path / "data")
    assert contents(tmp_path / "data/tiny") == UNPACKED
    assert visible(tmp_path / "data") == [LOCK, "tiny"]
    assert f"use it: corpus.path={tmp_path}/data/tiny/train" in said
    assert "licence: words" in said
    found = find_files(tmp_path / "data/tiny/train")
    assert [name for name, _ in found.train] == ["a", "b"]
    assert [name for name, _ in found.dev] == ["a"]


def test_published_counts_are_compared(site: Site, body: bytes, tmp_path: Path) -> None:
    """Every line end is one character: the archive's file has nine characters in ten signs."""
    archive = both(site.put("/a", Answer(body=body)))
    right = {"train/a.train": 10, "dev/a.dev": 5}
    brought(known(archive, characters=right, bytes={"train/a.train": 12}), tmp_path / "data")
    for wrong, found in (({"train/a.train": 12}, "found 10"), ({"train/x": 1}, "it is missing")):
        error = failure(known(archive, characters=wrong), tmp_path / "wrong")
        assert isinstance(error, CorruptDataError)
        name, count = next(iter(wrong.items()))
        assert str(error).startswith(f"{name} of tiny is not the official file: expected {count}")
        assert found in str(error)
    assert not (tmp_path / "wrong").exists()


def test_text_that_is_not_utf8_is_no_official_text(site: Site, tmp_path: Path) -> None:
    body = make_zip(tmp_path / "a.zip", TRAIN | DEV | {"data/train/b.train": b"\xff"})
    archive = both(site.put("/a", Answer(body=body)))
    entry = known(archive, characters={"train/b.train": 1})
    assert "not UTF-8" in str(failure(entry, tmp_path / "data"))


@pytest.mark.parametrize(
    "bad",
    [
        {"data/train/a.train": b"a", "data/dev/../../../evil": b"evil"},
        {"data/train/a.train": b"a", "data/train/A.train": b"b", "data/dev/a.dev": b"c"},
        {"data/train/a.train": bytes(40_000_000), "data/dev/a.dev": b"c"},
        {"data/other/a.train": b"a"},
    ],
)
def test_a_bad_archive_leaves_nothing(site: Site, tmp_path: Path, bad: dict[str, bytes]) -> None:
    body = make_zip(tmp_path / "bad.zip", bad)
    error = failure(known(both(site.put("/a", Answer(body=body)))), tmp_path / "data")
    assert isinstance(error, CorruptDataError)
    assert visible(tmp_path) == ["bad.zip"]


def test_a_damaged_archive_is_downloaded_anew_the_next_time(
    site: Site, body: bytes, tmp_path: Path
) -> None:
    url = site.put("/a", Answer(body=body[:-30]), Answer(body=body))
    assert "damaged" in str(failure(known(both(url)), tmp_path / "data"))
    brought(known(both(url)), tmp_path / "data")
    assert contents(tmp_path / "data/tiny") == UNPACKED


def test_without_a_network_one_line_names_host_and_remedy(tmp_path: Path) -> None:
    """HF_HUB_OFFLINE is set in the tests: no packet leaves."""
    with pytest.raises(BabyllamaError, match=r"HF_HUB_OFFLINE is set.*--from") as caught:
        fetch("blimp", tmp_path / "data", say=print)
    assert caught.value.exit_code == 1
    assert not (tmp_path / "data").exists()


def test_an_unreachable_address_leaves_nothing(site: Site, tmp_path: Path) -> None:
    entry = known(both("http://127.0.0.1:9/a"))
    error = failure(entry, tmp_path / "data")
    assert "cannot reach 127.0.0.1" in str(error)
    assert "download tiny.zip by hand (https://data.example/) and give it with --from" in str(error)
    assert not (tmp_path / "data").exists()


def test_a_registry_address_without_https_is_never_asked(
    site: Site, body: bytes, tmp_path: Path
) -> None:
    entry = known(both(site.put("/a", Answer(body=body))))
    with pytest.raises(BabyllamaError, match="expected https"):
        fetch_entry(entry, tmp_path / "data", say=print)
    assert site.asked == []


def test_a_fetch_that_broke_off_goes_on(site: Site, body: bytes, tmp_path: Path) -> None:
    url = site.put("/a", Answer(body=body, cut=100), Answer(status=503), Answer(body=body))
    entry = known(both(url))
    failure(entry, tmp_path / "data")
    assert visible(tmp_path / "data") == [".tiny.fetch"]
    brought(entry, tmp_path / "data")
    assert site.ranges()[-1] == "bytes=100-"
    assert contents(tmp_path / "data/tiny") == UNPACKED
    assert visible(tmp_path / "data") == [LOCK, "tiny"]


def test_a_fetch_that_is_killed_leaves_no_half_folder(
    site: Site, body: bytes, tmp_path: Path
) -> None:
    url = site.put("/a", Answer(body=body, cut=100, stall=60), Answer(body=body))
    entry, folder = known(both(url)), tmp_path / "data"
    part = folder / ".tiny.fetch/tiny.zip.part"
    code = (
        "import sys; from pathlib import Path; from babyllama.corpus.fetching import fetch\n"
        "entry = fetch.Entry.model_validate_json(sys.argv[1])\n"
        "fetch.fetch_entry(entry, Path(sys.argv[2]), say=print, loopback=True)"
    )
    command = [sys.executable, "-c", code, entry.model_dump_json(), str(folder)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        while not part.exists() or part.stat().st_size < 100:
            time.sleep(0.01)
            assert process.poll() is None
        process.kill()
    assert not (folder / "tiny").exists()
    (folder / ".tiny.fetch/unpacked/half").mkdir(parents=True, exist_ok=True)
    brought(entry, folder)
    assert site.ranges() == ["", "bytes=100-"]
    assert contents(folder / "tiny") == UNPACKED
    assert visible(folder) == [LOCK, "tiny"]


@pytest.mark.parametrize("step", ["unpack", "_check_contents", "_write_lock", "sync_tree"])
def test_whenever_it_dies_the_next_fetch_ends_well(
    site: Site, body: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    entry = known(both(site.put("/a", Answer(body=body))))

    def die(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(f"babyllama.corpus.fetching.fetch.{step}", die)
        with pytest.raises(KeyboardInterrupt):
            brought(entry, tmp_path / "data")
    assert not (tmp_path / "data/tiny").exists()
    site.asked.clear()
    brought(entry, tmp_path / "data")
    assert site.asked == []  # the archive had arrived
    assert contents(tmp_path / "data/tiny") == UNPACKED
    assert visible(tmp_path / "data") == [LOCK, "tiny"]


def test_two_fetches_into_one_folder_do_not_meet(site: Site, body: bytes, tmp_path: Path) -> None:
    entry = known(both(site.put("/a", Answer(body=body))))
    (tmp_path / "data").mkdir()
    with (tmp_path / "data/.fetching").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(BabyllamaError, match="another fetch is at work"):
            brought(entry, tmp_path / "data")
    brought(entry, tmp_path / "data")


def test_two_archives_make_one_folder(site: Site, tmp_path: Path) -> None:
    for name, files in (("train.zip", TRAIN), ("dev.zip", DEV)):
        site.put(f"/{name}", Answer(body=make_zip(tmp_path / name, files)))
    parts = [
        Archive(name=f"{part}.zip", url=f"{site.address}/{part}.zip", keep={part: part})
        for part in ("train", "dev")
    ]
    brought(known(*parts), tmp_path / "data")
    assert contents(tmp_path / "data/tiny") == UNPACKED
    brought(known(*parts), tmp_path / "local", source=tmp_path, lock=tmp_path / "data" / LOCK)
    with pytest.raises(RecipeError, match=r"comes in train\.zip and dev\.zip"):
        brought(known(*parts), tmp_path / "x", source=tmp_path / "train.zip")


def test_of_two_archives_one_can_be_packed_and_the_other_not(tmp_path: Path) -> None:
    mirror = tmp_path / "mirror"
    (mirror / "dev").mkdir(parents=True)
    (mirror / "dev/a.dev").write_bytes(b"four\n")
    packed = make_zip(mirror / "train.zip", TRAIN)
    parts = [
        Archive(name="train.zip", url="", keep={"train": "train"}, bytes=len(packed)),
        Archive(name="dev.zip", url="", keep={"dev": "dev"}, bytes=1),
    ]
    brought(known(*parts), tmp_path / "data", source=mirror)
    assert contents(tmp_path / "data/tiny") == UNPACKED
    lock = json.loads((tmp_path / "data" / LOCK).read_text("utf-8"))
    assert list(lock["tiny"]["archives"]) == ["train.zip"]
    make_zip(mirror / "train.zip", DEV | TRAIN)
    error = failure(known(*parts), tmp_path / "other", source=mirror)
    assert "train.zip is not the official file" in str(error)


def test_a_folder_of_other_files_is_not_taken_for_blimp(tmp_path: Path) -> None:
    (tmp_path / "mirror/data").mkdir(parents=True)
    (tmp_path / "mirror/data/adjunct_island.jsonl").write_text("{}\n")
    with pytest.raises(CorruptDataError, match=r"adjunct_island\.jsonl of blimp .*found 3"):
        fetch("blimp", tmp_path / "data", source=tmp_path / "mirror", say=print)


@pytest.mark.parametrize("kind", ["archive", "folder of it", "unpacked", "bare"])
def test_a_local_copy_passes_through_the_same_checks(
    tmp_path: Path, body: bytes, kind: str
) -> None:
    digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
    entry = known(both("", digest=digest), characters={"train/a.train": 10})
    source = tmp_path / "mirror"
    source.mkdir()
    shutil.copy(tmp_path / "official.zip", source / "tiny.zip")
    if kind in ("unpacked", "bare"):
        shutil.unpack_archive(source / "tiny.zip", source)
        (source / "tiny.zip").unlink()
    place = {"archive": source / "tiny.zip", "bare": source / "data"}.get(kind, source)
    before = contents(source)
    brought(entry, tmp_path / "data", source=place)
    assert contents(tmp_path / "data/tiny") == UNPACKED
    assert contents(source) == before
    wrong = entry.model_copy(update={"characters": {"train/a.train": 9}})
    error = failure(wrong, tmp_path / "wrong", source=place)
    assert "expected 9 characters, found 10" in str(error)


def test_another_archive_than_the_official_one_is_refused(tmp_path: Path, body: bytes) -> None:
    make_zip(tmp_path / "other.zip", TRAIN | DEV)
    entry = known(both("", digest=f"sha256:{hashlib.sha256(body).hexdigest()}"))
    error = failure(entry, tmp_path / "data", source=tmp_path / "other.zip")
    assert isinstance(error, CorruptDataError)
    assert "tiny.zip is not the official file" in str(error)


def test_paths_that_cannot_be_meant_are_told(tmp_path: Path) -> None:
    entry = known(both(""))
    (tmp_path / "file").write_text("text")
    with pytest.raises(RecipeError, match="does not exist"):
        brought(entry, tmp_path / "data", source=tmp_path / "nothing")
    with pytest.raises(RecipeError, match="is a file: expected a folder"):
        brought(entry, tmp_path / "file")
    with pytest.raises(RecipeError, match="did you mean 'blimp'"):
        fetch("blimpp", tmp_path / "data", say=print)
    assert visible(tmp_path) == ["file"]
