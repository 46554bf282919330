"""Time and memory of the loss: logits written out in full, and in blocks without them.

    make bench
    .venv/bin/python benchmarks/loss.py --tokens 4096 --vocabulary 16000

From features and heads to loss and gradients, at the widths of the paper's student and teachers,
forward and back, in turn in one process. The reference is the textbook loss on the same features.
Peak memory is what a call adds to features and heads. Writes benchmarks/loss.json.
"""

import argparse
import json
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
os.environ.setdefault("GOMP_SPINCOUNT", "300")

import torch
from rich.console import Console
from rich.table import Table
from torch.nn import functional

from babyllama.devices import pick_device, prepare_torch
from babyllama.distillation.compiling import Kernel, can_compile
from babyllama.distillation.fused import fused_loss
from babyllama.models.readout import Readout
from babyllama.tokens.batches import IGNORED, Counts
from textbook import textbook_loss
from turns import Side, What, in_turn, measured, ratio

CHUNK = 128
STUDENT, TEACHERS = 512, (1536, 1024)
TEMPERATURE, CE_WEIGHT = 2.0, 0.5


class Inputs:
    """Random features and heads of a student and its teachers, and the ids that are predicted."""

    def __init__(self, tokens: int, vocabulary: int, device: torch.device) -> None:
        def head(width: int) -> Readout:
            weight = torch.randn(vocabulary, width, device=device) / width**0.5
            return Readout(torch.randn(tokens, width, device=device), weight)

        self.student = Readout(*(x.requires_grad_() for x in head(STUDENT)[:2]))
        self.teachers = [head(width) for width in TEACHERS]
        self.ids = torch.randint(vocabulary, (tokens // CHUNK, CHUNK), device=device)
        self.labels = functional.pad(self.ids[:, 1:], (0, 1), value=IGNORED).flatten()
        self.counts = Counts(int((self.labels != IGNORED).sum()), len(self.ids))

    def textbook(self) -> float:
        """Loss and gradients with all logits."""
        shape = (*self.ids.shape, -1)
        logits = functional.linear(*self.student[:2]).view(shape)
        with torch.no_grad():
            taught = [functional.linear(*t[:2]).view(shape) for t in self.teachers]
        return self._back(
            textbook_loss(logits, taught, self.ids, temperature=TEMPERATURE, alpha=CE_WEIGHT)
        )

    def fused(self, kernel: Kernel) -> float:
        """The same in blocks."""
        terms = fused_loss(
            self.student,
            self.labels,
            self.teachers,
            counts=self.counts,
            temperature=TEMPERATURE,
            ce_weight=CE_WEIGHT,
            kernel=kernel,
        )
        return self._back(terms.loss)

    def _back(self, loss: torch.Tensor) -> float:
        loss.backward()
        for x in self.student[:2]:
            assert x is not None
            x.grad = None
        return float(loss)


def compare(inputs: Inputs, precision: str, turns: int) -> dict[str, Any]:
    """All forms in one precision."""
    device = inputs.ids.device.type
    autocast = partial(torch.autocast, device, torch.bfloat16, enabled=precision == "bf16")
    forms: dict[str, Callable[[], float]] = {
        "textbook": inputs.textbook,
        "fused, plain": partial(inputs.fused, "plain"),
    }
    if can_compile(device):
        forms["fused, compiled"] = partial(inputs.fused, "compiled")

    def ask(name: str, what: What) -> float:
        with autocast():
            return measured(forms[name], what)

    every = [Side(name, ask) for name in forms]
    seconds = in_turn(every, warm_up=1, counted=turns)
    peaks = {side.name: side.ask(side.name, "peak") for side in every}
    with autocast():
        losses = {name: form() for name, form in forms.items()}
    return {
        name: {
            "seconds": median(seconds[name]),
            "times the textbook": ratio(seconds["textbook"], seconds[name]),
            "peak MiB": peaks[name] / 2**20,
            "part of its memory": peaks[name] / peaks["textbook"],
            "loss": losses[name],
        }
        for name in forms
    }


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokens", type=int, default=4096)
    parser.add_argument("--vocabulary", type=int, default=16000)
    parser.add_argument("--turns", type=int, default=5)
    given = parser.parse_args()
    device = pick_device("cpu")
    prepare_torch(device, None)
    torch.manual_seed(1)
    inputs = Inputs(given.tokens, given.vocabulary, device)
    found = {p: compare(inputs, p, given.turns) for p in ("fp32", "bf16")}
    about = {**vars(given), "widths": [STUDENT, *TEACHERS], "torch": torch.__version__}
    result = json.dumps({"about": about, **found}, indent=1)
    Path(__file__).with_suffix(".json").write_text(result + "\n")
    show(about, found)


def show(about: dict[str, Any], found: dict[str, Any]) -> None:
    """Print the table."""
    console = Console(width=110)
    console.print(", ".join(f"{key} {value}" for key, value in about.items()))
    columns = next(iter(found["fp32"].values()))
    table = Table("precision", "form", *columns, box=None)
    for precision, forms in found.items():
        for form, row in forms.items():
            table.add_row(precision, form, *(f"{value:.4g}" for value in row.values()))
    console.print(table)


if __name__ == "__main__":
    main()
