"""What a model answered on a suite, pair by pair, read back from the scores of a run."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import compress
from pathlib import Path
from typing import Any

import numpy as np

from babyllama.errors import CorruptDataError
from babyllama.evaluation.minimal_pairs import TIE_COUNTS
from babyllama.evaluation.statistics import (
    Paired,
    Strata,
    Vector,
    by_paradigm,
    by_phenomenon,
    paired,
)
from babyllama.store import MANIFEST, read_manifest, verify_stored


@dataclass(frozen=True, kw_only=True, eq=False)
class Answers:
    """The outcome of every pair of a suite, by the tie rule of its convention.

    Paradigms are in the order of the suite, with their phenomena and their numbers of pairs.
    """

    outcomes: Vector
    """[pairs]: 1 right, 0 wrong, and what a tie counts."""
    paradigms: tuple[str, ...]
    phenomena: tuple[str, ...]
    sizes: tuple[int, ...]
    convention: Mapping[str, str]
    pairs: str
    """The fingerprint of the pairs; empty where the scores are a copy without a manifest."""
    scores: Path
    """The artifact."""

    def of_phenomenon(self, phenomenon: str) -> "Answers":
        """The paradigms of one phenomenon alone."""
        chosen = [name == phenomenon for name in self.phenomena]

        def kept(values: tuple[Any, ...]) -> tuple[Any, ...]:
            return tuple(compress(values, chosen))

        return replace(
            self,
            outcomes=self.outcomes[np.repeat(chosen, self.sizes)],
            paradigms=kept(self.paradigms),
            phenomena=kept(self.phenomena),
            sizes=kept(self.sizes),
        )

    def strata(self, over: str) -> Strata:
        """The paradigms, weighted for the macro mean over `phenomena` or `paradigms`."""
        if over == "paradigms":
            return by_paradigm(self.sizes)
        return by_phenomenon(self.sizes, self.phenomena)

    @cached_property
    def rule(self) -> Mapping[str, str]:
        """The convention without what is its name or the choice of a headline."""
        labels = ("name", "headline")
        return {key: value for key, value in self.convention.items() if key not in labels}


def read_answers(scores: Path, suite: str | None = None) -> Answers | None:
    """The answers behind `scores/<model>/<suite>.json`; none where `<suite>.items.npy` is missing.

    `suite` is its name where the file has another, as that of a checkpoint.

    Raises:
        CorruptDataError: a file that is not what the pipeline writes, or accuracies that the
            items do not give.
    """
    items = scores.with_suffix(".items.npy")
    if not items.is_file():
        return None
    found = read_json(scores)
    artifact = scores.resolve().parent
    verify_stored(artifact)
    try:
        rows, convention = found["paradigms"], dict(found["convention"])
        answers = Answers(
            outcomes=_outcomes(np.load(items), TIE_COUNTS[convention["ties"]]),
            paradigms=tuple(str(row["paradigm"]) for row in rows),
            phenomena=tuple(str(row["phenomenon"]) for row in rows),
            sizes=tuple(int(row["n"]) for row in rows),
            convention=convention,
            pairs=_fingerprint(artifact, suite or scores.stem),
            scores=artifact,
        )
        stated = [float(row["accuracy"]) for row in rows]
        agree = sum(answers.sizes) == len(answers.outcomes) and np.allclose(
            answers.strata("paradigms").means(answers.outcomes), stated, rtol=0, atol=1e-9
        )
    except (OSError, EOFError, ValueError, KeyError, TypeError, IndexError) as error:
        raise _corrupt(items, f"{type(error).__name__} {error}") from None
    if not agree:
        raise _corrupt(items, f"they do not give the accuracies in {scores.name}")
    return answers


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object of a run directory.

    Raises:
        CorruptDataError: it is none.
    """
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise _corrupt(path, str(error)) from None
    if not isinstance(found, dict):
        raise _corrupt(path, "it is no JSON object")
    return found


def _fingerprint(artifact: Path, suite: str) -> str:
    if not (artifact / MANIFEST).is_file():
        return ""
    return str(read_manifest(artifact)["inputs"][f"suites/{suite}"])


def _outcomes(items: Vector, tie: float) -> Vector:
    good, bad = items[:, 0], items[:, 1]
    return np.where(good > bad, 1.0, np.where(good == bad, tie, 0.0))


def _corrupt(path: Path, reason: str) -> CorruptDataError:
    return CorruptDataError(
        f"{path} is not as the pipeline writes it ({reason}): delete {path.resolve().parent} and"
        " run again"
    )


def unlike(a: Answers, b: Answers) -> str:
    """How the pairs or the conventions of two models differ; empty where they do not."""
    for each in (a, b):
        if not each.pairs:
            return f"{each.scores} has no manifest.json, which tells what the pairs were"
    if (a.pairs, a.paradigms, a.sizes) != (b.pairs, b.paradigms, b.sizes):
        return (
            f"the pairs differ ({sum(a.sizes):,} with fingerprint {a.pairs[:8]}, {sum(b.sizes):,}"
            f" with {b.pairs[:8]})"
        )
    differing = [
        f"{key} {a.rule.get(key, 'not stated')} and {b.rule.get(key, 'not stated')}"
        for key in sorted(a.rule.keys() | b.rule.keys())
        if a.rule.get(key) != b.rule.get(key)
    ]
    return f"the conventions differ ({', '.join(differing)})" if differing else ""


def obstacle(a: Answers, b: Answers) -> str:
    """Why two models cannot be compared pair by pair; empty where they can."""
    reason = unlike(a, b)
    if reason:
        return reason
    single = next((name for name, n in zip(a.paradigms, a.sizes, strict=True) if n < 2), None)
    return f"paradigm {single} has a single pair, which cannot vary" if single else ""


def paired_difference(a: Answers, b: Answers, over: str) -> Paired:
    """A minus B on the pairs that both answered, macro over `phenomena` or `paradigms`."""
    return paired(a.outcomes, b.outcomes, a.strata(over))
