"""Tables of a run as rows of text, and their two forms: Markdown and HTML."""

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import fmean

from markupsafe import Markup

from babyllama.report.counts import SourceCounts
from babyllama.report.records import LOSSES, Training
from babyllama.report.results import Model, Results, Score

NOTHING = "–"
Column = tuple[str, Callable[[Model], str]]
Colours = Mapping[str, str]
NO_COLOURS: Colours = {}
CORPUS_COLUMNS = {
    "documents": "documents",
    "words_raw": "words before cleaning",
    "words": "words after",
    "bytes_replaced": "bytes not UTF-8",
    "lines_overlapping": "overlapping lines dropped",
}
_RARE = ("bytes_replaced", "lines_overlapping")
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


@dataclass(frozen=True, kw_only=True)
class Table:
    """A caption, a header, and rows of text cells; the first column names the row.

    `colours` holds one CSS colour a row (the colour of that model in the figures), or nothing.
    """

    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    colours: tuple[str, ...] = ()


def to_markdown(table: Table) -> str:
    r"""Write a table in GitHub's Markdown, numbers to the right, text taken literally.

    >>> print(to_markdown(Table(caption="", header=("model", "score"), rows=(("a|b", "1.0"),))))
    | model | score |
    | :--- | ---: |
    | a\|b | 1.0 |
    """
    rule = (":---", *["---:"] * (len(table.header) - 1))
    body = [[literal(cell) for cell in row] for row in (table.header, *table.rows)]
    lines = [body[0], rule, *body[1:]]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def to_html(table: Table) -> Markup:
    """Write a table in HTML under its caption; every cell is escaped."""
    head = Markup("").join(Markup('<th scope="col">{}</th>').format(name) for name in table.header)
    colours = table.colours or ("",) * len(table.rows)
    body = Markup("\n").join(map(_html_row, table.rows, colours))
    return Markup(
        '<figure class="table">\n<figcaption>{caption}</figcaption>\n'
        '<div class="scroll" role="region" aria-label="{caption}" tabindex="0"><table>\n'
        "<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table></div>\n</figure>"
    ).format(caption=table.caption, head=head, body=body)


def _html_row(row: Sequence[str], colour: str) -> Markup:
    swatch = Markup('<span class="swatch" style="background:{}"></span>').format(colour)
    name = Markup('<th scope="row">{}{}</th>').format(swatch if colour else "", row[0])
    cells = (Markup("<td>{}</td>").format(cell) for cell in row[1:])
    return Markup("<tr>{}{}</tr>").format(name, Markup("").join(cells))


def literal(text: str) -> str:
    r"""Escape what Markdown would read as markup, and keep the text on one line.

    An underscore inside a word is left alone: it means nothing there.

    >>> print(literal("blimp_filtered <b>"))
    blimp_filtered \<b\>
    """
    line = " ".join(text.split())
    escaped = re.sub(r"([\\`*\[\]<>&|~#$])", r"\\\1", line)
    return re.sub(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])", r"\\_", escaped)


def percent(value: float) -> str:
    """Write a share between 0 and 1 in per cent, one decimal; "–" where there is no number.

    >>> percent(0.6814)
    '68.1'
    """
    return _written(value, lambda found: f"{100 * found:.1f}")


def accuracy(score: Score | None) -> str:
    """Write an accuracy and its standard error in per cent: `68.1 ± 0.3`."""
    return f"{percent(score.accuracy)} ± {percent(score.standard_error)}" if score else NOTHING


def count(value: float | None) -> str:
    """Write a number of things, in millions from a million on.

    >>> count(58_343_936), count(912_345)
    ('58.3 M', '912,345')
    """
    if value is not None and abs(value) >= 1e6:
        return _written(value, lambda found: f"{found / 1e6:,.1f} M")
    return _written(value, lambda found: f"{found:,.0f}")


def duration(seconds: float | None) -> str:
    """Write a time in the two units that matter.

    >>> duration(12.34), duration(754), duration(7384)
    ('12.3 s', '12 min 34 s', '2 h 03 min')
    """
    if seconds is None or not math.isfinite(seconds) or seconds < 60:
        return _written(seconds, lambda found: f"{found:.1f} s")
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def decimals(value: float | None, places: int = 3) -> str:
    """Write a number with a fixed number of decimals."""
    return _written(value, lambda found: f"{found:.{places}f}")


def powers(value: float | None) -> str:
    """Write a large number as a power of ten.

    >>> powers(1.234e15)
    '1.23 × 10¹⁵'
    """
    if not value or not math.isfinite(value):
        return _written(value, lambda found: f"{found:.0f}")
    mantissa, exponent = f"{value:.2e}".split("e")
    return f"{mantissa} × 10{str(int(exponent)).translate(_SUPERSCRIPTS)}"


def _written(value: float | None, write: Callable[[float], str]) -> str:
    return NOTHING if value is None or not math.isfinite(value) else write(value)


def score_table(results: Results) -> str:
    """Write the summary table of a run as Markdown, for a terminal or a README."""
    return to_markdown(scores(results))


def scores(results: Results, colours: Colours = NO_COLOURS) -> Table:
    """Tabulate a row a model: size, validation, and the two macro means of every suite."""
    columns: list[Column] = [
        ("role", lambda model: model.role),
        ("parameters", lambda model: count(_training(model).parameters)),
        ("nats/token", lambda model: decimals(model.validation.cross_entropy)),
        ("bits/byte", lambda model: decimals(model.validation.bits_per_byte)),
        *_of_other_kinds(results),
    ]
    for suite in results.suites:
        found = results.scored(suite)[0].scores[suite]
        columns += [
            (f"{suite}: {found.macro_phenomena.n} phenomena, %", _macro(suite, "phenomena")),
            (f"{suite}: {found.macro_paradigms.n} paradigms, %", _macro(suite, "paradigms")),
        ]
    columns.append(("FLOPs in all", lambda model: powers(model.total_flops)))
    caption = "Validation cross-entropy and accuracy on minimal pairs (mean ± standard error)"
    return _by_model(caption, results.models, columns, colours)


def _of_other_kinds(results: Results) -> Iterator[Column]:
    """Columns of the losses of models that are not causal, where there are such models."""
    for key in [*LOSSES][1:]:
        if any(getattr(model.validation, key) is not None for model in results.models):
            yield LOSSES[key], partial(_validated, key)


def _validated(key: str, model: Model) -> str:
    return decimals(getattr(model.validation, key))


def _macro(suite: str, over: str) -> Callable[[Model], str]:
    def cell(model: Model) -> str:
        found = model.scores.get(suite)
        return accuracy(getattr(found, f"macro_{over}") if found else None)

    return cell


def phenomena(results: Results, suite: str) -> Table:
    """Tabulate a suite with a row a phenomenon and a column a model."""
    found = {
        model.name: {score.phenomenon: score for score in model.scores[suite].phenomena}
        for model in results.scored(suite)
    }
    return _breakdown(f"{suite} by phenomenon: accuracy in % ± standard error", found)


def paradigms(results: Results, suite: str) -> Table:
    """Tabulate a suite with a row a paradigm and a column a model."""
    found = {
        model.name: {score.paradigm: score for score in model.scores[suite].paradigms}
        for model in results.scored(suite)
    }
    return _breakdown(f"{suite} by paradigm: accuracy in % ± standard error", found)


def _breakdown(caption: str, found: Mapping[str, Mapping[str, Score]]) -> Table:
    """Make a row of every name that any model was scored on, with the pairs behind it."""
    pairs = {name: score.n for by_name in found.values() for name, score in by_name.items()}
    return Table(
        caption=caption,
        header=("", "pairs", *found),
        rows=tuple(
            (spaced(name), count(n), *(accuracy(by.get(name)) for by in found.values()))
            for name, n in pairs.items()
        ),
    )


def spaced(name: str) -> str:
    """Write the name of a phenomenon or a paradigm as words."""
    return name.replace("_", " ")


def ledger(results: Results, colours: Colours = NO_COLOURS) -> Table:
    """Tabulate what every trained model was shown and what it cost, its teachers apart."""
    columns: list[Column] = [
        ("architecture", lambda model: _training(model).architecture or NOTHING),
        ("epochs", lambda model: _written(_training(model).epochs, "{:.3g}".format)),
        ("steps", lambda model: count(_training(model).steps)),
        ("words seen", lambda model: count(_training(model).words_seen)),
        ("teachers' words", lambda model: count(_training(model).teacher_words_seen)),
        ("FLOPs", lambda model: powers(_training(model).flops)),
        ("teachers' FLOPs", lambda model: powers(_training(model).teacher_flops)),
        ("teachers' training", lambda model: powers(_training(model).teacher_training_flops)),
        ("FLOPs in all", lambda model: powers(model.total_flops)),
        ("tokens/s", lambda model: count(_training(model).tokens_per_second)),
        ("time", lambda model: duration(_training(model).seconds)),
        ("precision", lambda model: _training(model).precision or NOTHING),
        ("kept", lambda model: _training(model).kept or NOTHING),
    ]
    trained = [model for model in results.models if model.training is not None]
    return _by_model("Training ledger", trained, columns, colours)


def distillation(results: Results, colours: Colours = NO_COLOURS) -> Table:
    """Tabulate the two parts of the loss of distilled models, over the last tenth of training."""
    columns: list[Column] = [
        ("cross-entropy", lambda model: decimals(_settled(model, "cross_entropy"))),
        ("KL to the teachers", lambda model: decimals(_settled(model, "kl"))),
        ("share of cross-entropy, %", lambda m: percent(_settled(m, "cross_entropy_share"))),
        ("teachers", _teachers),
    ]
    learners = [model for model in results.models if model.curve("step", "kl")]
    caption = "Parts of the training loss, mean over the last tenth of the logged steps"
    return _by_model(caption, learners, columns, colours)


def _teachers(model: Model) -> str:
    """Write who taught a model, with their weights where these differ."""
    settings = _training(model).distillation
    names = _training(model).teachers
    return settings.shares(names) if settings else ", ".join(names) or NOTHING


def _settled(model: Model, key: str) -> float:
    values = [value for _, value in model.curve("step", key)]
    last = values[-max(1, len(values) // 10) :]
    return fmean(last) if last else math.nan


def corpus(results: Results) -> Table:
    """Tabulate documents and words of every source, before and after cleaning.

    Bytes that were not UTF-8 and lines that overlap get a column where a split has any.
    """
    splits = results.corpus or {}
    columns = [
        (split, key)
        for split, found in splits.items()
        for key in CORPUS_COLUMNS
        if key not in _RARE or any(getattr(source, key) for source in found.values())
    ]
    sources = sorted({source for split in splits.values() for source in split})
    rows = [
        (source, *(_counted(splits[split].get(source), key) for split, key in columns))
        for source in sources
    ]
    totals = [f"{sum(getattr(n, k) for n in splits[split].values()):,}" for split, k in columns]
    return Table(
        caption="Corpus by source",
        header=("source", *(f"{split}: {CORPUS_COLUMNS[key]}" for split, key in columns)),
        rows=(*rows, ("all", *totals)),
    )


def _counted(found: SourceCounts | None, key: str) -> str:
    return NOTHING if found is None else f"{getattr(found, key):,}"


def fertility(results: Results) -> Table:
    """Tabulate how many tokens the tokenizer spends on a word, per source."""
    sources = results.fertility.sources if results.fertility else {}
    return Table(
        caption="Fertility of the tokenizer by source",
        header=("source", "words", "tokens", "tokens/word"),
        rows=tuple(
            (name, f"{found.words:,}", f"{found.tokens:,}", decimals(found.tokens_per_word))
            for name, found in sources.items()
        ),
    )


def stages(results: Results) -> Table:
    """Tabulate how long every stage took, and which were up to date already."""
    total = sum(stage.seconds for stage in results.stages)
    rows = [
        (stage.stage, duration(stage.seconds), "reused" if stage.reused else "done")
        for stage in results.stages
    ]
    return Table(
        caption="Stages of the run",
        header=("stage", "time", "state"),
        rows=(*rows, ("all", duration(total), "")),
    )


def _training(model: Model) -> Training:
    return model.training or Training()


def _by_model(
    caption: str, models: Sequence[Model], columns: Sequence[Column], colours: Colours
) -> Table:
    return Table(
        caption=caption,
        header=("model", *(name for name, _ in columns)),
        rows=tuple((model.name, *(cell(model) for _, cell in columns)) for model in models),
        colours=tuple(colours.get(model.name, "") for model in models),
    )
