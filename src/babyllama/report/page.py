"""The report of a run: one self-contained HTML page, and the same in Markdown.

Both are written from one list of sections; what cleaning did has a page of its own (see
`cleaning`). A page carries its figures and its style inside
it, loads nothing and needs no script. Names, samples and recipe values are taken as text: the
template escapes all of it, and the page's own policy would forbid a script that got through.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from babyllama.report import cleaning, figures, tables
from babyllama.report.cleaning import CleanedSource
from babyllama.report.ensembles import ensembles
from babyllama.report.figures import Picture
from babyllama.report.recipe_text import without_places
from babyllama.report.records import LOSSES
from babyllama.report.results import Results, read_results
from babyllama.report.summary import CAVEAT, compare, comparison_table, summary
from babyllama.report.tables import Table
from babyllama.report.template import filled

Sample = tuple[str, str, str]
"""The model, its prompt, and the text, which may repeat the prompt."""


@dataclass(frozen=True, kw_only=True)
class Section:
    """A heading, sentences, tables and pictures in order, and long tables that start folded.

    What cleaning did to sources is linked to in HTML, and in Markdown one more table a source.
    """

    key: str
    title: str
    notes: tuple[str, ...] = ()
    blocks: tuple[Table | Picture, ...] = ()
    folded: tuple[Table, ...] = ()
    cleaned: tuple[CleanedSource, ...] = ()


def write_report(
    run: Path,
    out: Path,
    *,
    samples: Sequence[Sample] = (),
    title: str | None = None,
) -> None:
    """Write `index.html`, `report.md` and the figures as PNG into the folder `out`.

    Where the run tells what cleaning did there is a `cleaning.html` too.

    Raises what `read_results` raises, before anything is written.
    """
    results = read_results(run)
    heading = title or f"Run {results.run}"
    found = sections(results)
    page = to_html(results, found, samples, heading)
    text = to_markdown(results, found, samples, heading)
    cleaned = cleaning.cleaned_sources(results)
    examples = cleaning.to_html(cleaned, f"{heading}: what cleaning did") if cleaned else None
    out.mkdir(parents=True, exist_ok=True)
    for picture in _pictures(found):
        (out / f"{picture.name}.png").write_bytes(picture.png)
    (out / "report.md").write_text(text, encoding="utf-8", errors="replace")
    (out / "index.html").write_text(page, encoding="utf-8", errors="replace")
    if examples is None:
        (out / cleaning.FILE).unlink(missing_ok=True)
    else:
        (out / cleaning.FILE).write_text(examples, encoding="utf-8", errors="replace")


def sections(results: Results) -> list[Section]:
    """Lay out what the run has; a part that it lacks is left out (and is in its gaps)."""
    looks = figures.looks(results.models)
    colours = {name: look.colour for name, look in looks.items()}
    found = [
        *_scores(results, colours),
        *_training(results, colours),
        *_distillation(results, colours),
        *_text(results),
        *_stages(results),
    ]
    return [section for section in found if section.blocks or section.cleaned]


def _scores(results: Results, colours: tables.Colours) -> Iterator[Section]:
    if not results.models:
        return
    compared, pooled = compare(results), ensembles(results)
    by_suite: list[Table | Picture] = []
    for suite in results.suites:
        by_suite += [figures.score_figure(results, suite), tables.phenomena(results, suite)]
    yield Section(
        key="scores",
        title="Scores",
        notes=tuple(_conventions(results)),
        blocks=(
            tables.scores(results, colours),
            *([comparison_table(compared)] if compared else []),
            *([pooled] if pooled.rows else []),
            *by_suite,
        ),
        folded=tuple(tables.paradigms(results, suite) for suite in results.suites),
    )


def _conventions(results: Results) -> Iterator[str]:
    """Say how sentences were scored, once where all scores agree, and what an error bar is."""
    seen: dict[str, list[str]] = {}
    for model in results.models:
        for suite, found in model.scores.items():
            said = ", ".join(f"{key} {value}" for key, value in found.convention.items())
            seen.setdefault(said, []).append(f"{model.name} on {suite}")
    for said, where in seen.items():
        scope = f" ({', '.join(where)})" if len(seen) > 1 else ""
        yield f"Scored with: {said}{scope}."
    if len(seen) > 1:
        yield "These scores were made under different conventions: do not compare across them."
    if seen:
        yield CAVEAT


def _training(results: Results, colours: tables.Colours) -> Iterator[Section]:
    pictures = (figures.loss_figure(results, key) for key in LOSSES)
    ledger = tables.ledger(results, colours)
    yield Section(
        key="training",
        title="Training",
        blocks=(*filter(None, pictures), *([ledger] if ledger.rows else [])),
    )


def _distillation(results: Results, colours: tables.Colours) -> Iterator[Section]:
    picture = figures.distillation_figure(results)
    if picture:
        table = tables.distillation(results, colours)
        yield Section(key="distillation", title="Distillation", blocks=(picture, table))


def _text(results: Results) -> Iterator[Section]:
    tokens, fertility = results.tokens, results.fertility
    notes = []
    if fertility:
        notes.append(f"Vocabulary: {fertility.vocabulary:,} tokens.")
    if tokens:
        notes.append(
            f"{tokens.train_tokens:,} tokens to train on, {tokens.dev_tokens:,} tokens held out."
        )
    yield Section(
        key="text",
        title="Corpus and tokenizer",
        notes=tuple(notes),
        blocks=(
            *([tables.corpus(results)] if results.corpus else []),
            *([tables.fertility(results)] if fertility else []),
        ),
        cleaned=cleaning.cleaned_sources(results),
    )


def _stages(results: Results) -> Iterator[Section]:
    if results.stages:
        yield Section(key="stages", title="Timings", blocks=(tables.stages(results),))


def _pictures(found: Sequence[Section]) -> list[Picture]:
    return [block for section in found for block in section.blocks if isinstance(block, Picture)]


def to_html(
    results: Results,
    found: Sequence[Section],
    samples: Sequence[Sample],
    title: str,
) -> str:
    """Fill the page's template, with everything that is not ours escaped."""
    return filled(
        "page.html.jinja",
        title=title,
        summary=summary(results),
        results=results,
        sections=found,
        samples=_by_model(samples),
        recipe=without_places(results.recipe) if results.recipe else None,
        cleaning_page=cleaning.FILE,
    )


def _by_model(samples: Sequence[Sample]) -> dict[str, list[tuple[str, str]]]:
    """Model -> its prompts, and how it went on with each."""
    found: dict[str, list[tuple[str, str]]] = {}
    for model, prompt, text in samples:
        found.setdefault(model, []).append((prompt, text.removeprefix(prompt)))
    return found


def to_markdown(
    results: Results,
    found: Sequence[Section],
    samples: Sequence[Sample],
    title: str,
) -> str:
    """Write the report as Markdown, its pictures as files that lie beside it."""
    lines = [f"# {tables.literal(title)}", tables.literal(summary(results))]
    if results.gaps:
        lines.append("\n".join(f"- {tables.literal(gap)}" for gap in results.gaps))
    for section in found:
        lines += _markdown_section(section)
    if samples:
        lines.append("## Samples")
    for model, pairs in _by_model(samples).items():
        lines.append(f"Each prompt as continued by {tables.literal(model)}.")
        for prompt, text in pairs:
            lines += [f"Prompt: {tables.literal(prompt)}", fenced(text)]
    if results.recipe:
        lines += ["## Recipe", fenced(without_places(results.recipe), "yaml")]
    return "\n\n".join(lines) + "\n"


def _markdown_section(section: Section) -> Iterator[str]:
    yield f"## {section.title}"
    yield from map(tables.literal, section.notes)
    for block in section.blocks:
        yield from _markdown_block(block)
    for table in section.folded:
        yield from _markdown_folded(table.caption, tables.to_markdown(table))
    if section.cleaned:
        yield tables.literal(cleaning.COUNTED)
    for source in section.cleaned:
        rules = tables.to_markdown(source.table) if source.rules else ""
        nothing = tables.literal(source.nothing_to_do)
        yield from _markdown_folded(f"{source.name}: {source.summary}", rules, nothing)


def _markdown_block(block: Table | Picture) -> list[str]:
    if isinstance(block, Picture):
        return [
            f"![{tables.literal(block.alt)}]({block.name}.png)",
            tables.literal(block.caption),
        ]
    return [f"**{tables.literal(block.caption)}**", tables.to_markdown(block)]


def _markdown_folded(title: str, *blocks: str) -> Iterator[str]:
    """Fold blocks away under a title; GitHub's Markdown takes HTML for that."""
    yield str(Markup("<details><summary>{}</summary>").format(title))
    yield from filter(None, blocks)
    yield "</details>"


def fenced(text: str, language: str = "") -> str:
    """Put text in a code block whose fence is longer than any in the text.

    >>> print(fenced("a"))
    ```
    a
    ```
    """
    fence = "`" * max(3, *(len(run) + 1 for run in re.findall("`+", text)), 3)
    return f"{fence}{language}\n{text.strip(chr(10))}\n{fence}"
