"""The recipe as a report shows it: without the places of folders on someone's machine."""

from pathlib import PurePath
from typing import Any

import yaml

# Where a recipe names folders; `*` stands for every name.
PLACES = (
    ("corpus", "path"),
    ("corpus", "dev_path"),
    ("evaluation", "suites", "*"),
    ("models", "*", "checkpoint"),
)


def without_places(recipe: str) -> str:
    """A recipe's YAML with the names of folders alone.

    >>> print(without_places("corpus: {path: /home/me/text/}"), end="")
    corpus:
      path: text
    """
    raw = yaml.safe_load(recipe)
    for place in PLACES:
        _shorten(raw, place)
    return yaml.safe_dump(raw, sort_keys=False, allow_unicode=True)


def _shorten(value: Any, place: tuple[str, ...]) -> None:
    """Keep the last part of the path that lies at a place."""
    if not isinstance(value, dict):
        return
    first, *rest = place
    for key in [*value] if first == "*" else [first]:
        if rest:
            _shorten(value.get(key), tuple(rest))
        elif isinstance(value.get(key), str):
            value[key] = PurePath(value[key]).name or value[key]
