"""The rows of a task's file, each with the place that an error names."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from babyllama.errors import CorruptDataError
from babyllama.evaluation.lines import json_lines, numbered_lines

Form = Literal["json", "table", "cola"]
"""JSON lines; tab-separated with a head line; tab-separated with CoLA's columns."""
# The columns of the CoLA release, as its README has them: the third is the author's own mark.
COLA_COLUMNS = ("source", "label", "mark", "sentence")


@dataclass(frozen=True)
class Row:
    """One row, and where it stands."""

    path: Path
    line: int
    """From 1."""
    values: Mapping[str, Any]

    @property
    def where(self) -> str:
        """File and line, in words."""
        return f"{self.path}, line {self.line}"

    def text(self, key: str) -> str:
        """The text under a key.

        Raises:
            CorruptDataError: no such key, or nothing to read under it.
        """
        value = self.required(key)
        if not isinstance(value, str) or not value.strip():
            raise CorruptDataError(f"{self.where} has no text under {key!r}: add it")
        return value

    def required(self, key: str) -> Any:
        """The value under a key.

        Raises:
            CorruptDataError: no such key.
        """
        if key not in self.values:
            raise CorruptDataError(f"{self.where} has no {key!r}: add it, or delete the line")
        return self.values[key]


def read_rows(path: Path, form: Form) -> list[Row]:
    """All rows of a file; blank lines are none.

    Raises:
        CorruptDataError: not UTF-8, no rows, a line that is not JSON, or with too few columns.
    """
    rows = [*(_json_rows(path) if form == "json" else _table_rows(path, form))]
    if not rows:
        raise CorruptDataError(f"{path} holds no items: fill the file or delete it")
    return rows


def _json_rows(path: Path) -> Iterator[Row]:
    for number, values in json_lines(path):
        if not isinstance(values, dict):
            raise CorruptDataError(f"{path}, line {number} is not a JSON object: one item a line")
        yield Row(path, number, values)


def _table_rows(path: Path, form: Form) -> Iterator[Row]:
    """Quotation marks are text: the releases of CoLA, SST-2 and QNLI quote nothing."""
    lines = numbered_lines(path)
    columns = COLA_COLUMNS if form == "cola" else tuple(next(lines, (0, ""))[1].split("\t"))
    for number, line in lines:
        cells = line.split("\t")
        if len(cells) != len(columns):
            raise CorruptDataError(
                f"{path}, line {number} has {len(cells)} columns: expected {len(columns)}"
                f" between tabs ({', '.join(columns)})"
            )
        yield Row(path, number, dict(zip(columns, cells, strict=True)))
