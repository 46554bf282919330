"""What the room reads: CSV and JSON, with errors that name the line and the remedy, and models."""

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from babyllama.errors import CorruptDataError, RecipeError
from babyllama.evaluation.lines import read_text
from babyllama.models.folders import check_folders, folder_digest

Row = Mapping[str, str]


def read_table(file: Path, columns: Sequence[str]) -> Sequence[tuple[str, Row]]:
    """The rows of a CSV file with a header, each with where it stands in words.

    Raises:
        RecipeError: there is no such file.
        CorruptDataError: it is not UTF-8 or not CSV, lacks a column or has no rows.
    """
    reader = csv.DictReader(io.StringIO(_text(file), newline=""), restval="")
    try:
        header = reader.fieldnames or ()
        rows = [(f"{file}, line {reader.line_num}", row) for row in reader]
    except csv.Error as error:
        raise CorruptDataError(f"{file}, line {reader.line_num} is not CSV: {error}") from None
    missing = [column for column in columns if column not in header]
    if missing:
        raise CorruptDataError(
            f"{file} has no column {missing[0]!r}: its first line must name {', '.join(columns)}"
        )
    if not rows:
        raise CorruptDataError(f"{file} holds no rows: give one a word")
    return rows


def cell(where: str, row: Row, column: str) -> str:
    """The text of a column.

    Raises:
        CorruptDataError: there is none.
    """
    text = row[column].strip()
    if not text:
        raise CorruptDataError(f"{where} has nothing under {column!r}: fill it or remove the row")
    return text


def number(where: str, row: Row, column: str) -> float:
    """The finite number of a column.

    Raises:
        CorruptDataError: it is none.
    """
    text = cell(where, row, column)
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise CorruptDataError(f"{where} has {text!r} under {column!r}: give a number")
    return value


def read_json(file: Path) -> Any:
    """What a JSON file holds.

    Raises:
        RecipeError: there is no such file.
        CorruptDataError: it is not UTF-8 or not JSON.
    """
    try:
        return json.loads(_text(file))
    except ValueError as error:
        raise CorruptDataError(f"{file} is not JSON: {error}") from None


def model_digests(folders: Sequence[Path]) -> dict[str, str]:
    """Model -> one digest over its configuration and weights.

    Raises:
        RecipeError: a folder that is missing or named twice.
    """
    check_folders(folders)
    return {str(folder): folder_digest(folder) for folder in folders}


def _text(file: Path) -> str:
    if not file.is_file():
        raise RecipeError(f"{file} is no file: check the path")
    return read_text(file)
