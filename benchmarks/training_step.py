"""What training steps cost here: a plain step and a distillation step of a recipe's student.

    make bench
    .venv/bin/python benchmarks/training_step.py micro mini

The steps alternate in one process, random tokens, random weights; medians of 7 after 2 not
counted. Writes benchmarks/training_step.json.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
os.environ.setdefault("GOMP_SPINCOUNT", "300")

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from babyllama.builders import model_seed
from babyllama.devices import pick_device, prepare_torch, resolve_precision
from babyllama.distillation.teachers import Teachers
from babyllama.models.architectures import build_model, model_config
from babyllama.models.costs import training_flops_per_token
from babyllama.recipe import Recipe
from babyllama.resolve import load_recipe
from babyllama.tokens.batches import ChunkOrder
from babyllama.training.ledger import Ledger
from babyllama.training.trainer import Job, Trainer

COUNTED, WARM_UP = 7, 2


def trainer(recipe: Recipe, *, distilled: bool) -> Trainer:
    """The recipe's student with random weights, with or without its teachers."""
    device = pick_device("auto")
    model = recipe.models["student"]
    assert model.training
    vocabulary, chunk = recipe.tokenizer.vocabulary, recipe.tokens.chunk_length

    def network(name: str) -> torch.nn.Module:
        entry = recipe.models[name]
        config = model_config(entry.architecture, vocabulary, (0, 1, 2))
        return build_model(config, model_seed(recipe, entry)).to(device)

    ids = np.random.default_rng(1).integers(0, vocabulary, 400 * chunk).astype(np.uint16)
    student = network("student")
    teachers = Teachers({name: network(name) for name in model.teachers}) if distilled else None
    job = Job(
        name="student",
        model=student,
        settings=model.training,
        order=ChunkOrder(ids, chunk, model.training.batch_size, 1),
        validation=[],
        bytes_of_token=torch.ones(vocabulary),
        ledger=Ledger(model.training.batch_size * chunk, 1.0, 0.0, 0.0),
        tokenizer=Path(),
        seed=1,
        precision=resolve_precision("auto", device),
        device=device,
        signal=teachers,
        distillation=model.distillation if distilled else None,
    )
    return Trainer(job, Path())


def seconds(step: Callable[[], object]) -> float:
    """Seconds of one call."""
    started = time.perf_counter()
    step()
    return time.perf_counter() - started


def measure(name: str) -> dict[str, float | str]:
    """Medians of both kinds of step, taken in turn."""
    recipe = load_recipe(name)
    plain, distilled = trainer(recipe, distilled=False), trainer(recipe, distilled=True)
    times: dict[str, list[float]] = {"plain": [], "distilled": []}
    for _ in range(WARM_UP + COUNTED):
        times["plain"].append(seconds(plain.step))
        times["distilled"].append(seconds(distilled.step))
    plain_s, distilled_s = (median(values[WARM_UP:]) for values in times.values())
    tokens = plain.job.ledger.tokens_per_step
    flops = tokens * training_flops_per_token(plain.job.model, recipe.tokens.chunk_length)
    return {
        "recipe": name,
        "plain tokens/s": tokens / plain_s,
        "plain GFLOP/s": flops / plain_s / 1e9,
        "distilled tokens/s": tokens / distilled_s,
        "distilled / plain time": distilled_s / plain_s,
    }


def main() -> None:
    """Measure the recipes named on the command line; by default the small ones."""
    prepare_torch(pick_device("auto"), None)
    rows = [measure(name) for name in sys.argv[1:] or ["demo", "micro", "mini"]]
    table = Table(*rows[0])
    for row in rows:
        table.add_row(*(v if isinstance(v, str) else f"{v:,.2f}" for v in row.values()))
    Console().print(table)
    Path(__file__).with_suffix(".json").write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
