"""How a run goes: every stage in order, made once, taken from the store where it is there."""

import json
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from babyllama.builders import outline
from babyllama.company import Leader, follow
from babyllama.devices import pick_device, prepare_torch
from babyllama.distillation.caching.certificate import Certificate
from babyllama.distillation.caching.header import read_header
from babyllama.distillation.masking import check_blanks_keep_places
from babyllama.errors import BabyllamaError, RecipeError, StoppedError
from babyllama.evaluation.baselines import warn_of_idle_rules
from babyllama.evaluation.conventions import convention
from babyllama.evaluation.minimal_pairs import read_suite, sentences
from babyllama.evaluation.scoring import encode, too_long
from babyllama.lineage import learns_pool
from babyllama.models.architectures import longest_text
from babyllama.models.folders import check_same_tokenizer, check_tokenizer_stays
from babyllama.models.kinds import check_causal, check_kinds
from babyllama.orders import (
    chunk_order,
    warn_of_absent_sources,
    warn_of_unreached_phases,
)
from babyllama.plan import outside_suites, plan
from babyllama.pools import check_members, held_out_text
from babyllama.recipe import Recipe
from babyllama.report.page import write_report
from babyllama.rundir import RunDirectory, why_stale
from babyllama.signals import check_signal_space
from babyllama.stages import Stage
from babyllama.status import Status, in_words, read_status
from babyllama.store import Store, verify
from babyllama.tokens.packing import read_packed
from babyllama.tokens.tokenizer import load_tokenizer
from babyllama.training.cycles import check_cycles
from babyllama.training.health import StopRequest, TimeIsUp, time_limit
from babyllama.training.healthy import judgement, last_epoch_means, warn_of_idle_ranges
from babyllama.training.job import steps_of
from babyllama.training.muon import matrices
from babyllama.training.processes import joined
from babyllama.training.progress import minutes

Say = Callable[[str], None]
TRAINED = ("models/", "weights/", "signal/", "ensembles/", "scores/", "checkpoints/")
"""How the names of stages begin that want inputs which go together."""


def run(
    recipe: Recipe,
    path: Path,
    say: Say,
    *,
    verify_in_full: bool = False,
    seconds: float | None = None,
) -> None:
    """Bring a run directory up to date with a recipe, going on where it stopped.

    What is there already is held against its manifest: where its size or time has changed, or
    `verify_in_full`, by its content. Where several processes were started, the first does all of
    this, and the others train with it. After so many `seconds` the run stops as on a signal.

    Raises:
        BabyllamaError: what went wrong; finished artifacts stay as they are.
        StoppedError: asked to stop, or out of time; the same call goes on.
    """
    directory = RunDirectory(path)
    store = Store(directory.store_root)
    with joined(pick_device(recipe.runtime.device)) as company:
        if not company.leads:
            follow(recipe, store, company)
            return
        leader = Leader(company)
        with leader.ending():
            check_models(recipe, company.size)
            stop = StopRequest()
            stages = leader.calling(plan(recipe, store, stop))
            directory.create()
            with directory.locked(), _terminable(), time_limit(seconds):
                _make(recipe, directory, store, stages, stop=stop, say=say, in_full=verify_in_full)


def _make(
    recipe: Recipe,
    directory: RunDirectory,
    store: Store,
    stages: list[Stage],
    *,
    stop: StopRequest,
    say: Say,
    in_full: bool,
) -> None:
    """Bring all up to date, and keep `status.json` true whatever happens."""
    started = time.monotonic()
    _say_if_killed(directory.path, say)
    status = Status(directory.write_status)
    stop.report = status.reached
    try:
        directory.write_recipe(recipe)
        _bring_up_to_date(
            recipe, directory, store, stages, stop=stop, status=status, say=say, in_full=in_full
        )
    except (StoppedError, KeyboardInterrupt) as error:
        status.end("stopped", str(error) or "interrupted")
        if isinstance(error, TimeIsUp):
            raise StoppedError(f"stopped at the {error}") from None
        raise
    except Exception as error:
        with suppress(OSError):  # a full disk: the error that it gave first says more
            status.end("failed", str(error))
        raise
    status.end("done")
    report = directory.path / "report" / "index.html"
    say(f"report    {report}  ({minutes(time.monotonic() - started)})")


def _say_if_killed(run: Path, say: Say) -> None:
    """Tell of an earlier run in the folder that could not say how it ended."""
    with suppress(RecipeError):
        before = read_status(run)
        if before["state"] == "killed":
            say(f"before     {in_words(before)}")


@contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM, as `kill` and schedulers send it, is Ctrl-C."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _bring_up_to_date(
    recipe: Recipe,
    directory: RunDirectory,
    store: Store,
    stages: list[Stage],
    *,
    stop: StopRequest,
    status: Status,
    say: Say,
    in_full: bool,
) -> None:
    prepare_torch(pick_device(recipe.runtime.device), recipe.runtime.threads)
    previous = directory.previous()
    directory.drop_unused_links(stages)
    folders: dict[str, Path] = {}
    made: set[str] = set()
    checked = False
    for stage in stages:
        if not store.has(stage.identity):
            if not checked and stage.name.startswith(TRAINED):
                check_inputs(recipe, folders)
                _check_space(recipe, store, stages, folders["tokens"])
                checked = True
            status.begin(stage.name)
            for name in stage.identity.inputs.keys() & folders.keys():
                verify(folders[name])
            make_stage(store, stage, why_stale(stage, previous.get(stage.name)), say)
            made.add(stage.name)
            _say_whether_healthy(recipe, stage, store.path(stage.identity), say)
            _say_how_exact(stage, store.path(stage.identity), say)
        else:
            verify(store.path(stage.identity), full=in_full)
            store.tidy(stage.identity)
            say(f"up to date {stage.name}")
        folders[stage.name] = store.path(stage.identity)
        directory.link(stage.name, folders[stage.name])
        directory.write_stages(stages, folders, made)
        if stop.signal:  # too late for the training that noted it
            raise StoppedError(f"stopped after {stage.name}")
    samples = json.loads((folders["samples"] / "samples.json").read_text("utf-8"))
    write_report(
        directory.path,
        directory.path / "report",
        samples=[(s["model"], s["prompt"], s["text"]) for s in samples],
    )


def _say_whether_healthy(recipe: Recipe, stage: Stage, folder: Path, say: Say) -> None:
    """For a distilled model, or one with ranges, what its loss was made of in the last epoch."""
    room, _, name = stage.name.partition("/")
    if room != "models":
        return
    model = recipe.models[name]
    if model.training and (model.teachers or model.healthy):
        means = last_epoch_means(folder / "log.jsonl")
        say(f"           last epoch: {judgement(means, model.healthy)}")


def _say_how_exact(stage: Stage, folder: Path, say: Say) -> None:
    """For a kept signal, its certificate."""
    if stage.name.startswith("signal/"):
        header = read_header(folder)
        rank = f" of rank {header['rank']}" if header["rank"] else ""
        certificates = "; ".join(str(Certificate(**row)) for row in header["certificate"])
        say(f"           {header['kind']}{rank}, {header['bytes_per_token']:g} bytes a token")
        say(f"           gradients off by {certificates}")


def make_stage(store: Store, stage: Stage, reason: str, say: Say) -> None:
    """Make one stage, or go on with it, and tell of it."""
    resumed = store.partial(stage.identity).exists()
    verb = "going on with" if resumed else "making"
    say(f"{verb:<10} {stage.name}{f'  ({reason})' if reason else ''}")
    started = time.monotonic()
    store.make(stage.identity, stage.build)
    say(f"made       {stage.name} in {minutes(time.monotonic() - started)}")


def check_models(recipe: Recipe, processes: int = 1) -> None:
    """Find what would stop a later stage before the first one starts, in so many processes.

    Raises:
        RecipeError: no such device, an architecture that cannot be built or trained as the recipe
            says, or too few positions.
        CorruptDataError: a checkpoint that cannot be read.
    """
    pick_device(recipe.runtime.device)
    chunk = recipe.tokens.chunk_length
    check_kinds(recipe.models, chunk)
    check_members(recipe)
    warn_of_idle_ranges(recipe.models)
    warn_of_idle_rules(recipe)
    for name, model in recipe.models.items():
        try:
            network = outline(recipe, name)
            if model.training and model.training.optimizer == "muon":
                matrices(network)
        except BabyllamaError as error:
            raise type(error)(f"models.{name}: {error}") from None
        if model.checkpoint:
            check_causal(f"models.{name}.checkpoint", network.config)
        positions = longest_text(network)
        if positions < chunk and not model.start:
            key = "checkpoint" if model.checkpoint else "architecture.positions"
            raise RecipeError(
                f"models.{name}.{key}: {positions} positions are fewer than tokens.chunk_length"
                f" {chunk}: lower that, or give the model more"
            )
        if model.training and model.training.batch_size < processes:
            raise RecipeError(
                f"models.{name}.training.batch_size: {model.training.batch_size} sequences are"
                f" fewer than the {processes} processes: start fewer or raise it"
            )


def check_inputs(recipe: Recipe, folders: Mapping[str, Path]) -> None:
    """Find what does not go with the text before the first training.

    `folders` are those of the stages up to the tokens and the suites.

    Raises:
        RecipeError: a batch or a chunk that is larger than the corpus, a sentence longer than a
            model, an architecture whose folder would be read with another tokenizer, no text
            left to learn weights from.
        BabyllamaError: a checkpoint with another tokenizer.
    """
    tokens, tokenizer = folders["tokens"], folders["tokenizer"]
    loaded = load_tokenizer(tokenizer)
    positions = {}
    for name, model in recipe.models.items():
        network = outline(recipe, name)
        positions[name] = longest_text(network)
        if model.checkpoint:
            check_same_tokenizer(name, Path(model.checkpoint), loaded)
            ids = network.get_output_embeddings().weight.shape[0]
            if ids != len(loaded):
                raise BabyllamaError(
                    f"model {name} ({model.checkpoint}) predicts {ids} ids, the tokenizer has"
                    f" {len(loaded)}: cut its embeddings to the ids of the tokenizer"
                )
        elif not model.start:
            check_tokenizer_stays(name, network.config, tokenizer)
        if model.distillation and model.distillation.mask_inputs:
            check_blanks_keep_places(name, network)
        if model.training:
            try:
                packed, table = read_packed(tokens, "train"), folders.get("readability")
                order = chunk_order(recipe, model, packed, recipe.seed_of(model), table)
                steps = steps_of(order, model.training)
                check_cycles(steps, model.training)
                model.training.check_sharp_epochs(order.counted_epoch(steps - 1) + 1)
                warn_of_unreached_phases(name, order, model.training)
                warn_of_absent_sources(name, model, packed.sources)
            except RecipeError as error:
                raise RecipeError(f"models.{name}: {error}") from None
    if any(map(learns_pool, recipe.models.values())):
        held_out_text(recipe, tokens)
    outside = outside_suites(recipe)
    for suite in recipe.evaluation.suites:
        pairs = folders.get(f"suites/{suite}") or outside[suite]
        _check_sentences(recipe, suite, pairs, loaded, positions)


def _check_space(recipe: Recipe, store: Store, stages: list[Stage], tokens: Path) -> None:
    """Refuse a cache that the disk has no room for before its teachers are trained."""
    for stage in stages:
        room, _, name = stage.name.partition("/")
        if room == "signal" and not store.has(stage.identity):
            teachers = [outline(recipe, teacher) for teacher in recipe.models[name].teachers]
            if not store.partial(stage.identity).exists():
                check_signal_space(recipe, name, tokens=tokens, teachers=teachers, store=store.root)


def _check_sentences(
    recipe: Recipe, suite: str, pairs: Path, tokenizer: Any, positions: Mapping[str, int]
) -> None:
    """Hold the longest sentence of a suite against the model with the fewest positions."""
    texts = sentences(read_suite(pairs))
    rules = convention(recipe.evaluation.convention, recipe.evaluation.prefix)
    rows = encode(tokenizer, texts, rules.prefix, leading_space=rules.leading_space)
    shortest = min(positions, key=lambda name: positions[name])
    if long := too_long(texts, rows, positions[shortest]):
        raise RecipeError(
            f"evaluation.suites.{suite}: {long}, and models.{shortest} has {positions[shortest]}:"
            " give the model more or leave the sentence out"
        )
