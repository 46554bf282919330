"""Sentences a second, exactness and memory of scoring minimal pairs, here and by lm-eval.

    make bench
    .venv/bin/python benchmarks/scoring.py blimp_filtered/ --text babylm_10M/ --pairs 250
    .venv/bin/python benchmarks/scoring.py blimp_filtered/ --model runs/mini/models/student

Both sides have the same model, files, threads and environment. lm-eval runs in float32 at the
fastest of its batch sizes 1, 64 and auto, which a part of the pairs decides (auto tries sizes up to
64 first, which counts); this project runs in float32 and in its default precision. Sides take
turns, each time in a process of its own, without a warm-up.

What is timed is encoding the sentences and scoring them: not the imports, the loading of model and
tokenizer or the reading of the pairs, and on lm-eval's side not the making of requests from
documents and the summing up either ("all of evaluate" has those two). Peak memory is the process's.
By default the model has random weights and a tokenizer of the text, and the pairs are made from the
text's words. Prints a table and writes benchmarks/scoring.json.
"""

import argparse
import json
import multiprocessing
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
os.environ.setdefault("GOMP_SPINCOUNT", "300")
os.environ.update(HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1", TQDM_DISABLE="1")

import numpy as np
import numpy.typing as npt
import torch
import yaml
from rich.console import Console
from rich.table import Table

from babyllama.corpus.build import build_corpus
from babyllama.corpus.pieces import read_pieces
from babyllama.corpus.workers import cores
from babyllama.devices import pick_device, prepare_torch, resolve_precision
from babyllama.evaluation.conventions import CONVENTIONS
from babyllama.evaluation.generator.paradigms import count_words, write_paradigms
from babyllama.evaluation.minimal_pairs import Paradigm, read_suite, sentences
from babyllama.evaluation.scorers import model_scorer
from babyllama.evaluation.scoring import encode, score
from babyllama.models.architectures import build_model, longest_input, model_config
from babyllama.models.folders import load_model, save_model
from babyllama.recipe import Architecture, Corpus
from babyllama.tokens.tokenizer import load_tokenizer, save_tokenizer, train_tokenizer

RULES = CONVENTIONS["lm-eval"]
CPU = torch.device("cpu")
BATCH_SIZES: tuple[int | str, ...] = (1, 64, "auto")
VOCABULARY, WORDS = 4096, 500_000
STUDENT = Architecture(
    type="llama", layers=8, heads=4, width=256, feed_forward=768, positions=256
)  # 8.9M parameters


@dataclass(frozen=True)
class Measured:
    """What one run of one side gives."""

    seconds: float
    """To encode the sentences and to score them."""
    whole: float
    """With what lm-eval does before and after; here the same as `seconds`."""
    loaded_mib: float
    """Peak memory before it begins, model and pairs loaded."""
    peak_mib: float
    nats: npt.NDArray[np.float64]
    """[2 * pairs], good and bad in turn."""
    batch_size: int | str
    """lm-eval's own, or what `auto` settled on."""


def alone(function: Callable[..., Any], *arguments: Any) -> Any:
    """What a function returns in a process of its own."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(function, *arguments).result()


def peak_mib() -> float:
    """Peak memory of this process so far."""
    unit = 1 << 20 if sys.platform == "darwin" else 1 << 10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def by_babyllama(model: Path, suite: Path, threads: int, precision: str) -> Measured:
    """Score a suite as `babyllama evaluate` does."""
    prepare_torch(CPU, threads)
    network, tokenizer = load_model(model), load_tokenizer(model)
    texts = sentences(read_suite(suite))
    loaded, started = peak_mib(), time.perf_counter()
    rows = encode(tokenizer, texts, RULES.prefix, leading_space=RULES.leading_space)
    nats = score(
        model_scorer(network, precision),
        rows,
        vocabulary=len(tokenizer),
        positions=longest_input(network),
        device=CPU,
        normalise=RULES.normalise,
    )
    seconds = time.perf_counter() - started
    return Measured(seconds, seconds, loaded, peak_mib(), nats, "-")


def by_lm_eval(model: Path, suite: Path, threads: int, batch_size: int | str) -> Measured:
    """Score a suite by lm-eval, on tasks like its own of BLiMP."""
    from lm_eval import evaluator  # noqa: PLC0415 (this side's process alone has it in memory)
    from lm_eval.models.huggingface import HFLM  # noqa: PLC0415
    from lm_eval.tasks import TaskManager  # noqa: PLC0415

    torch.set_num_threads(threads)
    found: dict[str, Any] = {}

    class Timed(HFLM):  # type: ignore[misc]
        def loglikelihood(self, requests: Any) -> Any:
            started = time.perf_counter()
            answers = super().loglikelihood(requests, disable_tqdm=True)
            found.update(seconds=time.perf_counter() - started, answers=answers)
            return answers

    lm = Timed(str(model), device="cpu", dtype="float32", batch_size=batch_size)
    with tempfile.TemporaryDirectory() as scratch:
        names = write_tasks(Path(scratch), suite)
        tasks = TaskManager(include_path=scratch, include_defaults=False).load(names)
        loaded, started = peak_mib(), time.perf_counter()
        evaluator.evaluate(lm, tasks, bootstrap_iters=0, log_samples=False)
        whole = time.perf_counter() - started
    nats = np.array([float(answer[0]) for answer in found["answers"]])
    used = next(iter(lm.batch_sizes.values()), batch_size)
    return Measured(found["seconds"], whole, loaded, peak_mib(), nats, used)


def write_tasks(folder: Path, suite: Path) -> list[str]:
    """Tasks as in lm-eval's tasks/blimp/_template_yaml, one a file; their names."""
    files = sorted(suite.glob("*.jsonl"))
    for file in files:
        data = {"data_files": {"train": str(file)}, "cache_dir": str(folder / "cache")}
        task = {
            "task": file.stem,
            "dataset_path": "json",
            "dataset_kwargs": data,
            "output_type": "multiple_choice",
            "validation_split": "train",
            "doc_to_text": "",
            "doc_to_target": 0,
            "doc_to_choice": "{{[sentence_good, sentence_bad]}}",
            "num_fewshot": 0,
            "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
        }
        (folder / f"{file.stem}.yaml").write_text(yaml.safe_dump(task, sort_keys=False))
    return [file.stem for file in files]


def prepare(given: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Make what is not given; the suite and its part, and what they and the model are."""
    if not (given.model and given.suite):
        corpus = folder / "corpus"
        corpus.mkdir()
        build_corpus(Corpus(path=given.text, words=WORDS), corpus)
    if not given.model:
        save_tokenizer(train_tokenizer(texts_of(folder), VOCABULARY), folder / "tokenizer")
        student = build_model(model_config(STUDENT, VOCABULARY, (0, 1, 2)), 1)
        save_model(student, folder / "tokenizer", folder / "model")
    if not given.suite:
        write_paradigms(word_counts=count_words(texts_of(folder)), seed=1, out=folder / "made")
    suite = read_suite(given.suite or folder / "made")
    sizes = {"suite": given.pairs, "quarter": given.pairs // 4, "part": given.part}
    for name, pairs in sizes.items():
        write_first(suite, pairs, folder / name)
    return described(given.model or folder / "model", read_suite(folder / "suite"))


def texts_of(folder: Path) -> Any:
    """The corpus that the tokenizer and the pairs are made from."""
    return (piece.text for piece in read_pieces(folder / "corpus", "train"))


def write_first(suite: Sequence[Paradigm], pairs: int, folder: Path) -> None:
    """The first pairs of every paradigm, a file each."""
    folder.mkdir()
    for paradigm in suite:
        rows = [
            {"sentence_good": good, "sentence_bad": bad, "UID": paradigm.name}
            for good, bad in paradigm.pairs[:pairs]
        ]
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / f"{paradigm.name}.jsonl").write_text(lines, "utf-8")


def described(model: Path, suite: Sequence[Paradigm]) -> dict[str, Any]:
    """Sizes of a model and of what it scores."""
    network, tokenizer, texts = load_model(model), load_tokenizer(model), sentences(suite)
    rows = encode(tokenizer, texts, RULES.prefix, leading_space=RULES.leading_space)
    return {
        "parameters": sum(p.numel() for p in network.parameters()),
        "vocabulary": len(tokenizer),
        "type": network.config.model_type,
        "paradigms": len(suite),
        "sentences": len(rows),
        "scored tokens a sentence": sum(len(row) - 1 for row in rows) / len(rows),
    }


def main() -> None:
    """Measure, print, and write what was measured."""
    given = arguments()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        about = alone(prepare, given, folder)
        about |= {
            "model": str(given.model or "random weights"),
            "suite": str(given.suite or "made from the text's words"),
            "pairs a paradigm": given.pairs,
            "threads": given.threads,
            "cores": cores(),
            "torch": torch.__version__,
        }
        result = {"about": about, **measure(given.model or folder / "model", folder, given)}
    Path(__file__).with_suffix(".json").write_text(json.dumps(result, indent=1) + "\n")
    show(result)


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("suite", type=Path, nargs="?", help="folder of pair files")
    parser.add_argument("--model", type=Path, help="model folder")
    parser.add_argument("--text", default="builtin:bbe", help="corpus of the random model")
    parser.add_argument("--pairs", type=int, default=250, help="of every paradigm")
    parser.add_argument("--part", type=int, default=20, help="pairs that decide the batch size")
    parser.add_argument("--runs", type=int, default=3, help="of every side, medians are shown")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    return parser.parse_args()


def measure(model: Path, folder: Path, given: argparse.Namespace) -> dict[str, Any]:
    """lm-eval's batch sizes on the part, then both sides in turn on the suite."""
    part = {size: alone(by_lm_eval, model, folder / "part", given.threads, size)
            for size in BATCH_SIZES}  # fmt: skip
    best = min(part, key=lambda size: part[size].seconds)
    precisions = dict.fromkeys(["fp32", resolve_precision("auto", pick_device("cpu"))])
    runs: dict[str, list[Measured]] = {"lm-eval": [], **{name: [] for name in precisions}}
    for _ in range(given.runs):
        for name, found in runs.items():
            found.append(one(name, model, folder / "suite", given.threads, best))
    smaller = {name: one(name, model, folder / "quarter", given.threads, best) for name in runs}
    return {
        "batch sizes": {
            str(size): {"sentences/s": rate(found), "used": found.batch_size}
            for size, found in part.items()
        },
        "best batch size": best,
        "sides": {
            name: figures(found, runs, smaller[name].peak_mib) for name, found in runs.items()
        },
    }


def one(name: str, model: Path, suite: Path, threads: int, batch_size: int | str) -> Any:
    """One run of a side: lm-eval, or this project in a precision."""
    if name == "lm-eval":
        return alone(by_lm_eval, model, suite, threads, batch_size)
    return alone(by_babyllama, model, suite, threads, name)


def rate(found: Measured) -> float:
    """Sentences a second."""
    return len(found.nats) / found.seconds


def figures(
    found: Sequence[Measured], runs: dict[str, list[Measured]], smaller: float
) -> dict[str, Any]:
    """What is told of one side."""
    nats = {name: sides[0].nats for name, sides in runs.items()}
    own = found[0].nats
    return {
        "sentences/s": median(rate(run) for run in found),
        "times lm-eval": median(run.seconds for run in runs["lm-eval"])
        / median(run.seconds for run in found),
        "seconds": [round(run.seconds, 3) for run in found],
        "all of evaluate, s": [round(run.whole, 3) for run in found],
        "largest difference to lm-eval, nats": float(abs(own - nats["lm-eval"]).max()),
        "decisions unlike lm-eval, %": 100 * changed(own, nats["lm-eval"]),
        "decisions unlike own fp32, %": 100 * changed(own, nats["fp32"]),
        "loaded, MiB": median(run.loaded_mib for run in found),
        "peak, MiB": median(run.peak_mib for run in found),
        "peak on a quarter of the pairs, MiB": smaller,
    }


def changed(own: npt.NDArray[np.float64], other: npt.NDArray[np.float64]) -> float:
    """Share of the pairs that two sides decide differently; the good sentence wins a tie."""
    decisions = [nats[0::2] >= nats[1::2] for nats in (own, other)]
    return float((decisions[0] != decisions[1]).mean())


def show(result: dict[str, Any]) -> None:
    """Print the tables."""
    console = Console(width=110)
    console.print("\n".join(f"{key}: {value}" for key, value in result["about"].items()))
    for size, found in result["batch sizes"].items():
        console.print(
            f"lm-eval, batch size {size}, on the part: {found['sentences/s']:,.0f} sentences/s"
            f" (batches of {found['used']})"
        )
    sides = result["sides"]
    table = Table("", *sides, box=None)
    for key in sides["lm-eval"]:
        table.add_row(key, *(cell(side[key]) for side in sides.values()))
    console.print(table)


def cell(value: Any) -> str:
    """A figure or several."""
    return str(value) if isinstance(value, list) else f"{value:,.5g}"


if __name__ == "__main__":
    main()
