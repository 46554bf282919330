"""The 11 (Super)GLUE and the 11 MSGS tasks: fields, labels, metric, and how a row becomes text.

Fields, templates and the order of the tasks are those of babylm/evaluation-pipeline-2023
(`finetune_classification.py`, `finetune_all_tasks.sh`), which evaluation-pipeline-2025 keeps
(`evaluation_pipeline/finetune/dataset.py`): the question or the shorter text comes first, so that
cutting a text that is too long takes from the passage. Both give a tokenizer two texts; here a line
break stands between them, for models whose tokenizer has no sign for a pair.
"""

import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef

from babyllama.errors import RecipeError
from babyllama.evaluation.statistics import Vector
from babyllama.seeds import generator

Metric = Literal["mcc", "f1", "accuracy"]
"""Matthews correlation, F1 of label 1, or the share that is right."""
Group = Literal["glue", "msgs"]
RESAMPLES = 999
"""Of the bootstrap behind a standard error."""


@dataclass(frozen=True)
class Task:
    """One classification task: what its rows hold, and what its score is."""

    name: str
    group: Group
    labels: tuple[str, ...]
    """The names of the labels, in the order of their ids."""
    metric: Metric
    fields: tuple[str, ...]
    """The keys of a row that are read, in the order of an example's parts."""
    template: str
    """How the fields become one text."""
    trained_as: str | None = None
    """The task whose classifier is scored, where this one has none of its own."""
    passage: str | None = None
    """The field that several rows may share; a split keeps those rows together."""
    label_key: str = "label"
    """Where a row without `label` keeps its label."""
    long_name: str = ""
    """What the files of a MSGS task are called."""

    @property
    def passage_place(self) -> int | None:
        """Which of an example's parts is the passage; None if rows share none."""
        return self.fields.index(self.passage) if self.passage else None

    def text(self, parts: Sequence[str]) -> str:
        r"""The text that a classifier reads, from an example's parts (in the order of `fields`).

        >>> TASKS["boolq"].text(("is it wet", "It rains."))
        'is it wet\nIt rains.'
        """
        return self.template.format(**dict(zip(self.fields, parts, strict=True)))


def _glue(
    name: str,
    labels: str,
    fields: str,
    template: str = "",
    *,
    metric: Metric = "accuracy",
    passage: str | None = None,
    trained_as: str | None = None,
) -> Task:
    """A (Super)GLUE task; labels and fields are words, and fields without a template are lines."""
    keys = tuple(fields.split())
    return Task(
        name,
        "glue",
        tuple(labels.split()),
        metric,
        keys,
        template or "\n".join(f"{{{key}}}" for key in keys),
        trained_as,
        passage,
    )


def _msgs(name: str, long_name: str) -> Task:
    """An MSGS task; LC and RP ask for a surface feature, all others for a linguistic one."""
    feature = "surface" if name in ("LC", "RP") else "linguistic"
    return Task(
        name,
        "msgs",
        ("0", "1"),
        "mcc",
        ("sentence",),
        "{sentence}",
        label_key=f"{feature}_feature_label",
        long_name=long_name,
    )


_NLI = "entailment neutral contradiction"
_TWO_WAY = "entailment not_entailment"

# The label ids are those of the GLUE and SuperGLUE data sets on the Hugging Face hub, from which
# the files of BabyLM were made. MSGS: the names of the paper's Table 2.
TASKS: Mapping[str, Task] = {
    task.name: task
    for task in (
        _glue("cola", "unacceptable acceptable", "sentence", metric="mcc"),
        _glue("sst2", "negative positive", "sentence"),
        _glue("mrpc", "not_equivalent equivalent", "sentence1 sentence2", metric="f1"),
        _glue("qqp", "not_duplicate duplicate", "question1 question2", metric="f1"),
        _glue("mnli", _NLI, "premise hypothesis", passage="premise"),
        _glue("mnli_mm", _NLI, "premise hypothesis", passage="premise", trained_as="mnli"),
        _glue("qnli", _TWO_WAY, "question sentence", passage="sentence"),
        _glue("rte", _TWO_WAY, "sentence1 sentence2", passage="sentence1"),
        _glue("boolq", "False True", "question passage", passage="passage"),
        _glue(
            "multirc",
            "False True",
            "question answer paragraph",
            "Question: {question} Answer: {answer}\n{paragraph}",
            passage="paragraph",
        ),
        _glue(
            "wsc",
            "False True",
            "span2_text span1_text text",
            'Does "{span2_text}" refer to "{span1_text}" in this passage?\n{text}',
            passage="text",
        ),
        _msgs("CR", "control_raising_control"),
        _msgs("LC", "lexical_content_the_control"),
        _msgs("MV", "main_verb_control"),
        _msgs("RP", "relative_position_control"),
        _msgs("SC", "syntactic_category_control"),
        _msgs("CR_LC", "control_raising_lexical_content_the"),
        _msgs("CR_RTP", "control_raising_relative_token_position"),
        _msgs("MV_LC", "main_verb_lexical_content_the"),
        _msgs("MV_RTP", "main_verb_relative_token_position"),
        _msgs("SC_LC", "syntactic_category_lexical_content_the"),
        _msgs("SC_RP", "syntactic_category_relative_position"),
    )
}
_GROUPS: Mapping[str, Sequence[Group]] = {
    "all": ("glue", "msgs"),
    "glue": ("glue",),
    "msgs": ("msgs",),
}


def resolve_tasks(names: Sequence[str]) -> list[Task]:
    """The tasks that names stand for: tasks, `glue`, `msgs` or `all`; once each, in table order.

    Raises:
        RecipeError: a name that is none of these, or no name.

    >>> [task.name for task in resolve_tasks(["RP", "cola", "RP"])]
    ['cola', 'RP']
    """
    if not names:
        raise RecipeError(f"no task named: give some of {', '.join([*_GROUPS, *TASKS])}")
    for name in names:
        if name not in TASKS and name not in _GROUPS:
            raise RecipeError(_unknown(name))
    groups = {group for name in names for group in _GROUPS.get(name, ())}
    return [task for task in TASKS.values() if task.name in names or task.group in groups]


def _unknown(name: str) -> str:
    """The message for a name that stands for no task; capitals do not hide what was meant."""
    known = {known.lower(): known for known in (*_GROUPS, *TASKS)}
    close = difflib.get_close_matches(name.lower(), known, n=1)
    if close:
        return f"no fine-tuning task {name!r}: did you mean {known[close[0]]!r}?"
    return f"no fine-tuning task {name!r}: expected {', '.join(known.values())}"


def metric_value(metric: Metric, gold: Sequence[int], predicted: Sequence[int]) -> float:
    """The score of predicted label ids against gold ones, [items] each; 1 is best.

    MCC and F1 are of two labels. Where one is not defined it is 0: MCC if all predictions or all
    gold labels are alike, F1 if neither has a 1.
    """
    if metric == "accuracy":
        return float(accuracy_score(gold, predicted))
    if metric == "f1":
        return float(f1_score(gold, predicted, zero_division=0.0))
    if len({*gold, *predicted}) == 1:
        return 0.0  # scikit-learn says so too, but warns
    return float(matthews_corrcoef(gold, predicted))


def standard_error(
    metric: Metric, gold: Sequence[int], predicted: Sequence[int], seed: int = 1
) -> float:
    """How far the score would move with other items of the same kind.

    Accuracy: sqrt(p(1-p)/n). MCC and F1: the standard deviation over bootstrap resamples of the
    items. Items of the same gold and predicted label are alike, so a resample is a multinomial
    draw of how often each such pair comes.
    """
    if metric == "accuracy":
        share = metric_value(metric, gold, predicted)
        return math.sqrt(share * (1 - share) / len(gold))
    counts = np.bincount(2 * np.asarray(gold) + np.asarray(predicted), minlength=4)
    draw = generator(seed, "bootstrap")
    drawn = draw.multinomial(len(gold), counts / len(gold), size=RESAMPLES).astype(float)
    return float(_scores(metric, drawn).std(ddof=1))


def _scores(metric: Metric, counts: Vector) -> Vector:
    """MCC or F1 of many resamples at once, for which scikit-learn would take seconds.

    `counts` are [resamples, 4] of the pairs (gold, predicted) 00, 01, 10 and 11; returns
    [resamples], 0 where a score is not defined.
    """
    tn, fp, fn, tp = counts.T
    above, below = 2 * tp, 2 * tp + fp + fn
    if metric == "mcc":
        above = tp * tn - fp * fn
        below = np.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))
    scores: Vector = np.divide(above, below, out=np.zeros_like(above), where=below > 0)
    return scores
