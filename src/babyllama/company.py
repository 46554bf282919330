"""Several processes of one run: the first makes all of it, the others join in its trainings."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from babyllama.devices import pick_device, prepare_torch
from babyllama.errors import BabyllamaError, DivergedError, StoppedError, exit_code
from babyllama.plan import plan
from babyllama.recipe import Recipe
from babyllama.stages import Stage
from babyllama.store import Store
from babyllama.training.health import StopRequest
from babyllama.training.processes import Processes

AGREED = (StoppedError, DivergedError)
"""How a training ends in all of its processes alike."""


class Leader:
    """The first process: it calls the others to trainings, and tells them how the run ended."""

    def __init__(self, company: Processes) -> None:
        self.company = company
        self.in_training = False

    def calling(self, stages: list[Stage]) -> list[Stage]:
        """The same stages, of which models call the other processes first."""
        return [
            self._calling(stage) if stage.name.startswith("models/") else stage for stage in stages
        ]

    def _calling(self, stage: Stage) -> Stage:
        def build(out: Path, work: Path) -> None:
            self.in_training = True
            self.company.tell({"stage": stage.name, "fingerprint": stage.identity.fingerprint})
            try:
                stage.build(out, work)
            except AGREED:
                self.in_training = False
                raise
            self.in_training = False

        return replace(stage, build=build)

    @contextmanager
    def ending(self) -> Iterator[None]:
        """Send the others home at the end, with the exit code of this process.

        Those that are in a training wait for no word: they learn of an end that they have not
        agreed on as this process is gone.
        """
        try:
            yield
        except BaseException as error:
            if not self.in_training:
                with suppress(BabyllamaError):
                    self.company.tell({"end": exit_code(error)})
            raise
        self.company.tell({"end": 0})


def follow(recipe: Recipe, store: Store, company: Processes) -> None:
    """Join in the trainings that the first process calls to, until it says how the run ended.

    Raises:
        SystemExit: it failed or was stopped, and has told why.
        BabyllamaError: it is gone, or this process sees another text than the first one.
    """
    warnings.simplefilter("ignore")  # the first process warns
    prepare_torch(pick_device(recipe.runtime.device), recipe.runtime.threads)
    stop = StopRequest()
    stages: dict[str, Stage] = {}
    with stop.listening():
        while "end" not in (word := company.tell()):
            stages = stages or {stage.name: stage for stage in plan(recipe, store, stop)}
            identity = stages[word["stage"]].identity
            if identity.fingerprint != word["fingerprint"]:
                raise BabyllamaError(
                    f"{word['stage']}: process {company.rank} sees other inputs than the first:"
                    " give all the same recipe and the same files"
                )
            with suppress(*AGREED):
                stages[word["stage"]].build(store.path(identity), store.partial(identity))
    if word["end"]:
        raise SystemExit(word["end"])
