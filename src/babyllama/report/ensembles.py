"""The table of ensembles: each beside the mean of its members."""

from collections.abc import Iterator, Sequence
from statistics import fmean

from babyllama.report.results import Model, Results
from babyllama.report.tables import NOTHING, Table, decimals, percent, powers


def ensembles(results: Results) -> Table:
    """Tabulate two rows an ensemble: the mean of its members, and the ensemble itself.

    Accuracies are macro means over phenomena, in %.
    """
    pooled = [model for model in results.models if model.pooled]
    known = {model.name: model for model in results.models}
    rows = (row for model in pooled for row in _rows(model, known, results.suites))
    suites = (f"{suite}, %" for suite in results.suites)
    return Table(
        caption="Ensembles, and the mean of their members",
        header=("ensemble", "pool", "members", "nats/token", *suites, "FLOPs in all"),
        rows=tuple(rows),
    )


def _rows(
    model: Model, known: dict[str, Model], suites: Sequence[str]
) -> Iterator[tuple[str, ...]]:
    assert model.pooled
    members = [known[name] for name in model.pooled.members if name in known]
    mean = decimals(model.pooled.mean_cross_entropy)
    accuracies = (_mean_accuracy(members, suite) for suite in suites)
    yield (f"mean of members of {model.name}", NOTHING, NOTHING, mean, *accuracies, NOTHING)
    yield (
        model.name,
        model.pooled.pool,
        model.pooled.shares(),
        decimals(model.pooled.validation.cross_entropy),
        *(_mean_accuracy([model], suite) for suite in suites),
        powers(model.total_flops),
    )


def _mean_accuracy(models: Sequence[Model], suite: str) -> str:
    """Where all of them were scored."""
    found = [model.scores[suite].macro_phenomena for model in models if suite in model.scores]
    return percent(fmean(one.accuracy for one in found)) if len(found) == len(models) else NOTHING
