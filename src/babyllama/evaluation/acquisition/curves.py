"""The 2025 variant: do models come to know words in the order in which children do?

A word's surprisal over the checkpoints of a training gives it an age in words seen, the share of
children who say it gives it one in months, and the score is Pearson's r of the two over words.
Two rules turn the same surprisals into it. `babylm-2025` is the pipeline to the letter (see
`sigmoids`; evaluation_pipeline/AoA_word and calculate_results_from_pred.py): every context of a
word is a point of its own, the minimum is that of single points, and surprisal in nats is compared
with chance in bits, log2 of 300,000, so half-way lies higher than it should. `mean-bits` is what
Chang and Bergen (2022) describe: the mean over contexts, in bits, and chance among as many words as
the model has tokens.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, cast

import numpy as np
from rich.table import Table
from rich.text import Text
from scipy.stats import pearsonr
from torch.nn import Module

from babyllama.devices import pick_device, prepare_torch
from babyllama.errors import RecipeError
from babyllama.evaluation.acquisition.contexts import (
    MONTHS,
    Context,
    Vector,
    fitted,
    read_contexts,
    read_curves,
)
from babyllama.evaluation.acquisition.files import model_digests
from babyllama.evaluation.acquisition.sigmoids import PARAMETERS, child_age, model_age
from babyllama.evaluation.scoring import prefix_ids
from babyllama.evaluation.surprisal import surprisals
from babyllama.models.architectures import longest_input
from babyllama.models.folders import load_model, saved_by_words
from babyllama.recipe import Prefix
from babyllama.store import joint_digest
from babyllama.tokens.tokenizer import load_tokenizer

RULES = ("babylm-2025", "mean-bits")
PIPELINE_CHANCE = math.log2(300_000)
LEAST = 3
"""Words that a correlation needs."""


def checkpoints(folder: Path) -> dict[int, Path]:
    """Words seen -> the model of that moment, rising: enough of them for a curve.

    Raises:
        RecipeError: no such folder, or too few of them.
    """
    found = saved_by_words(folder)
    if len(found) < PARAMETERS:
        raise RecipeError(
            f"{folder} holds {len(found)} models as by-words/words-N, and a curve needs at least"
            f" {PARAMETERS}: train it with training.save_at_words=babylm"
        )
    return found


@dataclass(frozen=True)
class Correlation:
    """Pearson's r with its standard error, Fisher's 95 % interval and two-sided p-value."""

    r: float
    standard_error: float
    low: float
    high: float
    p: float


@dataclass(frozen=True, kw_only=True)
class Ages:
    """When one model knows each word, by one rule, and when children do."""

    model: Mapping[str, float | None]
    """Word -> log10 of the words seen; None where the curve gives no age."""
    children: Mapping[str, float | None]
    """Word -> months."""

    @property
    def both(self) -> list[tuple[float, float]]:
        """(log10 words, months) of the words that have both."""
        pairs = ((age, self.children[word]) for word, age in self.model.items())
        return [(age, months) for age, months in pairs if age is not None and months is not None]

    def correlation(self) -> Correlation | None:
        """Pearson's r; None for fewer than three words, or ages that are all the same."""
        ages, months = np.array(self.both).reshape(-1, 2).T
        if len(ages) < LEAST or np.ptp(ages) == 0 or np.ptp(months) == 0:
            return None
        found = pearsonr(ages, months)
        low, high = found.confidence_interval(0.95)
        r = float(found.statistic)
        error = math.sqrt((1 - r * r) / (len(ages) - 2))
        return Correlation(r, error, float(low), float(high), float(found.pvalue))


@dataclass(frozen=True)
class Curves:
    """What some models' checkpoints say about one set of words."""

    prefix: Prefix
    data_digest: str
    contexts: Mapping[str, int]
    """Word -> how many contexts it has."""
    ages: Mapping[tuple[str, str], Ages]
    """(model, rule) -> ages."""
    seen: Mapping[str, Sequence[int]]
    """Model -> the words seen of its checkpoints."""
    model_digests: Mapping[str, str]

    def rows(self) -> list[dict[str, Any]]:
        """The correlation of each model by each rule, then the ages of every word."""
        return [
            {
                "model": model,
                **figure,
                "suite": "age of acquisition 2025",
                "convention": f"{rule}, prefix {self.prefix}, precision fp32,"
                f" {len(self.seen[model])} checkpoints",
                "limit": None,
                "data_sha256": self.data_digest,
                "model_sha256": self.model_digests[model],
            }
            for (model, rule), ages in self.ages.items()
            for figure in self._figures(ages)
        ]

    def _figures(self, ages: Ages) -> Iterator[dict[str, Any]]:
        found, n = ages.correlation(), len(ages.both)
        r, error, p = (found.r, found.standard_error, found.p) if found else (None, None, None)
        yield _figure("correlation", "pearson r", r, error, n)
        yield _figure("correlation", "p", p, None, n)
        for word, age in ages.model.items():
            months, count = ages.children[word], self.contexts[word]
            yield _figure(f"word/{word}", "log10 of words seen", age, None, count)
            yield _figure(f"word/{word}", "months of children", months, None, count)

    def table(self) -> Table:
        """The correlations, and how many words have no age and why."""
        table = Table(title="Ages of words in training and in children", box=None, pad_edge=False)
        table.caption = Text(f"Pearson's r, prefix {self.prefix}; [95 % interval].")
        headings = ("checkpoints", "rule", "r", "p", "words", "no contexts", "no age of children")
        for heading in ("model", *headings, "no age of the model"):
            table.add_column(heading, justify="left" if heading in ("model", "rule") else "right")
        for (model, rule), ages in self.ages.items():
            found = ages.correlation()
            r = f"{found.r:+.3f} [{found.low:+.3f}, {found.high:+.3f}]" if found else "-"
            p = f"{found.p:.4f}" if found else "-"
            counts = (len(ages.both), *self._lost(ages))
            table.add_row(
                Text(model), str(len(self.seen[model])), rule, Text(r), p, *map(str, counts)
            )
        return table

    def _lost(self, ages: Ages) -> tuple[int, int, int]:
        """Words without contexts; of the others, without an age of children; of those, of ours."""
        heard = [word for word in ages.model if self.contexts[word]]
        said = [word for word in heard if ages.children[word] is not None]
        unknown = [word for word in said if ages.model[word] is None]
        return len(ages.model) - len(heard), len(heard) - len(said), len(unknown)


def _figure(
    task: str, metric: str, value: float | None, error: float | None, n: int
) -> dict[str, Any]:
    return {"task": task, "metric": metric, "value": value, "standard_error": error, "n": n}


def acquisition_curves(
    folders: Sequence[Path],
    contexts_file: Path,
    curves_file: Path,
    *,
    prefix: Prefix = "newline",
    say: Callable[[str], None] = lambda _: None,
) -> Curves:
    """Compare the checkpoints of every model of a list with children.

    Words are those of the children's curves. `say` is told of every checkpoint.

    Raises:
        RecipeError: a missing file or folder, a model named twice or without checkpoints.
        CorruptDataError: a bad file.
        BabyllamaError: a tokenizer without the prefix.
    """
    saved = {str(folder): checkpoints(folder) for folder in folders}
    digests = model_digests(folders)
    read, shares = read_contexts(contexts_file), read_curves(curves_file)
    contexts = {word: read.get(word, []) for word in shares}
    months = np.array(MONTHS, dtype=float)
    children = {word: child_age(months, share) for word, share in shares.items()}
    prepare_torch(pick_device("auto"), None)
    ages: dict[tuple[str, str], Ages] = {}
    for model, moments in saved.items():
        bits = _measured(moments, contexts, prefix, say)
        tokens = len(load_tokenizer([*moments.values()][-1]))
        for rule in RULES:
            known = {word: _age(rule, [*moments], own, tokens) for word, own in bits.items()}
            ages[model, rule] = Ages(model=known, children=children)
    return Curves(
        prefix=prefix,
        data_digest=joint_digest([contexts_file, curves_file]),
        contexts={word: len(listed) for word, listed in contexts.items()},
        ages=ages,
        seen={model: [*moments] for model, moments in saved.items()},
        model_digests=digests,
    )


def _measured(
    moments: Mapping[int, Path],
    contexts: Mapping[str, Sequence[Context]],
    prefix: Prefix,
    say: Callable[[str], None],
) -> dict[str, Vector]:
    """Word -> bits [checkpoints, contexts]."""
    every = [context for listed in contexts.values() for context in listed]
    rows = []
    for number, folder in enumerate(moments.values(), 1):
        say(f"  {folder}: {number} of {len(moments)}")
        rows.append(context_bits(folder, every, prefix))
    ends = np.cumsum([len(listed) for listed in contexts.values()])[:-1]
    return dict(zip(contexts, np.split(np.array(rows), ends, axis=1), strict=True))


def context_bits(folder: Path, contexts: Sequence[Context], prefix: Prefix) -> list[float]:
    """Bits of the listed word of each context, its tokens summed; nan where nothing precedes it.

    A context that is too long for the model loses its earliest words.
    """
    model, tokenizer = load_model(folder), load_tokenizer(folder)
    cast(Module, model).to(pick_device("auto"))
    # The last token is scored and not read.
    room = longest_input(model) + 1 - len(prefix_ids(tokenizer, prefix))
    lines = fitted([context.words for context in contexts], tokenizer, room)
    said = groupby(surprisals(model, tokenizer, lines, prefix), key=lambda word: word.line)
    return [
        sum(word.bits for word in [*words][-len(context.word.split()) :])
        for context, (_, words) in zip(contexts, said, strict=True)
    ]


def _age(rule: str, seen: Sequence[int], bits: Vector, vocabulary: int) -> float | None:
    """The log10 of the words seen at which a word of bits [checkpoints, contexts] is known."""
    if not bits.size:
        return None
    words = np.array(seen, dtype=float)
    if rule == "babylm-2025":
        points = np.repeat(words, bits.shape[1])
        return model_age(points, bits.ravel() * math.log(2), PIPELINE_CHANCE)
    return model_age(words, _means(bits), math.log2(vocabulary))


def _means(bits: Vector) -> Vector:
    """The mean over contexts that have a surprisal, [checkpoints]; the same ones everywhere."""
    known = bits[:, ~np.isnan(bits).any(axis=0)]
    return known.mean(axis=1) if known.size else np.full(len(bits), np.nan)
