"""The audit as tables for a terminal; the JSON of `audit.to_json` has the whole lists."""

from collections.abc import Iterator, Sequence
from typing import Literal

from rich.console import Console
from rich.table import Table
from rich.text import Text

from babyllama.corpus.auditing.audit import Audit
from babyllama.corpus.auditing.exact_duplicates import LONG
from babyllama.corpus.explain import printable
from babyllama.corpus.overlap import SHORTEST, Overlap

SHOWN = 3
"""Examples of a kind that are printed."""
WIDTH = 100


def print_audit(audit: Audit, console: Console) -> None:
    """Print every table that has rows, and what was looked at for the others."""
    for table in (
        _sizes(audit),
        _vocabulary(audit),
        _oddities(audit),
        _repeats(audit),
        _repeated_lines(audit),
        _near_counts(audit),
        _near_examples(audit),
        _dev(audit),
        _suites(audit),
        _paradigms(audit),
        _overlapping(audit),
    ):
        # Apart from the table, which would break them to its own width.
        title, caption = str(table.title), table.caption
        table.title = table.caption = None
        if not table.row_count:
            console.print(Text(f"\n{title}: nothing found"))
            continue
        console.print(Text(f"\n{title}", style="bold"), table, sep="\n")
        if caption:
            console.print(Text(str(caption)))


def _table(title: str, names: Sequence[str], numbers: Sequence[str], texts: Sequence[str]) -> Table:
    table = Table(title=title, box=None, pad_edge=False)
    for header in (*names, *numbers, *texts):
        justify: Literal["left", "right"] = "right" if header in numbers else "left"
        table.add_column(header, justify=justify, overflow="fold")
    return table


def _add(table: Table, *cells: object) -> None:
    table.add_row(*(f"{c:,}" if isinstance(c, int) else _text(c) for c in cells))


def _text(cell: object) -> Text:
    return Text(printable(str(cell), WIDTH))


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.2f} %" if whole else "–"


def _sizes(audit: Audit) -> Table:
    numbers = ("documents", "lines", "words", "characters", "distinct", "hapaxes")
    table = _table("Sizes", ("split", "source"), numbers, ())
    for row in audit.sizes:
        hapaxes = _percent(row.hapaxes, row.distinct)
        counts = (row.documents, row.lines, row.words, row.characters, row.distinct)
        _add(table, row.split, row.source, *counts, hapaxes)
    return table


def _vocabulary(audit: Audit) -> Table:
    table = _table("Vocabulary growth in the training split", (), ("words", "distinct words"), ())
    for words, distinct in audit.vocabulary.curve:
        _add(table, words, distinct)
    share = _percent(audit.vocabulary.hapaxes, audit.vocabulary.distinct)
    table.caption = f"{share} of the distinct words are there once"
    return table


def _oddities(audit: Audit) -> Table:
    table = _table("Odd characters", ("source", "kind"), ("count",), ("example",))
    for row in audit.oddities:
        _add(table, row.source, row.kind, row.count, row.example)
    return table


def _repeats(audit: Audit) -> Table:
    numbers = ("documents", "words", "lines", "words ", f"lines of {LONG}+ words", "words  ")
    table = _table("Repeated to the letter", ("source",), numbers, ())
    for row in audit.repeats:
        documents, lines = (row.documents, row.document_words), (row.lines, row.line_words)
        _add(table, row.source, *documents, *lines, row.long_lines, row.long_line_words)
    return table


def _repeated_lines(audit: Audit) -> Table:
    table = _table("Most repeated long lines", ("source",), ("times",), ("line",))
    for row in audit.repeated_lines[:SHOWN]:
        _add(table, row.source, row.times, row.text)
    return table


def _near_counts(audit: Audit) -> Table:
    title = f"Near duplicates among {audit.near.passages:,} passages"
    table = _table(title, ("source", "nearly as before in"), ("passages", "words"), ())
    for row in audit.near.counts:
        _add(table, row.source, row.earlier_source, row.passages, row.words)
    return table


def _near_examples(audit: Audit) -> Table:
    table = _table("Near duplicates", ("source",), ("similarity",), ("passage",))
    for row in audit.near.listed[:SHOWN]:
        _add(table, row.earlier_source, "", row.earlier_text)
        _add(table, row.source, f"{row.similarity:.2f}", row.text)
    return table


def _dev(audit: Audit) -> Table:
    title = f"Dev text in the training split, runs of {audit.n} words"
    numbers = ("runs", "found", "share", "words", "in such runs")
    table = _table(title, ("source",), numbers, ("example",))
    for row in audit.dev:
        share, words = _percent(row.ngrams_found, row.ngrams), _percent(row.words_found, row.words)
        counts = (row.ngrams, row.ngrams_found, share, row.words, words)
        _add(table, row.source, *counts, *row.examples[:1])
    return table


def _suites(audit: Audit) -> Table:
    numbers = ("sentences", "looked up", "found")
    table = _table("Evaluation sets in the training split", ("evaluation set",), numbers, ())
    for name, rows in audit.suites.items():
        sentences, looked_up, found = _sentences(rows)
        _add(table, name, sentences, looked_up, found)
    table.caption = (
        f"found: {audit.n} words in a row, or the whole sentence where it is shorter; sentences of"
        f" fewer than {SHORTEST} words are not looked up"
    )
    return table


def _sentences(rows: Sequence[Overlap]) -> tuple[int, int, int]:
    sentences = sum(row.documents for row in rows)
    looked_up = sentences - sum(row.too_short for row in rows)
    return sentences, looked_up, sum(row.documents_found for row in rows)


def _paradigms(audit: Audit) -> Table:
    title = "Paradigms of which something was found"
    table = _table(title, ("evaluation set", "paradigm"), ("sentences", "found"), ("examples",))
    for name, row in _found_paradigms(audit):
        examples = " / ".join(row.examples)
        _add(table, name, row.source, row.documents, row.documents_found, examples)
    return table


def _found_paradigms(audit: Audit) -> Iterator[tuple[str, Overlap]]:
    return ((name, row) for name, rows in audit.suites.items() for row in rows if row.examples)


def _overlapping(audit: Audit) -> Table:
    table = _table("Training lines in these runs", ("source",), ("lines", "words"), ())
    table.caption = "corpus.drop_overlap would drop them"
    for row in audit.overlapping:
        _add(table, row.source, row.lines, row.words)
    return table
