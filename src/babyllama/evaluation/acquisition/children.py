"""The 2023 variant: how well surprisal tells, in months, when children learn words.

Beside every model stand the same deviation without surprisal, the difference of the two, and the
deviation with surprisal dealt out to words at random: where these are as good, the number says
something about concreteness, frequency and category, and nothing about the model.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from rich.table import Table
from rich.text import Text
from torch.nn import Module

from babyllama.devices import pick_device, prepare_torch
from babyllama.evaluation.acquisition.files import model_digests
from babyllama.evaluation.acquisition.regression import (
    PERMUTATIONS,
    Vector,
    design,
    left_out_deviations,
    log_frequency,
    permuted_deviations,
    residualised,
)
from babyllama.evaluation.acquisition.utterances import average_surprisals, read_utterances
from babyllama.evaluation.acquisition.words import CATEGORIES, ListedWord, read_words
from babyllama.evaluation.statistics import interval
from babyllama.evaluation.surprisal import Alignment
from babyllama.models.folders import load_model
from babyllama.recipe import Prefix
from babyllama.store import joint_digest
from babyllama.tokens.tokenizer import load_tokenizer

GROUPS = ("overall", *CATEGORIES)


@dataclass(frozen=True, kw_only=True)
class Fit:
    """What one model's surprisal makes of the words that it measures."""

    words: Sequence[ListedWord]
    """Those with a surprisal, in the order of the list."""
    missing: Sequence[ListedWord]
    """Those without: they never occur, or only where nothing comes before them."""
    deviations: Vector
    """Absolute, in months, each word left out of its fit, [words]; so are the two below."""
    without: Vector
    permuted: Vector
    """[permutations, words]"""

    def figures(self, group: str) -> dict[str, tuple[float, float | None]]:
        """Metric -> value and standard error in months, over the words of a group.

        The permutations' mean has the error that 200 of them leave, their quantiles have none.
        """
        words = np.array([group in ("overall", word.category) for word in self.words])
        dealt = self.permuted[:, words].mean(axis=1)
        low, high = interval(dealt)
        return {
            "deviation": _mean(self.deviations[words]),
            "deviation without surprisal": _mean(self.without[words]),
            "difference": _mean((self.deviations - self.without)[words]),
            "deviation with permuted surprisal": _mean(dealt),
            "deviation with permuted surprisal, 2.5 %": (low, None),
            "deviation with permuted surprisal, 97.5 %": (high, None),
        }

    def size(self, group: str) -> int:
        """How many words a group has."""
        return sum(group in ("overall", word.category) for word in self.words)


def _mean(values: Vector) -> tuple[float, float]:
    """Mean and its standard error."""
    return float(values.mean()), float(values.std(ddof=1)) / math.sqrt(len(values))


@dataclass(frozen=True)
class Acquisition:
    """What some models say about one list of words."""

    prefix: Prefix
    alignment: Alignment
    seed: int
    data_digest: str
    fits: Mapping[str, Fit]
    """Model -> its fit."""
    model_digests: Mapping[str, str]

    @property
    def rules(self) -> str:
        """How it was measured, in words."""
        return (
            f"age-of-acquisition-2023, alignment {self.alignment}, prefix {self.prefix}, precision"
            f" fp32, {PERMUTATIONS} permutations of seed {self.seed}"
        )

    def rows(self) -> list[dict[str, Any]]:
        """One row a figure, in months, and one a word that could not be measured."""
        shared = {
            "suite": "age of acquisition 2023",
            "convention": self.rules,
            "limit": None,
            "data_sha256": self.data_digest,
        }
        return [
            {"model": model, **figure, **shared, "model_sha256": self.model_digests[model]}
            for model, fit in self.fits.items()
            for figure in _rows(fit)
        ]

    def table(self) -> Table:
        """Every model with what stands beside it, by group."""
        table = Table(title="Leave-one-out deviation in months", box=None, pad_edge=False)
        table.caption = Text(f"{self.rules}. ± standard error over words; [95 % of permutations].")
        table.add_column("")
        sizes = next(iter(self.fits.values()))
        for group in GROUPS:
            same = {fit.size(group) for fit in self.fits.values()} == {sizes.size(group)}
            count = f" ({sizes.size(group)})" if same else ""
            table.add_column(f"{group.replace('_', ' ')}{count}", justify="right")
        for model, fit in self.fits.items():
            for label, cells in _lines(model, fit).items():
                table.add_row(Text(label), *cells)
        return table

    def notes(self) -> Iterator[str]:
        """Which words could not be measured, a line a model."""
        for model, fit in self.fits.items():
            if fit.missing:
                names = ", ".join(f"{word.form} ({word.category})" for word in fit.missing)
                yield (
                    f"{model}: {len(fit.words)} words measured, {len(fit.missing)} have no"
                    f" surprisal in these utterances: {names}"
                )


def _rows(fit: Fit) -> Iterator[dict[str, Any]]:
    for group in GROUPS:
        for metric, (value, error) in fit.figures(group).items():
            n = fit.size(group)
            yield {
                "task": group,
                "metric": metric,
                "value": value,
                "standard_error": error,
                "n": n,
            }
    for word in fit.missing:
        task = f"not measured/{word.form}/{word.definition}"
        yield {"task": task, "metric": "words", "value": 0, "standard_error": None, "n": 0}


def _lines(model: str, fit: Fit) -> dict[str, list[str]]:
    """Label -> a cell a group."""
    found = [fit.figures(group) for group in GROUPS]

    def cells(metric: str, sign: str = "") -> list[str]:
        pairs = [figures[metric] for figures in found]
        return [f"{value:{sign}.3f} ± {error:.3f}" for value, error in pairs]

    permuted = "deviation with permuted surprisal"
    bounds = [[figures[f"{permuted}, {end} %"][0] for end in (2.5, 97.5)] for figures in found]
    means = [figures[permuted][0] for figures in found]
    return {
        model: cells("deviation"),
        "  without surprisal": cells("deviation without surprisal"),
        "  difference": cells("difference", "+"),
        "  permuted surprisal": [
            f"{mean:.3f} [{low:.3f}, {high:.3f}]"
            for mean, (low, high) in zip(means, bounds, strict=True)
        ],
    }


def acquisition(
    folders: Sequence[Path],
    words_file: Path,
    utterances_file: Path,
    *,
    prefix: Prefix = "newline",
    alignment: Alignment = "before",
    seed: int = 1,
) -> Acquisition:
    """Measure every model of a list on one list of words and one set of utterances.

    Raises:
        RecipeError: a missing file or folder, a model named twice, or an utterance that is longer
            than a model's positions.
        CorruptDataError: a bad file, or too few words for the regression.
        BabyllamaError: a tokenizer without the prefix.
    """
    digests = model_digests(folders)
    words = read_words(words_file)
    utterances = read_utterances(utterances_file, {word.form for word in words})
    device = pick_device("auto")
    prepare_torch(device, None)
    fits = {}
    for folder in folders:
        model, tokenizer = load_model(folder), load_tokenizer(folder)
        cast(Module, model).to(device)
        means = average_surprisals(model, tokenizer, utterances, prefix=prefix, alignment=alignment)
        fits[str(folder)] = fit(words, means, seed)
    return Acquisition(
        prefix=prefix,
        alignment=alignment,
        seed=seed,
        data_digest=joint_digest([words_file, utterances_file]),
        fits=fits,
        model_digests=digests,
    )


def fit(words: Sequence[ListedWord], means: Mapping[str, float], seed: int = 1) -> Fit:
    """The deviations of the words that have a mean surprisal, in bits, by form.

    Raises:
        CorruptDataError: too few words for the regression.
    """
    measured = [word for word in words if word.form in means]
    months = np.array([word.months for word in measured])
    surprisal = np.array([means[word.form] for word in measured])
    residuals = residualised(surprisal, log_frequency(measured))
    return Fit(
        words=measured,
        missing=[word for word in words if word.form not in means],
        deviations=left_out_deviations(design(measured, residuals), months),
        without=left_out_deviations(design(measured, None), months),
        permuted=np.array([*permuted_deviations(measured, residuals, months, seed)]),
    )
