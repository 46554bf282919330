"""What chunk grids that start at another token every epoch gain, and how many a cache needs.

    .venv/bin/python benchmarks/random_offsets.py micro corpus.path=babylm_10M/

Runs a recipe with more epochs over less text, where it matters most: its student with one grid,
with 2 and 4 cached grids in turn, and with a new grid every epoch, which only teachers that run in
every step can serve; and its control, with one and with new ones. Several seeds of each; teachers,
text and caches are shared through the runs' store, and the same command goes on where it stopped.
Prints the validation cross-entropy, the mean over seeds and its standard error; writes
benchmarks/random_offsets.json.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from rich.console import Console
from rich.table import Table

LOW_RANK = "models.student.distillation.signal=low-rank"
NEW = "models.student.training.random_offsets=true"
STUDENTS: dict[str, list[str]] = {
    "one grid": [LOW_RANK],
    "2 grids in turn": [LOW_RANK, NEW, "models.student.distillation.cache_offsets=2"],
    "4 grids in turn": [LOW_RANK, NEW, "models.student.distillation.cache_offsets=4"],
    "a new grid every epoch": [NEW],
}


def cross_entropy(folder: Path) -> float:
    """Of a trained model, in nats per validation token."""
    told = json.loads((folder / "training.json").read_text("utf-8"))
    return float(told["validation"]["cross_entropy"])


def run(name: str, given: argparse.Namespace, settings: list[str]) -> Path:
    """A finished run with some settings."""
    command = [sys.executable, "-m", "babyllama", "run", given.recipe]
    command += [f"corpus.words={given.words}"]
    command += [f"models.student.training.epochs={given.epochs}", *given.settings, *settings]
    folder = given.runs / name
    subprocess.run([*command, "--run-dir", str(folder)], check=True)  # noqa: S603 (our own command)
    return folder


def main() -> None:
    """Run, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recipe", help="with a student and a control, as mini and micro")
    parser.add_argument("settings", nargs="*", help="as `babyllama run` takes them")
    parser.add_argument("--words", type=int, default=250_000)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    given = parser.parse_args()
    found: dict[str, list[float]] = {}
    for seed in given.seeds:
        for number, (title, settings) in enumerate(STUDENTS.items()):
            own = [f"models.student.seed={seed}", *settings]
            folder = run(f"offsets-{number}-{seed}", given, own) / "models"
            found.setdefault(f"student, {title}", []).append(cross_entropy(folder / "student"))
            if title in ("one grid", "a new grid every epoch"):
                control = cross_entropy(folder / "control")
                found.setdefault(f"control, {title}", []).append(control)
    write(vars(given), found)


def write(about: dict[str, Any], found: dict[str, list[float]]) -> None:
    """Print the table and write it."""
    rows = {
        name: {
            "mean": mean(values),
            "standard error": stdev(values) / len(values) ** 0.5 if len(values) > 1 else None,
            "seeds": values,
        }
        for name, values in found.items()
    }
    result = json.dumps({"about": about, "cross-entropy": rows}, indent=1, default=str)
    Path(__file__).with_suffix(".json").write_text(result + "\n")
    table = Table("", "cross-entropy", "standard error", "seeds", box=None)
    for name, row in rows.items():
        each = " ".join(f"{value:.4f}" for value in found[name])
        error = row["standard error"]
        table.add_row(name, f"{row['mean']:.4f}", "" if error is None else f"{error:.4f}", each)
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
