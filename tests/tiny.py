"""A corpus, pairs and a recipe so small that a run takes seconds, and a way to run commands.

Commands run in processes of their own, with real signals and exit codes, but forked from a server
that has imported the package once: an import of torch costs more than all of a tiny run.
"""

import json
import multiprocessing
import os
import random
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import yaml

NOUNS = ["king", "queen", "boy", "girl", "man", "woman", "child", "dog", "cat", "horse"]
PLURALS = ["kings", "queens", "boys", "girls", "men", "women", "children", "dogs", "cats", "horses"]
ADJECTIVES = ["good", "old", "young", "great", "small", "happy", "angry", "strong", "poor"]
LLAMA = {"type": "llama", "layers": 1, "heads": 2, "width": 16, "feed_forward": 32, "positions": 64}
TRAINING = {
    "epochs": 1,
    "batch_size": 32,
    "learning_rate": 2e-3,
    "warmup_steps": 2,
    "precision": "fp32",
}

# Of a recipe that ships, on a text of seconds with pairs beside it.
QUICK = [
    "corpus.path=text",
    "corpus.words=null",
    "tokenizer.vocabulary=300",
    "tokens.chunk_length=16",
    "tokens.validation_chunks=8",
    "training.epochs=1",
    "training.warmup_steps=2",
    "training.precision=fp32",
    "report.sample_tokens=4",
    "evaluation.suites.generated=null",
    "evaluation.suites.pairs=pairs",
    "runtime.device=cpu",
    "runtime.threads=1",
]

EVERY_ARCHITECTURE = LLAMA | {"dropout": 0.1, "options": {"rope_theta": 5000.0}}
EVERY_TRAINING = {
    "epochs": 2,
    "steps": 5,
    "batch_size": 8,
    "learning_rate": 1e-3,
    "schedule": "cyclic",
    "cycles": 2,
    "warmup_steps": 3,
    "final_learning_rate": 0.1,
    "weight_decay": 0.1,
    "optimizer": "muon",
    "muon": {"learning_rate": 2e-3, "momentum": 0.9},
    "sam": {"rho": 0.1, "adaptive": True, "last_epochs": 1},
    "betas": [0.8, 0.9],
    "epsilon": 1e-7,
    "clip_norm": 0.5,
    "spikes": "warn",
    "curriculum": {"buckets": [["story"], ["other"]], "mixed": False},
    "random_offsets": True,
    "precision": "fp32",
    "keep": "best",
    "select_by": "objective",
    "ema": 0.9,
    "ascent": False,
    "save_at_words": [10, 20],
    "micro_batch": 4,
    "checkpoint_minutes": 2.0,
}
EVERY_CLEANER = {
    "base": "cbt",
    "drop_lines": ["^#"],
    "drop": ["\\[.\\]"],
    "replace": [["a", "b"]],
    "document": "^Chapter",
}
EVERY_DISTILLATION = {
    "temperature": 3.0,
    "ce_weight": 0.25,
    "ce_weight_schedule": "wsd",
    "ce_weight_end": 0.75,
    "divergence": "reverse",
    "pool": "logits",
    "kl_reduction": "sequence",
    "teacher_weights": {"llama": 2.0, "gpt2": 1.0},
    "learned_weights": False,
    "best_teachers": 2,
    "mask_inputs": 0.1,
    "signal": "low-rank",
    "cache_angle": 3.0,
    "cache_rank": 5,
    "cache_offsets": 3,
}

_forkserver = multiprocessing.get_context("forkserver")
_forkserver.set_forkserver_preload(["babyllama.pipeline", "babyllama.estimate", "babyllama.cli"])


def sentence(chance: random.Random) -> str:
    """One sentence with agreement, of words that the built-in paradigms know."""
    one = chance.random() < 0.5
    subject, verbs = (NOUNS, ["is", "was"]) if one else (PLURALS, ["are", "were"])
    near = chance.choice([("this", NOUNS), ("that", NOUNS), ("these", PLURALS), ("those", PLURALS)])
    first, second = chance.choice(ADJECTIVES), chance.choice(ADJECTIVES)
    pronoun = chance.choice(["he", "she", "they", "it"])
    return (
        f"The {first} {chance.choice(subject)} {chance.choice(verbs)} {second} and {pronoun} saw"
        f" {near[0]} {chance.choice(near[1])} ."
    )


def write_text(folder: Path, *, sentences: int = 600, seed: int = 0) -> Path:
    """A corpus folder of one file."""
    folder.mkdir(parents=True, exist_ok=True)
    chance = random.Random(seed)  # noqa: S311 (made up)
    lines = "".join(f"{sentence(chance)}\n" for _ in range(sentences))
    (folder / "story.txt").write_text(lines, "utf-8")
    return folder


def write_pairs(folder: Path, pairs: int = 10) -> Path:
    """A suite of two paradigms."""
    folder.mkdir(parents=True, exist_ok=True)
    for verb, other in (("is", "are"), ("was", "were")):
        rows = [
            {
                "sentence_good": f"The {NOUNS[n]} {verb} old .",
                "sentence_bad": f"The {NOUNS[n]} {other} old .",
                "linguistics_term": "agreement",
                "UID": f"agreement_{verb}",
            }
            for n in range(pairs)
        ]
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / f"agreement_{verb}.jsonl").write_text(lines, "utf-8")
    return folder


def recipe(data: Path, **sections: Any) -> dict[str, Any]:
    """Two teachers, a student of both and its twin, on the text and pairs under `data`."""
    return {
        "name": "tiny",
        "corpus": {"path": str(data / "text")},
        "tokenizer": {"vocabulary": 300},
        "tokens": {"chunk_length": 16, "validation_chunks": 8},
        "training": TRAINING,
        "models": {
            "llama": {"architecture": LLAMA},
            "gpt2": {"architecture": {**LLAMA, "type": "gpt2"}},
            "student": {"architecture": LLAMA, "teachers": ["llama", "gpt2"]},
            "control": {"twin_of": "student"},
        },
        "evaluation": {"suites": {"pairs": str(data / "pairs")}},
        "report": {"prompts": ["The king"], "sample_tokens": 4},
        "runtime": {"device": "cpu", "threads": 1},
    } | sections


def full_recipe(data: Path) -> dict[str, Any]:
    """A recipe in which every key has a value, on folders that it makes under `data`."""
    write_text(data / "text", sentences=20)
    write_text(data / "dev", sentences=5, seed=1)
    write_pairs(data / "pairs")
    for name in ("outside", "start"):
        (data / name).mkdir(exist_ok=True)
        (data / name / "config.json").write_text(f'"{name}"')
    student = {
        "architecture": EVERY_ARCHITECTURE,
        "training": EVERY_TRAINING,
        "teachers": ["llama", "gpt2", "outside"],
        "distillation": EVERY_DISTILLATION,
        "seed": 5,
        "healthy": {"kl": [0.1, 0.2]},
    }
    models = {
        "llama": {"architecture": EVERY_ARCHITECTURE, "training": EVERY_TRAINING},
        "gpt2": {
            "architecture": {**EVERY_ARCHITECTURE, "type": "gpt2"},
            "training": {**EVERY_TRAINING, "weight_decay": {"by_ratio": 2.0}},
        },
        "outside": {"checkpoint": str(data / "outside")},
        "start": {"checkpoint": str(data / "start"), "training": EVERY_TRAINING},
        "averaged": {"start": {"model": "student", "weights": "ema"}},
        "student": student,
    }
    raw = recipe(data, models=models, description="all of it", seed=3)
    del raw["training"]
    raw["corpus"] |= {
        "dev_path": str(data / "dev"),
        "words": 50,
        "dev_share": 0.1,
        "clean": False,
        "clean_dev": True,
        "cleaners": {"story": EVERY_CLEANER},
        "bad_bytes": "replace",
        "drop_overlap": True,
        "seed": 2,
    }
    raw["tokens"]["separators"] = False
    both = {"members": ["llama", "gpt2", "outside"], "pool": "logits"}
    raw["ensembles"] = {"both": both}
    raw["evaluation"] |= {"prefix": "<s>", "convention": "lm-eval", "checkpoints": False}
    raw["evaluation"]["normalise"] = "tokens"
    raw["evaluation"]["suites"]["generated"] = "builtin:paradigms"
    raw["report"]["sample_temperature"] = 0.5
    raw["runtime"]["compile"] = "off"
    return raw


def write_recipe(path: Path, raw: dict[str, Any]) -> Path:
    """A recipe as a YAML file."""
    path.write_text(yaml.safe_dump(raw, sort_keys=False), "utf-8")
    return path


@dataclass(frozen=True)
class Finished:
    """What a command left: its exit code and what it printed."""

    code: int
    out: str
    err: str

    @property
    def error_lines(self) -> list[str]:
        """Standard error without warnings and without what a run tells on its way."""
        ways = ("warning: ", "making ", "made ", "up to date ", "going on with ", "  ", "report ")
        return [line for line in self.err.splitlines() if not line.startswith(ways)]


@dataclass
class Command:
    """A command that runs in a process of its own."""

    process: BaseProcess
    folder: Path

    @property
    def err(self) -> str:
        """Standard error so far."""
        return (self.folder / "err").read_text("utf-8")

    def send(self, signal: int) -> None:
        """Send a signal to the process."""
        assert self.process.pid
        os.kill(self.process.pid, signal)

    def wait_for(self, found: Callable[[], object], seconds: float = 60) -> None:
        """Until something is there, while the process runs."""
        end = time.monotonic() + seconds
        while not found():
            assert self.process.is_alive(), self.err
            assert time.monotonic() < end, self.err
            time.sleep(0.01)

    def wait_until_stopped(self) -> None:
        """Until the process, which stops itself, stands still."""
        end, stat = time.monotonic() + 120, Path(f"/proc/{self.process.pid}/stat")
        while stat.read_text("utf-8").rpartition(")")[2].split()[0] not in "tT":
            assert time.monotonic() < end, self.err
            time.sleep(0.01)

    def finish(self, timeout: float = 120) -> Finished:
        """Wait for the end."""
        self.process.join(timeout)
        assert self.process.exitcode is not None, f"still running: {self.err}"
        return Finished(self.process.exitcode, (self.folder / "out").read_text("utf-8"), self.err)


def nothing() -> None:
    """What a process does first unless it is told."""


@contextmanager
def started(
    folder: Path, *arguments: object, first: Callable[[], object] = nothing
) -> Iterator[Command]:
    """Start `babyllama ARGUMENTS` in a folder; kill it at the end if it still runs.

    `first`, which has to be picklable, is called in the process before the command.
    """
    logs = folder / f".command-{len([*folder.glob('.command-*')])}"
    logs.mkdir(parents=True)
    for name in ("out", "err"):
        (logs / name).touch()
    given = (folder, logs, [*map(str, arguments)], first)
    process = _forkserver.Process(target=_command, args=given)
    process.start()
    try:
        yield Command(process, logs)
    finally:
        process.kill()
        process.join()


def babyllama(folder: Path, *arguments: object) -> Finished:
    """Run `babyllama ARGUMENTS` in a folder."""
    with started(folder, *arguments) as command:
        return command.finish()


def _command(folder: Path, logs: Path, arguments: list[str], first: Callable[[], object]) -> None:
    from babyllama.__main__ import main

    os.chdir(folder)
    for number, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(logs / name, os.O_WRONLY | os.O_APPEND), number)
    sys.argv = ["babyllama", *arguments]
    # A shell lets what it runs in the background ignore Ctrl-C, and children inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    first()
    main()
