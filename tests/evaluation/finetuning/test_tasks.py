"""The table of tasks, the names that people give, and the scores."""

import math
import warnings

import numpy as np
import pytest

from babyllama.errors import RecipeError
from babyllama.evaluation.finetuning.tasks import (
    TASKS,
    Metric,
    _scores,
    metric_value,
    resolve_tasks,
    standard_error,
)

GLUE = ["cola", "sst2", "mrpc", "qqp", "mnli", "mnli_mm", "qnli", "rte", "boolq", "multirc", "wsc"]
MSGS = ["CR", "LC", "MV", "RP", "SC", "CR_LC", "CR_RTP", "MV_LC", "MV_RTP", "SC_LC", "SC_RP"]


def test_the_table_holds_the_tasks_of_the_paper() -> None:
    assert [*TASKS] == [*GLUE, *MSGS]
    assert [task.group for task in TASKS.values()] == ["glue"] * 11 + ["msgs"] * 11


def test_metrics_are_those_of_the_published_table() -> None:
    metrics = {name: TASKS[name].metric for name in TASKS}
    assert {name for name in metrics if metrics[name] == "mcc"} == {"cola", *MSGS}
    assert {name for name in metrics if metrics[name] == "f1"} == {"mrpc", "qqp"}


def test_metrics_of_two_labels_are_of_tasks_with_two() -> None:
    assert {name for name in TASKS if len(TASKS[name].labels) != 2} == {"mnli", "mnli_mm"}
    assert {TASKS["mnli"].metric, TASKS["mnli_mm"].metric} == {"accuracy"}


@pytest.mark.parametrize(
    ("name", "parts", "text"),
    [
        ("cola", ("It rained.",), "It rained."),
        ("rte", ("It rained.", "It was wet."), "It rained.\nIt was wet."),
        ("boolq", ("is it {wet}", "It rains."), "is it {wet}\nIt rains."),
        ("multirc", ("Who?", "Ann", "Ann ran."), "Question: Who? Answer: Ann\nAnn ran."),
        (
            "wsc",
            ("she", "Ann", "Ann ran, she fell."),
            'Does "she" refer to "Ann" in this passage?\nAnn ran, she fell.',
        ),
        ("MV_RTP", ("A cat is here.",), "A cat is here."),
    ],
)
def test_parts_become_one_text_with_the_passage_last(
    name: str, parts: tuple[str, ...], text: str
) -> None:
    assert TASKS[name].text(parts) == text


def test_every_template_has_every_field_once() -> None:
    for task in TASKS.values():
        assert sorted(task.fields) == sorted(
            part.split("}")[0] for part in task.template.split("{")[1:]
        ), task.name
        assert task.passage is None or task.passage in task.fields


def test_only_surface_tasks_are_labelled_by_the_surface_feature() -> None:
    surface = {name for name in MSGS if TASKS[name].label_key == "surface_feature_label"}
    assert surface == {"LC", "RP"}
    assert TASKS["CR"].label_key == "linguistic_feature_label"


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["all"], [*GLUE, *MSGS]),
        (["msgs", "rte"], ["rte", *MSGS]),
        (["glue", "cola"], GLUE),
        (["SC_RP", "cola", "cola"], ["cola", "SC_RP"]),
    ],
)
def test_names_stand_for_tasks_in_the_order_of_the_table(
    names: list[str], found: list[str]
) -> None:
    assert [task.name for task in resolve_tasks(names)] == found


@pytest.mark.parametrize(
    ("name", "meant"), [("mnli-mm", "mnli_mm"), ("mv_rtp", "MV_RTP"), ("glu", "glue")]
)
def test_a_name_that_is_none_is_refused_with_what_was_meant(name: str, meant: str) -> None:
    with pytest.raises(RecipeError, match=f"{name}.*did you mean '{meant}'"):
        resolve_tasks(["cola", name])


def test_a_name_like_no_other_is_answered_with_all() -> None:
    with pytest.raises(RecipeError, match="expected all, glue, msgs, cola"):
        resolve_tasks(["xyzzy"])


def test_no_name_is_refused() -> None:
    with pytest.raises(RecipeError, match="no task named"):
        resolve_tasks([])


def _confused(seed: int, n: int = 400) -> tuple[list[int], list[int]]:
    draw = np.random.default_rng(seed)
    gold = draw.random(n) < 0.7
    return gold.astype(int).tolist(), (gold ^ (draw.random(n) < 0.3)).astype(int).tolist()


def _counts(gold: list[int], predicted: list[int]) -> tuple[int, int, int, int]:
    """True and false positives, false and true negatives."""
    pairs = list(zip(gold, predicted, strict=True))
    return pairs.count((1, 1)), pairs.count((0, 1)), pairs.count((1, 0)), pairs.count((0, 0))


def _direct(metric: Metric, gold: list[int], predicted: list[int]) -> float:
    tp, fp, fn, tn = _counts(gold, predicted)
    if metric == "f1":
        return 2 * tp / (2 * tp + fp + fn)
    if metric == "accuracy":
        return (tp + tn) / len(gold)
    return (tp * tn - fp * fn) / math.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))


@pytest.mark.parametrize("metric", ["mcc", "f1", "accuracy"])
def test_scores_equal_their_formulas(metric: Metric) -> None:
    gold, predicted = _confused(3)
    assert metric_value(metric, gold, predicted) == pytest.approx(_direct(metric, gold, predicted))


def test_f1_is_of_label_1() -> None:
    assert metric_value("f1", [1, 0, 0, 0], [1, 1, 0, 0]) == pytest.approx(2 / 3)


def test_accuracy_is_of_any_number_of_labels() -> None:
    assert metric_value("accuracy", [0, 1, 2, 2], [0, 1, 2, 1]) == 0.75


@pytest.mark.parametrize("metric", ["mcc", "f1"])
@pytest.mark.parametrize(("gold", "predicted"), [([0, 0], [0, 0]), ([0, 1], [0, 0]), ([1], [0])])
def test_a_score_that_is_not_defined_is_0_without_a_warning(
    metric: Metric, gold: list[int], predicted: list[int]
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert metric_value(metric, gold, predicted) == 0
        assert standard_error(metric, gold, predicted) == 0


def test_the_standard_error_of_accuracy_is_binomial() -> None:
    gold, predicted = _confused(4)
    share = _direct("accuracy", gold, predicted)
    assert standard_error("accuracy", gold, predicted) == math.sqrt(share * (1 - share) / 400)


@pytest.mark.parametrize("metric", ["mcc", "f1"])
def test_a_resample_that_is_all_the_items_has_their_score(metric: Metric) -> None:
    """The scores of resamples have a formula of their own: it is scikit-learn's."""
    for seed in range(20):
        gold, predicted = _confused(seed, n=6)
        tp, fp, fn, tn = _counts(gold, predicted)
        found = _scores(metric, np.array([[tn, fp, fn, tp]], dtype=float))
        assert found[0] == pytest.approx(metric_value(metric, gold, predicted))


@pytest.mark.parametrize("metric", ["mcc", "f1"])
def test_other_standard_errors_are_those_of_drawing_item_by_item(metric: Metric) -> None:
    gold, predicted = map(np.array, _confused(5))
    draw = np.random.default_rng(6)
    rows = draw.integers(len(gold), size=(500, len(gold)))
    scores = [_direct(metric, gold[row].tolist(), predicted[row].tolist()) for row in rows]
    found = standard_error(metric, gold.tolist(), predicted.tolist())
    assert found == pytest.approx(np.std(scores, ddof=1), rel=0.2)


def test_a_standard_error_is_a_function_of_its_seed() -> None:
    gold, predicted = _confused(7)
    first, again, other = (standard_error("mcc", gold, predicted, seed) for seed in (1, 1, 2))
    assert first == again != other
