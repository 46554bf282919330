"""Correlating losses and accuracies: which models count, and what is refused."""

import json
from pathlib import Path
from typing import Any

import pytest

from babyllama.errors import BabyllamaError
from babyllama.evaluation.comparing.correlation import correlate
from made_runs import add_model, items
from tiny import babyllama


def models_by_loss(run: Path, number: int, start: int = 0, **settings: Any) -> Path:
    for n in range(start, start + number):
        add_model(run, f"m{n}", items(0.9 - n / 20), loss=4 + n / 10, **settings)
    return run


def test_losses_and_accuracies_are_correlated_over_all_models(tmp_path: Path) -> None:
    runs = [models_by_loss(tmp_path / "a", 3), models_by_loss(tmp_path / "b", 3, start=3)]
    add_model(runs[1], "ensemble", items(0.1))  # pooled teachers have no validation
    found = correlate(runs)
    assert (found.suite, found.found.n, found.found.rho) == ("blimp", 6, -1)
    assert -1 <= found.found.low < found.found.high < 1
    assert [point.cross_entropy for point in found.points] == [4 + n / 10 for n in range(6)]


def test_a_model_of_several_runs_counts_once(tmp_path: Path) -> None:
    first, second = models_by_loss(tmp_path / "a", 4), models_by_loss(tmp_path / "b", 1, start=4)
    for part in ("models", "scores"):
        (second / part / "m0").symlink_to(first / part / "m0")
    assert correlate([first, second]).found.n == 5
    assert correlate([first, first]).found.n == 4


def test_three_models_are_too_few(tmp_path: Path) -> None:
    with pytest.raises(BabyllamaError, match=r"3 models .* expected at least 4: give more runs"):
        correlate([models_by_loss(tmp_path / "a", 3)])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pairs": "p2"}, "the pairs differ"),
        ({"prefix": "<s>"}, "prefix newline and <s>"),
        ({"tokens": "t2"}, "the validation tokens differ"),
    ],
)
def test_figures_that_cannot_be_ranked_together_are_refused(
    tmp_path: Path, change: dict[str, str], message: str
) -> None:
    runs = [models_by_loss(tmp_path / "a", 4), models_by_loss(tmp_path / "b", 1, 4, **change)]
    with pytest.raises(
        BabyllamaError, match=f"a/m0 and b/m4 cannot be ranked together: .*{message}"
    ):
        correlate(runs)


def test_models_that_all_score_the_same_have_no_correlation(tmp_path: Path) -> None:
    for n in range(4):
        add_model(tmp_path / "a", f"m{n}", items(0.5), loss=4.0 + n)
    with pytest.raises(BabyllamaError, match="all 4 models have the same"):
        correlate([tmp_path / "a"])


def test_of_several_suites_one_is_named(tmp_path: Path) -> None:
    run = models_by_loss(tmp_path / "a", 4, suite="own")
    add_model(run, "m0", items(0.5), suite="other")
    with pytest.raises(BabyllamaError, match="suites other, own: name one with --suite"):
        correlate([run])
    assert correlate([run], suite="own").found.n == 4


def test_the_command_correlates_the_models_of_runs(tmp_path: Path) -> None:
    models_by_loss(tmp_path / "a", 2)
    models_by_loss(tmp_path / "b", 3, start=2)
    command = babyllama(tmp_path, "compare", "--correlate", "a", "b", "--out", "out.json")
    assert command.code == 0, command.err
    assert "n = 5 models" in command.out
    found = json.loads((tmp_path / "out.json").read_text())
    assert (found["rho"], found["n"], len(found["models"])) == (-1, 5, 5)
