"""Archives that are whole, damaged, or made to do harm."""

import errno
import io
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from babyllama.corpus.fetching.unpack import Caps, safe_path, unpack
from babyllama.errors import CorruptDataError

PLAIN = {"top/data/a.train": b"one\n", "top/data/b/c.train": "zw\u00f6lf\n".encode(), "top/e": b""}
KEEP = {"top": "top"}


def make_zip(path: Path, files: dict[str, bytes], mode: int = 0, **more: int) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            for field, value in more.items():
                setattr(info, field, value)
            archive.writestr(info, content, zipfile.ZIP_DEFLATED)
    return path


def make_tar(path: Path, files: dict[str, bytes], kind: bytes = tarfile.REGTYPE) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.type, info.linkname = len(content), kind, "/etc/hostname"
            archive.addfile(info, io.BytesIO(content))
    return path


def make_folder(path: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    return path


MAKERS = pytest.mark.parametrize("make", [make_zip, make_tar, make_folder])
ARCHIVES = pytest.mark.parametrize("make", [make_zip, make_tar])
Maker = Callable[[Path, dict[str, bytes]], Path]


def contents(folder: Path) -> dict[str, bytes]:
    paths = [path for path in sorted(folder.rglob("*")) if not path.is_dir()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def refused(source: Path, into: Path, **options: object) -> str:
    """The message of an archive that is not unpacked, in one line that names the archive."""
    with pytest.raises(CorruptDataError) as caught:
        unpack(source, into / "out", **{"keep": KEEP, **options})  # type: ignore[arg-type]
    assert source.name in str(caught.value)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@MAKERS
def test_a_zip_a_tar_and_a_folder_unpack_to_the_same(tmp_path: Path, make: Maker) -> None:
    source = make(tmp_path / "source", PLAIN)
    assert unpack(source, tmp_path / "out", keep=KEEP) == sorted(PLAIN)
    assert contents(tmp_path / "out") == PLAIN


@MAKERS
def test_chosen_folders_are_kept_in_the_top_folder_or_without_it(
    tmp_path: Path, make: Maker
) -> None:
    source = make(tmp_path / "source", PLAIN)
    assert unpack(source, tmp_path / "1", keep={"data": "text"}) == [
        "text/a.train",
        "text/b/c.train",
    ]
    bare = make(tmp_path / "bare", {"data/a": b"a", "other/b": b"b"})
    assert unpack(bare, tmp_path / "2", keep={"data": "."}) == ["a"]


@MAKERS
def test_an_archive_without_a_chosen_folder_is_another_archive(tmp_path: Path, make: Maker) -> None:
    source = make(tmp_path / "source", PLAIN)
    assert "'babylm_10M'" in refused(source, tmp_path, keep={"data": ".", "babylm_10M": "x"})


@MAKERS
def test_hidden_files_and_those_of_macos_are_left_out(tmp_path: Path, make: Maker) -> None:
    extra = {"__MACOSX/top/data/._a.train": b"x", "top/data/.DS_Store": b"y", ".git/config": b"z"}
    unpack(make(tmp_path / "source", PLAIN | extra), tmp_path / "out", keep=KEEP)
    assert contents(tmp_path / "out") == PLAIN


@ARCHIVES
@pytest.mark.parametrize(
    "name",
    [
        "../evil.txt",
        "top/../../evil.txt",
        "/top/evil.txt",
        "C:/evil.txt",
        "C:evil.txt",
        "top\\..\\evil.txt",
        "top/e\x1bvil.txt",
        "top/" + "e" * 256,
        "__MACOSX/../../evil.txt",
    ],
)
def test_a_name_that_leads_out_is_refused(tmp_path: Path, make: Maker, name: str) -> None:
    source = make(tmp_path / "source", {"top/a.txt": b"a", name: b"evil"})
    assert "not safe to unpack" in refused(source, tmp_path)
    assert contents(tmp_path) == {"source": source.read_bytes(), "out/top/a.txt": b"a"}


@pytest.mark.parametrize(
    "kind",
    [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE],
)
def test_links_and_devices_in_a_tar_are_refused(tmp_path: Path, kind: bytes) -> None:
    source = make_tar(tmp_path / "a.tgz", {"top/link": b""}, kind)
    assert "link or device" in refused(source, tmp_path)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("mode", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFIFO])
def test_links_and_devices_in_a_zip_are_refused(tmp_path: Path, mode: int) -> None:
    source = make_zip(tmp_path / "a.zip", {"top/link": b"/etc/hostname"}, mode | 0o777)
    assert "link or device" in refused(source, tmp_path)
    assert not (tmp_path / "out").exists()


def test_a_link_in_a_folder_is_refused_where_it_is_wanted(tmp_path: Path) -> None:
    source = make_folder(tmp_path / "source", PLAIN)
    (source / "top/other").mkdir()
    (source / "top/other/link").symlink_to("/etc/hostname")
    unpack(source, tmp_path / "1", keep={"data": "."})
    assert "link or device" in refused(source, tmp_path, keep={"other": "."})


@ARCHIVES
@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("top/b.txt", "top/B.TXT"),
        ("top/b.txt", "./top//b.txt"),
        ("top/b.txt", "other/top/b.txt"),
        ("top/stra\u00dfe", "top/STRASSE"),
        ("top/\u00e9.txt", "top/e\u0301.txt"),
        ("top/a", "top/a/b.txt"),
        ("top/A/b.txt", "top/a"),
    ],
)
def test_two_files_that_are_one_on_some_file_system_are_refused(
    tmp_path: Path, make: Maker, first: str, second: str
) -> None:
    source = make(tmp_path / "source", {first: b"1", second: b"2"})
    assert "twice" in refused(source, tmp_path)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_the_very_same_name_twice_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("top/a", b"1")
        archive.writestr("top/a", b"2")
    assert "twice" in refused(tmp_path / "a.zip", tmp_path)


@ARCHIVES
def test_a_bomb_is_refused_before_it_fills_the_disk(tmp_path: Path, make: Maker) -> None:
    source = make(tmp_path / "bomb", {"top/a": bytes(40_000_000)})
    assert "unpacks to more than 16,777,216 bytes" in refused(source, tmp_path)
    assert sum(map(len, contents(tmp_path / "out").values())) <= 17_000_000
    kept = refused(source, tmp_path / "x", keep={"other": "."})
    assert "unpacks to more than" in kept  # also where nothing of it is wanted


@MAKERS
def test_too_many_bytes_or_files_are_refused(tmp_path: Path, make: Maker) -> None:
    source = make(tmp_path / "source", PLAIN)
    assert "more than 5 bytes" in refused(source, tmp_path, caps=Caps(bytes=5))
    assert "more than 1 files" in refused(source, tmp_path / "2", caps=Caps(files=1))


def test_a_zip_that_lies_about_sizes_is_damaged(tmp_path: Path) -> None:
    source = make_zip(tmp_path / "a.zip", {"top/a": b"0123456789" * 100})
    body = source.read_bytes()
    true = (1000).to_bytes(4, "little")
    assert body.count(true) == 2
    source.write_bytes(body.replace(true, (900).to_bytes(4, "little")))
    assert "damaged" in refused(source, tmp_path)


def test_an_encrypted_zip_is_refused(tmp_path: Path) -> None:
    source = make_zip(tmp_path / "a.zip", {"top/a": b"text"}, flag_bits=1)
    body = bytearray(source.read_bytes())
    body[body.index(b"PK\x01\x02") + 8] |= 1
    source.write_bytes(bytes(body))
    assert "encrypted" in refused(source, tmp_path)


@ARCHIVES
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_half_an_archive_is_damaged(tmp_path: Path, make: Maker, share: float) -> None:
    body = make(tmp_path / "source", {"top/a": bytes(range(256)) * 300, "top/b": b"x"}).read_bytes()
    half = tmp_path / "half.zip"
    half.write_bytes(body[: int(share * len(body))])
    assert "damaged" in refused(half, tmp_path)


def test_a_page_is_no_archive(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(b"<html>not found</html>")
    assert "expected a whole zip or tar.gz" in refused(tmp_path / "a.zip", tmp_path)


@settings(max_examples=150)
@given(data=st.data(), make=st.sampled_from([make_zip, make_tar]))
def test_a_flipped_byte_is_told_or_does_no_harm(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, make: Maker
) -> None:
    folder = tmp_path_factory.mktemp("flip")
    body = bytearray(make(folder / "source", PLAIN).read_bytes())
    for place in data.draw(st.lists(st.integers(0, len(body) - 1), min_size=1, max_size=4)):
        body[place] = data.draw(st.integers(0, 255))
    (folder / "source").write_bytes(bytes(body))
    try:
        unpack(folder / "source", folder / "out", keep=KEEP)
    except CorruptDataError:
        return
    assert set(contents(folder / "out").values()) <= {*PLAIN.values()}


@pytest.mark.parametrize(
    ("sign", "at", "bytes_"),
    [
        (b"PK\x05\x06", 16, b"\xff\xff\xff\x7f"),  # where the directory begins
        (b"PK\x01\x02", 28, b"\0"),  # a name without letters
        (b"PK\x01\x02", 50, b"\xff"),  # a name that is not UTF-8
    ],
)
def test_a_damaged_header_of_a_zip_is_told(
    tmp_path: Path, sign: bytes, at: int, bytes_: bytes
) -> None:
    """Each of these makes zipfile raise something else than BadZipFile."""
    source = make_zip(tmp_path / "a.zip", {"top/\u00e9t\u00e9.txt": b"text"})
    body = bytearray(source.read_bytes())
    place = body.index(sign) + at
    body[place : place + len(bytes_)] = bytes_
    source.write_bytes(bytes(body))
    assert "damaged" in refused(source, tmp_path)


def test_a_full_disk_is_not_taken_for_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = make_zip(tmp_path / "a.zip", PLAIN)

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "mkdir", full)
    with pytest.raises(OSError, match="No space"):
        unpack(source, tmp_path / "out", keep=KEEP)


@given(st.text(max_size=30))
def test_a_safe_path_stays_in_its_folder(name: str) -> None:
    try:
        path = safe_path(name)
    except ValueError:
        return
    assert not path.is_absolute()
    assert Path("/x", path).resolve().is_relative_to("/x")
    assert safe_path(str(path)) == path
