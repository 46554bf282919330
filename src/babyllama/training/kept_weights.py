"""Models that a training keeps beside its last: by words seen, behind cycles, and their average.

The latter two are what `start.weights` of a recipe can name.
"""

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from babyllama.models.folders import save_model, weights_folder, words_folder
from babyllama.store import sync_tree, write_json
from babyllama.training.averages import Average
from babyllama.training.cycles import ended_cycle
from babyllama.training.job import Job
from babyllama.training.ledger import crossed, words_grid
from babyllama.training.processes import processes


class KeptWeights:
    """What a job asks to be kept, in the folder of its state; the first process writes it."""

    def __init__(self, job: Job, work: Path) -> None:
        self.job = job
        self.work = work
        self.average = Average(job.model, job.settings.ema) if job.settings.ema else None

    def tensors(self) -> dict[str, dict[str, Tensor]]:
        """The part of a checkpoint that a resumed training wants back, by file."""
        return {"average": self.average.tensors} if self.average else {}

    def load(self, tensors: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Put it back."""
        if self.average:
            self.average.load(tensors["average"])

    def take_in(self, steps: int) -> None:
        """Let the average have the weights after so many steps."""
        if self.average:
            self.average.update(steps)

    def save(self, steps: int) -> None:
        """Save the model as it is, where a recipe wants it after so many steps."""
        job = self.job
        if not processes().leads:
            return
        grid = words_grid(job.settings.save_at_words)
        for words in crossed(grid, job.ledger.words(steps - 1), job.ledger.words(steps)):
            save_model(job.model, job.tokenizer, words_folder(self.work, words))
        if cycle := ended_cycle(steps, job.total_steps, job.settings):
            self._save(f"cycle-{cycle}", steps)

    def finish(self) -> None:
        """Save the average of a training that is done."""
        if self.average:
            with self.average.in_place():
                self._save("ema", self.job.total_steps)

    def _save(self, weights: str, steps: int) -> None:
        """Save the model, and beside it what all steps so far have cost."""
        job, folder = self.job, weights_folder(self.work, weights)
        save_model(job.model, job.tokenizer, folder)
        totals = job.ledger.totals(steps, job.passes(steps))
        write_json(folder / "training.json", {"model": job.name, "steps": steps, **totals})
        sync_tree(folder)
