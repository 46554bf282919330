"""Words a second and peak memory of cleaning, tokenizer training, tokenizing and packing.

    python benchmarks/corpus.py babylm_10M/ --words 1 10 40

The corpus is cut down or repeated to so many million words, file by file; every step runs in a
process of its own, whose peak memory (its workers' included, the largest of them counted once for
each) is measured by the system. Prints a table and writes `benchmarks/corpus.json`.
"""

import argparse
import json
import multiprocessing
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from babyllama.corpus.build import build_corpus
from babyllama.corpus.pieces import read_pieces
from babyllama.corpus.workers import cores
from babyllama.recipe import Corpus
from babyllama.tokens.packing import pack
from babyllama.tokens.tokenizer import load_tokenizer, save_tokenizer, train_tokenizer

VOCABULARY = 16_000


def scaled(source: Path, target: Path, factor: float) -> None:
    """Write the files of a corpus, each `factor` times as long, cut at a line end."""
    target.mkdir()
    for file in sorted(source.glob("*.train")):
        text = file.read_bytes()
        whole, part = divmod(factor, 1)
        cut = text.rfind(b"\n", 0, int(part * len(text))) + 1
        with (target / file.name).open("wb") as out:
            for _ in range(int(whole)):
                out.write(text)
            out.write(text[:cut])
    (target / "some.dev").write_text("A line.\n" * 10)


def clean(folder: Path) -> None:
    """Raw text to the corpus artifact."""
    build_corpus(Corpus(path=str(folder / "raw")), folder / "corpus")


def train(folder: Path) -> None:
    """The corpus artifact to a tokenizer."""
    texts = (piece.text for piece in read_pieces(folder / "corpus", "train"))
    save_tokenizer(train_tokenizer(texts, VOCABULARY), folder / "tokenizer")


def tokenize_and_pack(folder: Path) -> None:
    """The corpus artifact to token ids."""
    (folder / "tokens").mkdir(exist_ok=True)
    pieces = read_pieces(folder / "corpus", "train")
    pack(pieces, load_tokenizer(folder / "tokenizer"), folder / "tokens", "train", separators=True)


STEPS: dict[str, Callable[[Path], None]] = {
    "clean": clean,
    "train the tokenizer": train,
    "tokenize and pack": tokenize_and_pack,
}


def measured(step: str, folder: Path) -> tuple[float, float]:
    """Seconds and peak MiB of one step, in a process of its own."""
    context = multiprocessing.get_context("spawn")
    receive, send = context.Pipe(duplex=False)
    process = context.Process(target=_run, args=(step, folder, send))
    process.start()
    seconds, memory = receive.recv()
    process.join()
    return seconds, memory


def _run(step: str, folder: Path, send: multiprocessing.connection.Connection) -> None:
    started = time.perf_counter()
    STEPS[step](folder)
    seconds = time.perf_counter() - started
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    largest_child = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    unit = 1 << 20 if sys.platform == "darwin" else 1 << 10
    send.send((seconds, (own + cores() * largest_child) / unit))


def main() -> None:
    """Measure every size and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpus", type=Path, help="a folder of *.train files")
    parser.add_argument("--words", type=float, nargs="+", default=[1, 10, 40], help="millions")
    arguments = parser.parse_args()
    raw = sum(len(f.read_text("utf-8").split()) for f in arguments.corpus.glob("*.train"))
    print(f"{cores()} cores, vocabulary {VOCABULARY:,}\n")
    print("| words | step | seconds | million words a second | peak memory, MiB |")
    print("| ---: | :--- | ---: | ---: | ---: |")
    rows = []
    for millions in arguments.words:
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            scaled(arguments.corpus, folder / "raw", millions * 1e6 / raw)
            (folder / "corpus").mkdir()
            for step in STEPS:
                seconds, memory = measured(step, folder)
                rate = millions / seconds
                print(f"| {millions:g} M | {step} | {seconds:.1f} | {rate:.2f} | {memory:.0f} |")
                row = {"million_words": millions, "step": step, "seconds": seconds}
                rows.append({**row, "peak_mib": memory})
            parts = [row["seconds"] for row in rows[-3:] if row["step"] != "train the tokenizer"]
            print(f"| {millions:g} M | *all but the tokenizer's training* | {sum(parts):.1f} | "
                  f"{millions / sum(parts):.2f} | |")  # fmt: skip
    Path("benchmarks/corpus.json").write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
