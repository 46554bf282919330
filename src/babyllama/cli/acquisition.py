"""Commands on the age at which words are acquired."""

from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import typer

from babyllama.cli.app import app, console, writable
from babyllama.cli.scores import PrefixName

Models = Annotated[list[Path], typer.Argument(help="Model folders.")]
Prefix = Annotated[PrefixName, typer.Option(help="What stands before every utterance.")]
Out = Annotated[
    Path | None, typer.Option(help="Write every figure here, as JSON.", callback=writable)
]


@app.command()
def acquisition(
    models: Models,
    *,
    words: Annotated[Path, typer.Option(help="The words with their ages: word_list.csv.")],
    utterances: Annotated[Path, typer.Option(help="Utterances that hold them: sent_words.json.")],
    alignment: Annotated[
        Literal["before", "same-position"],
        typer.Option(help="Read a word before it, or at its own place, as BabyLM 2023 did."),
    ] = "before",
    prefix: Prefix = "newline",
    seed: Annotated[int, typer.Option(help="Of the permutations.")] = 1,
    out: Out = None,
) -> None:
    """Tell the age at which children learn words from their surprisal (BabyLM 2023)."""
    from babyllama.evaluation.acquisition.children import acquisition as measure
    from babyllama.store import write_json

    found = measure(models, words, utterances, prefix=prefix, alignment=alignment, seed=seed)
    console().print(found.table(), *found.notes(), sep="\n")
    if out:
        write_json(out, found.rows())


@app.command("acquisition-curves")
def acquisition_curves(
    models: Models,
    *,
    contexts: Annotated[Path, typer.Option(help="What precedes each word: cdi_childes.json.")],
    curves: Annotated[Path, typer.Option(help="Children who say it by month: cdi_human.csv.")],
    prefix: Prefix = "newline",
    out: Out = None,
) -> None:
    """Compare when training makes words known with when children say them (BabyLM 2025)."""
    from babyllama.evaluation.acquisition.curves import acquisition_curves as measure
    from babyllama.store import write_json

    found = measure(models, contexts, curves, prefix=prefix, say=partial(typer.echo, err=True))
    console().print(found.table())
    if out:
        write_json(out, found.rows())
