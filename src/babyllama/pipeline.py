"""How a run goes: every stage in order, made once, taken from the store where it is there."""

import json
import time
from collections.abc import Callable
from pathlib import Path

from babyllama.builders import chunk_order, model_seed
from babyllama.devices import prepare_cpu
from babyllama.errors import BabyllamaError, RecipeError, StoppedError
from babyllama.models.architectures import model_config
from babyllama.models.costs import meta_model
from babyllama.plan import Stage, plan
from babyllama.recipe import Recipe
from babyllama.report.page import write_report
from babyllama.rundir import RunDirectory, why_stale
from babyllama.store import Store
from babyllama.tokens.packing import read_packed
from babyllama.training.health import StopRequest
from babyllama.training.progress import minutes

Say = Callable[[str], None]


def run(recipe: Recipe, path: Path, say: Say) -> None:
    """Bring a run directory up to date with a recipe, going on where it stopped.

    Raises:
        BabyllamaError: what went wrong; finished artifacts stay as they are.
        StoppedError: asked to stop; the same call goes on.
    """
    directory = RunDirectory(path)
    store = Store(directory.store_root)
    store.root.mkdir(parents=True, exist_ok=True)
    check_models(recipe)
    stages = plan(recipe, store, StopRequest())
    directory.write_recipe(recipe)
    started = time.monotonic()
    directory.write_status("running")
    try:
        _bring_up_to_date(recipe, directory, store, stages, say)
    except (StoppedError, KeyboardInterrupt) as error:
        directory.write_status("stopped", reason=str(error) or "interrupted")
        raise
    except Exception as error:
        directory.write_status("failed", reason=str(error))
        raise
    directory.write_status("done")
    say(f"report    {path / 'report' / 'index.html'}  ({minutes(time.monotonic() - started)})")


def _bring_up_to_date(
    recipe: Recipe, directory: RunDirectory, store: Store, stages: list[Stage], say: Say
) -> None:
    prepare_cpu(recipe.runtime.threads)
    previous = directory.previous()
    directory.unlink_strangers(stages)
    folders: dict[str, Path] = {}
    made: set[str] = set()
    for stage in stages:
        if not store.has(stage.identity):
            directory.write_status("running", stage=stage.name)
            _make(store, stage, why_stale(stage, previous.get(stage.name)), say)
            made.add(stage.name)
        else:
            say(f"[dim]up to date[/] {stage.name}")
        folders[stage.name] = store.path(stage.identity)
        directory.link(stage.name, folders[stage.name])
        directory.write_stages(stages, folders, made)
        if stage.name == "tokens":
            check_sizes(recipe, folders["tokens"])
    samples = json.loads((folders["samples"] / "samples.json").read_text("utf-8"))
    write_report(
        directory.path,
        directory.path / "report",
        samples=[(f"{s['model']}: {s['prompt']}", s["text"]) for s in samples],
    )


def _make(store: Store, stage: Stage, reason: str, say: Say) -> None:
    resumed = store.partial(stage.identity).exists()
    verb = "going on with" if resumed else "making"
    say(f"{verb:<10} {stage.name}{f'  ({reason})' if reason else ''}")
    started = time.monotonic()
    store.make(stage.identity, stage.build)
    say(f"made       {stage.name} in {minutes(time.monotonic() - started)}")


def check_models(recipe: Recipe) -> None:
    """Find what would stop a later stage before the first one starts.

    Raises:
        RecipeError: an architecture that cannot be built, or too few positions for a chunk.
    """
    for name, model in recipe.models.items():
        if not model.architecture:
            continue
        positions = model.architecture.positions
        if positions < recipe.tokens.chunk_length:
            raise RecipeError(
                f"models.{name}.architecture.positions: {positions} positions are fewer than"
                f" tokens.chunk_length {recipe.tokens.chunk_length}: raise one or lower the other"
            )
        try:
            meta_model(model_config(model.architecture, recipe.tokenizer.vocabulary, (0, 1, 2)))
        except BabyllamaError as error:
            raise RecipeError(f"models.{name}.{error}") from None


def check_sizes(recipe: Recipe, tokens: Path) -> None:
    """Find a batch or a chunk that is larger than the corpus before the first training."""
    for name, model in recipe.models.items():
        if model.training:
            try:
                chunk_order(recipe, model, read_packed(tokens, "train"), model_seed(recipe, model))
            except RecipeError as error:
                raise RecipeError(f"models.{name}: {error}") from None
