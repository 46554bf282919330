"""Files of tasks, row by row."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    """JSON lines at a path whose folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def write_lines(path: Path, *lines: str) -> Path:
    """Text lines at a path whose folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(line + "\n" for line in lines), "utf-8")
    return path


def rte(count: int, first: int = 0) -> list[dict[str, Any]]:
    """Rows with the ids `first` and on; labels in turn."""
    return [
        {"sentence1": f"Heron {at}.", "sentence2": "It waits.", "label": at % 2, "idx": at}
        for at in range(first, first + count)
    ]


def msgs(conditions: Sequence[str], feature: str = "linguistic") -> list[dict[str, Any]]:
    """Rows of an MSGS task that asks for one feature, one row a condition; labels in turn."""
    nothing = {"linguistic_feature_label": None, "surface_feature_label": None}
    return [
        {"sentence": f"s {at}", "condition": each, **nothing, f"{feature}_feature_label": at % 2}
        for at, each in enumerate(conditions)
    ]
