"""Text files that people bring, read as lines: what cannot be read is named by file and line."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from babyllama.errors import CorruptDataError


def read_text(file: Path, newline: str | None = None) -> str:
    """The text of a file in UTF-8, without its byte order mark; `newline` as `open` takes it.

    Raises:
        CorruptDataError: it is not UTF-8.
    """
    try:
        with file.open(encoding="utf-8-sig", newline=newline) as opened:
            return opened.read()
    except UnicodeDecodeError as error:
        raise CorruptDataError(f"{file} is not UTF-8 at byte {error.start}: mend it") from None


def numbered_lines(file: Path) -> Iterator[tuple[int, str]]:
    """The lines that are not blank, numbered from 1.

    Not `splitlines`: a text may hold U+2028 or a lone carriage return, which end no line here.

    Raises:
        CorruptDataError: the file is not UTF-8.
    """
    for number, line in enumerate(read_text(file, newline="").split("\n"), 1):
        if line.strip():
            yield number, line.removesuffix("\r")


def json_lines(file: Path) -> Iterator[tuple[int, Any]]:
    """What the lines hold that are not blank, numbered from 1.

    Raises:
        CorruptDataError: the file is not UTF-8, or a line is not JSON.
    """
    for number, line in numbered_lines(file):
        try:
            yield number, json.loads(line)
        except (ValueError, RecursionError) as error:
            raise CorruptDataError(f"{file}, line {number} is not JSON: {error}") from None
