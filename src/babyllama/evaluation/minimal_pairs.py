"""Minimal pairs: which of two sentences does a model find more probable?

A suite is a folder of JSON lines with `sentence_good` and `sentence_bad`. Rows with the same `UID`
are a paradigm; rows without one are the paradigm of their file. `linguistics_term` names the
phenomenon; without it a file of several paradigms is the phenomenon, and otherwise the paradigm
itself.
"""

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from babyllama.errors import CorruptDataError, RecipeError
from babyllama.evaluation.conventions import Ties
from babyllama.evaluation.lines import json_lines
from babyllama.store import joint_digest

Pair = tuple[str, str]
"""(good, bad)"""
READ_KEYS = ("sentence_good", "sentence_bad", "UID", "linguistics_term")
TIE_COUNTS: Mapping[Ties, float] = {"half": 0.5, "good": 1.0}
# BLiMP's articles count its 13th label, s-selection, as argument structure: 12 phenomena.
SAME_PHENOMENON = {"s-selection": "argument_structure"}


@dataclass(frozen=True)
class Paradigm:
    """Pairs that show one contrast."""

    name: str
    phenomenon: str
    pairs: Sequence[Pair]


def read_suite(folder: Path) -> list[Paradigm]:
    """All paradigms of a folder, by file name and, within a file, in the order of their first rows.

    Raises:
        RecipeError: no such folder, or no pair files in it.
        CorruptDataError: a line that is not a pair, a file without lines, or a paradigm in two
            files, whose pairs may be there twice.
    """
    found: dict[str, Path] = {}
    suite = []
    for path in _pair_files(folder):
        for paradigm in _read_file(path):
            if paradigm.name in found:
                raise CorruptDataError(
                    f"{path} and {found[paradigm.name].name} both hold pairs of"
                    f" {paradigm.name!r}: put them into one file"
                )
            found[paradigm.name] = path
            suite.append(paradigm)
    return suite


def read_pairs(folder: Path) -> dict[str, list[Pair]]:
    """File, without its ending -> its pairs in the order of its lines, whatever their `UID`.

    Raises:
        RecipeError, CorruptDataError: as `read_suite`.
    """
    return {
        path.stem: [(row["sentence_good"], row["sentence_bad"]) for row in _read_rows(path)]
        for path in _pair_files(folder)
    }


def _pair_files(folder: Path) -> list[Path]:
    """The `.jsonl` files of a folder, or, where there are none, the `.json` files (BabyLM 2023).

    Beside `.jsonl` a `.json` file is a note about the folder, such as a manifest.
    """
    if not folder.is_dir():
        raise RecipeError(f"suite folder {folder} does not exist: check evaluation.suites")
    endings = ("*.jsonl", "*.json")
    each = (sorted(path for path in folder.glob(end) if path.is_file()) for end in endings)
    files = next(filter(None, each), [])
    if not files:
        raise RecipeError(f"suite folder {folder} holds no .jsonl or .json files of minimal pairs")
    return files


def suite_digest(folder: Path) -> str:
    """One digest over the pair files of a folder, which are read now so that a bad one shows.

    Raises:
        RecipeError, CorruptDataError: as `read_suite`.
    """
    read_suite(folder)
    return joint_digest(_pair_files(folder))


def _read_file(path: Path) -> list[Paradigm]:
    """The paradigms of one file: its rows by `UID`."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in _read_rows(path):
        groups.setdefault(row.get("UID") or path.stem, []).append(row)
    paradigms = []
    for name, rows in groups.items():
        of_file = name if len(groups) == 1 else path.stem
        phenomenon = rows[0].get("linguistics_term") or of_file
        pairs = [(row["sentence_good"], row["sentence_bad"]) for row in rows]
        paradigms.append(Paradigm(name, SAME_PHENOMENON.get(phenomenon, phenomenon), pairs))
    return paradigms


def _read_rows(path: Path) -> list[dict[str, Any]]:
    rows = [_checked(path, number, row) for number, row in json_lines(path)]
    if not rows:
        raise CorruptDataError(f"{path} holds no pairs: delete the file or fill it")
    return rows


def _checked(path: Path, number: int, row: Any) -> dict[str, Any]:
    for key in ("sentence_good", "sentence_bad"):
        if not isinstance(row, dict) or not isinstance(row.get(key), str) or not row[key].strip():
            raise CorruptDataError(f"{path}, line {number} has no text under {key!r}: add it")
    for key in READ_KEYS:
        _check_text(path, number, key, row.get(key))
    return dict(row)


def _check_text(path: Path, number: int, key: str, value: Any) -> None:
    if value is not None and not isinstance(value, str):
        raise CorruptDataError(
            f"{path}, line {number} has {json.dumps(value)[:60]} under {key!r}: give text or leave"
            " it out"
        )
    # JSON may escape half of a surrogate pair, which no tokenizer takes.
    if value and (half := re.search(r"[\ud800-\udfff]", value)):
        raise CorruptDataError(
            f"{path}, line {number} has half a surrogate pair, {half[0]!a}, under {key!r}:"
            " write the whole character"
        )


def sentences(suite: Sequence[Paradigm]) -> list[str]:
    """Every sentence of a suite: good and bad in turn, in order."""
    return [text for paradigm in suite for pair in paradigm.pairs for text in pair]


def choices(suite: Sequence[Paradigm], scores: npt.NDArray[np.float64]) -> dict[Pair, str]:
    """Pair -> the sentence that scores higher, from the scores of `sentences(suite)`.

    Of two that score the same it is the good one, as in the pipelines of BabyLM.
    """
    pairs = [pair for paradigm in suite for pair in paradigm.pairs]
    good = scores[0::2] >= scores[1::2]
    return {pair: pair[0 if first else 1] for pair, first in zip(pairs, good, strict=True)}


def summarise(
    suite: Sequence[Paradigm], scores: npt.NDArray[np.float64], ties: Ties = "half"
) -> dict[str, Any]:
    """Accuracies (0 to 1) with standard errors, from the scores of `sentences(suite)`.

    A tie, two sentences that score the same, counts as half or as correct.

    A phenomenon's accuracy is over its pooled pairs, as in BabyLM 2023, whose files hold a
    phenomenon each. The macro over phenomena and the macro over paradigms are plain means. A
    standard error covers the sampling of pairs alone, treated as independent: the variance of the
    outcomes over n for a paradigm, which is p(1-p)/n where no tie counts half.
    """
    margins = scores[0::2] - scores[1::2]
    outcomes = np.where(margins > 0, 1.0, np.where(margins == 0, TIE_COUNTS[ties], 0.0))
    rows, begin = [], 0
    for paradigm in suite:
        part = slice(begin, begin + len(paradigm.pairs))
        begin = part.stop
        row = {"paradigm": paradigm.name, "phenomenon": paradigm.phenomenon}
        rows.append({**row, **_accuracy(outcomes[part]), "ties": int((margins[part] == 0).sum())})
    phenomena = [
        {"phenomenon": name, **_pooled([row for row in rows if row["phenomenon"] == name])}
        for name in sorted({row["phenomenon"] for row in rows})
    ]
    return {
        "paradigms": rows,
        "phenomena": phenomena,
        "macro_phenomena": _macro(phenomena),
        "macro_paradigms": _macro(rows),
    }


def _accuracy(outcomes: npt.NDArray[np.float64]) -> dict[str, float | int]:
    mean, n = float(outcomes.mean()), len(outcomes)
    return {"accuracy": mean, "standard_error": math.sqrt(outcomes.var() / n), "n": n}


def _pooled(rows: Sequence[Mapping[str, Any]]) -> dict[str, float | int]:
    n = sum(row["n"] for row in rows)
    shares = [row["n"] / n for row in rows]
    mean = sum(s * row["accuracy"] for s, row in zip(shares, rows, strict=True))
    error = math.hypot(*(s * row["standard_error"] for s, row in zip(shares, rows, strict=True)))
    return {"accuracy": mean, "standard_error": error, "n": n}


def _macro(rows: Sequence[Mapping[str, Any]]) -> dict[str, float | int]:
    mean = sum(row["accuracy"] for row in rows) / len(rows)
    error = math.hypot(*(row["standard_error"] for row in rows)) / len(rows)
    return {"accuracy": mean, "standard_error": error, "n": len(rows)}
