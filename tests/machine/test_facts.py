"""What the machine offers, with machines that are made up."""

import importlib.metadata
import os
import shutil
from collections import namedtuple
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from babyllama.machine import facts
from babyllama.machine.limits import Allowance

GIB = 2**30
CPU = facts.Processor("x", cores=8, threads=16, allowed=16, quota=None, instructions=())


def test_a_processor_is_what_torch_and_the_system_say(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    flags = {"cpu_name": "Fast 9", "avx2": True, "avx512_f": True, "avx512_bf16": False}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: flags)
    monkeypatch.setattr(psutil, "cpu_count", lambda logical=True: 16 if logical else 8)
    monkeypatch.setattr(facts, "cores", lambda: 4)
    monkeypatch.setattr(facts, "cpu_quota", lambda _: 2.5)
    assert facts.processor(tmp_path) == ("Fast 9", 8, 16, 4, 2.5, ("avx2", "avx512"))


@pytest.mark.parametrize(
    ("allowed", "quota", "usable"), [(16, None, 8), (4, None, 4), (16, 2.5, 2), (16, 0.5, 1)]
)
def test_threads_that_can_run_at_once(allowed: int, quota: float | None, usable: int) -> None:
    assert CPU._replace(allowed=allowed, quota=quota).usable == usable


@pytest.mark.parametrize(
    ("allowance", "expected"),
    [
        (None, (32 * GIB, 20 * GIB, False)),
        (Allowance(64 * GIB, 60 * GIB), (32 * GIB, 20 * GIB, False)),
        (Allowance(4 * GIB, GIB), (4 * GIB, GIB, True)),
        (Allowance(30 * GIB, 25 * GIB), (30 * GIB, 20 * GIB, True)),
    ],
)
def test_memory_is_the_machines_or_the_limits_whichever_is_less(
    monkeypatch: pytest.MonkeyPatch, allowance: Allowance | None, expected: tuple[int, int, bool]
) -> None:
    whole = namedtuple("whole", "total available")(32 * GIB, 20 * GIB)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: whole)
    monkeypatch.setattr(facts, "memory_allowance", lambda _: allowance)
    assert facts.memory() == expected


def test_the_disk_is_that_of_the_nearest_folder_that_is_there(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    usage = namedtuple("usage", "free")(7 * GIB)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    assert facts.disk(tmp_path / "runs" / "a") == (tmp_path, 7 * GIB, True)
    assert [*tmp_path.iterdir()] == []


def test_a_place_that_refuses_a_file_is_not_writable(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refuse(**_: Any) -> None:
        raise PermissionError

    monkeypatch.setattr(facts, "TemporaryFile", refuse)
    assert not facts.disk(tmp_path).writable


def test_gpus_with_their_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    assert torch.cuda.is_available() or facts.gpus() == []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda index: (index * GIB, 16 * GIB))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: f"T{index}")
    monkeypatch.setattr(torch.cuda, "device", lambda _: torch.no_grad())
    monkeypatch.setattr(facts, "has_native_bf16", lambda _: False)
    assert facts.gpus() == [("T0", 16 * GIB, 0, False), ("T1", 16 * GIB, GIB, False)]


def test_the_compiler_is_the_one_that_torch_would_take(tmp_path: Path) -> None:
    own = tmp_path / "own++"
    own.touch(0o755)
    assert facts.compiler({"CXX": str(own)}) == str(own)
    assert facts.compiler({"CXX": str(tmp_path / "none")}) is None


@pytest.mark.parametrize(
    ("text", "mode"),
    [("always [madvise] never", "madvise"), ("[always] madvise never", "always"), (None, None)],
)
def test_huge_pages_are_what_stands_in_brackets(
    tmp_path: Path, text: str | None, mode: str | None
) -> None:
    file = tmp_path / facts.HUGE_PAGES
    file.parent.mkdir(parents=True)
    if text:
        file.write_text(text)
    assert facts.huge_pages(tmp_path) == mode


def test_openmp_is_the_library_that_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    pools = [{"user_api": "blas", "prefix": "x"}, {"user_api": "openmp", "prefix": "libgomp"}]
    monkeypatch.setattr(facts, "threadpool_info", lambda: pools)
    assert facts.openmp() == "libgomp"
    monkeypatch.setattr(facts, "threadpool_info", lambda: pools[:1])
    assert facts.openmp() is None


def test_the_spin_setting_is_that_of_the_library() -> None:
    given = {"GOMP_SPINCOUNT": "300", "KMP_BLOCKTIME": "0", "OTHER": "1"}
    assert facts.spinning("libgomp", given) == "GOMP_SPINCOUNT=300"
    assert facts.spinning("libiomp5", given) == "KMP_BLOCKTIME=0"
    assert facts.spinning("libgomp", {"OMP_WAIT_POLICY": "PASSIVE"}) == "OMP_WAIT_POLICY=PASSIVE"
    assert facts.spinning("libgomp", {}) == ""


def test_versions_are_told() -> None:
    assert facts.versions()["torch"] == importlib.metadata.version("torch")
    assert [*facts.versions()] == ["Python", "torch", "transformers"]


def test_what_is_older_than_it_should_be_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    assert facts.unmet_requirements() == []
    wanted = ["torch>=2.13", "numpy<3", 'ruff>=1; extra == "dev"', "gone>=1"]
    there = {"torch": "2.4.0+cu121", "numpy": "2.4.6"}

    def version(name: str) -> str:
        if name not in there:
            raise importlib.metadata.PackageNotFoundError
        return there[name]

    monkeypatch.setattr(facts, "requires", lambda _: wanted)
    monkeypatch.setattr(facts, "version", version)
    found = ["torch 2.4.0+cu121, wanted >=2.13", "gone none, wanted >=1"]
    assert facts.unmet_requirements() == found
    there["torch"] = "2.13.0+cpu"
    assert facts.unmet_requirements() == found[1:]


def test_the_load_is_the_systems_where_it_counts_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getloadavg", lambda: (1.5, 0.0, 0.0))
    assert facts.load() == 1.5
    monkeypatch.delattr(os, "getloadavg")
    assert facts.load() is None
