"""`babyllama run --dry-run`: what a run would do, and about what it would cost."""

import json
import shutil
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from rich.console import Console
from rich.table import Table
from rich.text import Text
from transformers import PreTrainedModel

from babyllama.builders import outline
from babyllama.corpus.inputs import raw_size
from babyllama.devices import pick_device, prepare_torch, resolve_precision
from babyllama.lineage import active_teachers, training_order
from babyllama.machine.facts import memory
from babyllama.machine.throughput import Throughput, Trial, measure
from babyllama.models.costs import (
    forward_flops_per_token,
    parameter_count,
    training_flops_per_token,
)
from babyllama.orders import planned
from babyllama.pipeline import check_models
from babyllama.plan import plan
from babyllama.recipe import Recipe
from babyllama.recipe_training import DecayByRatio, Training
from babyllama.rundir import RunDirectory, recipe_yaml, why_stale
from babyllama.signals import reads_cache, signal_bytes, signal_grid
from babyllama.stages import Stage
from babyllama.store import Store
from babyllama.training.decay import absolute_decay, warn_of_strong_decay, with_absolute_decay
from babyllama.training.health import StopRequest
from babyllama.training.memory import (
    WEIGHT,
    Conditions,
    copies_of,
    free_memory,
    micro_batch,
    training_bytes,
)
from babyllama.training.muon import update_flops
from babyllama.training.progress import minutes
from babyllama.training.sharpness import sharp_steps

# Bytes of English text a token of a small vocabulary, where the corpus is not tokenized yet.
BYTES_PER_TOKEN = 3.5
BYTES_PER_WORD = 5.4
# Of the measurement before a dry run.
SECONDS = 3.0


@dataclass(frozen=True)
class Cost:
    """What one model of a recipe would take."""

    name: str
    parameters: int
    tokens: int
    steps: int
    flops: float
    memory: float
    """Bytes of weights, gradients, optimiser, activations, logits and teachers."""
    micro_batch: int = 0
    """Sequences a forward pass; 0 where nothing is trained."""
    taught: bool = False
    """Whether teachers are run in every step."""

    def seconds(self, rate: Throughput | None) -> float:
        """Of the whole training."""
        if not rate:
            return 0.0
        return self.flops / (rate.taught if self.taught else rate.plain)


@dataclass(frozen=True)
class SignalCost:
    """What a kept signal would take."""

    stage: str
    kind: str
    tokens: int
    bytes: int
    """At most, where the rank is not known yet."""
    flops: float

    def seconds(self, rate: Throughput | None) -> float:
        """Of the teachers' forward passes."""
        return self.flops / rate.taught if rate else 0.0


def print_estimate(recipe: Recipe, run_dir: Path) -> None:
    """Print the resolved recipe, what is up to date, and an estimate of time and memory."""
    check_models(recipe)
    prepare_torch(pick_device(recipe.runtime.device), recipe.runtime.threads)
    directory = RunDirectory(run_dir)
    store = Store(directory.store_root)
    stages = plan(recipe, store, StopRequest())
    console = Console(highlight=False, soft_wrap=True)
    console.print(Text(recipe_yaml(recipe)))
    console.print(_stage_table(stages, store, directory))
    tokens, measured = training_tokens(recipe, stages, store)
    done = {s.name: store.path(s.identity) for s in stages if store.has(s.identity)}
    costs = [model_cost(recipe, name, tokens, done) for name in training_order(recipe.models)]
    rate = throughput(recipe, SECONDS)
    console.print(_cost_table(costs, done, rate))
    signals = signal_costs(recipe, stages, tokens)
    if signals:
        console.print(_signal_table(signals, done, rate, run_dir))
    for line in _decays(recipe, costs, tokens):
        console.print(line)
    left = sum(cost.seconds(rate) for cost in costs if f"models/{cost.name}" not in done)
    left += sum(cost.seconds(rate) for cost in signals if cost.stage not in done)
    known = "counted" if measured else "estimated from the size of the text"
    console.print(
        f"training tokens an epoch: {tokens:,} ({known}); training left: about {minutes(left)}"
        f" at {(rate.plain if rate else 0) / 1e9:,.0f} GFLOP/s; largest model: about"
        f" {max(cost.memory for cost in costs) / 2**30:.1f} GiB"
    )


def training_tokens(recipe: Recipe, stages: list[Stage], store: Store) -> tuple[int, bool]:
    """Tokens of the training split, and whether they were counted rather than estimated."""
    tokens = next(stage for stage in stages if stage.name == "tokens")
    if store.has(tokens.identity):
        path = store.path(tokens.identity) / "tokens.json"
        return int(json.loads(path.read_text("utf-8"))["train_tokens"]), True
    size = float(raw_size(recipe.corpus.path, recipe.corpus.dev_path))
    if recipe.corpus.words:
        size = min(size, recipe.corpus.words * BYTES_PER_WORD)
    return int(size / BYTES_PER_TOKEN), False


def model_cost(
    recipe: Recipe, name: str, tokens: int, done: Mapping[str, Path] = MappingProxyType({})
) -> Cost:
    """Steps, operations and memory of one model, on a corpus of so many tokens.

    `done` are the folders of the stages that are up to date, by which a curriculum is exact.
    """
    model = recipe.models[name]
    network = outline(recipe, name)
    parameters = parameter_count(network)
    if not model.training:
        return Cost(name, parameters, 0, 0, 0.0, 4.0 * parameters)
    chunk, training = recipe.tokens.chunk_length, model.training
    steps, counted_epoch = planned(recipe, model, tokens, done)
    seen = steps * training.batch_size * chunk
    run = [] if reads_cache(model) else active_teachers(model)
    teachers = [outline(recipe, teacher) for teacher in run]
    per_token = training_flops_per_token(network, chunk)
    per_token += sum(forward_flops_per_token(teacher, chunk) for teacher in teachers)
    kept = reads_cache(model) and model.distillation
    readouts = 1 if kept and kept.signal == "low-rank" else len(active_teachers(model))
    sequences, held = _memory(recipe, training, network, teachers, readouts)
    twice = sharp_steps(training.sam, steps, counted_epoch)
    flops = (steps + twice) * training.batch_size * chunk * per_token
    flops += steps * update_flops(network, training)
    return Cost(name, parameters, seen, steps, flops, held, sequences, taught=bool(teachers))


def _decays(recipe: Recipe, costs: list[Cost], tokens: int) -> Iterator[str]:
    """What weight decays come to that are given by parameters per token."""
    for cost in costs:
        training = recipe.models[cost.name].training
        if not training:
            continue
        found = with_absolute_decay(training, parameters=cost.parameters, tokens=tokens)
        warn_of_strong_decay(cost.name, found)
        if isinstance(training.weight_decay, DecayByRatio):
            yield (
                f"weight decay of {cost.name}: {absolute_decay(found):.4g}, that is"
                f" {training.weight_decay.by_ratio:g} x {cost.parameters:,} parameters /"
                f" {tokens:,} tokens"
            )


def signal_costs(recipe: Recipe, stages: list[Stage], tokens: int) -> list[SignalCost]:
    """Disk and operations of every kept signal, on a corpus of so many tokens."""
    found = []
    for stage in stages:
        room, _, name = stage.name.partition("/")
        if room == "signal":
            model, length = recipe.models[name], recipe.tokens.chunk_length
            teachers = [outline(recipe, teacher) for teacher in model.teachers]
            dev = length * recipe.tokens.validation_chunks
            grid = signal_grid(recipe, model, train_tokens=tokens, dev_tokens=dev)
            size = signal_bytes(recipe, model, grid, teachers, least=False)
            flops = sum(forward_flops_per_token(teacher, length) for teacher in teachers)
            kind = stage.identity.settings["kind"]
            found.append(SignalCost(stage.name, kind, grid.tokens, size, grid.tokens * flops))
    return found


def _memory(
    recipe: Recipe,
    training: Training,
    network: PreTrainedModel,
    teachers: list[PreTrainedModel],
    readouts: int,
) -> tuple[int, float]:
    """The micro-batch that a training would take here, and the bytes that it then holds."""
    device = pick_device(recipe.runtime.device)
    conditions = Conditions(
        positions=recipe.tokens.chunk_length,
        precision=resolve_precision(training.precision, device),
        device=device,
        teachers=readouts,
        copies=copies_of(training),
    )
    frozen = WEIGHT * sum(map(parameter_count, teachers))
    free = free_memory(device)
    if free is not None:
        free -= frozen + WEIGHT * parameter_count(network)
    sequences = micro_batch(network, training, conditions, free)
    return sequences, frozen + training_bytes(network, conditions, sequences)


def trial_of(recipe: Recipe) -> tuple[str, Trial] | None:
    """The steps that tell most of a recipe, and whose they are: of its last student.

    Without students they are of the last model that is trained; None where none is.
    """
    trained = [name for name in training_order(recipe.models) if recipe.models[name].training]
    students = [name for name in trained if active_teachers(recipe.models[name])]
    if not trained:
        return None
    name = (students or trained)[-1]
    model, device = recipe.models[name], pick_device(recipe.runtime.device)
    assert model.training
    trial = Trial(
        student=outline(recipe, name).config,
        teachers={each: outline(recipe, each).config for each in active_teachers(model)},
        training=model.training,
        positions=recipe.tokens.chunk_length,
        device=device,
        precision=resolve_precision(model.training.precision, device),
        distillation=model.distillation,
    )
    return name, trial


def throughput(recipe: Recipe, seconds: float) -> Throughput | None:
    """Operations a second that training reaches here, measured for about so long."""
    found = trial_of(recipe)
    if not found:
        return None
    _, trial = found
    return measure(trial, free_memory(trial.device) or memory().free, seconds)


def _stage_table(stages: list[Stage], store: Store, directory: RunDirectory) -> Table:
    previous = directory.previous()
    table = Table("stage", "state", "because")
    for stage in stages:
        state = "up to date" if store.has(stage.identity) else "to do"
        if state == "to do" and store.partial(stage.identity).exists():
            state = "begun"
        reason = why_stale(stage, previous.get(stage.name)) if state != "up to date" else ""
        table.add_row(stage.name, state, Text(reason))
    return table


def _cost_table(costs: list[Cost], done: Container[str], rate: Throughput | None) -> Table:
    table = Table("model", "parameters", "tokens", "steps", "time", "memory")
    for column in table.columns[1:]:
        column.justify = "right"
    for cost in costs:
        finished = f"models/{cost.name}" in done
        table.add_row(
            cost.name,
            f"{cost.parameters:,}",
            f"{cost.tokens:,}",
            f"{cost.steps:,}",
            "done" if finished else f"about {minutes(cost.seconds(rate))}",
            f"about {cost.memory / 2**30:.2f} GiB",
        )
    return table


def _signal_table(
    costs: list[SignalCost], done: Container[str], rate: Throughput | None, run_dir: Path
) -> Table:
    place = next(folder for folder in (run_dir, *run_dir.absolute().parents) if folder.exists())
    free = shutil.disk_usage(place).free / 2**20
    table = Table("kept signal", "kind", "tokens", "time", "disk", caption=f"free: {free:,.0f} MiB")
    for column in table.columns[2:]:
        column.justify = "right"
    for cost in costs:
        table.add_row(
            cost.stage,
            cost.kind,
            f"{cost.tokens:,}",
            "done" if cost.stage in done else f"about {minutes(cost.seconds(rate))}",
            f"{'at most' if cost.kind == 'low-rank' else 'about'} {cost.bytes / 2**20:,.0f} MiB",
        )
    return table
