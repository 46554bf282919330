"""Does cleaning help? The teachers of `micro` on clean and on raw text, the same clean dev text.

    .venv/bin/python benchmarks/cleaning.py babylm_10M/ blimp_filtered/ --seeds 1 2 3

Runs `babyllama run micro` twice a seed (runs/clean-true-1, ...; what is up to date is not made
again) and prints Markdown: bits per byte and BLiMP, mean and standard error over the seeds, and
the difference with its 95 % interval (Student's t over the pairs of equal seed).
"""

import argparse
import json
import os
import sys
from functools import partial
from pathlib import Path

os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
os.environ.setdefault("GOMP_SPINCOUNT", "300")

import numpy as np
from scipy import stats

from babyllama.pipeline import run as run_recipe
from babyllama.resolve import load_recipe

MODELS = ("llama", "gpt2")


def run_micro(corpus: Path, suite: Path, seed: int, *, clean: bool) -> Path:
    """One run; its directory."""
    folder = Path("runs") / f"clean-{str(clean).lower()}-{seed}"
    settings = {
        "corpus.path": corpus,
        "seed": seed,
        "corpus.clean": str(clean).lower(),
        "corpus.clean_dev": "true",
        "training.epochs": 1,
        "models.student": "null",
        "models.control": "null",
        "evaluation.suites.generated": "null",
        "evaluation.suites.blimp": suite,
    }
    recipe = load_recipe("micro", [f"{key}={value}" for key, value in settings.items()])
    run_recipe(recipe, folder, partial(print, file=sys.stderr))
    return folder


def figures(folder: Path, model: str) -> dict[str, float]:
    """What is compared, of one model of one run."""
    training = json.loads((folder / "models" / model / "training.json").read_text("utf-8"))
    scores = json.loads((folder / "scores" / model / "blimp.json").read_text("utf-8"))
    return {
        "bits/byte": training["validation"]["bits_per_byte"],
        "BLiMP 12, %": 100 * scores["macro_phenomena"]["accuracy"],
        "BLiMP 67, %": 100 * scores["macro_paradigms"]["accuracy"],
    }


def row(raw: list[float], clean: list[float], digits: int) -> str:
    """Cells: raw, clean, difference and interval."""
    cells = []
    for values in (raw, clean):
        error = np.std(values, ddof=1) / len(values) ** 0.5
        cells.append(f"{np.mean(values):.{digits}f} ± {error:.{digits}f}")
    differences = np.subtract(clean, raw)
    spread = np.std(differences, ddof=1) / len(differences) ** 0.5
    reach = stats.t.ppf(0.975, len(differences) - 1) * spread
    mean = differences.mean()
    interval = f"{mean - reach:+.{digits}f} to {mean + reach:+.{digits}f}"
    return " | ".join([*cells, f"{mean:+.{digits}f}", interval])


def main() -> None:
    """Run what is missing and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("suite", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    given = parser.parse_args()
    folders = {
        clean: [run_micro(given.corpus, given.suite, seed, clean=clean) for seed in given.seeds]
        for clean in (False, True)
    }
    print("| model | figure | raw | clean | difference | 95 % interval |")
    print("| :-- | :-- | --: | --: | --: | --: |")
    for model in MODELS:
        raw, clean = ([figures(f, model) for f in folders[side]] for side in (False, True))
        for key in raw[0]:
            digits = 4 if key == "bits/byte" else 2
            cells = row([r[key] for r in raw], [c[key] for c in clean], digits)
            print(f"| {model} | {key} | {cells} |")
    for clean, name in ((False, "raw"), (True, "clean")):
        tokens = json.loads((folders[clean][0] / "tokens" / "tokens.json").read_text("utf-8"))
        print(f"\n{name}: {tokens['train_tokens']:,} training tokens,", end=" ")
        print(f"{tokens['dev_tokens']:,} of the dev text.", end="")
    print()


if __name__ == "__main__":
    main()
