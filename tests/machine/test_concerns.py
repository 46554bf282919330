"""What is warned of, and what is not."""

from pathlib import Path

import pytest

from babyllama.machine import concerns
from babyllama.machine.facts import Disk, Memory, Processor

GIB = 2**30
MACHINE = Processor("x", cores=4, threads=8, allowed=8, quota=None, instructions=())


@pytest.mark.parametrize(
    ("threads", "quota", "told"),
    [
        (4, None, []),
        (8, None, []),
        (2, None, ["4 cores, but threads: 2", "runtime.threads=4"]),
        (8, 2.0, ["the time of 2 cores only", "runtime.threads=2"]),
        (2, 2.0, []),
    ],
)
def test_threads_that_do_not_go_with_the_cores(
    threads: int, quota: float | None, told: list[str]
) -> None:
    found = " ".join(concerns.of_threads(MACHINE._replace(quota=quota), threads))
    assert bool(found) == bool(told)
    assert all(text in found for text in told)


@pytest.mark.parametrize(("load", "told"), [(None, 0), (0.5, 0), (2.0, 0), (2.1, 1)])
def test_a_busy_machine(load: float | None, told: int) -> None:
    assert len([*concerns.of_load(load, MACHINE)]) == told


@pytest.mark.parametrize(
    ("disk", "told"),
    [
        (Disk(Path("/a"), 10 * GIB, True), []),
        (Disk(Path("/a"), 10 * GIB, False), ["/a cannot be written"]),
        (Disk(Path("/a"), GIB, True), ["about 5.0 GiB of disk, /a has 1.0 GiB free"]),
    ],
)
def test_a_run_directory_without_room(disk: Disk, told: list[str]) -> None:
    found = [*concerns.of_disk(disk, 5 * GIB)]
    assert len(found) == len(told)
    assert all(text in line for text, line in zip(told, found, strict=True))


def test_a_model_that_does_not_fit() -> None:
    assert [*concerns.of_memory("a", GIB, 2 * GIB)] == []
    (told,) = concerns.of_memory("a", 3 * GIB, 2 * GIB)
    assert "models.a needs about 3.0 GiB of memory, 2.0 GiB are free" in told


def test_little_memory() -> None:
    assert [*concerns.of_limit(Memory(8 * GIB, 3 * GIB, limited=False))] == []
    assert len([*concerns.of_limit(Memory(8 * GIB, GIB, limited=True))]) == 1


def test_no_bf16() -> None:
    assert [*concerns.of_precision(True, "bf16")] == []
    assert "twice as long" in next(concerns.of_precision(False, "fp32"))
    assert "slower than fp32" in next(concerns.of_precision(False, "bf16"))


def test_no_compiler_and_old_libraries() -> None:
    assert [*concerns.of_compiler("/usr/bin/g++")] == []
    assert len([*concerns.of_compiler(None)]) == 1
    assert [*concerns.of_versions(["torch 2.4.0, wanted >=2.13"])] == [
        "torch 2.4.0, wanted >=2.13: install the versions of constraints.txt"
    ]
