"""The run directory: links into the store, the status, and what the last run was made of."""

import json
import os
import socket
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from babyllama.errors import RecipeError
from babyllama.recipe import Recipe
from babyllama.schema import flatten
from babyllama.stages import Stage
from babyllama.store import STORE, locked, read_manifest, write_json, write_text

SCORE_FILES = {".json": "scores.json", ".items.npy": "items.npy"}
"""How the files of scores end in the run directory, and their names in the artifact."""
ROOMS = ("models", "weights", "signal", "ensembles", "suites")
LINKED = (*(f"{room}/*" for room in ROOMS), "scores/*/*", "checkpoints/*/*")
"""Where links to artifacts are that a recipe may no longer have."""


@dataclass(frozen=True)
class RunDirectory:
    """`runs/<name>/`: what a user opens."""

    path: Path

    @property
    def store_root(self) -> Path:
        """The store that neighbouring runs share."""
        return self.path.parent / STORE

    def create(self) -> None:
        """Make the folder.

        Raises:
            RecipeError: its place is taken by a file, or the system refuses.
        """
        if self.path.exists() and not self.path.is_dir():
            raise RecipeError(f"--run-dir {self.path} is a file: name a folder")
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            reason = error.strerror
            raise RecipeError(f"--run-dir {self.path}: {reason}: choose another folder") from None

    def locked(self) -> AbstractContextManager[None]:
        """Hold the folder for this process.

        Raises:
            BabyllamaError: another process runs in it.
        """
        return locked(
            self.path / ".lock",
            lambda holder: (
                f"run directory {self.path} is in use by {holder}: wait for it, or choose another"
                " --run-dir"
            ),
        )

    def write_recipe(self, recipe: Recipe) -> None:
        """Keep the resolved recipe; it can be run again as it is."""
        write_text(self.path / "recipe.yaml", recipe_yaml(recipe))

    def write_status(self, state: str, **details: Any) -> None:
        """`status.json`: running, done, stopped or failed, and where."""
        process = {"process": os.getpid(), "host": socket.gethostname()}
        written = time.strftime("%Y-%m-%dT%H:%M:%S%z")
        write_json(
            self.path / "status.json", {"state": state, **details, **process, "time": written}
        )

    def previous(self) -> dict[str, dict[str, Any]]:
        """Stage name -> settings and inputs when it was last up to date here."""
        try:
            rows = json.loads((self.path / "stages.json").read_text("utf-8"))
            return {row["stage"]: row for row in rows}
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return {}

    def write_stages(
        self, stages: Sequence[Stage], folders: Mapping[str, Path], made: set[str]
    ) -> None:
        """`stages.json`: what every stage is made of, how long it took, and what was reused.

        A stage that this run has not come to keeps its row of an earlier run.
        """
        rows = self.previous()
        for stage in stages:
            if stage.name in folders:
                rows[stage.name] = {
                    "stage": stage.name,
                    "seconds": read_manifest(folders[stage.name])["seconds"],
                    "reused": stage.name not in made,
                    "fingerprint": stage.identity.fingerprint,
                    "settings": stage.identity.settings,
                    "inputs": stage.identity.inputs,
                }
        kept = [rows[stage.name] for stage in stages if stage.name in rows]
        write_json(self.path / "stages.json", kept)

    def link(self, name: str, artifact: Path) -> None:
        """Show an artifact under the stage's name; of scores, the files."""
        if name.startswith("scores/"):
            for suffix, file in SCORE_FILES.items():
                self._link((self.path / name).with_suffix(suffix), artifact / file)
        else:
            self._link(self.path / name, artifact)

    def _link(self, place: Path, target: Path) -> None:
        place.parent.mkdir(parents=True, exist_ok=True)
        beside = place.with_name(f".{place.name}.new")
        beside.unlink(missing_ok=True)
        beside.symlink_to(os.path.relpath(target.resolve(), place.parent.resolve()))
        beside.replace(place)

    def drop_unused_links(self, stages: Sequence[Stage]) -> None:
        """Drop links to stages that the recipe no longer has: the report shows what is linked.

        A user's own files and links may lie beside them.
        """
        wanted = {self.path / stage.name for stage in stages}
        scores = [path for path in wanted if path.parts[-3:-2] == ("scores",)]
        wanted |= {path.with_suffix(suffix) for path in scores for suffix in SCORE_FILES}
        store = self.store_root.resolve()
        for pattern in LINKED:
            for path in [*self.path.glob(pattern)]:
                ours = path.is_symlink() and path.resolve().is_relative_to(store)
                if ours and path not in wanted:
                    path.unlink()
                    if pattern.endswith("/*/*") and not any(path.parent.iterdir()):
                        path.parent.rmdir()


def recipe_yaml(recipe: Recipe) -> str:
    """The resolved recipe as YAML, in the order of its sections."""
    return yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def why_stale(stage: Stage, before: Mapping[str, Any] | None) -> str:
    """What changed since the stage was last up to date in this run directory; empty if unknown."""
    if not before or before["fingerprint"] == stage.identity.fingerprint:
        return ""
    old, new = flatten(before["settings"]), flatten(stage.identity.settings)
    changed = [
        f"{key} {old.get(key)} -> {new.get(key)}"
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key)
    ]
    inputs = stage.identity.inputs
    changed += [f"{name} changed" for name in inputs if before["inputs"].get(name) != inputs[name]]
    return ", ".join(changed) or "the program changed"
