"""One classifier from its data to its results: split, tune, train, score what is reported once."""

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from babyllama.evaluation.finetuning.classifier import Classifier, make_classifier
from babyllama.evaluation.finetuning.curves import draw_tries
from babyllama.evaluation.finetuning.encoding import encode
from babyllama.evaluation.finetuning.files import Example, TaskData
from babyllama.evaluation.finetuning.presets import PresetName, Settings, preset_note
from babyllama.evaluation.finetuning.results import METRICS, Result, Selection, read_result
from babyllama.evaluation.finetuning.splits import held_out, limited
from babyllama.evaluation.finetuning.tasks import TASKS, Task, metric_value, standard_error
from babyllama.evaluation.finetuning.training import Fit, Items, fit
from babyllama.evaluation.finetuning.tuning import GRID, tune
from babyllama.models.folders import save_model
from babyllama.tokens.tokenizer import load_tokenizer

VERSION = 1
"""Raised when a change of code alters results from the same settings."""


@dataclass(frozen=True, kw_only=True)
class Choices:
    """What a command asks for, beside models and tasks."""

    preset: PresetName = "pipeline"
    selection: Selection = "held-out"
    seeds: tuple[int, ...] = ()
    """Without any, the preset's."""
    limit: int | None = None
    """Items a split, at most."""
    split_reported: bool = False
    tune: bool = False
    save_models: bool = False
    predictions: Path | None = None
    """The hand-in that gets them, if one does."""
    precision: str = "auto"


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A pretrained model, and the folder for what it does."""

    folder: Path
    digest: str
    place: Path


@dataclass(frozen=True, kw_only=True)
class Job:
    """A classifier to train, and the tasks that are scored with it."""

    subject: Subject
    task: Task
    """Whose training items it learns."""
    data: Mapping[str, TaskData]
    """Scored task -> its items; several where one classifier serves several tasks."""
    settings: Settings
    choices: Choices
    device: torch.device
    pause: Callable[[], None]
    """Called between steps and batches; it raises when asked to stop."""

    @property
    def label(self) -> str:
        """What the job is called in messages."""
        return f"{self.subject.folder.name} {self.task.name} seed {self.settings.seed}"

    def file(self, scored: str) -> Path:
        """Where the result of a task is or will be."""
        digest = self._fingerprint(scored, self.settings)
        return self.subject.place / f"{scored}-seed-{self.settings.seed}-{digest}.json"

    def _fingerprint(self, scored: str, settings: Settings) -> str:
        """Eight digits over all that decides a result: model, data, settings, rules."""
        digests = [each.digest for name, each in self.data.items() if name == scored]
        if self.choices.selection == "reported" or not digests:
            digests.append(self._own.digest)
        body: dict[str, Any] = {
            "version": VERSION,
            "task": scored,
            "model": self.subject.digest,
            "data": digests,
            "settings": asdict(settings),
            "selection": self.choices.selection,
            "limit": self.choices.limit,
            "precision": self.choices.precision,
            "tuning": [*GRID.items(), self._tuning_seed] if self.choices.tune else None,
        }
        if self.choices.selection == "held-out" and self.task.passage:
            # Not in `version`, so that results of tasks without passages stay valid.
            body["held out"] = "whole passages"
        return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()[:8]

    @property
    def model_folder(self) -> Path:
        """Where the trained classifier is kept, if that is asked for."""
        return self.file(next(iter(self.data))).with_suffix("")

    @property
    def is_done(self) -> bool:
        """Whether all that is asked for is there."""
        kept = not self.choices.save_models or self.model_folder.is_dir()
        return kept and all(self.file(name).exists() for name in self.data)

    @property
    def _own(self) -> TaskData:
        """The items of `task` itself, which train and, if asked to, select."""
        first = next(iter(self.data.values()))
        return first.base or first

    @property
    def _tuning_seed(self) -> int:
        return (*self.choices.seeds, self.settings.seed)[0]

    @cached_property
    def _tokenizer(self) -> Any:
        return load_tokenizer(self.subject.folder)

    def results(self) -> list[Result]:
        """The results, read from their files, under the names that this command uses."""
        model, note = str(self.subject.folder), preset_note(self.choices.preset, self.task)
        return [
            replace(
                read_result(self.file(name)), model=model, preset=self.choices.preset, note=note
            )
            for name in self.data
        ]

    def run(self) -> None:
        """Train, score, and write one file a task.

        Raises:
            DivergedError: a loss that is not finite, or no try of the grid without one.
            BabyllamaError: a model, or data, that cannot be used.
        """
        started = time.monotonic()
        classifier = self._classifier(self.settings)
        longest = min(self.settings.max_length, classifier.positions)
        train, selection = self._parts(self.settings.seed, longest)
        settings, tuning = self.settings, None
        if self.choices.tune:
            settings, tuning = self._tune(longest)
            classifier = self._classifier(settings)
        fitted = self._fit(classifier, settings, train, selection, self.label)
        if self.choices.save_models:
            self._save(classifier)
        for name, data in self.data.items():
            result = self._scored(name, data, classifier, fitted, longest)
            result |= {
                "settings": asdict(settings),
                "tuning": tuning,
                "training_n": len(train.rows),
                "selection_n": len(selection.rows),
                "seconds": round(time.monotonic() - started, 3),
            }
            Result(**result).write(self.file(name))

    def _parts(self, seed: int, longest: int) -> tuple[Items, Items]:
        """What is trained on, and what selects, with the split of a seed."""
        train = limited(self._own.train, self.choices.limit)
        if self.choices.selection == "held-out":
            share, passage = self.settings.selection_share, self.task.passage_place
            train, selection = held_out(train, share, seed, passage)
        else:
            reported = limited(self._own.reported, self.choices.limit)
            selection = [example for example in reported if example.scored]
        return self._items(self.task, train, longest), self._items(self.task, selection, longest)

    def _items(self, task: Task, examples: Sequence[Example], longest: int) -> Items:
        rows = encode(self._tokenizer, task, examples, longest)
        return Items(rows, [example.label for example in examples])

    def _classifier(self, settings: Settings) -> Classifier:
        return make_classifier(
            self.subject.folder,
            self.task,
            self._tokenizer,
            seed=settings.seed,
            device=self.device,
            precision=self.choices.precision,
        )

    def _fit(
        self,
        classifier: Classifier,
        settings: Settings,
        train: Items,
        selection: Items,
        label: str,
    ) -> Fit:
        return fit(
            classifier,
            train,
            selection,
            settings,
            self.task.metric,
            label=label,
            pause=self.pause,
        )

    def _tune(self, longest: int) -> tuple[Settings, dict[str, Any]]:
        """The grid's best settings with this job's seed; the curves are drawn beside the result.

        Tries are made with the first of the seeds, and with the split that it gives.
        """
        train, selection = self._parts(self._tuning_seed, longest)
        first = replace(self.settings, seed=self._tuning_seed)
        name = f"{self.task.name}-tuning-{self._fingerprint(self.task.name, first)}"

        def attempt(settings: Settings) -> Fit:
            told = f"learning rate {settings.learning_rate:g}, batch size {settings.batch_size}"
            label = f"{self.label}, {told}, {settings.max_epochs} epochs"
            return self._fit(self._classifier(settings), settings, train, selection, label)

        best, tuning = tune(first, attempt, self.subject.place / name)
        title = f"{self.subject.folder.name}, {self.task.name}: {len(tuning['tries'])} tries"
        if tuning["roughness"]["erratic"]:
            title += ", erratic (†)"
        picture = self.subject.place / f"{name}.png"
        draw_tries(picture, title, METRICS[self.task.metric], tuning["tries"])
        return replace(best, seed=self.settings.seed), tuning

    def _save(self, classifier: Classifier) -> None:
        """Keep the trained classifier as a Hugging Face folder, whole or not at all."""
        beside = self.model_folder.with_name(f".{self.model_folder.name}.new")
        shutil.rmtree(beside, ignore_errors=True)
        save_model(classifier.model, self.subject.folder, beside)
        shutil.rmtree(self.model_folder, ignore_errors=True)
        beside.rename(self.model_folder)

    def _scored(
        self, name: str, data: TaskData, classifier: Classifier, fitted: Fit, longest: int
    ) -> dict[str, Any]:
        """The reported items of a task, read this once, and what their scores are."""
        task = TASKS[name]
        reported = limited(data.reported, self.choices.limit)
        items = self._items(task, reported, longest)
        predicted = classifier.read(items.rows, self.pause).argmax(1).tolist()
        counted = [at for at, example in enumerate(reported) if example.scored]
        gold, found = [items.labels[at] for at in counted], [predicted[at] for at in counted]
        return {
            "model": str(self.subject.folder),
            "task": name,
            "group": task.group,
            "metric": task.metric,
            "value": metric_value(task.metric, gold, found),
            "standard_error": standard_error(task.metric, gold, found),
            "n": len(counted),
            "seed": self.settings.seed,
            "labels": task.labels,
            "selection": self.choices.selection,
            "preset": self.choices.preset,
            "note": preset_note(self.choices.preset, self.task),
            "precision": self.choices.precision,
            "limit": self.choices.limit,
            "split_of_reported": data.split_of_reported,
            "best": asdict(fitted.best),
            "curve": [asdict(each) for each in fitted.curve],
            "predictions": [
                {"id": example.id, "pred": pred}
                for example, pred in zip(reported, predicted, strict=True)
            ],
            "files": {role: str(path) for role, path in data.files.items()},
            "data_sha256": data.digest,
            "model_sha256": self.subject.digest,
            "fingerprint": self._fingerprint(name, self.settings),
        }
