"""What cleaning did, as it reaches a terminal."""

from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from babyllama.corpus.build import build_corpus
from babyllama.corpus.explain import explanation
from babyllama.recipe import Corpus


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    (tmp_path / "raw").mkdir()
    text = "red\xa0\x1b[31mcat \u202edog\nfine\n"
    for split in ("train", "dev"):
        (tmp_path / f"raw/mine.{split}").write_text(text, encoding="utf-8")
    return tmp_path / "raw"


def explained(raw: Path, **settings: Any) -> str:
    out = raw.parent / "out"
    build_corpus(Corpus(path=str(raw), **settings), out)
    console = Console(width=200)
    with console.capture() as capture:
        console.print(*explanation(out, "mine"), sep="\n")
    return capture.get()


def test_what_a_terminal_would_act_on_or_hide_is_shown_as_codes(raw: Path) -> None:
    lines = explained(raw).splitlines()
    assert r"  - red\xa0\x1b[31mcat \u202edog" in lines
    assert "  + red [31mcat dog" in lines


def test_a_long_example_is_not_cut_before_its_difference(raw: Path) -> None:
    long = "word " * 40
    (raw / "mine.train").write_text(f"{long}end\xa0here\n", encoding="utf-8")
    assert r"end\xa0here" in explained(raw)


@pytest.mark.parametrize("dev", [False, True])
def test_a_source_that_was_not_cleaned_is_said_so(raw: Path, *, dev: bool) -> None:
    text = explained(raw, clean=False, clean_dev=dev)
    assert "train/mine was not cleaned" in text
    assert ("dev/mine" in text) is dev
    assert "was not cleaned" not in explained(raw)
