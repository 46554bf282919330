"""The command line itself: what every command shares."""

import io
import os
import sys
import warnings
from functools import cache
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

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


def writable(option: typer.CallbackParam, file: Path | None) -> Path | None:
    """Refuse a file that cannot be written before the work is done, not after.

    Raises:
        RecipeError: a folder, a folder that is not there, or one that takes no file.
    """
    if file is None:
        return None
    from babyllama.errors import RecipeError

    name = f"{option.opts[0]} {file}"
    try:
        if file.is_dir():
            raise RecipeError(f"{name} is a folder: name a file in it")
        if not file.parent.is_dir():
            raise RecipeError(f"{name}: {file.parent} is no folder: create it or choose another")
        with NamedTemporaryFile(dir=file.parent, prefix=f".{file.name}."):
            return file
    except OSError as error:
        raise RecipeError(
            f"{name} cannot be written ({error.strerror}): choose another place"
        ) from None


RecipeArgument = Annotated[str, typer.Argument(help="A recipe's name or a YAML file.")]
Overrides = Annotated[list[str] | None, typer.Argument(help="Settings to change: key.path=value")]
RunDir = Annotated[Path | None, typer.Option(help="Where the run lives; by default runs/NAME.")]


def console() -> "Console":
    """Standard output for tables: as wide as they are where it is not a terminal."""
    from rich.console import Console

    width = None if sys.stdout.isatty() else 240
    return Console(highlight=False, width=width)
