"""Runs of one recipe over seeds: what is put together, what is refused, what is said."""

import json
import math
import shutil
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from scipy import stats

from babyllama.errors import BabyllamaError, RecipeError
from babyllama.evaluation.comparing.comparison_tables import seed_blocks
from babyllama.evaluation.comparing.controls import controls
from babyllama.evaluation.comparing.seeds import (
    SeedStudy,
    Spread,
    study_seeds,
    to_json,
)
from babyllama.evaluation.statistics import holm, mean_over_seeds
from babyllama.resolve import resolve
from made_runs import add_model, items
from tiny import babyllama, recipe

MODELS = {"student": (0.8, 4.0), "control": (0.6, 4.4), "llama": (0.7, 4.2), "gpt2": (0.5, 4.3)}


def write_recipe(run: Path, **sections: Any) -> None:
    raw = resolve(recipe(run.parent / "data", **sections)).model_dump(mode="json")
    (run / "recipe.yaml").write_text(yaml.safe_dump(raw))


def made(run: Path, seed: int, **sections: Any) -> Path:
    """A finished run of `tiny.recipe`; the student gains more with every seed."""
    for name, (accuracy, loss) in MODELS.items():
        better = 0.05 * seed if name == "student" else 0.0
        add_model(run, name, items(accuracy + better, seed=seed), loss=loss - better)
    write_recipe(run, seed=seed, **sections)
    return run


@pytest.fixture
def runs(tmp_path: Path) -> list[Path]:
    return [made(tmp_path / f"seed{n}", n) for n in (1, 2, 3)]


def values_of(study: SeedStudy, model: str, figure: str) -> Spread:
    return next(s for s in study.spreads if (s.model, s.figure) == (model, figure))


def macro(run: Path, model: str, over: str = "phenomena") -> float:
    found = json.loads((run / f"scores/{model}/blimp.json").read_text())
    return float(found[f"macro_{over}"]["accuracy"])


def test_every_model_has_a_mean_and_a_deviation_of_every_figure(runs: list[Path]) -> None:
    study = study_seeds(runs)
    assert {(s.model, s.figure) for s in study.spreads} == {
        (name, figure) for name in MODELS for figure in ("cross_entropy", "blimp")
    }
    for name in MODELS:
        accuracies = [macro(run, name) for run in runs]
        found = values_of(study, name, "blimp")
        assert found.values == pytest.approx(accuracies)
        expected = (statistics.mean(accuracies), statistics.stdev(accuracies))
        assert found.mean_and_deviation == pytest.approx(expected)
    losses = values_of(study, "student", "cross_entropy")
    assert losses.mean_and_deviation == pytest.approx((3.9, 0.05))
    over = study_seeds(runs, over="paradigms")
    assert values_of(over, "student", "blimp").values[0] == pytest.approx(
        macro(runs[0], "student", "paradigms")
    )


def test_the_difference_is_run_by_run_with_students_interval(runs: list[Path]) -> None:
    study = study_seeds(runs)
    assert [(row.distilled, row.control, row.figure) for row in study.differences] == [
        ("student", "control", "cross_entropy"),
        ("student", "control", "blimp"),
    ]
    gains = [macro(run, "student") - macro(run, "control") for run in runs]
    found = study.differences[1].found
    test = stats.ttest_1samp(gains, 0)
    low, high = test.confidence_interval(0.95)
    assert (found.mean, found.low, found.high) == pytest.approx((np.mean(gains), low, high))
    assert (found.p, found.n) == (pytest.approx(test.pvalue), 3)
    assert found.standard_error == pytest.approx(stats.sem(gains))
    assert [row.p_holm for row in study.differences] == pytest.approx(
        holm([row.found.p for row in study.differences])
    )
    assert study.differences[0].verdict == "lower"


def test_there_is_a_verdict_only_where_the_interval_excludes_zero() -> None:
    assert mean_over_seeds([1.0, 1.1, 0.9]).reading == "higher"
    assert mean_over_seeds([-1.0, -1.1]).reading == "lower"
    assert mean_over_seeds([1.0, -0.5, 0.9]).reading == "not told apart"


@pytest.mark.parametrize("values", [[0.2], [0.2, 0.2, 0.2]])
def test_values_that_do_not_vary_have_no_interval(values: list[float]) -> None:
    found = mean_over_seeds(values)
    assert (found.mean, found.reading) == (pytest.approx(0.2), "not told apart")
    assert all(math.isnan(each) for each in (found.low, found.high, found.p))


def test_the_t_interval_covers_the_mean_nineteen_times_in_twenty() -> None:
    draw = np.random.default_rng(1)
    found = [mean_over_seeds([*draw.normal(1, 2, size=4)]) for _ in range(2000)]
    covered = sum(each.low <= 1 <= each.high for each in found) / 2000
    assert covered == pytest.approx(0.95, abs=0.015)


def test_a_model_that_runs_share_counts_once(runs: list[Path]) -> None:
    """A seed of the student alone: the teachers are the same artifacts."""
    for part in ("models", "scores"):
        shutil.rmtree(runs[1] / part / "llama")
        (runs[1] / part / "llama").symlink_to(runs[0] / part / "llama")
    study = study_seeds(runs)
    assert len(values_of(study, "llama", "blimp").values) == 2
    assert len(values_of(study, "llama", "cross_entropy").values) == 2
    assert len(values_of(study, "student", "blimp").values) == 3


def test_a_difference_of_two_shared_models_counts_once(runs: list[Path]) -> None:
    for part in ("models", "scores"):
        for name in ("student", "control"):
            shutil.rmtree(runs[1] / part / name)
            (runs[1] / part / name).symlink_to(runs[0] / part / name)
    assert [row.found.n for row in study_seeds(runs).differences] == [2, 2]


@pytest.mark.parametrize(
    ("sections", "key"),
    [
        ({"tokenizer": {"vocabulary": 301}}, r"tokenizer.vocabulary (300 and 301)"),
        ({"tokens": {"chunk_length": 8, "validation_chunks": 8}}, "tokens.chunk_length (16 and 8)"),
        ({"training": {"epochs": 2}}, "models.control.training.epochs (1 and 2)"),
        ({"distillation": {"temperature": 1}}, "models.student.distillation.temperature"),
        ({"evaluation": {"prefix": "<s>"}}, "evaluation.prefix (None and <s>)"),
        ({"corpus": {"path": "x", "seed": 2}}, "corpus.seed (1 and 2)"),
    ],
)
def test_a_run_of_another_recipe_is_refused_by_the_key(
    runs: list[Path], sections: dict[str, Any], key: str
) -> None:
    write_recipe(runs[1], seed=2, **sections)
    with pytest.raises(RecipeError) as caught:
        study_seeds(runs)
    assert str(caught.value).startswith(f"--seeds: seed1 and seed2 differ in {key}")


def test_names_and_what_changes_no_figure_may_differ(runs: list[Path]) -> None:
    report = {"prompts": ["Once"]}
    runtime = {"device": "cpu", "threads": 2}
    write_recipe(runs[1], seed=2, name="other", report=report, runtime=runtime)
    assert len(study_seeds(runs).runs) == 3


def test_a_seed_of_one_model_is_a_seed(runs: list[Path]) -> None:
    raw = recipe(runs[1].parent / "data")
    raw["models"]["student"]["seed"] = 7
    write_recipe(runs[1], models=raw["models"])
    assert len(study_seeds(runs).runs) == 3


def test_runs_of_the_same_seed_are_refused(runs: list[Path]) -> None:
    write_recipe(runs[2], seed=2)
    with pytest.raises(RecipeError, match="seed2 and seed3 have the same seeds: give each run"):
        study_seeds(runs)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pairs": "p2"}, "seed1/student and seed4/student cannot be put together: on blimp the"),
        ({"prefix": "<s>"}, r"conventions differ \(prefix newline and <s>\)"),
        ({"tokens": "t2"}, "their validation tokens differ; leave one of the runs out"),
    ],
)
def test_figures_that_were_measured_otherwise_are_refused(
    runs: list[Path], change: dict[str, str], message: str
) -> None:
    other = made(runs[0].parent / "seed4", 4)
    for part in ("models/student", "scores/student"):
        shutil.rmtree(other / part)
    shutil.rmtree(other.parent / ".store" / "scores-seed4-student-blimp")
    add_model(other, "student", items(0.8), loss=4.0, **change)
    with pytest.raises(BabyllamaError, match=message):
        study_seeds([runs[0], other])


def test_what_is_not_there_is_told(runs: list[Path]) -> None:
    with pytest.raises(RecipeError, match="1 run given, expected two"):
        study_seeds(runs[:1])
    with pytest.raises(BabyllamaError, match="the runs share no scores on glue"):
        study_seeds(runs, suite="glue")
    shutil.rmtree(runs[1] / "scores" / "gpt2")
    with pytest.raises(BabyllamaError, match="seed2 has no scores of gpt2: run its recipe"):
        study_seeds(runs)


def test_an_ensemble_has_scores_and_no_loss(runs: list[Path]) -> None:
    for seed, run in enumerate(runs):
        add_model(run, "ensemble", items(0.7, seed=seed))
    figures = {s.figure for s in study_seeds(runs).spreads if s.model == "ensemble"}
    assert figures == {"blimp"}


def test_a_distilled_model_is_held_against_its_twin() -> None:
    raw = recipe(Path("data"))
    other = {**raw["models"]["student"]["architecture"], "width": 32}
    raw["models"] = {"plain": {"architecture": other}, **raw["models"]}
    assert controls(resolve(raw)) == {"student": "control"}
    raw["models"]["student"]["architecture"] = {**other, "layers": 2}
    raw["models"]["control"] = {"architecture": {**other, "layers": 3}}
    assert controls(resolve(raw)) == {"student": "plain"}


def test_a_masked_model_is_nobodys_control() -> None:
    raw = recipe(Path("data"))
    masked = {**raw["models"]["student"]["architecture"], "type": "roberta"}
    raw["models"] = {"masked": {"architecture": masked}, **raw["models"]}
    assert controls(resolve(raw)) == {"student": "control"}
    del raw["models"]["control"]
    assert controls(resolve(raw)) == {}


def test_the_figures_are_plain_json(runs: list[Path]) -> None:
    figures = to_json(study_seeds(runs[:2]))
    again = json.loads(json.dumps(figures, allow_nan=False))
    assert {row["n"] for row in again["models"]} == {2}
    assert again["differences"][0]["mean"] == pytest.approx(-0.475)


def test_values_that_do_not_vary_are_shown_and_written_without_an_interval(
    tmp_path: Path,
) -> None:
    for seed in (1, 2):
        for name, accuracy in (("student", 0.8), ("control", 0.6)):
            add_model(tmp_path / f"seed{seed}", name, items(accuracy))
        write_recipe(tmp_path / f"seed{seed}", seed=seed)
    study = study_seeds([tmp_path / "seed1", tmp_path / "seed2"])
    (row,) = json.loads(json.dumps(to_json(study), allow_nan=False))["differences"]
    assert (row["low"], row["p"], row["verdict"]) == (None, None, "not told apart")
    assert row["mean"] > 0.1
    assert len([*seed_blocks(study)]) == 3


def test_the_command_prints_the_tables_and_writes_them(runs: list[Path]) -> None:
    names = [run.name for run in runs]
    command = babyllama(runs[0].parent, "compare", "--seeds", *names, "--out", "o.json")
    assert (command.code, command.err) == (0, "")
    for shown in ("3 runs of one recipe", "student - control", "3.9000 ± 0.0500", "nats/token"):
        assert shown in command.out
    found = json.loads((runs[0].parent / "o.json").read_text())
    assert (found["runs"], len(found["models"]), len(found["differences"])) == (names, 8, 2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--correlate"], "error: --seeds, --correlate and --by-phenomenon exclude each other"),
        (["--model", "student"], "error: --seeds is over all models of the runs"),
    ],
)
def test_options_that_cannot_be_meant_together(
    runs: list[Path], options: list[str], message: str
) -> None:
    command = babyllama(runs[0].parent, "compare", "--seeds", "seed1", "seed2", *options)
    assert (command.code, command.out) == (2, "")
    assert command.err.startswith(message)
    assert command.err.count("\n") == 1
