"""What a step of a run is, and the steps of a recipe as they are added."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from babyllama import builders
from babyllama.recipe import Recipe
from babyllama.store import Identity, Store
from babyllama.training.health import StopRequest


@dataclass(frozen=True)
class Stage:
    """One step of a run."""

    name: str
    """`corpus`, `models/student`, `scores/student/blimp`: also its place in the run directory."""
    identity: Identity
    build: Callable[[Path, Path], None]
    """Called with the folder to fill and a folder for state that outlives a kill."""


class Stages:
    """The stages of a recipe so far, by name; an input is added before what is made of it."""

    def __init__(self, recipe: Recipe, store: Store, stop: StopRequest) -> None:
        self.recipe = recipe
        self.store = store
        self.stop = stop
        self.stages: dict[str, Stage] = {}

    def add(
        self,
        name: str,
        kind: str,
        settings: Mapping[str, Any],
        inputs: Mapping[str, str],
        build: Callable[[Path, Path], None],
    ) -> None:
        """Add a stage; see `Stage` and `Identity`."""
        identity = Identity(kind, builders.VERSIONS[kind], settings, inputs)
        self.stages[name] = Stage(name, identity, build)

    def path(self, name: str) -> Path:
        """Where a stage's artifact is or will be."""
        return self.store.path(self.stages[name].identity)

    def inputs(self, *names: str) -> dict[str, str]:
        """Stage -> fingerprint."""
        return {name: self.stages[name].identity.fingerprint for name in names}

    def fingerprint(self, name: str) -> str:
        """What a stage is made from, as one word."""
        return self.stages[name].identity.fingerprint

    def first_alike(self, name: str) -> str:
        """The first stage that makes the same as a new one, which is dropped if it is another."""
        fingerprint = self.fingerprint(name)
        found = next(n for n, s in self.stages.items() if s.identity.fingerprint == fingerprint)
        if found != name:
            del self.stages[name]
        return found

    def model_folders(self, names: Iterable[str]) -> dict[str, Path]:
        """Model -> where it is or will be."""
        return {name: self.path(f"models/{name}") for name in names}

    def validation_settings(self) -> dict[str, Any]:
        """What decides the validation subset, beside the tokens."""
        return self.recipe.tokens.model_dump(include={"chunk_length", "validation_chunks"})
