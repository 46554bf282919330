"""The experiments of docs/experiments.md in the size of micro, with several seeds, as tables.

    .venv/bin/python benchmarks/experiments.py corpus.path=text/ evaluation.suites.blimp=blimp/ \
        evaluation.suites.generated=null runtime.compile=on

Runs every recipe with every seed. The runs share text, tokenizer, teachers and what else is the
same, and the same command goes on where it stopped; `--only` names some of the recipes. Writes
benchmarks/experiments.json, and prints a table a recipe in Markdown: means over seeds, and beside
the reference that a model is compared with the difference, each with its standard error over
seeds. An ensemble is compared with the mean of its members.

Two seeds say little of how much a seed matters, all differences together more: the variance over
seeds of those between trained models is pooled, and one of these is in bold where it lies outside
of what that leaves to chance, at 95 %, each by itself. They share references, so their degrees of
freedom are fewer than is told. Where seeds matter more than elsewhere, as they do to routing, a
recipe has a variance of its own.
"""

import argparse
import json
import math
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from statistics import fmean, stdev, variance
from typing import Any, NamedTuple

from scipy.stats import t

from babyllama.evaluation.statistics import mean_over_seeds
from babyllama.report.records import LOSSES
from babyllama.report.results import Model, read_results
from babyllama.resolve import load_recipe

# Recipe -> model -> what it is compared with.
EXPERIMENTS: dict[str, dict[str, str]] = {
    "appendix-curriculum-micro": {"curriculum": "control"},
    "appendix-switch-micro": dict.fromkeys(
        [f"experts{n}" for n in (1, 2, 4, 8)] + [f"experts{n}-roomy" for n in (2, 4, 8)], "dense"
    ),
    "appendix-homogeneous-micro": {
        **dict.fromkeys(["student1", "student2", "student4", "student6"], "control"),
        "student-large": "control-large",
    },
    "appendix-mixed-micro": dict.fromkeys(["student", "student22", "student33"], "control"),
    "appendix-sam-micro": {
        "sam": "longer",
        **dict.fromkeys(["longer", "sam-always"], "plain"),
    },
    "appendix-gap-micro": {
        f"{name}-gap{steps}": name for name in ("gpt2", "student") for steps in (15, 30, 50, 100)
    },
    "baseline-opt-micro": {},
    "baseline-roberta-micro": {},
    "baseline-t5-micro": {},
    "babyllama2-micro": {"student": "control"},
    "weight-decay-micro": dict.fromkeys(["ratio", "triple", "dropout", "both"], "usual"),
    "ema-micro": {
        "student-ema": "student",
        "control-ema": "control",
        "constant": "student",
        "constant-ema": "student",
    },
    "masked-student-micro": dict.fromkeys(["masked-05", "masked-15", "masked-30"], "student"),
    "snapshots-micro": {
        "student-of-snapshots": "student-of-seeds",
        "student-of-seeds": "student",
    },
    "chain-micro": {"second": "control", "third": "control"},
    "pool-micro": {
        **dict.fromkeys(["learned", "best2"], "alike"),
        "alike": "control",
    },
    "equal-cost-micro": {
        **dict.fromkeys(["control", "control-longer", "control-larger"], "student"),
        "student-longer": "control-longer",
    },
    "loss-variants-micro": dict.fromkeys(
        ["tenth", "linear", "wsd", "reverse", "reverse-linear", "reverse-wsd"], "student"
    ),
    "muon-micro": {"llama-muon": "llama", "gpt2-muon": "gpt2"},
}
BY_PHENOMENON = ["appendix-gap-micro"]
ALIKE = {"appendix-homogeneous-micro": ["llama", *(f"llama-{n}" for n in range(2, 7))]}
"""Models that differ in the seed alone."""
NOISIER = ["appendix-switch-micro"]
"""Each with a variance of its own, which would drown what the others show."""
APART = 100
"""Between the seeds that models of a recipe have of their own in two runs of it."""

Run = Mapping[str, Model]
Row = dict[str, Any]


class Noise(NamedTuple):
    """What a seed does to the difference of two models that are trained with it."""

    deviation: float
    freedom: int

    def excludes(self, values: Sequence[float]) -> bool:
        """Whether the mean over seeds is further from zero than that."""
        return abs(fmean(values)) > self.reach(len(values))

    def reach(self, seeds: int) -> float:
        """How far the mean of so many differences may lie from zero by chance, at 95 %."""
        return float(t.ppf(0.975, self.freedom)) * self.deviation / math.sqrt(seeds)


def finished(recipe: str, seed: int, given: argparse.Namespace) -> Path:
    """The run of a recipe with a seed; models with one of their own get another, too."""
    folder: Path = given.runs / f"{recipe}-seed{seed}"
    own = {
        name: model.seed + APART * (seed - 1)
        for name, model in load_recipe(recipe).models.items()
        if model.seed is not None
    }
    seeds = [f"seed={seed}", *(f"models.{name}.seed={value}" for name, value in own.items())]
    command = [sys.executable, "-m", "babyllama", "run", recipe, *seeds, *given.settings]
    subprocess.run([*command, "--run-dir", str(folder)], check=True)  # noqa: S603 (our own command)
    return folder


def figures(model: Model) -> dict[str, float]:
    """What a model came to: losses in nats, and percent on the suites."""
    losses = {name: getattr(model.validation, name) for name in LOSSES}
    scores = {name: 100 * s.macro_phenomena.accuracy for name, s in model.scores.items()}
    return {name: value for name, value in losses.items() if value is not None} | scores


def of_members(run: Run, ensemble: Model) -> dict[str, float]:
    """The mean over its members of each figure."""
    assert ensemble.pooled
    all_of_them = [figures(run[name]) for name in ensemble.pooled.members]
    return {key: fmean(one[key] for one in all_of_them) for key in figures(ensemble)}


def table(runs: Sequence[Run], references: Mapping[str, str]) -> list[Row]:
    """A row a model: every figure run by run, and what it is compared with."""
    return [
        {
            "model": name,
            "operations": model.total_flops,
            "seconds": [(own := run[name].training) and own.seconds for run in runs],
            "figures": in_columns([figures(run[name]) for run in runs]),
            "against": "its members" if model.pooled else references.get(name),
            "differences": in_columns([*differences(runs, name, references.get(name))]),
            # Not an ensemble of others, and not the weights of another at another time.
            "trained": model.pooled is None and model.start is None,
        }
        for name, model in runs[0].items()
    ]


def in_columns(rows: Sequence[Mapping[str, float]]) -> dict[str, list[float]]:
    """Figures run by run as one list a figure."""
    return {key: [row[key] for row in rows] for key in (rows[0] if rows else {})}


def differences(
    runs: Sequence[Run], name: str, reference: str | None
) -> Iterator[dict[str, float]]:
    """A model minus its reference, run by run."""
    for run in runs:
        if run[name].pooled:
            other = of_members(run, run[name])
        elif reference:
            other = figures(run[reference])
        else:
            return
        ours = figures(run[name])
        yield {key: ours[key] - other[key] for key in ours if key in other}


def noise(rows: Sequence[Row]) -> dict[str, Noise]:
    """Of each figure: the variance of differences over seeds, pooled over trained models.

    Two models that are compared in two recipes, either way round, count once.
    """
    found: dict[str, dict[tuple[float, ...], list[float]]] = {}
    for row in rows:
        for key, values in row["differences"].items():
            if row["trained"] and len(values) > 1:
                magnitudes = tuple(round(abs(value), 9) for value in values)
                found.setdefault(key, {})[magnitudes] = values
    pooled = {}
    for key, groups in found.items():
        squares = sum((len(values) - 1) * variance(values) for values in groups.values())
        freedom = sum(len(values) - 1 for values in groups.values())
        pooled[key] = Noise(math.sqrt(squares / freedom), freedom)
    return pooled


def group(recipe: str) -> str:
    """The recipes that a recipe shares its variance with."""
    return recipe if recipe in NOISIER else "recipes with the usual noise"


def phenomena(
    runs: Sequence[Run], references: Mapping[str, str], suite: str
) -> dict[str, dict[str, list[float]]]:
    """Phenomenon -> model -> percent run by run, of all that are compared."""
    found: dict[str, dict[str, list[float]]] = {}
    for name in (name for name in runs[0] if name in {*references, *references.values()}):
        for row in zip(*(run[name].scores[suite].phenomena for run in runs), strict=True):
            found.setdefault(row[0].phenomenon, {})[name] = [100 * one.accuracy for one in row]
    return found


def show(recipe: str, rows: Sequence[Row], chance: Mapping[str, Noise]) -> None:
    """Print the table of a recipe; in bold what chance would not do."""
    keys = [*dict.fromkeys(key for row in rows for key in row["figures"])]
    heads = [LOSSES.get(key, f"{key}, %") for key in keys]
    compared = any(row["against"] for row in rows)
    print(f"\n### `{recipe}`\n")
    line("model", "against", "operations", *(h for head in heads for h in (head, "difference")))
    line("---", "---", *(["---:"] * (1 + 2 * len(keys))))
    for row in rows:
        against = f"`{row['against']}`" if row["against"] in {r["model"] for r in rows} else ""
        cells = [f"`{row['model']}`", against or row["against"] or ""]
        cells.append(f"{row['operations']:.2g}" if row["operations"] else "")
        for key in keys:
            digits = 3 if key in LOSSES else 1
            values = row["differences"].get(key, [])
            more = told(values, digits, "+")
            known = chance.get(key) if row["trained"] and values else None
            sure = known is not None and known.excludes(values)
            cells.append(told(row["figures"].get(key, []), digits))
            cells.append(f"**{more}**" if sure else more)
        line(*cells)
    if not compared:
        print("\nNothing is compared within this recipe.")


def show_phenomena(
    found: Mapping[str, Mapping[str, list[float]]], references: Mapping[str, str]
) -> None:
    """Print a table of phenomena by models: differences from the reference, where there is one."""
    models = [*next(iter(found.values()))]
    print()
    line("phenomenon", *(f"`{name}`" for name in models))
    line("---", *(["---:"] * len(models)))
    for phenomenon, row in found.items():
        cells = [
            told([a - b for a, b in zip(values, row[references[name]], strict=True)], 1, "+")
            if name in references
            else told(values, 1)
            for name, values in row.items()
        ]
        line(phenomenon, *cells)


def show_noise(of: str, chance: Mapping[str, Noise], seeds: int) -> None:
    """Print what a seed does, and what is beyond it."""
    for key, one in chance.items():
        print(
            f"{LOSSES.get(key, key)} of {of}: a difference deviates by {one.deviation:.2g} from"
            f" seed to seed ({one.freedom} degrees of freedom), the mean of {seeds} is outside"
            f" of chance beyond {one.reach(seeds):.2g}"
        )


def show_spread(names: Sequence[str], rows: Sequence[Row]) -> None:
    """Print how far models that differ in the seed alone lie apart."""
    alike = [row["figures"] for row in rows if row["model"] in names]
    for key in alike[0]:
        values = [value for one in alike for value in one[key]]
        print(
            f"{LOSSES.get(key, key)}: {len(values)} models that differ in the seed alone"
            f" ({', '.join(names)}) have {min(values):.4g} to {max(values):.4g},"
            f" {fmean(values):.4g} with a standard deviation of {stdev(values):.2g}"
        )


def told(values: Sequence[float], digits: int, sign: str = "") -> str:
    """A mean over seeds and its standard error."""
    if not values:
        return ""
    over = mean_over_seeds(values)
    mean = f"{over.mean:{sign}.{digits}f}".replace("-", "−")
    return f"{mean} ± {over.standard_error:.{digits}f}" if len(values) > 1 else mean


def line(*cells: str) -> None:
    """Print a row."""
    print(f"| {' | '.join(cells)} |")


def main() -> None:
    """Run, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("settings", nargs="*", help="as `babyllama run` takes them")
    parser.add_argument("--only", nargs="+", choices=EXPERIMENTS, default=[*EXPERIMENTS])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    given = parser.parse_args()
    out = Path(__file__).with_suffix(".json")
    result: dict[str, Any] = json.loads(out.read_text()) if out.exists() else {}
    for recipe in given.only:
        folders = [finished(recipe, seed, given) for seed in given.seeds]
        runs = [{m.name: m for m in read_results(folder).models} for folder in folders]
        result[recipe] = {"models": table(runs, EXPERIMENTS[recipe])}
        if recipe in BY_PHENOMENON:
            suites = runs[0][next(iter(runs[0]))].scores
            result[recipe]["phenomena"] = {
                suite: phenomena(runs, EXPERIMENTS[recipe], suite) for suite in suites
            }
        out.write_text(json.dumps(result, indent=1) + "\n")
    tables: dict[str, list[Row]] = {recipe: result[recipe]["models"] for recipe in given.only}
    show_noise("all recipes", noise([*chain(*tables.values())]), len(given.seeds))
    groups: dict[str, list[Row]] = {}
    for recipe, rows in tables.items():
        groups.setdefault(group(recipe), []).extend(rows)
    chance = {name: noise(rows) for name, rows in groups.items()}
    for name, one in chance.items():
        show_noise(name, one, len(given.seeds))
    for recipe, rows in tables.items():
        if recipe in ALIKE:
            show_spread(ALIKE[recipe], rows)
    for recipe, rows in tables.items():
        show(recipe, rows, chance[group(recipe)])
        for found in result[recipe].get("phenomena", {}).values():
            show_phenomena(found, EXPERIMENTS[recipe])


if __name__ == "__main__":
    main()
