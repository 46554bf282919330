"""How many sequences fit a forward pass, and what is told where they did not."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import PreTrainedModel

from babyllama.errors import BabyllamaError
from babyllama.models.costs import activation_bytes, parameter_count
from babyllama.recipe_training import Training
from babyllama.tokens.batches import Batch, ChunkOrder
from babyllama.training import memory
from babyllama.training.job import Job
from babyllama.training.memory import Conditions, free_memory, micro_batch, training_bytes
from tiny_jobs import CHUNK, VOCABULARY, new_job, new_model, new_teachers, run

BATCH = 1 << 20
ON_GPU = Conditions(positions=CHUNK, precision="bf16", device=torch.device("cuda"), teachers=2)


@pytest.fixture
def small_logits(monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU for whose logits there is room for 100 sequences, a chunk of 5 rows at a time."""
    monkeypatch.setitem(memory.LOGITS_BUDGET, "cuda", 100 * CHUNK * VOCABULARY)
    monkeypatch.setattr(memory, "chunk_logits", lambda _: 5 * VOCABULARY)
    monkeypatch.setattr(memory, "PRODUCT_ROWS", 5)


def gpu_micro_batch(free: float | None, model: PreTrainedModel | None = None, **asked: Any) -> int:
    settings = Training(batch_size=BATCH, **asked)
    return micro_batch(model or new_model(), settings, ON_GPU, free)


def test_a_micro_batch_fits_the_budget_and_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    def size(rows: float, **settings: Any) -> int:
        job: Job = new_job(**settings)
        monkeypatch.setitem(memory.LOGITS_BUDGET, "cpu", int(rows * CHUNK * VOCABULARY))
        return job.micro_batch

    assert size(3.5) == 3
    assert size(0.5) == 1
    assert size(100) == 8
    assert size(3.5, micro_batch=2) == 2
    assert size(3.5, micro_batch=20) == 8


def test_on_a_cpu_the_activations_of_a_micro_batch_fit_a_budget(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    job: Job = new_job()
    each = activation_bytes(job.model, CHUNK, precision=job.precision, plain_attention=True)
    for sequences in (3, 0.5):
        monkeypatch.setattr(memory, "ACTIVATIONS_BUDGET", sequences * each + 1)
        assert job.micro_batch == max(1, int(sequences))


@pytest.mark.usefixtures("small_logits")
@pytest.mark.parametrize("megabytes", [2, 3, 5, 8])
def test_on_a_gpu_a_training_with_the_default_micro_batch_fits_its_free_memory(
    megabytes: float,
) -> None:
    model, free = new_model(width=64), megabytes * 1e6
    size = gpu_micro_batch(free, model)
    needed = [
        training_bytes(model, ON_GPU, n) - 4 * parameter_count(model) for n in (size, 4 * size)
    ]
    assert 1 < size < 100
    assert size & (size - 1) == 0, "a power of two"
    assert needed[0] < free < needed[1]


@pytest.mark.usefixtures("small_logits")
def test_free_memory_decides_only_where_it_is_short_and_known() -> None:
    assert gpu_micro_batch(None) == gpu_micro_batch(1e12) == 100
    assert gpu_micro_batch(0) == gpu_micro_batch(1000) == 1
    assert gpu_micro_batch(0, micro_batch=7) == 7


def test_what_torch_keeps_of_earlier_models_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    assert free_memory(torch.device("cpu")) is None
    for name, value in (
        ("mem_get_info", (1000, 5000)),
        ("memory_reserved", 700),
        ("memory_allocated", 300),
    ):
        monkeypatch.setattr(torch.cuda, name, lambda _, value=value: value)
    assert free_memory(torch.device("cuda")) == 1400


def test_a_job_plans_with_the_free_memory_of_its_device(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[float | None] = []
    monkeypatch.setattr("babyllama.training.job.free_memory", lambda _: 12345)
    monkeypatch.setattr(
        "babyllama.training.job.micro_batch",
        lambda *held: (seen.append(held[3]), held[2].teachers)[1],
    )
    assert new_job(teachers=new_teachers()).micro_batch == 2
    assert new_job().micro_batch == 0
    assert seen == [12345, 12345]


def test_memory_grows_with_sequences_and_their_length() -> None:
    model, cpu = new_model(), torch.device("cpu")

    def needed(sequences: int, positions: int, precision: str = "fp32") -> float:
        held = Conditions(positions=positions, precision=precision, device=cpu, teachers=0)
        return training_bytes(model, held, sequences)

    assert needed(2, 8) < needed(4, 8) < needed(4, 16)
    assert needed(4, 256) > 2 * needed(4, 128), "plain attention keeps every score"
    assert needed(4, 257) < needed(4, 256), "which the fused kernel does not"
    assert needed(64, 64, "bf16") < needed(64, 64, "fp32")


class Short(ChunkOrder):
    """The memory is too short for the second step."""

    error: Callable[[], Exception]

    def batch(self, epoch: int, step: int) -> Batch:
        if step == 1:
            raise type(self).error()
        return super().batch(epoch, step)


def short_of_memory(error: Callable[[], Exception], **settings: Any) -> Job:
    job = new_job(**settings)
    order = type("Short", (Short,), {"error": staticmethod(error)})
    held = {name: getattr(job.order, name) for name in ("ids", "chunk_length", "batch_size")}
    return new_job(fields={"order": order(**held, seed=1)}, **settings)


@pytest.mark.parametrize(
    "error",
    [
        lambda: torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB"),
        lambda: RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: 9 bytes"),
        MemoryError,
    ],
)
def test_a_training_that_runs_out_of_memory_names_the_micro_batch_as_the_remedy(
    tmp_path: Path, error: Callable[[], Exception]
) -> None:
    message = (
        r"^tiny: out of memory at 4 sequences .* set models\.tiny\.training\.micro_batch below"
    )
    with pytest.raises(BabyllamaError, match=message) as told:
        run(short_of_memory(error, micro_batch=4), tmp_path)
    assert told.value.exit_code == 1
    assert "\n" not in str(told.value)
    with pytest.raises(BabyllamaError, match=r"micro_batch is at its least, so take a smaller"):
        run(short_of_memory(error, micro_batch=1), tmp_path / "one")


def test_after_that_a_smaller_micro_batch_is_taken_and_said_so(tmp_path: Path) -> None:
    kept = {"checkpoint_minutes": 1e-9}
    with pytest.raises(BabyllamaError, match="out of memory"):
        run(short_of_memory(MemoryError, micro_batch=4, **kept), tmp_path)
    smaller = new_job(micro_batch=2, **kept)
    with pytest.warns(UserWarning, match=r"micro_batch: 2 sequences .* from here on, 4 before"):
        assert run(smaller, tmp_path)["micro_batch"] == 2


def test_another_error_of_torch_is_not_taken_for_it(tmp_path: Path) -> None:
    def error() -> Exception:
        return RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        run(short_of_memory(error), tmp_path)
