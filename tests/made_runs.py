"""Runs as the pipeline leaves them, with made-up scores and validation losses."""

import json
from pathlib import Path

import numpy as np

from babyllama.evaluation.minimal_pairs import Paradigm, summarise
from babyllama.rundir import RunDirectory

SUITE = [
    Paradigm(name, phenomenon, [("good", "bad")] * size)
    for name, phenomenon, size in (("one", "x", 120), ("two", "x", 60), ("three", "y", 100))
]
CONVENTION = {"name": "babyllama", "prefix": "newline", "ties": "half", "precision": "fp32"}
TOKENS = {"chunk_length": 16, "validation_chunks": 8}


def items(accuracy: float, seed: int = 0, pairs: int = 280) -> np.ndarray:
    """Log-probabilities of good and bad; the same seed misses the same pairs first."""
    good = np.random.default_rng(seed).random(pairs)
    return np.stack([accuracy - good, np.zeros(pairs)], axis=1)


def add_model(
    run: Path,
    name: str,
    /,
    scores: np.ndarray,
    *,
    loss: float | None = None,
    pairs: str = "p1",
    tokens: str = "t1",
    suite: str = "blimp",
    **convention: str,
) -> None:
    """Scores as the pipeline leaves them, and what validation found."""
    artifact = run.parent / ".store" / f"scores-{run.name}-{name}-{suite}"
    artifact.mkdir(parents=True)
    said = {**CONVENTION, **convention}
    found = {"convention": said, **summarise(SUITE, scores.flatten(), said["ties"])}
    (artifact / "scores.json").write_text(json.dumps(found))
    np.save(artifact / "items.npy", scores)
    write_manifest(artifact, {f"suites/{suite}": pairs})
    RunDirectory(run).link(f"scores/{name}/{suite}", artifact)
    if loss is not None:
        folder = run / "models" / name
        folder.mkdir(parents=True)
        validation = {"cross_entropy": loss, "bits_per_byte": loss / 3}
        (folder / "training.json").write_text(json.dumps({"validation": validation}))
        write_manifest(folder, {"tokens": tokens})


def write_manifest(folder: Path, inputs: dict[str, str]) -> None:
    found = {"files": {}, "seconds": 1, "inputs": inputs, "settings": TOKENS}
    (folder / "manifest.json").write_text(json.dumps(found))
