"""Commands that measure models."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from babyllama.cli.app import app, console, writable

PrefixName = Literal["none", "<s>", "</s>", "newline"]


@app.command()
def evaluate(
    models: Annotated[list[Path], typer.Argument(help="Model folders.")],
    *,
    suite: Annotated[str, typer.Option(help="A folder of pair files, or a known name: blimp.")],
    convention: Annotated[
        Literal["babyllama", "lm-eval", "babylm-2023", "babylm-2025"],
        typer.Option(help="The rules of scoring."),
    ] = "babyllama",
    prefix: Annotated[
        PrefixName | None, typer.Option(help="Before every sentence; else the convention's.")
    ] = None,
    normalise: Annotated[
        Literal["sum", "tokens"] | None,
        typer.Option(help="Sum log-probabilities, or their mean a token; else the convention's."),
    ] = None,
    pool: Annotated[
        Literal["logits", "probabilities"] | None,
        typer.Option(help="Score the ensemble of the models too, pooled in this way."),
    ] = None,
    precision: Annotated[
        Literal["auto", "bf16", "fp32"],
        typer.Option(help="Of the products; auto is bf16 where the hardware has it."),
    ] = "auto",
    limit: Annotated[int | None, typer.Option(min=1, help="Pairs a paradigm, at most.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Write every figure here, as JSON.", callback=writable)
    ] = None,
    predictions: Annotated[
        Path | None,
        typer.Option(
            help="Write or add to a BabyLM hand-in: .jsonl (2023) or .json (2024, 2025).",
            callback=writable,
        ),
    ] = None,
) -> None:
    """Score models on minimal pairs: which of two sentences do they find more probable?"""
    from babyllama.evaluation.conventions import convention as rules_of
    from babyllama.evaluation.evaluate import evaluate as score_models
    from babyllama.evaluation.submission import check_hand_in, pair_subtasks, write_submission
    from babyllama.evaluation.suites import suite_folder
    from babyllama.store import write_json

    folder = suite_folder(suite)
    if predictions:
        check_hand_in(predictions, folder, models, limit)
    found = score_models(
        models,
        folder,
        rules_of(convention, prefix, normalise),
        limit=limit,
        pool=pool,
        precision=precision,
    )
    console().print(found.table())
    if out:
        write_json(out, found.rows())
    if predictions:
        write_submission(predictions, pair_subtasks(folder, found.chosen[str(models[0])]))


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
    by_phenomenon: Annotated[
        bool, typer.Option("--by-phenomenon", help="Compare each phenomenon by itself.")
    ] = False,
    correlate: Annotated[
        bool, typer.Option("--correlate", help="Rank correlation of loss and score instead.")
    ] = False,
    seeds: Annotated[
        bool, typer.Option("--seeds", help="Mean and deviation over runs of one recipe instead.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(help="Write the figures here as JSON.", callback=writable)
    ] = None,
) -> None:
    """Compare models of finished runs, first minus second, with intervals."""
    from babyllama.errors import RecipeError
    from babyllama.evaluation.comparing import comparison, correlation
    from babyllama.evaluation.comparing import seeds as over_seeds
    from babyllama.evaluation.comparing.comparison_tables import (
        comparison_blocks,
        correlation_blocks,
        seed_blocks,
    )
    from babyllama.store import write_json

    if seeds + correlate + by_phenomenon > 1:
        raise RecipeError(
            "--seeds, --correlate and --by-phenomenon exclude each other: give one of them"
        )

    if seeds:
        comparison.check_all_models("--seeds", model, models)
        study = over_seeds.study_seeds(runs, suite=suite, over=over)
        blocks, figures = seed_blocks(study), over_seeds.to_json(study)
    elif correlate:
        comparison.check_all_models("--correlate", model, models)
        ranks = correlation.correlate(runs, suite=suite, over=over)
        blocks, figures = correlation_blocks(ranks), correlation.to_json(ranks)
    else:
        found = comparison.compare(
            runs,
            models=model or (),
            between=models,
            suite=suite,
            over=over,
            by_phenomenon=by_phenomenon,
        )
        blocks, figures = comparison_blocks(found), comparison.to_json(found)
    console().print(*blocks, sep="\n")
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
    words = surprisals(load_model(model), load_tokenizer(model), lines, prefix)
    typer.echo("line\tnumber\tword\tbits")
    for word in words:
        typer.echo(f"{word.line}\t{word.number}\t{word.text}\t{word.bits:.6f}")
