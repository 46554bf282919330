"""What the processes of one training do together."""

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from babyllama.errors import BabyllamaError, RecipeError
from babyllama.training import processes as module
from babyllama.training.processes import Processes, joined, processes
from several import call_together

CPU = torch.device("cpu")


def test_a_process_alone_sums_nothing_and_tells_itself() -> None:
    alone = processes()
    assert (alone, alone.leads) == (Processes(0, 1), True)
    values = torch.tensor([1.0, 2.0])
    assert alone.sum(values).tolist() == [1, 2]
    assert alone.any(asked=True)
    assert not alone.any(asked=False)
    assert alone.tell({"a": None}) == {"a": None}
    parameter = nn.Parameter(torch.ones(2))
    alone.sum_gradients([parameter])
    assert parameter.grad is None


def test_every_part_has_one_process() -> None:
    parts = [Processes(rank, 3).share("abcdefgh") for rank in range(3)]
    assert parts == [["a", "d", "g"], ["b", "e", "h"], ["c", "f"]]


def exchange(folder: Path) -> None:
    """Called in every process."""
    company = processes()
    module.BUCKET = 3  # several buckets
    wide = nn.Parameter(torch.zeros(2, 2, dtype=torch.float64))
    plain, frozen = nn.Parameter(torch.zeros(3)), nn.Parameter(torch.zeros(1), requires_grad=False)
    last = nn.Parameter(torch.zeros(2))
    plain.grad = torch.full((3,), 1.0 + company.rank)
    wide.grad = torch.tensor([[1.0, 2.0], [3.0, 4.0]], dtype=torch.float64)
    if company.leads:
        last.grad = torch.tensor([5.0, 6.0])
    company.sum_gradients([plain, frozen, wide, last])
    found = {
        "gradients": [p.grad.tolist() for p in (plain, wide, last) if p.grad is not None],
        "frozen": frozen.grad,
        "any": [company.any(asked=company.rank == 1), company.any(asked=False)],
        "told": company.tell({"x": 0.1, "nan": float("nan")} if company.leads else None),
        "sum": company.sum(torch.tensor([company.rank + 0.5])).tolist(),
    }
    (folder / f"{company.rank}.json").write_text(json.dumps(found))


def test_two_processes_sum_and_the_first_one_tells(tmp_path: Path) -> None:
    call_together(exchange, tmp_path)
    texts = [(tmp_path / f"{rank}.json").read_text() for rank in range(2)]
    assert texts[0] == texts[1]
    found = json.loads(texts[0])
    assert found["gradients"] == [[3, 3, 3], [[2, 4], [6, 8]], [5, 6]]
    assert found["frozen"] is None
    assert found["any"] == [True, False]
    assert found["told"]["x"] == 0.1
    assert found["told"]["nan"] != found["told"]["nan"]
    assert found["sum"] == [2.0]


def lose_one(folder: Path) -> None:
    """The second process goes, the first one wants to sum."""
    company = processes()
    if company.leads:
        with pytest.raises(BabyllamaError, match=r"another process of this run is gone \(.*\n?"):
            company.wait()
        (folder / "told").touch()


def test_a_process_that_is_gone_is_told_by_the_others(tmp_path: Path) -> None:
    call_together(lose_one, tmp_path)
    assert (tmp_path / "told").exists()


def test_an_environment_that_names_no_others_is_refused_in_one_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(BabyllamaError, match=r"WORLD_SIZE is 2, .* start them with torchrun") as e:
        joined(CPU).__enter__()
    assert "\n" not in str(e.value)
    with pytest.raises(RecipeError, match=r"runtime.device meta: several processes"):
        joined(torch.device("meta")).__enter__()
