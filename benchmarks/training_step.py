"""What a training step costs here, beside the textbook way and Hugging Face's Trainer.

    make bench
    .venv/bin/python benchmarks/training_step.py mini
    .venv/bin/python benchmarks/training_step.py paper --counted 5

Random weights and tokens at the sizes of a recipe, with its student's batch. Sides take turns, one
step each; the textbook way and the Trainer run in the environment that they find, ours in the one
that the command sets. "teachers" is what keeping the signal of one step's tokens costs; divided by
the epochs it is added to a step from the cache. These caches are for timing alone: random teachers
have no structure that a low rank could hold, so the certificate is waived. Peak memory is what a
step adds to weights and moments, gradients included. Writes benchmarks/training_step-RECIPE.json.
"""

import argparse
import json
import multiprocessing
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
import transformers
from rich.console import Console
from rich.table import Table
from torch import Tensor

from babyllama.corpus.workers import cores
from babyllama.devices import pick_device, prepare_torch, resolve_precision
from babyllama.distillation.caching.build import Workshop
from babyllama.distillation.caching.codes import Kind
from babyllama.distillation.caching.coding import Coding
from babyllama.distillation.teachers import SignalSource
from babyllama.models.costs import parameter_count
from babyllama.recipe import Recipe
from babyllama.resolve import load_recipe
from random_run import (
    BATCHES,
    RANK,
    keep,
    network,
    open_cache,
    student_training,
    teachers_of,
    text,
    trainer,
    workshop,
)
from textbook import CLIP_NORM, textbook_step
from turns import DEFAULT, OURS, Meter, Side, Steps, in_turn, ratio, serve, sides

KINDS: tuple[Kind, ...] = ("low-rank", "hidden-int8")
TEXTBOOK = ("fp32", "bf16")
Group = tuple[Callable[..., None], tuple[Any, ...], Mapping[str, str]]
"""What serves some sides, its arguments, and its environment."""


def chunks(recipe: Recipe) -> Tensor:
    """The text as chunks [N, T]."""
    return torch.from_numpy(text(recipe).astype(np.int64)).view(-1, recipe.tokens.chunk_length)


def textbook_steps(recipe: Recipe) -> Steps:
    """The reference in float32 and in bf16, with the same teachers."""
    device = pick_device("auto")
    teachers = [network(recipe, name).eval() for name in recipe.models["student"].teachers]
    batches = chunks(recipe).to(device).split(student_training(recipe).batch_size)

    def step(precision: str) -> Callable[[], object]:
        numbers = count()
        student = network(recipe, "student").train()
        return textbook_step(
            student, teachers, lambda: batches[next(numbers) % BATCHES], bf16=precision == "bf16"
        )

    return {f"textbook {precision}": step(precision) for precision in TEXTBOOK}


def serve_trainer(pipe: Any, recipe: Recipe) -> None:
    """As `turns.serve`, from within the loop of transformers' Trainer."""
    device = pick_device("auto")
    with tempfile.TemporaryDirectory() as scratch:
        settings = transformers.TrainingArguments(
            scratch,
            per_device_train_batch_size=student_training(recipe).batch_size,
            max_steps=10**6,
            learning_rate=1e-4,
            max_grad_norm=CLIP_NORM,
            bf16=resolve_precision("auto", device) == "bf16",
            optim="adamw_torch_fused",
            use_cpu=device.type == "cpu",
            logging_strategy="no",
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
        )
        rows = [{"input_ids": row, "labels": row} for row in chunks(recipe)]
        student = network(recipe, "student")
        callbacks = [_Turns(pipe)]
        transformers.Trainer(student, settings, train_dataset=rows, callbacks=callbacks).train()


class _Turns(transformers.TrainerCallback):
    """Lets the Trainer do a step when the other end of a pipe asks for one."""

    def __init__(self, pipe: Any) -> None:
        self.pipe = pipe
        self.meter: Meter | None = None

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Tell what the step took that ends here, and wait; the first one is not asked for."""
        del args, state
        self.pipe.send(self.meter.stop() if self.meter else ["Trainer"])
        asked = self.pipe.recv()
        control.should_training_stop = asked is None
        if asked:
            self.meter = Meter(asked[1])
            self.meter.start()


def build_caches(recipe: Recipe, scratch: Path) -> None:
    """One of each kind, in a process that ends with them."""
    prepare_torch(pick_device("auto"), None)
    shop = workshop(teachers_of(recipe, "off"), text(recipe), scratch)
    for kind in KINDS:
        keep(recipe, kind, shop).rename(scratch / f"{kind}.cache")


def student_steps(recipe: Recipe, scratch: Path, compiling: str) -> Steps:
    """Plain steps, and steps from either kind of cache."""
    prepare_torch(pick_device("auto"), None)
    ids = text(recipe)
    sources: dict[str, SignalSource | None] = {"plain": None}
    sources |= {kind: open_cache(recipe, ids, scratch / f"{kind}.cache") for kind in KINDS}
    return {name: trainer(recipe, ids, source, compiling).step for name, source in sources.items()}


def plain_steps(recipe: Recipe, compiling: str) -> Steps:
    """Plain steps alone."""
    prepare_torch(pick_device("auto"), None)
    return {"plain": trainer(recipe, text(recipe), None, compiling).step}


def teacher_steps(recipe: Recipe, scratch: Path, compiling: str) -> Steps:
    """Steps with the teachers, and making their signal for the tokens of a step."""
    prepare_torch(pick_device("auto"), None)
    ids, teachers = text(recipe), teachers_of(recipe, compiling)
    shop = workshop(teachers, ids, scratch)
    codings = {kind: open_cache(recipe, ids, scratch / f"{kind}.cache").coding for kind in KINDS}
    found = {f"teachers, {kind}": making(recipe, shop, coding) for kind, coding in codings.items()}
    return found | {"online": trainer(recipe, ids, teachers, compiling).step}


def making(recipe: Recipe, shop: Workshop, coding: Coding) -> Callable[[], object]:
    """Running the teachers over one step's tokens, and encoding what they give."""
    length = recipe.tokens.chunk_length
    starts = np.arange(student_training(recipe).batch_size, dtype=np.int64) * length

    def step() -> None:
        for features in shop.features("train", starts, length):
            coding.encode(features).tobytes()

    return step


REFERENCES = [f"textbook {precision}" for precision in TEXTBOOK]


def ratios(
    distilling: Mapping[str, Sequence[float]], plain: Mapping[str, Sequence[float]], epochs: int
) -> dict[str, float]:
    """How many times as long one side takes as the other, with its share of building the cache."""
    found = {}
    for slow in REFERENCES:
        for kind in KINDS:
            share = median(plain[f"teachers, {kind}"]) / epochs
            times = [seconds + share for seconds in distilling[kind]]
            found[f"{slow} / {kind} and 1/{epochs} of its cache"] = ratio(distilling[slow], times)
    for slow in (*KINDS, "online", "Trainer"):
        found[f"{slow} / plain"] = ratio(plain[slow], plain["plain"])
    return found


def measure_plain(recipe: Recipe, given: argparse.Namespace) -> dict[str, Any]:
    """Without teachers: ours and the Trainer."""
    peer: Group = (serve_trainer, (recipe,), DEFAULT)
    own: Group = (serve, (plain_steps, recipe, given.compile), OURS)
    found, peaks = one_round([peer, own], given)
    return {
        "about": about(recipe, given),
        "seconds": [found],
        "ratios": {"Trainer / plain": ratio(found["Trainer"], found["plain"])},
        "peak MiB": {name: round(value / 2**20, 1) for name, value in peaks.items()},
    }


def measure(recipe: Recipe, given: argparse.Namespace) -> dict[str, Any]:
    """Two rounds, so that not all sides are in memory at once; in each, all sides in turn."""
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        process = multiprocessing.get_context("spawn").Process(
            target=build_caches, args=(recipe, scratch)
        )
        process.start()
        process.join()
        textbook: Group = (serve, (textbook_steps, recipe), DEFAULT)
        peer: Group = (serve_trainer, (recipe,), DEFAULT)
        students: Group = (serve, (student_steps, recipe, scratch, given.compile), OURS)
        teachers: Group = (serve, (teacher_steps, recipe, scratch, given.compile), OURS)
        distilling, more = one_round([textbook, students], given)
        plain, peaks = one_round([peer, students, teachers], given)
    epochs = student_training(recipe).epochs
    return {
        "about": about(recipe, given),
        "seconds": [distilling, plain],
        "ratios": ratios(distilling, plain, epochs),
        "peak MiB": {name: round(value / 2**20, 1) for name, value in (more | peaks).items()},
    }


def one_round(
    groups: Sequence[Group], given: argparse.Namespace
) -> tuple[dict[str, list[float]], dict[str, float]]:
    """Seconds of every side's steps, and the peak memory of one."""
    with ExitStack() as stack:
        every: list[Side] = []
        for server, arguments, environment in groups:
            every += stack.enter_context(sides(server, *arguments, environment=environment))
        found = in_turn(every, warm_up=given.warm_up, counted=given.counted)
        return found, {side.name: side.ask(side.name, "peak") for side in every}


def about(recipe: Recipe, given: argparse.Namespace) -> dict[str, Any]:
    """Sizes and machine."""
    names = ["student", *recipe.models["student"].teachers]
    device = pick_device("auto")
    return {
        "recipe": recipe.name,
        "parameters": {name: parameter_count(network(recipe, name)) for name in names},
        "vocabulary": recipe.tokenizer.vocabulary,
        "batch": [student_training(recipe).batch_size, recipe.tokens.chunk_length],
        "epochs that share a cache": student_training(recipe).epochs,
        "rank": RANK,
        "runtime.compile": given.compile,
        "precision of ours": resolve_precision("auto", device),
        "device": str(device),
        "cores": cores(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }


def show(result: dict[str, Any]) -> None:
    """Print the tables."""
    console = Console(width=100)
    console.print("\n".join(f"{key}: {value}" for key, value in result["about"].items()))
    table = Table("side", "seconds a step", "peak MiB", box=None)
    for found in result["seconds"]:
        for name, seconds in found.items():
            table.add_row(name, f"{median(seconds):.4g}", f"{result['peak MiB'][name]:,.0f}")
        table.add_section()
    console.print(table)
    for title, value in result["ratios"].items():
        console.print(f"{title}: {value:.2f}")


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recipes", nargs="*", default=["mini"])
    parser.add_argument("--plain", action="store_true", help="ours and the Trainer, no teachers")
    parser.add_argument("--warm-up", type=int, default=2)
    parser.add_argument(
        "--compile",
        choices=["auto", "on", "off"],
        default="auto",
        help="as runtime.compile",
    )
    parser.add_argument("--counted", type=int, default=7, help="turns that count")
    given = parser.parse_args()
    for name in given.recipes:
        result = (measure_plain if given.plain else measure)(load_recipe(name), given)
        kind = "plain_step" if given.plain else "training_step"
        path = Path(__file__).with_name(f"{kind}-{name}.json")
        path.write_text(json.dumps(result, indent=1) + "\n")
        show(result)


if __name__ == "__main__":
    main()
