"""The command on the machine itself."""

from pathlib import Path
from typing import Annotated

import typer

from babyllama.cli.app import Overrides, RunDir, app


@app.command()
def doctor(
    recipe: Annotated[str, typer.Argument(help="A recipe's name or a YAML file.")] = "mini",
    overrides: Overrides = None,
    run_dir: RunDir = None,
) -> None:
    """Show what the machine offers, what is chosen on it, and how long a recipe would take."""
    from babyllama.doctor import examine
    from babyllama.resolve import load_recipe

    resolved = load_recipe(recipe, overrides or [])
    for line in examine(resolved, run_dir or Path("runs") / resolved.name):
        typer.echo(line)
