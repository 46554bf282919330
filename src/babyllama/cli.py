"""The commands: parse, call one function, print. Heavy imports wait until they are needed."""

import io
import os
import sys
import warnings
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from babyllama.recipe import Recipe

app = typer.Typer(
    help="Small language models from little text, by distilling an ensemble of teachers.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
recipes_app = typer.Typer(help="The recipes that ship with babyllama.", invoke_without_command=True)
app.add_typer(recipes_app, name="recipes")


@app.callback()
def prepare() -> None:
    """Small language models from little text, by distilling an ensemble of teachers."""
    # Read when torch is imported. Huge pages for tensor memory; and threads that wait for each
    # other only briefly before they sleep: with the default, every operation of a step costs a
    # time slice as soon as a core is shared (45 times slower on two busy cores), and threads that
    # sleep at once cost a third of the speed on free ones.
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "300")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    warnings.showwarning = _show_warning
    # Text of any script on a terminal of one.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def _show_warning(message: Warning | str, *_: object, **__: object) -> None:
    _warn_once(" ".join(str(message).split()))


@cache
def _warn_once(message: str) -> None:
    """Tell of what a plan and the stage after it both come across only once."""
    typer.echo(f"warning: {message}", err=True)


@app.command()
def run(
    recipe: Annotated[str, typer.Argument(help="A recipe's name or a YAML file.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(help="Settings to change: key.path=value")
    ] = None,
    run_dir: Annotated[
        Path | None, typer.Option(help="Where the run lives; by default runs/NAME.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be done, and what it would cost.")
    ] = False,
) -> None:
    """Run a recipe from text to report, or go on with it where it stopped."""
    from babyllama.resolve import load_recipe

    resolved = load_recipe(recipe, overrides or [])
    place = run_dir or Path("runs") / resolved.name
    if dry_run:
        from babyllama.estimate import print_estimate

        print_estimate(resolved, place)
        return
    from babyllama.pipeline import run as run_pipeline
    from babyllama.training.progress import console

    run_pipeline(resolved, place, partial(console().print, markup=False))


@recipes_app.callback()
def recipes(context: typer.Context) -> None:
    """List the recipes."""
    if context.invoked_subcommand:
        return
    from babyllama.resolve import preset_names, read_raw

    for name in preset_names():
        typer.echo(f"{name:<18} {read_raw(name).get('description', '')}")


@recipes_app.command("copy")
def copy_recipe(
    name: Annotated[str, typer.Argument(help="A recipe that ships with babyllama.")],
    file: Annotated[Path, typer.Argument(help="Where to write it.")],
) -> None:
    """Write a recipe to a file of your own, under the file's name."""
    from babyllama.errors import RecipeError
    from babyllama.resolve import preset_copy

    text = preset_copy(name, file.stem)
    try:
        with file.open("x", encoding="utf-8") as out:
            out.write(text)
    except FileExistsError:
        raise RecipeError(f"{file} exists: choose another name or delete it") from None
    except (FileNotFoundError, NotADirectoryError):
        raise RecipeError(f"{file.parent} is no folder: create it or choose another") from None
    typer.echo(f"wrote {file}; run it with: babyllama run {file}")


def _in_a_folder(file: Path | None) -> Path | None:
    """Refuse a file that cannot be written before the work is done, not after."""
    if file and not file.parent.is_dir():
        from babyllama.errors import RecipeError

        raise RecipeError(f"--out {file}: {file.parent} is no folder: create it or choose another")
    return file


RecipeArgument = Annotated[str, typer.Argument(help="A recipe's name or a YAML file.")]
Overrides = Annotated[list[str] | None, typer.Argument(help="Settings to change: key.path=value")]
RunDir = Annotated[Path | None, typer.Option(help="Where the run lives; by default runs/NAME.")]


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
    _console().print(*shown, sep="\n")


@app.command()
def audit(
    recipe: RecipeArgument,
    overrides: Overrides = None,
    run_dir: RunDir = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Write everything here, lists and all, as JSON.", callback=_in_a_folder),
    ] = None,
) -> None:
    """Look for duplicates, odd encoding, and overlap with the dev text and evaluation sets."""
    from babyllama.corpus.auditing.audit import to_json
    from babyllama.corpus.auditing.tables import print_audit
    from babyllama.inspection import audit_corpus

    found = audit_corpus(*_resolved(recipe, overrides, run_dir))
    print_audit(found, _console())
    if out:
        out.write_text(to_json(found), "utf-8")


@app.command()
def readability(
    recipe: RecipeArgument,
    overrides: Overrides = None,
    run_dir: RunDir = None,
    out: Annotated[
        Path | None, typer.Option(help="Write the table here as JSON.", callback=_in_a_folder)
    ] = None,
) -> None:
    """Score how hard each source reads, and sort the sources into buckets (English only)."""
    from babyllama.corpus.auditing.readability import readability as score_sources
    from babyllama.corpus.auditing.readability import to_json, to_table
    from babyllama.corpus.pieces import read_pieces
    from babyllama.inspection import clean_corpus

    folder = clean_corpus(*_resolved(recipe, overrides, run_dir))
    table = score_sources(read_pieces(folder, "train"))
    _console().print(to_table(table))
    if out:
        out.write_text(to_json(table), "utf-8")


def _console() -> "Console":
    """Standard output for tables: as wide as they are where it is not a terminal."""
    from rich.console import Console

    width = None if sys.stdout.isatty() else 240
    return Console(highlight=False, width=width)


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


PrefixName = Literal["none", "<s>", "</s>", "newline"]


@app.command()
def evaluate(
    models: Annotated[list[Path], typer.Argument(help="Model folders.")],
    *,
    suite: Annotated[str, typer.Option(help="A folder of pair files, or its name in data/.")],
    convention: Annotated[
        Literal["babyllama", "lm-eval", "babylm-2023", "babylm-2025"],
        typer.Option(help="The rules of scoring."),
    ] = "babyllama",
    prefix: Annotated[
        PrefixName | None, typer.Option(help="Before every sentence; else the convention's.")
    ] = None,
    pool: Annotated[
        Literal["logits", "probabilities"] | None,
        typer.Option(help="Score the ensemble of the models too, pooled in this way."),
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Pairs a paradigm, at most.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Write every figure here, as JSON.", callback=_in_a_folder)
    ] = None,
) -> None:
    """Score models on minimal pairs: which of two sentences do they find more probable?"""
    from babyllama.evaluation.conventions import convention as rules_of
    from babyllama.evaluation.evaluate import check_out, suite_folder
    from babyllama.evaluation.evaluate import evaluate as score_models
    from babyllama.store import write_json

    if out:
        check_out(out)
    rules = rules_of(convention, prefix)
    found = score_models(models, suite_folder(suite), rules, limit=limit, pool=pool)
    _console().print(found.table())
    if out:
        write_json(out, found.rows())


@app.command()
def compare(
    runs: Annotated[list[Path], typer.Argument(help="Run directories, as runs/mini.")],
    *,
    model: Annotated[
        list[str] | None, typer.Option(help="Only this model of both runs; may be repeated.")
    ] = None,
    models: Annotated[
        tuple[str, str] | None,
        typer.Option(help="One model of the first run and one of the last, as student control."),
    ] = None,
    suite: Annotated[str | None, typer.Option(help="Only this suite.")] = None,
    over: Annotated[
        Literal["phenomena", "paradigms"], typer.Option(help="What the macro mean is over.")
    ] = "phenomena",
    correlate: Annotated[
        bool, typer.Option("--correlate", help="Rank correlation of loss and score instead.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(help="Write the figures here as JSON.", callback=_in_a_folder)
    ] = None,
) -> None:
    """Compare models of finished runs, first minus second, with intervals."""
    from babyllama.evaluation import comparison, correlation
    from babyllama.evaluation.comparison_tables import comparison_blocks, correlation_blocks
    from babyllama.store import write_json

    if out:
        from babyllama.evaluation.evaluate import check_out

        check_out(out)
    if correlate:
        correlation.check_all_models(model, models)
        ranks = correlation.correlate(runs, suite=suite, over=over)
        blocks, figures = correlation_blocks(ranks), correlation.to_json(ranks)
    else:
        found = comparison.compare(runs, models=model or (), between=models, suite=suite, over=over)
        blocks, figures = comparison_blocks(found), comparison.to_json(found)
    _console().print(*blocks, sep="\n")
    if out:
        write_json(out, figures)


@app.command()
def surprisal(
    model: Annotated[Path, typer.Argument(help="A model folder.")],
    file: Annotated[Path, typer.Argument(help="Text, one utterance or sentence a line.")],
    prefix: Annotated[PrefixName, typer.Option(help="What stands before every line.")] = "newline",
) -> None:
    """Print the surprisal of every word in bits, as a table with tabs: line, number, word, bits."""
    from babyllama.evaluation.surprisal import read_lines, surprisals
    from babyllama.models.folders import load_model
    from babyllama.tokens.tokenizer import load_tokenizer

    lines = read_lines(file)
    typer.echo("line\tnumber\tword\tbits")
    for word in surprisals(load_model(model), load_tokenizer(model), lines, prefix):
        typer.echo(f"{word.line}\t{word.number}\t{word.text}\t{word.bits:.6f}")


@app.command()
def generate(
    model: Annotated[Path, typer.Argument(help="A model folder, as runs/demo/models/student.")],
    text: Annotated[str, typer.Argument(help="The beginning.")],
    tokens: Annotated[int, typer.Option(min=1, help="Tokens to add, at most.")] = 60,
    temperature: Annotated[float, typer.Option(min=0, help="0 is greedy.")] = 0.8,
    seed: int = 1,
) -> None:
    """Let a model go on with a text."""
    from babyllama.evaluation.generation import continue_text
    from babyllama.models.folders import load_model
    from babyllama.tokens.tokenizer import load_tokenizer

    loaded = load_model(model)
    typer.echo(
        continue_text(
            loaded, load_tokenizer(model), text, tokens=tokens, temperature=temperature, seed=seed
        )
    )
