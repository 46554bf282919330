"""What a corpus became: its sources, and what each cleaning rule did, as text for a terminal."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from babyllama.corpus.cleaners.effects import Effect
from babyllama.errors import RecipeError, did_you_mean

COLUMNS = {
    "files": "files",
    "documents": "documents",
    "lines": "lines",
    "words before": "words_raw",
    "words": "words",
    "not UTF-8": "bytes_replaced",
    "overlapping": "lines_overlapping",
}


def sources_table(folder: Path) -> Table:
    """Counts of every source of a corpus artifact; columns that are all zero are left out."""
    counts = _read(folder / "corpus.json")
    rows = [
        (split, name, row) for split, rows in counts.items() for name, row in sorted(rows.items())
    ]
    shown = {title: key for title, key in COLUMNS.items() if any(row[key] for _, _, row in rows)}
    table = Table("split", "source", box=None, pad_edge=False)
    for title in shown:
        table.add_column(title, justify="right")
    for split, name, row in rows:
        table.add_row(split, _text(name), *(f"{row[key]:,}" for key in shown.values()))
    return table


def read_effects(folder: Path, source: str) -> dict[str, dict[str, Effect]]:
    """Split -> rule -> what it did to a source, most changed lines first.

    Raises:
        RecipeError: the corpus has no such source.
    """
    plain = _read(folder / "effects.json")
    known = sorted({name for split in plain.values() for name in split})
    if source not in known:
        raise RecipeError(f"--explain: there is no source {source!r}{did_you_mean(source, known)}")
    return {
        split: dict(
            sorted(
                sources[source].items(),
                key=lambda item: (-item[1]["lines"], item[0]),
            )
        )
        for split, sources in plain.items()
        if source in sources
    }


def explanation(folder: Path, source: str) -> Iterator[Table | Text]:
    """What each rule did to a source: a table a split, and examples from the training split."""
    effects = read_effects(folder, source)
    cleaned = {split: rules for split, rules in effects.items() if rules}
    first = next(iter(effects))
    if first not in cleaned:  # the dev split also lacks effects where it was cut off the other
        yield _text(f"{first}/{source} was not cleaned")
    for split, rules in cleaned.items():
        yield _text(f"{split}/{source}", start="\n", style="bold")
        active = {name: effect for name, effect in rules.items() if effect["lines"]}
        yield _rules_table(active) if active else Text("no rule changed anything")
        idle = sorted(rules.keys() - active.keys())
        if idle:
            yield _text(", ".join(idle), start="nothing to do for: ")
    for name, effect in next(iter(cleaned.values()), {}).items():
        if effect["examples"]:
            yield _text(name, start="\n", style="bold")
        for before, after in effect["examples"]:
            yield _text(before, start="  - ")
            yield _text(after, start="  + ") if after else Text("  (dropped)")


def printable(text: str, width: int | None = None) -> str:
    r"""Write what a terminal would act on, or not show, as its code; cut to `width` characters.

    >>> printable("a\x1b[2Jb\xa0c\u200bd\u202ee")
    'a\\x1b[2Jb\\xa0c\\u200bd\\u202ee'
    >>> printable("a long one", 6)
    'a lon…'
    """
    spelled = "".join(
        character if character.isprintable() else ascii(character)[1:-1] for character in text
    )
    return spelled if width is None or len(spelled) <= width else spelled[: width - 1] + "…"


def _text(text: str, *, start: str = "", style: str = "") -> Text:
    return Text(start + printable(text), style=style)


def _rules_table(rules: Mapping[str, Effect]) -> Table:
    table = Table("rule", box=None, pad_edge=False)
    for title in ("lines changed", "dropped", "words before", "after"):
        table.add_column(title, justify="right")
    for name, effect in rules.items():
        lines, words = effect["lines"], effect["words_before"]
        figures = (lines, effect["dropped"], words, effect["words_after"])
        table.add_row(_text(name), *(f"{figure:,}" for figure in figures))
    return table


def _read(file: Path) -> Any:
    return json.loads(file.read_text("utf-8"))
