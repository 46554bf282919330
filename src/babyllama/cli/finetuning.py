"""The command that fine-tunes models."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from babyllama.cli.app import app, console


@app.command()
def finetune(
    models: Annotated[list[Path], typer.Argument(help="Model folders.")],
    *,
    data: Annotated[Path, typer.Option(help="The folder that holds the tasks' files.")],
    out: Annotated[Path, typer.Option(help="A folder for the results; made if missing.")],
    tasks: Annotated[
        list[str] | None,
        typer.Option(help="glue, msgs, all, or a task as cola; may be repeated.  [default: all]"),
    ] = None,
    preset: Annotated[
        Literal["pipeline", "paper"], typer.Option(help="The hyper-parameters.")
    ] = "pipeline",
    selection: Annotated[
        Literal["held-out", "reported"],
        typer.Option(help="The items that select the best moment; reported flatters the scores."),
    ] = "held-out",
    seeds: Annotated[
        list[int] | None, typer.Option(min=0, help="May be repeated; else the preset's one.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=2, help="Items a split, at most.")] = None,
    split_reported: Annotated[
        bool,
        typer.Option(
            "--split-reported", help="Train on part of the reported items where no others are."
        ),
    ] = False,
    tune: Annotated[
        bool, typer.Option("--tune", help="Try a small grid around the preset first.")
    ] = False,
    save_models: Annotated[
        bool, typer.Option("--save-models", help="Keep the trained classifiers too.")
    ] = False,
    predictions: Annotated[
        Path | None,
        typer.Option(help="Add one model's predictions to this BabyLM hand-in, .jsonl or .json."),
    ] = None,
) -> None:
    """Fine-tune models on (Super)GLUE and MSGS; run again, it makes only what is missing."""
    from babyllama.evaluation.finetuning.job import Choices
    from babyllama.evaluation.finetuning.suite import check_complete
    from babyllama.evaluation.finetuning.suite import finetune as finetune_models
    from babyllama.evaluation.finetuning.tasks import resolve_tasks

    choices = Choices(
        preset=preset,
        selection=selection,
        seeds=tuple(seeds or ()),
        limit=limit,
        split_reported=split_reported,
        tune=tune,
        save_models=save_models,
        predictions=predictions,
    )
    found = finetune_models(models, resolve_tasks(tasks or ["all"]), data, out, choices)
    console().print(found.table())
    check_complete(found)
