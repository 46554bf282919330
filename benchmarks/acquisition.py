"""Age of acquisition of every model of a run, read both ways, beside the published baselines.

    .venv/bin/python benchmarks/acquisition.py runs/mini word_list.csv sent_words.json

Prints Markdown: leave-one-out mean absolute deviation in months with standard errors over words.
"""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
os.environ.setdefault("GOMP_SPINCOUNT", "300")

from babyllama.evaluation.acquisition.children import GROUPS, Fit, acquisition
from babyllama.evaluation.surprisal import Alignment

# README of babylm/evaluation-pipeline-2023, strict-small.
PUBLISHED = {
    "OPT-125M": (2.03, 1.98, 1.81, 2.57),
    "RoBERTa-base": (2.06, 1.99, 1.85, 2.65),
    "T5-base": (2.04, 1.97, 1.82, 2.64),
}
PERMUTED = "deviation with permuted surprisal"


def lines(name: str, fit: Fit) -> Iterator[str]:
    """A model's row, and the ones that stand beside it."""
    found = [fit.figures(group) for group in GROUPS]
    for label, metric in {
        name: "deviation",
        "without surprisal": "deviation without surprisal",
        "difference": "difference",
    }.items():
        sign = "+" if metric == "difference" else ""
        cells = [f"{value:{sign}.3f} ± {error:.3f}" for value, error in (f[metric] for f in found)]
        yield row(label if metric == "deviation" else f"{name}, {label}", cells)
    cells = [
        f"{f[PERMUTED][0]:.3f} [{f[f'{PERMUTED}, 2.5 %'][0]:.3f},"
        f" {f[f'{PERMUTED}, 97.5 %'][0]:.3f}]"
        for f in found
    ]
    yield row(f"{name}, permuted surprisal", cells)


def row(label: str, cells: list[str]) -> str:
    """A line of a Markdown table."""
    return f"| {label} | {' | '.join(cells)} |"


def main() -> None:
    """Print the tables for `RUN WORDS UTTERANCES`."""
    run, words, utterances = map(Path, sys.argv[1:4])
    folders = sorted((run / "models").iterdir())
    for alignment in get_args(Alignment):
        found = acquisition(folders, words, utterances, alignment=alignment)
        sizes = [next(iter(found.fits.values())).size(group) for group in GROUPS]
        heads = [f"{g.replace('_', ' ')} ({n})" for g, n in zip(GROUPS, sizes, strict=True)]
        print(f"`--alignment {alignment}` ({found.rules}):\n")
        print(row("months", heads))
        print("| :-- |" + " --: |" * len(GROUPS))
        for folder in folders:
            print(*lines(folder.name, found.fits[str(folder)]), sep="\n")
        for name, figures in PUBLISHED.items() if alignment == "same-position" else ():
            print(row(f"{name}, published", [f"{figure:.2f}" for figure in figures]))
        print(*["", *found.notes()], sep="\n", flush=True)


if __name__ == "__main__":
    main()
