"""Which models are read as trees, and that it does not move a score."""

from collections.abc import Callable
from typing import Any, get_args

import pytest
import torch
from transformers import PreTrainedModel

from babyllama.distillation.loss import Pool
from babyllama.distillation.teachers import Teachers
from babyllama.evaluation import scorers
from babyllama.evaluation.scorers import Scorer, ensemble_scorer, model_scorer, reads_trees
from babyllama.evaluation.trees import as_trees, by_length

Build = Callable[..., PreTrainedModel]
pytestmark = pytest.mark.filterwarnings("ignore::babyllama.errors.IgnoredSettingWarning")
ROWS = [(1, 5, 9, 3), (1, 5, 9, 4, 7), (1, 5, 2), (1, 8, 8, 8), (2, 5, 9, 3), (6, 1)]


def nats(scorer: Scorer) -> list[list[float]]:
    """The log-probabilities of ROWS, in whichever form the scorer takes them."""
    found: dict[Any, list[float]] = {}
    for part in (as_trees if scorer.trees else by_length)(ROWS, 40):
        logs = scorer.nats(part.batch)
        found |= {r: logs[list(at)].tolist() for r, at in zip(part.rows, part.steps, strict=True)}
    return [found[row] for row in ROWS]


@pytest.mark.parametrize(
    ("kind", "options", "trees"),
    [
        ("llama", {}, True),
        ("gpt2", {}, True),
        ("gpt_neox", {}, True),
        ("gptj", {}, True),
        ("opt", {}, True),
        ("phi", {}, True),
        ("switch", {"experts": 4, "capacity_factor": 0.5}, True),
        ("switch", {"eval_capacity_factor": 8.0}, False),  # what is dropped depends on the batch
        ("mistral", {"sliding_window": 4}, False),  # a window counts places
        ("bloom", {}, False),  # its positions come from the mask
        ("mamba", {}, False),  # it has neither positions nor a mask
    ],
)
def test_a_model_is_read_as_trees_where_that_changes_nothing(
    build: Build, kind: str, options: dict[str, Any], trees: bool
) -> None:
    model = build(kind, options=options)
    assert reads_trees(model) is trees
    scorer = model_scorer(model)
    assert scorer.trees is trees
    alone = nats(Scorer(scorer.nats))
    assert nats(scorer) == [pytest.approx(row, abs=1e-4) for row in alone]


def test_attention_that_takes_what_is_added_reads_trees_too(build: Build) -> None:
    model = build("llama")
    expected = nats(Scorer(model_scorer(model).nats))
    model.set_attn_implementation("eager")
    scorers._READS_TREES.clear()
    assert reads_trees(model)
    assert nats(model_scorer(model)) == [pytest.approx(row, abs=1e-4) for row in expected]


def test_a_model_that_ignores_the_mask_is_found_out(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = build("llama")
    inner = model.base_model.forward

    def blind(*args: Any, attention_mask: Any = None, **given: Any) -> Any:
        return inner(*args, **given)

    monkeypatch.setattr(model.base_model, "forward", blind)
    assert not reads_trees(model)


@pytest.mark.parametrize("pool", get_args(Pool))
def test_an_ensemble_takes_trees_where_all_its_members_do(build: Build, pool: Pool) -> None:
    models = {"llama": build("llama"), "gpt2": build("gpt2")}
    assert ensemble_scorer(Teachers(models), pool).trees
    assert not ensemble_scorer(Teachers(models | {"bloom": build("bloom")}), pool).trees


@pytest.mark.parametrize("kind", ["llama", "gpt2", "gptj"])  # the last has a bias in its head
def test_bf16_moves_a_log_probability_by_little(build: Build, kind: str) -> None:
    model = build(kind)
    exact, narrow = (
        torch.tensor([x for row in nats(model_scorer(model, p)) for x in row])
        for p in ("fp32", "bf16")
    )
    assert 1e-5 < (exact - narrow).abs().max() < 0.1
