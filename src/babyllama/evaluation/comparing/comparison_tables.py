"""Comparisons and correlations as tables and sentences for a terminal."""

from collections.abc import Iterable, Iterator

from rich.markup import escape
from rich.table import Table

from babyllama.evaluation.comparing.comparison import Comparison, Row, Side, Validation
from babyllama.evaluation.comparing.correlation import Correlation
from babyllama.evaluation.statistics import RESAMPLES

READING = (
    f"Intervals: paired bootstrap within paradigms, {RESAMPLES:,} resamples. p: sign flips, item by"
    " item; p (Holm): corrected for the rows shown. Both take pairs as independent and concern"
    " these trained models: another seed of the training would move the scores too."
)
NO_INTERVAL = (
    "Validation differences have no interval: a run keeps one mean over the validation text, not"
    " the losses of its parts."
)
RANKS = (
    "A negative rho says that a lower cross-entropy goes with a higher accuracy. Interval: Fisher's"
    " z with the standard error of Bonett and Wright. It takes models as independent; those that"
    " share teachers or settings are not quite."
)


def comparison_blocks(found: Comparison) -> Iterator[Table | str]:
    """The table of scores, the one of validation, and what to know of them."""
    if found.rows:
        yield _scores(found)
        yield READING
    if found.validation:
        yield _validation(found.validation)
        yield NO_INTERVAL
    if found.same:
        yield f"One and the same model on both sides, left out: {', '.join(found.same)}."


def correlation_blocks(correlation: Correlation) -> Iterator[Table | str]:
    """The models by their cross-entropy, and the rank correlation in a sentence."""
    table = _table(
        "Validation cross-entropy and accuracy",
        ("model", "nats/token", f"{correlation.suite}, %"),
    )
    for point in sorted(correlation.points, key=lambda point: point.cross_entropy):
        table.add_row(
            escape(str(point.side)), f"{point.cross_entropy:.4f}", f"{100 * point.accuracy:.1f}"
        )
    yield table
    found = correlation.found
    yield (
        f"Spearman's rho between cross-entropy and accuracy on {correlation.suite} (macro over"
        f" {correlation.over}): {found.rho:+.2f}, 95 % interval {found.low:+.2f} to"
        f" {found.high:+.2f}, n = {found.n} models"
        f"{': no correlation is shown.' if found.low <= 0 <= found.high else '.'}"
    )
    yield RANKS


def _scores(found: Comparison) -> Table:
    columns = ("first", "second", "suite", "pairs", "first, %", "second, %", "difference")
    table = _table(
        f"First minus second, macro over {found.over}, in points of accuracy",
        (*columns, "95 % interval", "p", "p (Holm)", "verdict"),
    )
    for row in found.rows:
        table.add_row(*_score_cells(row))
    return table


def _score_cells(row: Row) -> Iterable[str]:
    paired = row.found
    return (
        *_names(row.first, row.second),
        row.suite,
        f"{row.pairs:,}",
        *(f"{100 * accuracy:.1f}" for accuracy in row.accuracies),
        f"{100 * paired.difference:+.2f}",
        f"{100 * paired.low:+.2f} to {100 * paired.high:+.2f}",
        f"{paired.p:.4f}",
        f"{row.p_holm:.4f}",
        row.verdict,
    )


def _validation(rows: Iterable[Validation]) -> Table:
    table = _table(
        "First minus second on the validation text", ("first", "second", "nats/token", "bits/byte")
    )
    for row in rows:
        cells = [
            f"{row.differences[key]:+.4f}" if key in row.differences else row.reason or "–"
            for key in ("cross_entropy", "bits_per_byte")
        ]
        table.add_row(*_names(row.first, row.second), *cells)
    return table


def _names(first: Side, second: Side) -> tuple[str, str]:
    return escape(str(first)), escape(str(second))


def _table(title: str, columns: Iterable[str]) -> Table:
    table = Table(title=title, title_justify="left")
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number < 2 else "right", no_wrap=number < 2)
    return table
