"""Commands on text: clean it, look at it, fetch it."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from babyllama.cli.app import Overrides, RecipeArgument, RunDir, app, console, writable

if TYPE_CHECKING:
    from babyllama.recipe import Recipe


@app.command()
def clean(
    recipe: RecipeArgument,
    overrides: Overrides = None,
    run_dir: RunDir = None,
    explain: Annotated[
        str | None, typer.Option(metavar="SOURCE", help="Show what each rule did to a source.")
    ] = None,
) -> None:
    """Clean the text of a recipe, and say what became of it."""
    from babyllama.corpus.explain import explanation, sources_table
    from babyllama.inspection import clean_corpus

    folder = clean_corpus(*_resolved(recipe, overrides, run_dir))
    shown = explanation(folder, explain) if explain else [sources_table(folder)]
    console().print(*shown, sep="\n")


@app.command()
def audit(
    recipe: RecipeArgument,
    overrides: Overrides = None,
    run_dir: RunDir = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Write everything here, lists and all, as JSON.", callback=writable),
    ] = None,
) -> None:
    """Look for duplicates, odd encoding, and overlap with the dev text and evaluation sets."""
    from babyllama.corpus.auditing.audit import to_json
    from babyllama.corpus.auditing.tables import print_audit
    from babyllama.inspection import audit_corpus

    found = audit_corpus(*_resolved(recipe, overrides, run_dir))
    print_audit(found, console())
    if out:
        out.write_text(to_json(found), "utf-8")


@app.command()
def readability(
    recipe: RecipeArgument,
    overrides: Overrides = None,
    run_dir: RunDir = None,
    out: Annotated[
        Path | None, typer.Option(help="Write the table here as JSON.", callback=writable)
    ] = None,
) -> None:
    """Score how hard each source reads, and sort the sources into buckets (English only)."""
    from babyllama.corpus.auditing.readability import readability as score_sources
    from babyllama.corpus.auditing.readability import to_json, to_table
    from babyllama.corpus.pieces import read_pieces
    from babyllama.inspection import clean_corpus
    from babyllama.orders import number_of_buckets

    resolved, run, say = _resolved(recipe, overrides, run_dir)
    folder = clean_corpus(resolved, run, say)
    table = score_sources(read_pieces(folder, "train"), seed=resolved.corpus.seed)
    console().print(to_table(table, number_of_buckets(resolved)))
    if out:
        out.write_text(to_json(table), "utf-8")


def _resolved(
    recipe: str, overrides: list[str] | None, run_dir: Path | None
) -> tuple["Recipe", Path, Callable[[str], None]]:
    """A recipe, its run directory, and where to tell of progress."""
    from babyllama.resolve import load_recipe

    resolved = load_recipe(recipe, overrides or [])
    return resolved, run_dir or Path("runs") / resolved.name, partial(typer.echo, err=True)


@app.command()
def fetch(
    name: Annotated[str | None, typer.Argument(help="What to fetch; without it, a list.")] = None,
    to: Annotated[Path, typer.Option(help="The folder that gets a folder NAME.")] = Path("data"),
    source: Annotated[
        Path | None, typer.Option("--from", help="A local copy: the archive, or its folder.")
    ] = None,
    lock: Annotated[
        Path | None, typer.Option(help="The lock file; by default fetch.lock.json in --to.")
    ] = None,
) -> None:
    """Fetch a corpus or an evaluation set from its official address, and verify it."""
    from babyllama.corpus.fetching.registry import describe, entry, names

    if name is None:
        typer.echo("\n\n".join(describe(known) for known in names()))
        return
    from babyllama.corpus.fetching.fetch import fetch as fetch_files

    folder = fetch_files(name, to, source=source, lock=lock, say=partial(typer.echo, err=True))
    typer.echo(entry(name).use.format(folder=folder))
