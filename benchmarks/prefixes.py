"""Which prefix serves minimal pairs best? Every model of a run, every prefix, one suite.

    .venv/bin/python benchmarks/prefixes.py runs/mini blimp_filtered/ 100

The last argument is the number of pairs a paradigm, from its beginning. Prints Markdown: accuracies
in %, macro over phenomena, with standard errors.
"""

import sys
from dataclasses import replace
from pathlib import Path
from typing import get_args

from babyllama.devices import pick_device, prepare_torch
from babyllama.evaluation.minimal_pairs import Paradigm, read_suite, sentences, summarise
from babyllama.evaluation.scorers import model_scorer
from babyllama.evaluation.scoring import encode, score
from babyllama.models.folders import load_model
from babyllama.recipe import Prefix
from babyllama.tokens.tokenizer import load_tokenizer


def accuracies(folder: Path, suite: list[Paradigm]) -> dict[str, dict[str, float]]:
    """Prefix -> macro accuracy over phenomena and its standard error, of one model."""
    model, tokenizer = load_model(folder), load_tokenizer(folder)
    device = pick_device("auto")
    scorer = model_scorer(model.to(device))
    result = {}
    for prefix in get_args(Prefix):
        rows = encode(tokenizer, sentences(suite), prefix)
        scores = score(
            scorer,
            rows,
            vocabulary=model.config.vocab_size,
            positions=model.config.max_position_embeddings,
            device=device,
        )
        result[prefix] = summarise(suite, scores)["macro_phenomena"]
    return result


def main() -> None:
    """Print the table for `RUN SUITE PAIRS`."""
    run, limit = Path(sys.argv[1]), int(sys.argv[3])
    suite = [replace(p, pairs=p.pairs[:limit]) for p in read_suite(Path(sys.argv[2]))]
    prepare_torch(pick_device("auto"), None)
    pairs = sum(len(paradigm.pairs) for paradigm in suite)
    prefixes = get_args(Prefix)
    print(f"{pairs:,} pairs of `{Path(sys.argv[2]).name}`, models of `{run.name}`: macro over")
    print("phenomena in % ± standard error, by prefix.\n")
    print("| model | " + " | ".join(f"`{p}`" for p in prefixes) + " |")
    print("| :-- |" + " --: |" * len(prefixes))
    for folder in sorted((run / "models").iterdir()):
        row = accuracies(folder, suite)
        cells = [
            f"{100 * row[p]['accuracy']:.2f} ± {100 * row[p]['standard_error']:.2f}"
            for p in prefixes
        ]
        print(f"| {folder.name} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
