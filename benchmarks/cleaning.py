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
import torch
from scipy import stats

from babyllama.devices import pick_device, resolve_precision
from babyllama.models.folders import load_model
from babyllama.pipeline import run as run_recipe
from babyllama.resolve import load_recipe
from babyllama.tokens.batches import validation_batches
from babyllama.tokens.packing import read_packed
from babyllama.tokens.tokenizer import load_tokenizer, token_bytes
from babyllama.training.objectives import CrossEntropy
from babyllama.training.validation import validate

MODELS = ("llama", "gpt2")
CHUNK = 64


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
    scores = json.loads((folder / "scores" / model / "blimp.json").read_text("utf-8"))
    return {
        "bits/byte": bits_per_byte(folder, model),
        "BLiMP 12, %": 100 * scores["macro_phenomena"]["accuracy"],
        "BLiMP 67, %": 100 * scores["macro_paradigms"]["accuracy"],
    }


def bits_per_byte(folder: Path, model: str) -> float:
    """On the whole dev text: with two tokenizers, a part drawn by chunks would be two texts."""
    device = pick_device("auto")
    dev = read_packed(folder / "tokens", "dev")
    network = load_model(folder / "models" / model).to(device)
    batches = validation_batches(
        dev.ids, CHUNK, chunks=len(dev.ids) // CHUNK, seed=1, batch_size=32
    )
    bf16 = resolve_precision("auto", device) == "bf16"
    found = validate(
        CrossEntropy(network),
        batches,
        torch.tensor(token_bytes(load_tokenizer(folder / "tokenizer"))),
        autocast=partial(torch.autocast, device.type, torch.bfloat16, enabled=bf16),
        signal=lambda _: [],
        device=device,
    )
    return found["bits_per_byte"]


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
