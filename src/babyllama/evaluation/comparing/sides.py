"""Models of finished runs: what each answered, how it did on the validation text, what it cost."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from babyllama.errors import BabyllamaError, RecipeError
from babyllama.evaluation.comparing.answers import Answers, read_answers, read_json
from babyllama.store import read_manifest

MEASURES = ("cross_entropy", "bits_per_byte")
SPENT = ("flops", "teacher_flops", "teacher_training_flops")


@dataclass(frozen=True)
class Run:
    """A run directory with scores, and what tables call it."""

    path: Path
    name: str

    def scored(self) -> list[str]:
        """The names of the models, and ensembles, that it has scores of."""
        return sorted(path.name for path in (self.path / "scores").iterdir() if path.is_dir())


@dataclass(frozen=True)
class Side:
    """One model of one run directory."""

    run: Run
    model: str

    def __str__(self) -> str:
        return f"{self.run.name}/{self.model}"

    @property
    def folder(self) -> Path:
        """The model's folder; an ensemble has none."""
        return self.run.path / "models" / self.model

    @property
    def weights(self) -> Any:
        """What tells its weights from those of other models."""
        return weights_in(self.folder)

    @property
    def record(self) -> Path:
        """The file that says how it does on the validation text, and what it cost."""
        ensemble = self.run.path / "ensembles" / self.model / "ensemble.json"
        return ensemble if ensemble.is_file() else self.folder / "training.json"

    def flops(self) -> float | None:
        """Operations spent on it, and on its teachers or members; None where it is not told."""
        found = read_json(self.record) if self.record.is_file() else {}
        values = [found[key] for key in SPENT if key in found]
        return float(sum(values)) if len(values) == len(SPENT) else None

    def scores(self, suite: str) -> Path:
        """The file with its accuracies on a suite."""
        return self.run.path / "scores" / self.model / f"{suite}.json"

    def suites(self) -> list[str]:
        """The suites that it has scores on."""
        folder = self.run.path / "scores" / self.model
        return sorted(path.stem for path in folder.glob("*.json"))

    def answers(self, suite: str) -> Answers:
        """What it answered on a suite.

        Raises:
            BabyllamaError: scores of an older version, which has not kept the answers.
        """
        found = read_answers(self.scores(suite), suite)
        if found is None:
            raise BabyllamaError(
                f"{self.run.path}: the scores of {self.model} on {suite} have no {suite}.items.npy:"
                " run that recipe again, which makes only the scores anew"
            )
        return found

    def validation(self) -> dict[str, float]:
        """Cross-entropy in nats per token and bits per byte, as far as they were measured."""
        file = self.record
        found = (read_json(file).get("validation") or {}) if file.is_file() else {}
        values = {key: found.get(key) for key in MEASURES}
        return {key: float(value) for key, value in values.items() if value is not None}

    def validated_on(self) -> Any:
        """What decides the validation subset: the tokens, and how they are cut."""
        return validation_subset(self.record.parent)


def validation_subset(artifact: Path) -> Any:
    """The tokens that an artifact was validated on, and how they were cut, by its manifest."""
    manifest = read_manifest(artifact)
    cut = ("chunk_length", "validation_chunks")
    return manifest["inputs"].get("tokens"), *(manifest["settings"].get(key) for key in cut)


def weights_in(artifact: Path, below: str = "") -> Any:
    """The digests of the weights that lie directly below a place in a model's artifact.

    The place itself where its manifest names no weights.
    """
    files = read_manifest(artifact)["files"].items()
    here = {name.removeprefix(below): file for name, file in files if name.startswith(below)}
    found = {name: file["sha256"] for name, file in here.items() if _is_weights(name)}
    return tuple(sorted(found.items())) or (artifact / below).resolve()


def _is_weights(name: str) -> bool:
    return name.endswith(".safetensors") and "/" not in name


def open_runs(runs: Sequence[Path]) -> list[Run]:
    """Run directories under their names, or as they were given where two have the same name.

    Raises:
        RecipeError: one of them is none.
    """
    for run in runs:
        if not (run / "scores").is_dir():
            raise RecipeError(
                f"{run} is no run with scores: give the folder of a finished run whose recipe has"
                " suites (evaluation.suites)"
            )
    paths = [run.resolve() for run in runs]
    names = {path.name for path in paths}
    clash = len(names) < len({*paths})
    return [
        Run(path, str(run) if clash else path.name) for path, run in zip(paths, runs, strict=True)
    ]
