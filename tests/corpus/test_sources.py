import warnings
from pathlib import Path

import pytest

from babyllama.corpus.sources import RawFiles, files_digest, find_files, read_text
from babyllama.errors import CorruptDataError, RecipeError


def put(folder: Path, *names: str) -> Path:
    for name in names:
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"text of {name}\n", encoding="utf-8")
    return folder


def names(pairs: list[tuple[str, Path]]) -> list[str]:
    return [name for name, _ in pairs]


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


def test_any_folder_of_text_files_is_read_in_depth_with_unique_safe_names(tmp_path: Path) -> None:
    put(tmp_path, "b.txt", "a/b c?.txt", "a_b.md", "a/b.text", "A_B.txt", "dé.txt")
    found = find_files(tmp_path)
    assert names(found.train) == ["A_B", "a_b-2", "a_b-3", "a_b_c_", "b", "dé"]
    assert found.dev == []
    assert find_files(tmp_path) == found


def test_development_texts_inside_the_training_folder_are_not_trained_on(tmp_path: Path) -> None:
    put(tmp_path, "a.txt", "dev/a.txt")
    found = find_files(tmp_path, tmp_path / "dev")
    assert [path.relative_to(tmp_path).as_posix() for _, path in found.train] == ["a.txt"]
    assert [path.relative_to(tmp_path).as_posix() for _, path in found.dev] == ["dev/a.txt"]


def test_training_texts_inside_the_development_folder_are_not_measured_on(tmp_path: Path) -> None:
    put(tmp_path, "a.txt", "train/a.txt")
    found = find_files(tmp_path / "train", tmp_path)
    assert [path.relative_to(tmp_path).as_posix() for _, path in found.train] == ["train/a.txt"]
    assert [path.relative_to(tmp_path).as_posix() for _, path in found.dev] == ["a.txt"]


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


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "zero bytes.*delete"),
        (b"ab\0cd", "binary.*byte 2"),
        ("text".encode("utf-16"), "binary"),
        (b"caf\xe9 noir", "0xe9 at offset 3"),
        (b"\xef\xbb\xbfab\xff", "0xff at offset 5"),
    ],
)
def test_corrupt_files_are_named_with_the_byte(tmp_path: Path, content: bytes, says: str) -> None:
    file = tmp_path / "my.train"
    file.write_bytes(content)
    with pytest.raises(CorruptDataError, match=rf"my\.train.*{says}"):
        read_text(file)


def test_a_file_that_is_gone_is_named(tmp_path: Path) -> None:
    with pytest.raises(CorruptDataError, match=r"gone\.txt cannot be read"):
        read_text(tmp_path / "gone.txt")


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
