"""Models from any folders on one suite, and their ensemble: a table, and rows to join."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from rich.table import Table
from rich.text import Text
from transformers import PreTrainedModel

from babyllama.devices import pick_device, prepare_torch, resolve_precision
from babyllama.distillation.loss import Pool
from babyllama.distillation.teachers import Teachers
from babyllama.errors import RecipeError
from babyllama.evaluation.baselines import described, kinds, score_sentences
from babyllama.evaluation.conventions import Convention
from babyllama.evaluation.minimal_pairs import (
    Pair,
    Paradigm,
    choices,
    read_suite,
    sentences,
    suite_digest,
    summarise,
)
from babyllama.evaluation.rows import check_ids
from babyllama.evaluation.scorers import ensemble_scorer
from babyllama.evaluation.scoring import encode, score, too_long
from babyllama.models.architectures import longest_input
from babyllama.models.folders import check_folders, folder_digest, load_model, model_kind
from babyllama.models.kinds import Kind
from babyllama.tokens.tokenizer import load_tokenizer, tokenizer_rules


@dataclass(frozen=True)
class Evaluation:
    """What some models scored on one suite."""

    suite: str
    convention: Convention
    precision: str
    limit: int | None
    """Pairs a paradigm, from its beginning; all of them without."""
    data_digest: str
    scores: Mapping[str, Mapping[str, Any]]
    """Model -> what `summarise` gives."""
    chosen: Mapping[str, Mapping[Pair, str]]
    """Model -> pair -> the sentence that it finds more probable."""
    model_digests: Mapping[str, str]
    kinds: Mapping[str, Kind]
    """Folder -> kind of its model."""

    def rows(self) -> list[dict[str, Any]]:
        """One row a figure, macro means first; every row says how it was scored."""
        return [
            {
                "model": model,
                **figure,
                "suite": self.suite,
                "convention": ", ".join(f"{key} {value}" for key, value in told.items()),
                "limit": self.limit,
                "data_sha256": self.data_digest,
                "model_sha256": self.model_digests[model],
            }
            for model, told in self._told().items()
            for figure in _figures(self.scores[model])
        ]

    def _told(self) -> dict[str, dict[str, str]]:
        """Model -> how it was scored; an ensemble is one of causal models."""
        return {
            model: described(self.kinds.get(model, "causal"), self.convention, self.precision)
            for model in self.scores
        }

    def table(self) -> Table:
        """The macro means, the convention's headline first, and every phenomenon, in %."""
        told = ", ".join(
            f"{key.replace('_', ' ')} {value}"
            for key, value in self.convention.described(self.precision).items()
        )
        part = f", first {self.limit} pairs a paradigm" if self.limit else ""
        table = Table(title=Text(f"{self.suite}{part}"), box=None, pad_edge=False)
        table.caption = Text(told)
        table.add_column("accuracy in %")
        for model in self.scores:
            table.add_column(Text(model), justify="right", overflow="fold")
        ways = [told.get("scored_by", "log-probability") for told in self._told().values()]
        if any(kind != "causal" for kind in self.kinds.values()):
            table.caption = Text(f"{told}; prefix and precision are those of causal models")
            table.add_row("scored by", *map(Text, ways), end_section=True)
        columns = [_lines(summary, self.convention.headline) for summary in self.scores.values()]
        for label in columns[0]:
            table.add_row(Text(label), *(column[label] for column in columns))
        return table


def _figures(summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The figures of one model, as task, metric, value, standard error and n."""
    named = [
        *((f"macro/{of}", summary[f"macro_{of}"]) for of in ("phenomena", "paradigms")),
        *((f"phenomenon/{row['phenomenon']}", row) for row in summary["phenomena"]),
        *((f"paradigm/{row['paradigm']}", row) for row in summary["paradigms"]),
    ]
    return [
        {
            "task": task,
            "metric": "accuracy",
            "value": row["accuracy"],
            "standard_error": row["standard_error"],
            "n": row["n"],
        }
        for task, row in named
    ]


def _lines(summary: Mapping[str, Any], headline: str) -> dict[str, str]:
    """Label -> accuracy and standard error of one model."""
    other = "paradigms" if headline == "phenomena" else "phenomena"
    macros = {of: summary[f"macro_{of}"] for of in (headline, other)}
    rows = {f"mean of {_counted(row['n'], of)}": row for of, row in macros.items()}
    rows |= {f"  {row['phenomenon']}": row for row in summary["phenomena"]}
    return {
        label: f"{100 * row['accuracy']:.2f} ± {100 * row['standard_error']:.2f}"
        for label, row in rows.items()
    }


def _counted(n: int, of: str) -> str:
    """As `12 phenomena`, `1 paradigm`."""
    one = {"phenomena": "phenomenon", "paradigms": "paradigm"}
    return f"{n} {one[of] if n == 1 else of}"


def evaluate(
    folders: Sequence[Path],
    suite: Path,
    convention: Convention,
    *,
    limit: int | None = None,
    pool: Pool | None = None,
    precision: str = "auto",
) -> Evaluation:
    """Score every model of a list and, with `pool`, all of them pooled with equal weights.

    Raises:
        RecipeError: a missing folder, a model named twice, a pool of models that do not fit
            together, or a sentence longer than a model's positions.
        CorruptDataError: a bad pair file, or a folder that holds no model.
    """
    found = kinds(folders, convention, pooled=bool(pool))
    groups = _groups(folders, pool)
    device = pick_device("auto")
    prepare_torch(device, None)
    exact = resolve_precision(precision, device)
    pairs = [replace(paradigm, pairs=paradigm.pairs[:limit]) for paradigm in read_suite(suite)]
    digests = {str(folder): folder_digest(folder) for folder in folders}
    if pool:
        together = "\n".join(digests.values())
        digests[_pooled(pool)] = hashlib.sha256(together.encode()).hexdigest()
    score_one = partial(_score, pairs, convention, pool or "logits", precision=exact, device=device)
    answers = {name: score_one(members) for name, members in groups.items()}
    return Evaluation(
        suite=suite.resolve().name,
        convention=convention,
        precision=exact,
        limit=limit,
        data_digest=suite_digest(suite),
        scores={name: summarise(pairs, each, convention.ties) for name, each in answers.items()},
        chosen={name: choices(pairs, each) for name, each in answers.items()},
        model_digests=digests,
        kinds=found,
    )


def _groups(folders: Sequence[Path], pool: Pool | None) -> dict[str, Sequence[Path]]:
    """Name -> the models that are scored as one."""
    check_folders(folders)
    groups: dict[str, Sequence[Path]] = {str(folder): [folder] for folder in folders}
    if not pool:
        return groups
    if len(folders) == 1:
        raise RecipeError("--pool takes two models or more: name another or leave --pool out")
    rules = [tokenizer_rules(load_tokenizer(folder)) for folder in folders]
    for folder, own in zip(folders, rules, strict=True):
        if own != rules[0]:
            raise RecipeError(
                f"--pool: {folder} has another tokenizer than {folders[0]}: pool models that were"
                " trained on one"
            )
    return groups | {_pooled(pool): folders}


def _pooled(pool: Pool) -> str:
    return f"ensemble ({pool})"


def _score(
    pairs: Sequence[Paradigm],
    convention: Convention,
    pool: Pool,
    members: Sequence[Path],
    *,
    precision: str,
    device: torch.device,
) -> npt.NDArray[np.float64]:
    """The score of every sentence of a suite by pooled models, or by a model alone."""
    texts = sentences(pairs)
    if (kind := model_kind(members[0])) != "causal":
        return score_sentences(members[0], kind, texts, convention, device)
    tokenizer = load_tokenizer(members[0])
    rows = encode(tokenizer, texts, convention.prefix, leading_space=convention.leading_space)
    ensemble = Teachers({str(folder): load_model(folder) for folder in members}).to(device)
    for name, model in ensemble.models.items():
        _check_fits(name, model, texts, rows)
    return score(
        ensemble_scorer(ensemble, pool, precision),
        rows,
        vocabulary=len(tokenizer),
        positions=min(longest_input(model) for model in ensemble.models.values()),
        device=device,
        normalise=convention.normalise,
    )


def _check_fits(
    name: str, model: PreTrainedModel, texts: Sequence[str], rows: Sequence[tuple[int, ...]]
) -> None:
    positions = longest_input(model)
    if long := too_long(texts, rows, positions):
        raise RecipeError(f"{long}, and {name} has {positions}: leave the sentence out")
    check_ids(name, model, rows)
