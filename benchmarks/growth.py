"""Time a token and memory of a training as its text grows 1, 4 and 16 times.

    make bench
    .venv/bin/python benchmarks/growth.py mini --kind hidden-int8

The recipe's student learns from a cache of random teachers' signal on random tokens, a process each
size, one step of each in turn. Writes benchmarks/growth.json.
"""

import argparse
import json
import multiprocessing
import tempfile
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from babyllama.devices import pick_device, prepare_torch
from babyllama.distillation.caching.codes import KINDS, Kind
from babyllama.recipe import Recipe
from babyllama.resolve import load_recipe
from random_run import (
    keep,
    open_cache,
    student_training,
    teachers_of,
    text,
    trainer,
    workshop,
)
from turns import OURS, Steps, in_turn, ratio, serve, sides

TIMES = (1, 4, 16)


def build(recipe: Recipe, kind: Kind, batches: int, work: Path) -> None:
    """A cache of so many batches of text, in a process of its own."""
    prepare_torch(pick_device("auto"), None)
    work.mkdir()
    folder = keep(recipe, kind, workshop(teachers_of(recipe, "off"), text(recipe, batches), work))
    folder.rename(work / "cache")


def steps(recipe: Recipe, times: int, batches: int, work: Path) -> Steps:
    """A student that learns from such a cache."""
    prepare_torch(pick_device("auto"), None)
    ids = text(recipe, batches)
    signal = open_cache(recipe, ids, work / "cache")
    return {f"{times}x": trainer(recipe, ids, signal, "off").step}


def measure(recipe: Recipe, given: argparse.Namespace) -> dict[str, Any]:
    """All sizes in turn; seconds a token and resident memory, as parts of the smallest's."""
    spawn = multiprocessing.get_context("spawn")
    with ExitStack() as stack, tempfile.TemporaryDirectory() as scratch:
        every = []
        for times in TIMES:
            work, batches = Path(scratch) / str(times), times * given.batches
            process = spawn.Process(target=build, args=(recipe, given.kind, batches, work))
            process.start()
            process.join()
            every += stack.enter_context(
                sides(serve, steps, recipe, times, batches, work, environment=OURS)
            )
        found = in_turn(every, warm_up=5, counted=given.counted)
        memory = {side.name: side.ask(side.name, "resident") / 2**20 for side in every}
    tokens = student_training(recipe).batch_size * recipe.tokens.chunk_length
    return {
        name: {
            "tokens of text": times * given.batches * tokens,
            "microseconds a token": 1e6 * median(found[name]) / tokens,
            "time / 1x": ratio(found[name], found["1x"]),
            "resident MiB": memory[name],
            "memory / 1x": memory[name] / memory["1x"],
        }
        for times, name in ((t, f"{t}x") for t in TIMES)
    }


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recipe", nargs="?", default="mini")
    parser.add_argument("--kind", choices=KINDS, default="hidden-int8")
    parser.add_argument("--batches", type=int, default=64, help="of the smallest text")
    parser.add_argument("--counted", type=int, default=60, help="steps that count")
    given = parser.parse_args()
    found = measure(load_recipe(given.recipe), given)
    result = json.dumps({"about": vars(given), "sizes": found}, indent=1)
    Path(__file__).with_suffix(".json").write_text(result + "\n")
    table = Table("", *found["1x"], box=None, title=f"{given.recipe}, {given.kind}")
    for name, row in found.items():
        table.add_row(name, *(f"{value:,.4g}" for value in row.values()))
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
