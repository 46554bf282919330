"""Lines of files that people bring: which count, and what is said of those that cannot be read."""

from pathlib import Path

import pytest

from babyllama.errors import CorruptDataError
from babyllama.evaluation.lines import json_lines, numbered_lines, read_text


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "rows.jsonl"


def test_lines_end_at_line_feeds_alone_and_blank_ones_count_in_the_numbers(file: Path) -> None:
    file.write_bytes("\ufeffone\r\n \n\ntwo\u2028\x85three\rfour\n".encode())
    assert [*numbered_lines(file)] == [(1, "one"), (4, "two\u2028\x85three\rfour")]


def test_a_text_has_the_line_ends_of_any_system(file: Path) -> None:
    file.write_bytes("\ufeffone\r\ntwo\rthree\n".encode())
    assert read_text(file) == "one\ntwo\nthree\n"


def test_values_are_numbered_by_their_lines(file: Path) -> None:
    file.write_text('{"a": 1}\n\n[2]\n"three"')
    assert [*json_lines(file)] == [(1, {"a": 1}), (3, [2]), (4, "three")]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"1\n{\n", r"rows\.jsonl, line 2 is not JSON: Expecting property name"),
        (b"1\n\xff", r"rows\.jsonl is not UTF-8 at byte 2: mend it"),
    ],
)
def test_what_cannot_be_read_is_refused(file: Path, content: bytes, message: str) -> None:
    file.write_bytes(content)
    with pytest.raises(CorruptDataError, match=message):
        [*json_lines(file)]
