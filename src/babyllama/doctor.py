"""`babyllama doctor`: the machine, what was chosen on it, and how long a recipe would take."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import fill

import torch

from babyllama.devices import has_native_bf16, pick_device, prepare_torch
from babyllama.distillation.compiling import pick_kernel
from babyllama.errors import BabyllamaError
from babyllama.estimate import (
    BYTES_PER_TOKEN,
    BYTES_PER_WORD,
    Cost,
    SignalCost,
    model_cost,
    signal_costs,
    throughput,
    training_tokens,
    trial_of,
)
from babyllama.lineage import training_order
from babyllama.machine import choices, concerns, facts
from babyllama.machine.choices import Choice
from babyllama.machine.throughput import Throughput, Trial
from babyllama.pipeline import check_models
from babyllama.plan import plan
from babyllama.recipe import Recipe
from babyllama.rundir import RunDirectory
from babyllama.store import Store
from babyllama.training.health import StopRequest
from babyllama.training.memory import free_memory
from babyllama.training.progress import minutes

SECONDS = 10.0
"""Of the measurement."""
WIDTH = 80
GIB = 2**30
# Bytes a parameter on disk: the model; of what is being trained two checkpoints with two moments.
MODEL, CHECKPOINTS = 4, 24


@dataclass
class Needs:
    """What a recipe would take."""

    costs: list[Cost]
    signals: list[SignalCost]
    tokens: int | None
    """Of the training split; None where nothing tells."""
    concerns: list[str] = field(default_factory=list)

    @property
    def disk(self) -> float:
        """Bytes, at most."""
        sizes = [cost.parameters for cost in self.costs]
        trained = [cost.parameters for cost in self.costs if cost.micro_batch]
        kept = sum(signal.bytes for signal in self.signals) + 2.0 * (self.tokens or 0)
        return kept + MODEL * sum(sizes) + CHECKPOINTS * max(trained, default=0)


def examine(recipe: Recipe, run_dir: Path, seconds: float = SECONDS) -> Iterator[str]:
    """Lines of text, as they are found out.

    Raises:
        BabyllamaError: a recipe that cannot be meant on this machine.
    """
    check_models(recipe)
    load, device = facts.load(), pick_device(recipe.runtime.device)
    prepare_torch(device, recipe.runtime.threads)
    processor, memory, disk = facts.processor(), facts.memory(), facts.disk(run_dir)
    yield "machine"
    yield from map(_line, _machine(processor, memory, disk))
    needs = needed(recipe, run_dir)
    yield f"chosen for {recipe.name}"
    for name, taken, why in _chosen(recipe, device, processor, needs):
        yield _line((name, f"{taken} ({why})"))
    yield "throughput"
    rate = throughput(recipe, seconds)
    yield from map(_line, _measured(recipe, rate))
    yield f"{recipe.name} on this machine"
    yield from map(_line, _estimated(needs, rate))
    yield "warnings"
    found = [
        *concerns.of_load(load, processor),
        *concerns.of_threads(processor, torch.get_num_threads()),
        *_concerns(recipe, device, needs),
        *concerns.of_disk(disk, needs.disk),
        *concerns.of_limit(memory),
        *concerns.of_versions(facts.unmet_requirements()),
        *needs.concerns,
    ]
    yield from (_wrapped(f"- {text}", "  ") for text in found or ["none"])


def needed(recipe: Recipe, run_dir: Path) -> Needs:
    """Sizes, operations and memory of a recipe's models; its text need not be there."""
    store = Store(RunDirectory(run_dir).store_root)
    try:
        stages = plan(recipe, store, StopRequest())
        tokens: int | None = training_tokens(recipe, stages, store)[0]
        told = []
    except (BabyllamaError, OSError) as error:
        stages, words = [], recipe.corpus.words
        tokens = int(words * BYTES_PER_WORD / BYTES_PER_TOKEN) if words else None
        told = [f"a run would stop here: {error}"]
    costs = [model_cost(recipe, name, tokens or 0) for name in training_order(recipe.models)]
    return Needs(costs, signal_costs(recipe, stages, tokens or 0), tokens, told)


def _machine(
    processor: facts.Processor, memory: facts.Memory, disk: facts.Disk
) -> Iterator[tuple[str, str]]:
    quota = f", the time of {processor.quota:g}" if processor.quota else ""
    yield "CPU", processor.name
    yield (
        "cores",
        f"{processor.cores}, {processor.threads} threads, allowed {processor.allowed}{quota}",
    )
    yield "instructions", ", ".join(processor.instructions) or "none that matter here"
    limit = " (a limit of this process)" if memory.limited else ""
    yield "memory", f"{_gib(memory.free)} free of {_gib(memory.total)}{limit}"
    yield "disk", f"{_gib(disk.free)} free at {disk.place}"
    for gpu in [_gpu(gpu) for gpu in facts.gpus()] or ["none that torch can use"]:
        yield "GPU", gpu
    yield "C++ compiler", facts.compiler() or "none"
    yield "huge pages", facts.huge_pages() or "none"
    library = facts.openmp()
    yield "OpenMP", f"{library or 'none'} {facts.spinning(library)}".strip()
    yield "versions", ", ".join(f"{name} {number}" for name, number in facts.versions().items())


def _gpu(gpu: facts.Gpu) -> str:
    bf16 = "bf16" if gpu.bf16 else "no bf16"
    return f"{gpu.name}, {_gib(gpu.free)} free of {_gib(gpu.total)}, {bf16}"


def _chosen(
    recipe: Recipe, device: torch.device, processor: facts.Processor, needs: Needs
) -> Iterator[Choice]:
    """Of the machine, and of the model that is measured."""
    yield choices.device_choice(recipe.runtime.device)
    found = trial_of(recipe)
    if found:
        yield choices.precision_choice(found[1].training.precision, device)
    if device.type == "cpu":
        yield choices.matmul_choice(device)
        yield choices.huge_pages_choice(facts.huge_pages())
        spin = facts.spinning(facts.openmp())
        yield choices.threads_choice(recipe.runtime.threads, processor, spin=spin)
    if found:
        name, trial = found
        cost = next(cost for cost in needs.costs if cost.name == name)
        logits, asked = float(cost.tokens * trial.student.vocab_size), recipe.runtime.compile
        if needs.tokens:
            yield choices.kernel_choice(pick_kernel(asked, device, logits), asked, logits)
        else:
            yield Choice("loss", "plain or compiled", "the amount of text decides")
        batch, micro = trial.training.batch_size, trial.training.micro_batch
        yield choices.micro_batch_choice(name, cost.micro_batch, batch, micro)


def _measured(recipe: Recipe, rate: Throughput | None) -> Iterator[tuple[str, str]]:
    found = trial_of(recipe)
    if not rate or not found:
        yield "nothing", "no model is trained"
        return
    name, trial = found
    plain, teaching = trial.flops
    yield f"{name}, alone", _speed(trial.tokens * rate.plain / plain, rate.plain)
    if trial.teachers:
        speed = trial.tokens * rate.taught / (plain + teaching)
        yield f"{name}, taught", f"{_speed(speed, rate.taught)}, teachers run in every step"
    yield "measured", _what(name, rate, trial)


def _speed(tokens: float, flops: float) -> str:
    return f"{tokens:,.0f} tokens/s ({flops / 1e9:,.0f} GFLOP/s)"


def _what(name: str, rate: Throughput, trial: Trial) -> str:
    """What the figures come from."""
    plural = "s" if rate.steps > 1 else ""
    counted = f"median of {rate.steps} step{plural} of {rate.trial.tokens:,} tokens, random weights"
    if rate.own:
        return counted
    taken = rate.trial.student
    smaller = f"{taken.num_hidden_layers} of {trial.student.num_hidden_layers} layers"
    if taken.vocab_size != trial.student.vocab_size:
        smaller = "a small model"
    return (
        f"with {smaller}, since {name} does not fit the memory or the ten seconds, and carried"
        f" over by operations a second: {counted}"
    )


def _estimated(needs: Needs, rate: Throughput | None) -> Iterator[tuple[str, str]]:
    if needs.tokens is None:
        yield "time", "unknown without the text: give corpus.path"
    else:
        for cost in needs.costs:
            yield cost.name, _cost(cost, rate)
        for signal in needs.signals:
            size = f"{signal.kind}, {_gib(signal.bytes)} of disk at most"
            yield signal.stage, f"about {minutes(signal.seconds(rate))}; {size}"
        total = sum(cost.seconds(rate) for cost in needs.costs)
        total += sum(signal.seconds(rate) for signal in needs.signals)
        tokens = f"{needs.tokens:,} tokens an epoch"
        yield "all trainings", f"about {minutes(total)} ({tokens}), beside cleaning and scoring"
    yield "disk", f"about {_gib(needs.disk)}"


def _cost(cost: Cost, rate: Throughput | None) -> str:
    size = f"{cost.parameters / 1e6:,.1f} M parameters, about {_gib(cost.memory)} of memory"
    return f"about {minutes(cost.seconds(rate))}; {size}" if cost.micro_batch else size


def _concerns(recipe: Recipe, device: torch.device, needs: Needs) -> Iterable[str]:
    """What of the recipe the device is too small or too slow for."""
    free = free_memory(device)
    for cost in sorted(needs.costs, key=lambda cost: cost.memory)[-1:]:
        room = facts.memory().free if free is None else free
        yield from concerns.of_memory(cost.name, cost.memory, room)
    found = trial_of(recipe)
    if found:
        yield from concerns.of_precision(has_native_bf16(device), found[1].precision)
    if device.type == "cpu" and recipe.runtime.compile != "off":
        yield from concerns.of_compiler(facts.compiler())


def _line(row: tuple[str, str]) -> str:
    name, text = row
    return _wrapped(f"  {name:<17} {text}", " " * 20)


def _wrapped(text: str, indent: str) -> str:
    return fill(text, WIDTH, subsequent_indent=indent, break_long_words=False)


def _gib(size: float) -> str:
    return f"{size / GIB:,.1f} GiB"
