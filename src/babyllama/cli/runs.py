"""Commands on runs, recipes and what came out of them."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from babyllama.cli.app import Overrides, RecipeArgument, RunDir, app, recipes_app


@app.command()
def run(
    recipe: RecipeArgument,
    overrides: Overrides = None,
    run_dir: RunDir = None,
    *,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be done, and what it would cost.")
    ] = False,
    verify: Annotated[
        bool, typer.Option("--verify", help="Read all that is up to date, and compare its sha256.")
    ] = False,
    time_limit: Annotated[
        str | None,
        typer.Option(help="Save and stop after so long, as 2h30m or in minutes: 150."),
    ] = None,
) -> None:
    """Run a recipe from text to report, or go on with it where it stopped."""
    from babyllama.resolve import load_recipe

    resolved = load_recipe(recipe, overrides or [])
    place = run_dir or Path("runs") / resolved.name
    if dry_run:
        from babyllama.errors import RecipeError
        from babyllama.estimate import print_estimate

        for option, given in (("--verify", verify), ("--time-limit", time_limit)):
            if given:
                raise RecipeError(f"{option} has no effect on --dry-run: leave one of them out")
        print_estimate(resolved, place)
        return
    from babyllama.pipeline import run as run_pipeline
    from babyllama.training.health import seconds_of
    from babyllama.training.progress import console

    seconds = seconds_of(time_limit) if time_limit else None
    say = partial(console().print, markup=False)
    run_pipeline(resolved, place, say, verify_in_full=verify, seconds=seconds)


@app.command()
def status(run: Annotated[Path, typer.Argument(help="The folder of a run.")]) -> None:
    """Tell what a run does, or how it ended, where and how far."""
    from babyllama.status import in_words, read_status

    typer.echo(in_words(read_status(run)))


@recipes_app.callback()
def recipes(context: typer.Context) -> None:
    """List the recipes."""
    if context.invoked_subcommand:
        return
    from babyllama.recipe_files import preset_names, read_raw

    names = preset_names()
    for name in names:
        typer.echo(f"{name:<{max(map(len, names))}} {read_raw(name).get('description', '')}")


@recipes_app.command("copy")
def copy_recipe(
    name: Annotated[str, typer.Argument(help="A recipe that ships with babyllama.")],
    file: Annotated[Path, typer.Argument(help="Where to write it.")],
) -> None:
    """Write a recipe to a file of your own, under the file's name."""
    from babyllama.errors import RecipeError
    from babyllama.recipe_files import preset_copy

    text = preset_copy(name, file.stem)
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
