"""The checkpoints that a run has saved by words seen, validated and scored, beside its models."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from babyllama.evaluation.comparing.answers import read_json
from babyllama.evaluation.comparing.sides import (
    MEASURES,
    Run,
    Side,
    validation_subset,
    weights_in,
)
from babyllama.models.folders import words_folder

VALIDATION = Path("_validation", "validation.json")


@dataclass(frozen=True)
class Milestone(Side):
    """A model when it had seen a number of words."""

    words: int

    def __str__(self) -> str:
        return f"{self.run.name}/{self.model} at {self.words:,} words"

    @property
    def folder(self) -> Path:
        """The checkpoint as a model folder."""
        return words_folder(self.run.path / "models" / self.model, self.words)

    @property
    def scored_in(self) -> Path:
        """What its run has of the checkpoints of its model."""
        return self.run.path / "checkpoints" / self.model

    def scores(self, suite: str) -> Path:
        """The file with its accuracies on a suite."""
        return self.scored_in / suite / f"words-{self.words}.json"

    def suites(self) -> list[str]:
        """The suites that it has scores on."""
        return sorted(
            path.parent.name for path in self.scored_in.glob(f"*/words-{self.words}.json")
        )

    @cached_property
    def _validation(self) -> dict[str, Any]:
        return dict(read_json(self.scored_in / VALIDATION).get(str(self.words)) or {})

    def validation(self) -> dict[str, float]:
        """Cross-entropy in nats per token and bits per byte."""
        return {key: float(self._validation[key]) for key in MEASURES if key in self._validation}

    def validated_on(self) -> Any:
        """What decides the validation subset, in the form of a model's."""
        return validation_subset((self.scored_in / VALIDATION).parent)

    @property
    def weights(self) -> Any:
        """What tells its weights from those of other models."""
        artifact = self.run.path / "models" / self.model
        return weights_in(artifact, f"{self.folder.relative_to(artifact)}/")


def milestones(run: Run) -> Iterator[Milestone]:
    """The checkpoints of a run that were validated, by model and words.

    Raises:
        CorruptDataError: a file that is not what the pipeline writes.
    """
    for file in sorted((run.path / "checkpoints").glob(f"*/{VALIDATION}")):
        for words in sorted(map(int, read_json(file))):
            yield Milestone(run, file.parents[1].name, words)
