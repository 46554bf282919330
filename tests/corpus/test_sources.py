import os
import warnings
from pathlib import Path

import pytest

from babyllama.corpus import sources
from babyllama.corpus.sources import RawFiles, TextFile, files_digest, find_files
from babyllama.errors import CorruptDataError, RecipeError


def put(folder: Path, *names: str) -> Path:
    for name in names:
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"text of {name}\n", encoding="utf-8")
    return folder


def names(found: list[tuple[str, list[Path]]]) -> list[str]:
    return [name for name, _ in found]


def paths(found: list[tuple[str, list[Path]]], folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for _, files in found for path in files]


def read_text(file: Path) -> str:
    return "".join(TextFile(file).blocks())


def test_babylm_layout_in_one_folder_or_two(tmp_path: Path) -> None:
    put(tmp_path / "t", "qed.train", "aochildes.train", "cbt.train")
    put(tmp_path / "d", "qed.dev", "cbt.dev")
    found = find_files(tmp_path / "t", tmp_path / "d")
    assert names(found.train) == ["aochildes", "cbt", "qed"]
    assert names(found.dev) == ["cbt", "qed"]
    put(tmp_path / "t", "qed.dev")
    assert names(find_files(tmp_path / "t").dev) == ["qed"]


def test_the_dev_folder_beside_a_babylm_training_folder_is_found(tmp_path: Path) -> None:
    put(tmp_path / "babylm_10M", "qed.train")
    put(tmp_path / "babylm_dev", "qed.dev")
    assert names(find_files(tmp_path / "babylm_10M").dev) == ["qed"]
    put(tmp_path / "text", "a.txt")
    assert find_files(tmp_path / "text").dev == []


def test_files_beside_each_other_are_sources_with_unique_safe_names(tmp_path: Path) -> None:
    put(tmp_path, "b c?.txt", "a_b.md", "A_B.txt", "dé.txt")
    found = find_files(tmp_path)
    assert names(found.train) == ["A_B", "a_b-2", "b_c_", "dé"]
    assert found.dev == []
    assert find_files(tmp_path) == found


def test_files_and_a_folder_of_one_name_are_sources_of_their_own(tmp_path: Path) -> None:
    put(tmp_path, "a.txt", "a.md", "a/b.txt", "a/c.txt")
    found = find_files(tmp_path).train
    assert [[path.relative_to(tmp_path).as_posix() for path in files] for _, files in found] == [
        ["a/b.txt", "a/c.txt"],
        ["a.md"],
        ["a.txt"],
    ]
    assert names(found) == ["a", "a-2", "a-3"]


def test_many_files_are_apart_from_a_subfolder_named_like_their_folder(tmp_path: Path) -> None:
    many = [f"{n:02}.txt" for n in range(sources.MOST_SOURCES + 1)]
    found = find_files(put(tmp_path / "letters", *many, "letters/a.txt")).train
    assert sorted(len(files) for _, files in found) == [1, len(many)]


def test_the_files_of_a_subfolder_are_one_source_in_sorted_order(tmp_path: Path) -> None:
    put(tmp_path, "news/2.txt", "news/1.txt", "news/old/0.txt", "talks/a.md", "b.txt")
    found = find_files(tmp_path)
    assert names(found.train) == ["b", "news", "talks"]
    assert paths(found.train, tmp_path)[1:4] == ["news/1.txt", "news/2.txt", "news/old/0.txt"]


def test_many_files_beside_each_other_are_the_documents_of_one_source(tmp_path: Path) -> None:
    folder = put(tmp_path / "letters", *(f"{n:02}.txt" for n in range(sources.MOST_SOURCES)))
    assert len(find_files(folder).train) == sources.MOST_SOURCES
    put(folder, "one more.txt")
    [(name, files)] = find_files(folder).train
    assert name == "letters"
    assert len(files) == sources.MOST_SOURCES + 1


def test_linked_folders_are_followed_and_loops_end(tmp_path: Path) -> None:
    put(tmp_path / "elsewhere", "a.txt")
    put(tmp_path / "text", "b.txt")
    (tmp_path / "text" / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "back").symlink_to(tmp_path / "text")
    assert names(find_files(tmp_path / "text").train) == ["b", "linked"]


def test_development_texts_inside_the_training_folder_are_not_trained_on(tmp_path: Path) -> None:
    put(tmp_path, "a.txt", "dev/a.txt")
    found = find_files(tmp_path, tmp_path / "dev")
    assert paths(found.train, tmp_path) == ["a.txt"]
    assert paths(found.dev, tmp_path) == ["dev/a.txt"]


def test_training_texts_inside_the_development_folder_are_not_measured_on(tmp_path: Path) -> None:
    put(tmp_path, "a.txt", "train/a.txt")
    found = find_files(tmp_path / "train", tmp_path)
    assert paths(found.train, tmp_path) == ["train/a.txt"]
    assert paths(found.dev, tmp_path) == ["a.txt"]


@pytest.mark.parametrize("held_out", ["dev", "valid", "validation", "test", "Dev"])
def test_folders_of_both_splits_are_refused_with_the_settings_for_them(
    tmp_path: Path, held_out: str
) -> None:
    put(tmp_path, "train/a.txt", f"{held_out}/a.txt")
    with pytest.raises(RecipeError) as caught:
        find_files(tmp_path)
    train, dev = tmp_path / "train", tmp_path / held_out
    assert f"set corpus.path={train} corpus.dev_path={dev}" in str(caught.value)
    assert names(find_files(train, dev).dev) == ["a"]


def test_a_folder_with_the_name_of_one_split_is_a_source(tmp_path: Path) -> None:
    assert names(find_files(put(tmp_path / "1", "test/a.txt", "dev/b.txt")).train) == [
        "dev",
        "test",
    ]
    put(tmp_path / "2", "train/a.txt", "dev.txt")
    assert names(find_files(tmp_path / "2").train) == ["dev", "train"]


def test_one_folder_of_text_cannot_be_both_splits(tmp_path: Path) -> None:
    put(tmp_path, "a.txt")
    with pytest.raises(RecipeError, match=r"corpus\.dev_path"):
        find_files(tmp_path, tmp_path)


def test_hidden_files_are_skipped_and_others_named(tmp_path: Path) -> None:
    put(tmp_path, "a.train", ".b.train", ".git/c.train", "d.pdf", "e.txt")
    with pytest.warns(UserWarning, match=r"d\.pdf.*e\.txt") as caught:
        found = find_files(tmp_path)
    assert names(found.train) == ["a"]
    assert "git" not in str(caught[0].message)


def test_all_files_used_no_warning(tmp_path: Path) -> None:
    put(tmp_path, "a.train", "a.dev")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        find_files(tmp_path)


@pytest.mark.parametrize("made", ["nothing", "empty", "file", "pictures"])
def test_a_folder_without_text_is_refused_by_name(tmp_path: Path, made: str) -> None:
    folder = tmp_path / "corpus"
    if made == "file":
        folder.write_text("x", encoding="utf-8")
    elif made != "nothing":
        folder.mkdir()
    if made == "pictures":
        put(folder, "a.png")
    with pytest.raises(RecipeError) as caught:
        find_files(folder)
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_text_is_read_without_mark_and_with_newlines_alone(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_bytes(b"\xef\xbb\xbfa\r\nb\rc\n\xc3\xa9")
    assert read_text(file) == "a\nb\nc\né"


@pytest.mark.parametrize("size", [1, 3, 1 << 18])
def test_blocks_are_whole_lines_of_the_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    file = tmp_path / "a.txt"
    file.write_text("é\r\n\nlonger line\nlast", encoding="utf-8")
    monkeypatch.setattr(sources, "BLOCK_BYTES", size)
    blocks = list(TextFile(file).blocks())
    assert "".join(blocks) == "é\n\nlonger line\nlast"
    assert all(block.endswith("\n") for block in blocks[:-1])


@pytest.mark.parametrize("size", [1, 1 << 18])
def test_bad_bytes_are_replaced_and_counted_where_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    file = tmp_path / "a.txt"
    file.write_bytes(b"caf\xe9\nl\xff\xfe \xef\xbf\xbd\n")
    monkeypatch.setattr(sources, "BLOCK_BYTES", size)
    text = TextFile(file, "replace")
    for _ in range(2):
        assert "".join(text.blocks()) == "caf\ufffd\nl\ufffd\ufffd \ufffd\n"
        assert text.replaced == 3


@pytest.mark.parametrize(
    ("content", "text", "count"),
    [
        (b"5 \xe2\x82 \xf0\x9f\x98", "5 \ufffd \ufffd", 5),  # the last bytes of signs are lost
        (b"\xed\xa0\x80", "\ufffd\ufffd\ufffd", 3),  # a surrogate
        (b"\xef\xbf\xbd\xff", "\ufffd\ufffd", 1),
    ],
)
def test_bytes_are_counted_and_not_the_signs_in_their_place(
    tmp_path: Path, content: bytes, text: str, count: int
) -> None:
    file = tmp_path / "a.txt"
    file.write_bytes(content)
    found = TextFile(file, "replace")
    assert "".join(found.blocks()) == text
    assert found.replaced == count


@pytest.mark.parametrize("size", [1, 1 << 18])
@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "zero bytes.*delete"),
        (b"ab\0cd", "binary.*byte 2"),
        ("text".encode("utf-16"), "binary"),
        (b"caf\xe9 noir", "0xe9 at offset 3"),
        (b"\xef\xbb\xbfab\xff", "0xff at offset 5"),
        (b"line\nline\nab\xff", "0xff at offset 12.*bad_bytes=replace"),
        (b"line\n\0", "binary.*byte 5"),
    ],
)
def test_corrupt_files_are_named_with_the_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, says: str, size: int
) -> None:
    monkeypatch.setattr(sources, "BLOCK_BYTES", size)
    file = tmp_path / "my.train"
    file.write_bytes(content)
    with pytest.raises(CorruptDataError, match=rf"my\.train.*{says}"):
        read_text(file)


def test_a_file_that_is_gone_is_named(tmp_path: Path) -> None:
    with pytest.raises(CorruptDataError, match=r"gone\.txt cannot be read"):
        read_text(tmp_path / "gone.txt")


def test_a_folder_that_cannot_be_read_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path, "a.txt", "closed/b.txt")
    scandir = os.scandir

    def refusing(folder: str) -> object:
        if Path(folder).name == "closed":
            raise PermissionError(13, "Permission denied", folder)
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", refusing)  # permissions do not bind every user
    with pytest.raises(CorruptDataError, match=r"closed cannot be read \(Permission denied\)"):
        find_files(tmp_path)


def test_digest_sees_content_source_and_split_but_not_the_folder(tmp_path: Path) -> None:
    first = find_files(put(tmp_path / "1", "a.train", "b.train"))
    same = find_files(put(tmp_path / "2", "a.train", "b.train"))
    assert files_digest(first) == files_digest(same)
    moved = RawFiles(train=first.train[:1], dev=first.train[1:])
    renamed = RawFiles(train=[("c", first.train[0][1]), first.train[1]])
    put(tmp_path / "3", "a.train", "b.train")
    (tmp_path / "3" / "a.train").write_text("other", encoding="utf-8")
    changed = find_files(tmp_path / "3")
    assert len({files_digest(files) for files in (first, moved, renamed, changed)}) == 4
