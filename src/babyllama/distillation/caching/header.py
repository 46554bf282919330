"""`header.json` of a cache: what it holds, what it was made from, and how exact it is."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from babyllama.distillation.caching.grid import Grid
from babyllama.errors import CorruptDataError

HEADER = "header.json"
FORMAT = 1


def read_header(folder: Path) -> dict[str, Any]:
    """The header of a cache.

    Raises:
        CorruptDataError: there is none that can be read, or it is of another format.
    """
    try:
        header = json.loads((folder / HEADER).read_text("utf-8"))
        found, made_from = header["format"], header["made_from"]
        if not (isinstance(header, dict) and isinstance(made_from, dict)):
            raise TypeError("no mapping")
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise CorruptDataError(
            f"{folder} has no readable {HEADER} ({error}): delete it and run again"
        ) from None
    if found != FORMAT:
        raise CorruptDataError(
            f"{folder} is a cache of format {found}, this program reads {FORMAT}: delete it and"
            " run again"
        )
    return header


def check_header(
    folder: Path, header: Mapping[str, Any], made_from: Mapping[str, str], grid: Grid
) -> None:
    """Refuse a cache of other teachers, another tokenizer or text, or other chunks.

    `made_from` names what the signal depends on, with fingerprints.

    Raises:
        CorruptDataError: says what differs.
    """
    found = header["made_from"]
    different = [key for key in {**made_from, **found} if found.get(key) != made_from.get(key)]
    different += [key for key, value in grid.as_json().items() if header.get(key) != value]
    if different:
        raise CorruptDataError(
            f"the cached signal {folder} was made with another {', '.join(different)}: delete it"
            " and run again"
        )
