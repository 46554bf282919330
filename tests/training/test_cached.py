"""A student that learns from a cache, in place of its teachers."""

import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from babyllama.distillation.caching.grid import Grid
from babyllama.distillation.caching.source import CachedSignal
from babyllama.errors import StoppedError
from babyllama.tokens.batches import Batch, ChunkOrder
from babyllama.training.job import Job
from small_cache import CPU, build, request, wish
from tiny_jobs import CHUNK, assert_equal_weights, new_job, new_model, new_teachers, run


@pytest.fixture(params=["hidden-fp16", "hidden-int8", "low-rank"])
def source(request: pytest.FixtureRequest, tmp_path: Path) -> CachedSignal:
    """A cache of the teachers of `new_teachers` on the text of `new_job`."""
    return cached(tmp_path, request.param)


def cached(root: Path, kind: str) -> CachedSignal:
    job = new_job()
    starts = torch.cat([batch.starts for batch in job.validation]).tolist()
    grid = Grid(CHUNK, job.order.chunks, (0,), tuple(starts))
    weights = {"llama": 1.0, "gpt2": 1.0}
    asked = request(kind, grid=grid, teachers=["llama", "gpt2"], weights=weights)
    texts = {"train": job.order.ids, "dev": job.order.ids}
    folder = build(root, asked, new_teachers(), texts)
    return CachedSignal(folder, wish(grid=grid, weights=weights), CPU, torch.float32)


def student(source: Any, **settings: Any) -> Job:
    given: dict[str, Any] = {"model": new_model("gpt2", dropout=0.3), "micro_batch": 4}
    return new_job(teachers=source, **given | settings)


def test_it_ends_near_the_student_of_the_teachers_themselves(
    source: CachedSignal, tmp_path: Path
) -> None:
    online, ours, alone = student(new_teachers()), student(source), student(None)
    results = [run(job, tmp_path / str(n)) for n, job in enumerate((online, ours, alone))]
    nats = [result["validation"]["cross_entropy"] for result in results]
    assert nats[1] == pytest.approx(nats[0], abs=1e-3)
    assert abs(nats[2] - nats[0]) > 5e-3
    assert results[1]["validation"]["objective"] == pytest.approx(
        results[0]["validation"]["objective"], abs=1e-3
    )


def test_its_training_says_where_the_signal_came_from(tmp_path: Path) -> None:
    result = run(student(cached(tmp_path, "hidden-int8")), tmp_path / "work")
    assert result["teachers"] == ["llama", "gpt2"]
    assert result["signal"]["kind"] == "hidden-int8"
    assert result["signal"]["bytes_per_token"] == 24 + 16 + 2 * 4
    online = run(student(new_teachers()), tmp_path / "online")
    assert online["signal"] == {"kind": "online"}
    assert run(new_job(), tmp_path / "alone")["signal"] is None


class Stopping(ChunkOrder):
    """Asked to stop in the second step of the second epoch."""

    def batch(self, epoch: int, step: int) -> Batch:
        if (epoch, step) == (1, 1):
            signal.raise_signal(signal.SIGINT)
        return super().batch(epoch, step)


def test_a_student_that_was_stopped_ends_bit_identical(
    source: CachedSignal, tmp_path: Path
) -> None:
    whole = student(source)
    run(whole, tmp_path / "whole")
    order = Stopping(**vars(whole.order))
    with pytest.raises(StoppedError):
        run(student(source, fields={"order": order}), tmp_path / "parts")
    resumed = student(source)
    run(resumed, tmp_path / "parts")
    assert_equal_weights(resumed.model, whole.model)
