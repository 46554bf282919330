"""Comparisons and correlations as tables and sentences for a terminal."""

import math
from collections.abc import Iterable, Iterator

from rich.markup import escape
from rich.table import Table

from babyllama.evaluation.comparing.comparison import Comparison, Row, Validation
from babyllama.evaluation.comparing.correlation import Correlation
from babyllama.evaluation.comparing.seeds import CROSS_ENTROPY, SeedStudy
from babyllama.evaluation.comparing.sides import Side
from babyllama.evaluation.statistics import RESAMPLES

READING = (
    f"Intervals: paired bootstrap within paradigms, {RESAMPLES:,} resamples. p: sign flips, item by"
    " item; p (Holm): corrected for the rows shown. Both take pairs as independent and concern"
    " these trained models: another seed of the training would move the scores too."
)
NO_INTERVAL = (
    "Validation differences have no interval: a run keeps one mean over the validation text, not"
    " the losses of its parts. FLOPs: of the model, and of training and running its teachers."
)
RANKS = (
    "A negative rho says that a lower cross-entropy goes with a higher accuracy. Interval: Fisher's"
    " z with the standard error of Bonett and Wright. It takes models as independent; those that"
    " share teachers or settings are not quite, and checkpoints of one training far less: with them"
    " the interval is too narrow."
)

SEEDS = (
    "Interval and p: Student's t over the seeds, with n - 1 degrees of freedom; p (Holm): corrected"
    " for the rows shown. They say what other seeds would give on the same pairs; differences that"
    " do not vary have no interval."
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
    saved = sum(point.words is not None for point in correlation.points)
    parts = f" ({found.n - saved} models, {saved} saved checkpoints)" if saved else " models"
    yield (
        f"Spearman's rho between cross-entropy and accuracy on {correlation.suite} (macro over"
        f" {correlation.over}): {found.rho:+.2f}, 95 % interval {found.low:+.2f} to"
        f" {found.high:+.2f}, n = {found.n}{parts}"
        f"{': no correlation is shown.' if found.low <= 0 <= found.high else '.'}"
    )
    yield RANKS


def seed_blocks(study: SeedStudy) -> Iterator[Table | str]:
    """The means over seeds, the differences between distilled and control, how to read them."""
    models = _table(
        f"{len(study.runs)} runs of one recipe: mean ± deviation over seeds",
        ("model", "figure", "mean ± deviation", "n"),
    )
    for spread in study.spreads:
        mean, deviation = spread.mean_and_deviation
        cells = (_figure(mean, spread.figure), _figure(deviation, spread.figure))
        models.add_row(
            escape(spread.model), _label(spread.figure), " ± ".join(cells), str(len(spread.values))
        )
    yield models
    if study.differences:
        yield _seed_differences(study)
    yield f"{SEEDS} Accuracies: macro over {study.over}, in %."


def _seed_differences(study: SeedStudy) -> Table:
    columns = ("models", "figure", "mean", "standard error", "95 % interval", "n")
    table = _table("Distilled minus control, run by run", (*columns, "p", "p (Holm)", "verdict"))
    for row in study.differences:
        mean, error, low, high = (
            _figure(value, row.figure, sign)
            for value, sign in (
                (row.found.mean, "+"),
                (row.found.standard_error, ""),
                (row.found.low, "+"),
                (row.found.high, "+"),
            )
        )
        table.add_row(
            f"{escape(row.distilled)} - {escape(row.control)}",
            _label(row.figure),
            mean,
            error,
            f"{low} to {high}",
            str(row.found.n),
            "–" if math.isnan(row.found.p) else f"{row.found.p:.4f}",
            f"{row.p_holm:.4f}",
            row.verdict,
        )
    return table


def _label(figure: str) -> str:
    return "nats/token" if figure == CROSS_ENTROPY else f"{escape(figure)}, %"


def _figure(value: float, figure: str, sign: str = "") -> str:
    """Nats with four digits, accuracies in %."""
    if math.isnan(value):
        return "–"
    return f"{value:{sign}.4f}" if figure == CROSS_ENTROPY else f"{100 * value:{sign}.2f}"


def _scores(found: Comparison) -> Table:
    columns = ("first", "second", "suite", "pairs", "first, %", "second, %", "difference")
    table = _table(
        f"First minus second, {_means(found)}, in points of accuracy",
        (*columns, "95 % interval", "p", "p (Holm)", "verdict"),
    )
    for row in found.rows:
        table.add_row(*_score_cells(row))
    return table


def _means(found: Comparison) -> str:
    """What the accuracies are taken over."""
    if any(row.phenomenon for row in found.rows):
        return f"by phenomenon over {'pairs' if found.over == 'phenomena' else 'paradigms'}"
    return f"macro over {found.over}"


def _score_cells(row: Row) -> Iterable[str]:
    paired = row.found
    return (
        *_names(row.first, row.second),
        row.suite if row.phenomenon is None else f"{row.suite}: {row.phenomenon.replace('_', ' ')}",
        f"{row.pairs:,}",
        *(f"{100 * accuracy:.1f}" for accuracy in row.accuracies),
        f"{100 * paired.difference:+.2f}",
        f"{100 * paired.low:+.2f} to {100 * paired.high:+.2f}",
        f"{paired.p:.4f}",
        f"{row.p_holm:.4f}",
        row.verdict,
    )


def _validation(rows: Iterable[Validation]) -> Table:
    columns = ("first", "second", "nats/token", "bits/byte", "first, FLOPs", "second, FLOPs")
    table = _table("First minus second on the validation text, and what each cost", columns)
    for row in rows:
        cells = [
            f"{row.differences[key]:+.4f}" if key in row.differences else row.reason or "–"
            for key in ("cross_entropy", "bits_per_byte")
        ]
        costs = ["–" if spent is None else f"{spent:.2e}" for spent in row.flops]
        table.add_row(*_names(row.first, row.second), *cells, *costs)
    return table


def _names(first: Side, second: Side) -> tuple[str, str]:
    return escape(str(first)), escape(str(second))


def _table(title: str, columns: Iterable[str]) -> Table:
    table = Table(title=title, title_justify="left")
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number < 2 else "right", no_wrap=number < 2)
    return table
