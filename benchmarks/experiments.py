"""The experiments of docs/experiments.md in the size of micro, with several seeds, as tables.

    .venv/bin/python benchmarks/experiments.py corpus.path=text/ evaluation.suites.blimp=blimp/

Runs every recipe with every seed. The runs share text, tokenizer, teachers and what else is the
same, and the same command goes on where it stopped; `--only` names some of the recipes. A table a
recipe has the mean over seeds of each figure and, beside the reference that a model is compared
with, the difference with its 95 % interval over seeds. Writes benchmarks/experiments.json.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from babyllama.evaluation.statistics import mean_over_seeds, over_seeds
from babyllama.report.results import Model, read_results
from babyllama.resolve import load_recipe

# Recipe -> model -> what it is compared with.
EXPERIMENTS: dict[str, dict[str, str]] = {
    "appendix-curriculum-micro": {"curriculum": "control"},
    "appendix-switch-micro": dict.fromkeys(
        [f"experts{n}" for n in (1, 2, 4, 8)] + [f"experts{n}-roomy" for n in (2, 4, 8)], "dense"
    ),
    "appendix-homogeneous-micro": {
        **dict.fromkeys(["student1", "student2", "student4", "student6"], "control"),
        "student-large": "control-large",
        **dict.fromkeys(["two", "four", "six", "two-p", "four-p", "six-p"], "llama"),
    },
    "appendix-mixed-micro": dict.fromkeys(["student", "student22", "student33"], "control"),
    "appendix-sam-micro": {
        **dict.fromkeys(["sam", "longer", "sam-always", "adaptive-always"], "plain"),
        "longest": "plain",
    },
    "appendix-gap-micro": {
        f"{name}-gap{steps}": name for name in ("gpt2", "student") for steps in (15, 30, 50, 100)
    },
    "baseline-opt-micro": {},
    "baseline-roberta-micro": {},
    "baseline-t5-micro": {},
    "babyllama2-micro": {"student": "control"},
    "weight-decay-micro": dict.fromkeys(
        ["third", "ratio", "triple", "dropout", "dropout-more", "both"], "usual"
    ),
    "ema-micro": {
        "student-ema": "student",
        "control-ema": "control",
        "constant": "student",
        "constant-ema": "constant",
    },
    "masked-student-micro": dict.fromkeys(["masked-05", "masked-15", "masked-30"], "student"),
    "snapshots-micro": {
        "student-of-snapshots": "student-of-seeds",
        "student-of-seeds": "student",
    },
    "chain-micro": dict.fromkeys(["second", "third", "third-of-all", "control-longer"], "control"),
    "pool-micro": {
        **dict.fromkeys(["learned", "best2", "best2-learned"], "alike"),
        "alike": "control",
    },
    "equal-cost-micro": dict.fromkeys(["control-longer", "control-larger"], "student"),
    "loss-variants-micro": dict.fromkeys(
        ["tenth", "linear", "wsd", "reverse", "reverse-linear", "reverse-wsd"], "student"
    ),
    "muon-micro": {"llama-muon": "llama", "gpt2-muon": "gpt2"},
}
APART = 100
"""Between the seeds that models of a recipe have of their own in two runs of it."""


@dataclass(frozen=True)
class Figures:
    """What a model came to in one run."""

    operations: float | None
    nats: float | None
    suites: Mapping[str, float]

    @classmethod
    def of(cls, model: Model) -> "Figures":
        """From what the report reads."""
        scores = {name: 100 * s.macro_phenomena.accuracy for name, s in model.scores.items()}
        return cls(model.total_flops, model.validation.cross_entropy, scores)


def finished(recipe: str, seed: int, given: argparse.Namespace) -> Path:
    """The run of a recipe with a seed; models with one of their own get another, too."""
    folder: Path = given.runs / f"{recipe}-seed{seed}"
    own = {
        name: model.seed + APART * (seed - 1)
        for name, model in load_recipe(recipe).models.items()
        if model.seed is not None
    }
    seeds = [f"seed={seed}", *(f"models.{name}.seed={value}" for name, value in own.items())]
    command = [sys.executable, "-m", "babyllama", "run", recipe, *seeds, *given.settings]
    subprocess.run([*command, "--run-dir", str(folder)], check=True)  # noqa: S603 (our own command)
    return folder


def table(recipe: str, found: Sequence[Mapping[str, Figures]]) -> list[dict[str, Any]]:
    """A row a model: figures run by run, and their differences from the reference."""
    rows = []
    for name, first in found[0].items():
        reference = EXPERIMENTS[recipe].get(name)
        row: dict[str, Any] = {"model": name, "operations": first.operations, "against": reference}
        for figure in ("nats", *first.suites):
            row[figure] = cell([of[name] for of in found], figure)
            if reference:
                row[f"{figure}, more"] = difference(found, name, reference, figure)
        rows.append(row)
    return rows


def value(figures: Figures, figure: str) -> float | None:
    """One of them."""
    return figures.nats if figure == "nats" else figures.suites.get(figure)


def cell(models: Sequence[Figures], figure: str) -> dict[str, Any] | None:
    """Mean and deviation over seeds."""
    values = [v for v in (value(model, figure) for model in models) if v is not None]
    if not values:
        return None
    mean, deviation = over_seeds(values)
    return {"mean": mean, "deviation": deviation, "seeds": values}


def difference(
    found: Sequence[Mapping[str, Figures]], name: str, reference: str, figure: str
) -> dict[str, Any] | None:
    """A model minus its reference, seed by seed."""
    pairs = [(value(run[name], figure), value(run[reference], figure)) for run in found]
    values = [a - b for a, b in pairs if a is not None and b is not None]
    if not values:
        return None
    over = mean_over_seeds(values)
    return {"mean": over.mean, "low": over.low, "high": over.high, "reading": over.reading}


def show(recipe: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Print the table of a recipe."""
    figures = [key for key in rows[0] if isinstance(rows[0][key], dict)]
    figures = list(dict.fromkeys(key.removesuffix(", more") for key in figures))
    head = ["model", "operations", *(h for f in figures for h in (f, "minus"))]
    shown = Table(*head, title=recipe, box=None)
    for row in rows:
        cells = [row["model"], f"{row['operations']:.3g}" if row["operations"] else ""]
        for figure in figures:
            here, more = row.get(figure), row.get(f"{figure}, more")
            digits = 3 if figure == "nats" else 1
            cells.append(f"{here['mean']:.{digits}f}" if here else "")
            cells.append(told(more, digits, row["against"]))
        shown.add_row(*cells)
    Console(width=160).print(shown)


def told(more: Mapping[str, Any] | None, digits: int, reference: str | None) -> str:
    """A difference with its interval."""
    if not more:
        return ""
    low, high = (f"{more[end]:+.{digits}f}" for end in ("low", "high"))
    return f"{more['mean']:+.{digits}f} ({low} to {high}) {reference}"


def main() -> None:
    """Run, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("settings", nargs="*", help="as `babyllama run` takes them")
    parser.add_argument("--only", nargs="+", choices=EXPERIMENTS, default=[*EXPERIMENTS])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    given = parser.parse_args()
    out = Path(__file__).with_suffix(".json")
    result: dict[str, Any] = json.loads(out.read_text()) if out.exists() else {}
    for recipe in given.only:
        runs = [finished(recipe, seed, given) for seed in given.seeds]
        found = [{m.name: Figures.of(m) for m in read_results(run).models} for run in runs]
        result[recipe] = table(recipe, found)
        show(recipe, result[recipe])
        out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
