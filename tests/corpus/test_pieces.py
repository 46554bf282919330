from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from babyllama.corpus.pieces import (
    PIECE_WORDS,
    Piece,
    cut_lines,
    cut_pieces,
    read_pieces,
    write_rows,
)
from babyllama.corpus.words import count_words
from babyllama.errors import CorruptDataError


def test_pieces_come_back_as_they_were_written_sorted_by_source(tmp_path: Path) -> None:
    rows = [("a\u2028b\x85c\n", True), ("<s> é\n", False)]
    write_rows(tmp_path / "train" / "b.jsonl", rows)
    write_rows(tmp_path / "train" / "a.jsonl", rows[:1])
    assert list(read_pieces(tmp_path, "train")) == [
        Piece("a", *rows[0]),
        Piece("b", *rows[0]),
        Piece("b", *rows[1]),
    ]


def test_a_piece_is_a_line_of_json_in_utf8(tmp_path: Path) -> None:
    write_rows(tmp_path / "a.jsonl", [("é\nb\n", True)])
    assert (tmp_path / "a.jsonl").read_bytes().decode() == (
        '{"text": "é\\nb\\n", "starts": true}\n'
    )


def test_a_split_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CorruptDataError, match=r"dev holds no text: build the corpus again"):
        next(read_pieces(tmp_path, "dev"))


@pytest.mark.parametrize("row", ['{"tex": 1}', "[]", "{", '{"text": "a\\n"}'])
def test_a_broken_row_is_named(tmp_path: Path, row: str) -> None:
    write_rows(tmp_path / "train" / "a.jsonl", [("a\n", True)])
    with (tmp_path / "train" / "a.jsonl").open("a") as file:
        file.write(row + "\n")
    with pytest.raises(CorruptDataError, match=r"a\.jsonl line 2 is not"):
        list(read_pieces(tmp_path, "train"))


def test_pieces_are_the_text_and_none_is_too_long() -> None:
    text = "".join(f"{n} " + "w " * 5 + "end\n" for n in range(3_000))
    cut = list(cut_pieces(text))
    assert "".join(cut) == text
    assert len(cut) == 11
    assert all(count_words(piece) <= PIECE_WORDS for piece in cut)
    assert list(cut_pieces("w " * 5_000)) == ["w " * 5_000]
    assert list(cut_pieces("")) == []
    spaceless = "猫\n" * (PIECE_WORDS + 1)
    assert [count_words(piece) for piece in cut_pieces(spaceless)] == [PIECE_WORDS, 1]


@given(st.lists(st.text("ab \x0b\u2028", max_size=9), max_size=6), st.integers(0, 12))
def test_a_cut_lies_at_the_line_end_that_is_nearest(lines: list[str], words: int) -> None:
    text = "".join(line + "\n" for line in lines)
    before, after = cut_lines(text, words)
    assert before + after == text
    assert before == "" or before.endswith("\n")
    ends = ["".join(line + "\n" for line in lines[:n]) for n in range(len(lines) + 1)]
    nearest = min(abs(count_words(end) - words) for end in ends)
    assert abs(count_words(before) - words) == nearest
