"""What the numbers of a run say, in sentences, and no more than they say.

A student is called better or worse than its control only where the 95 % interval of the
difference excludes zero. Where a run has kept the answers of both, the interval is that of the
paired bootstrap (see `evaluation/statistics`). Otherwise it takes the two standard errors as
independent: both models answer the same pairs and tend to miss the same ones, so that interval is
mostly too wide.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from babyllama.evaluation.comparing.answers import obstacle, paired_difference
from babyllama.evaluation.comparing.controls import held_against
from babyllama.evaluation.statistics import UNDECIDED, Paired, reading
from babyllama.report.records import Training
from babyllama.report.results import Model, Results, Score
from babyllama.report.roles import ENSEMBLE
from babyllama.report.tables import Table, accuracy, decimals

Z_95 = 1.959964  # two-sided 95 % quantile of the normal distribution
CAVEAT = (
    "Standard errors count the pairs only: every model is one training run, and another seed "
    "would move the scores too. A paired interval is a bootstrap over the pairs that both models "
    "answered; an independent one takes the two standard errors as independent, although both "
    "models answer the same pairs. Where many rows are compared, one in twenty "
    "excludes zero by chance alone."
)


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A distilled model against a model trained without teachers, on one suite.

    `difference` is distilled minus control, between -1 and 1, with its standard error.
    """

    distilled: str
    control: str
    twin: bool
    suite: str
    difference: float
    standard_error: float
    paired: Paired | None = None
    """What the answers of both say, pair by pair."""

    @property
    def interval(self) -> tuple[float, float]:
        """The two ends of the 95 % interval of the difference."""
        if self.paired:
            return self.paired.low, self.paired.high
        reach = Z_95 * self.standard_error
        return self.difference - reach, self.difference + reach

    @property
    def reading(self) -> str:
        """What the interval allows to be said: higher, lower, or not told apart."""
        return reading(*self.interval)


def control_of(model: Model, results: Results) -> Model | None:
    """Find the control that a distilled model is held against: its twin, else the first one.

    An average, say, is held against that of the control, where there is one.
    """
    models = (other for other in results.models if other.validation.is_causal)
    controls = [other for other in models if other.role == "control"]
    twin = next(filter(partial(_twins, model), controls), None)
    plain = (other for other in controls if not other.start)
    return twin or held_against(plain, partial(_same_sizes, model))


def _twins(model: Model, other: Model) -> bool:
    """Compare what makes a twin: the same sizes, and what was made of the weights since."""
    return _same_sizes(model, other) and _made_since(model) == _made_since(other)


def _made_since(model: Model) -> tuple[str, int | None] | None:
    """Which weights of another model it takes, and the steps from there."""
    return model.start and (model.start[1], (model.training or Training()).steps)


def _same_sizes(model: Model, other: Model) -> bool:
    """Compare architecture and number of parameters."""
    ours, theirs = model.training, other.training
    if ours is None or theirs is None or ours.parameters is None:
        return False
    return (ours.architecture, ours.parameters) == (theirs.architecture, theirs.parameters)


def compare(results: Results) -> list[Comparison]:
    """Hold every distilled model against its control, on every suite that both have."""
    pairs = [
        (model, control, suite)
        for model in results.models
        if model.role == "distilled" and (control := control_of(model, results)) is not None
        for suite in results.suites
        if suite in model.scores and suite in control.scores
    ]
    return [
        Comparison(
            distilled=model.name,
            control=control.name,
            twin=_twins(model, control),
            suite=suite,
            difference=_macro(model, suite).accuracy - _macro(control, suite).accuracy,
            standard_error=math.hypot(
                _macro(model, suite).standard_error, _macro(control, suite).standard_error
            ),
            paired=_paired(model, control, suite),
        )
        for model, control, suite in pairs
    ]


def _paired(model: Model, control: Model, suite: str) -> Paired | None:
    """Compare pair by pair, where both have answers to the same pairs by the same rules."""
    ours, theirs = model.answers.get(suite), control.answers.get(suite)
    if ours is None or theirs is None or obstacle(ours, theirs):
        return None
    return paired_difference(ours, theirs, "phenomena")


def _macro(model: Model, suite: str) -> Score:
    return model.scores[suite].macro_phenomena


def comparison_table(comparisons: list[Comparison]) -> Table:
    """Tabulate the differences in points of accuracy (macro over phenomena)."""
    rows = (
        (
            found.distilled,
            f"{found.control}{'' if found.twin else ' (not a twin)'}",
            found.suite,
            points(found.difference),
            f"{points(found.interval[0])} to {points(found.interval[1])}",
            "paired" if found.paired else "independent",
            found.reading,
        )
        for found in comparisons
    )
    return Table(
        caption="Distilled minus control, macro over phenomena, in points of accuracy",
        header=(
            "distilled",
            "control",
            "suite",
            "difference",
            "95 % interval",
            "errors",
            "reading",
        ),
        rows=tuple(rows),
    )


def points(difference: float) -> str:
    """Write a difference of accuracies in signed percentage points.

    >>> points(0.012), points(-0.0305)
    ('+1.2', '−3.0')
    """
    return f"{100 * difference:+.1f}".replace("-", "−")


def summary(results: Results) -> str:
    """Say in one sentence, and one on the difference, what the run came to."""
    if not results.models:
        return "This run holds no models yet."
    learner = next((model for model in results.models if model.role == "distilled"), None)
    if learner is None:
        return f"This run distils nothing; it holds {_listed([m.name for m in results.models])}."
    suite = next((name for name in _by_interest(results) if name in learner.scores), None)
    if suite is None:
        return " ".join(_without_scores(learner, results))
    return " ".join(_with_scores(learner, suite, results))


def _by_interest(results: Results) -> list[str]:
    """Put BLiMP first: it is what published figures are about."""
    return sorted(results.suites, key=lambda suite: ("blimp" not in suite.lower(), suite))


def _with_scores(learner: Model, suite: str, results: Results) -> Iterator[str]:
    macro = _macro(learner, suite)
    parts = [
        f"The {_student(learner)} scores {accuracy(macro)} % on {suite} "
        f"(macro over {macro.n} phenomena ± standard error)"
    ]
    parts += [
        f"{_kind(model, learner)} {accuracy(_macro(model, suite))} %"
        for model in _compared_with(learner, results)
        if suite in model.scores
    ]
    yield "; ".join(parts) + "."
    found = (c for c in compare(results) if (c.distilled, c.suite) == (learner.name, suite))
    yield from map(_difference, found)


def _student(learner: Model) -> str:
    return "student" if learner.name == "student" else f"student {learner.name}"


def _compared_with(learner: Model, results: Results) -> list[Model]:
    """List the control of a model, its teachers, and their ensemble."""
    control = control_of(learner, results)
    pools = [model for model in results.models if model.role == "ensemble"]
    named = [model for model in pools if model.name == f"{ENSEMBLE}-{learner.name}"]
    own = named or [model for model in pools if _may_teach(model, learner)]
    others = [*(model for model in results.models if model.name in learner.teachers), *own]
    return [control, *others] if control else others


def _may_teach(pool: Model, learner: Model) -> bool:
    """Whether an ensemble is of a model's teachers, as far as the run says whose it is."""
    taught = learner.training.teachers if learner.training else ()
    return pool.pooled is None or {*pool.pooled.members} == {*(taught or learner.teachers)}


def _kind(model: Model, learner: Model) -> str:
    if model.role == "ensemble":
        name = "" if model.name == ENSEMBLE else f" ({model.name})"
        return f"the pooled teachers{name}"
    if model.role == "control":
        kind = "its undistilled twin" if _twins(learner, model) else "the undistilled model"
        return f"{kind} ({model.name})"
    return f"its teacher {model.name}"


def _difference(found: Comparison) -> str:
    low, high = found.interval
    start = (
        f"The difference between {found.distilled} and {found.control} is "
        f"{points(found.difference)} points, 95 % interval {points(low)} to {points(high)} "
        f"({'paired bootstrap' if found.paired else 'independent standard errors'}), "
    )
    if found.reading == UNDECIDED:
        return start + "which includes zero: this run does not tell the two apart."
    return start + f"which excludes zero: the distilled model scores {found.reading}."


def _without_scores(learner: Model, results: Results) -> Iterator[str]:
    measured = {
        model.name: decimals(model.training.validation.cross_entropy)
        for model in (learner, control_of(learner, results))
        if model is not None and model.training is not None
    }
    yield f"This run has no scores for {learner.name}."
    if measured:
        figures = [f"{value} for {name}" for name, value in measured.items()]
        yield f"Validation cross-entropy in nats per token: {_listed(figures)}."


def _listed(names: list[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
