"""The commands: parse, call one function, print. Heavy imports wait until they are needed."""

import os
import warnings
from functools import cache, partial
from pathlib import Path
from typing import Annotated

import typer

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
    """Write a recipe to a file of your own."""
    from babyllama.errors import RecipeError
    from babyllama.resolve import preset_text

    text = preset_text(name)
    try:
        with file.open("x", encoding="utf-8") as out:
            out.write(text)
    except FileExistsError:
        raise RecipeError(f"{file} exists: choose another name or delete it") from None
    except (FileNotFoundError, NotADirectoryError):
        raise RecipeError(f"{file.parent} is no folder: create it or choose another") from None
    typer.echo(f"wrote {file}; run it with: babyllama run {file}")


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
