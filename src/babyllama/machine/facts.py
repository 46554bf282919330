"""What the machine offers: one small question a function."""

import os
import platform
import shutil
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from tempfile import TemporaryFile
from typing import NamedTuple

import psutil
import torch
from packaging.requirements import Requirement
from threadpoolctl import threadpool_info

from babyllama.corpus.workers import cores
from babyllama.devices import has_native_bf16
from babyllama.machine.limits import ROOT, cpu_quota, memory_allowance

INSTRUCTIONS = {
    "avx2": "avx2",
    "avx512_f": "avx512",
    "avx512_vnni": "avx512_vnni",
    "avx512_bf16": "avx512_bf16",
    "amx_bf16": "amx_bf16",
    "amx_int8": "amx_int8",
    "sve": "sve",
    "bf16": "bf16",
}
"""Flags that torch knows of a processor and that decide its speed here -> their usual names."""
LIBRARIES = ("torch", "transformers")
HUGE_PAGES = "sys/kernel/mm/transparent_hugepage/enabled"


class Processor(NamedTuple):
    """A CPU as this process may use it."""

    name: str
    cores: int
    """Physical ones, of the whole machine."""
    threads: int
    """Logical ones."""
    allowed: int
    """Logical ones that this process may run on."""
    quota: float | None
    """Cores whose time it may use, where that is limited."""
    instructions: tuple[str, ...]

    @property
    def usable(self) -> int:
        """Threads that can run at once, one a core."""
        most = min(self.cores, self.allowed)
        return max(1, min(most, int(self.quota)) if self.quota else most)


class Memory(NamedTuple):
    """Bytes."""

    total: int
    free: int
    limited: bool
    """Whether a limit of this process, not the machine, says so."""


class Disk(NamedTuple):
    """Where a run directory is or would be made."""

    place: Path
    """The folder itself, or the nearest above it that is there."""
    free: int
    writable: bool


class Gpu(NamedTuple):
    """Bytes of memory, and whether bf16 products run in hardware."""

    name: str
    total: int
    free: int
    bf16: bool


def processor(root: Path = ROOT) -> Processor:
    """The CPU."""
    flags = torch.cpu.get_capabilities()
    logical = psutil.cpu_count() or 1
    return Processor(
        name=str(flags.get("cpu_name") or platform.processor() or platform.machine()),
        cores=psutil.cpu_count(logical=False) or logical,
        threads=logical,
        allowed=cores(),
        quota=cpu_quota(root),
        instructions=tuple(name for flag, name in INSTRUCTIONS.items() if flags.get(flag)),
    )


def memory(root: Path = ROOT) -> Memory:
    """What this process may hold and may still take."""
    whole, allowance = psutil.virtual_memory(), memory_allowance(root)
    if not allowance or allowance.limit >= whole.total:
        return Memory(whole.total, whole.available, limited=False)
    return Memory(allowance.limit, min(allowance.free, whole.available), limited=True)


def disk(run_dir: Path) -> Disk:
    """The file system of a run directory, which need not be there."""
    above = (run_dir, *run_dir.absolute().parents)
    place = next(folder for folder in above if folder.exists())
    return Disk(place, shutil.disk_usage(place).free, _takes_a_file(place))


def _takes_a_file(place: Path) -> bool:
    """Tried, since permissions are not all that may forbid it."""
    try:
        with TemporaryFile(dir=place):
            return True
    except OSError:
        return False


def gpus() -> list[Gpu]:
    """Those that torch can use."""
    found = []
    for index in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        free, total = torch.cuda.mem_get_info(index)
        with torch.cuda.device(index):
            bf16 = has_native_bf16(torch.device("cuda"))
        found.append(Gpu(torch.cuda.get_device_name(index), total, free, bf16))
    return found


def compiler(environment: Mapping[str, str] = os.environ) -> str | None:
    """The C++ compiler that `torch.compile` takes, if it is there."""
    usual = "clang++" if sys.platform == "darwin" else "g++"
    return shutil.which(environment.get("CXX", usual))


def huge_pages(root: Path = ROOT) -> str | None:
    """`always`, `madvise` (for those who ask) or `never`; None where the system has none."""
    try:
        modes = (root / HUGE_PAGES).read_text("utf-8")
    except OSError:
        return None
    return modes.partition("[")[2].partition("]")[0] or None


def openmp() -> str | None:
    """The library that runs torch's threads: `libgomp`, `libomp`, `libiomp`."""
    found = [pool["prefix"] for pool in threadpool_info() if pool["user_api"] == "openmp"]
    return str(found[0]) if found else None


def spinning(library: str | None, environment: Mapping[str, str] = os.environ) -> str:
    """How long its threads wait for each other before they sleep, as the environment says."""
    names = ["OMP_WAIT_POLICY", "GOMP_SPINCOUNT" if library == "libgomp" else "KMP_BLOCKTIME"]
    return " ".join(f"{name}={environment[name]}" for name in names if name in environment)


def versions() -> dict[str, str]:
    """Of Python and of the libraries that results depend on most."""
    return {"Python": platform.python_version()} | {name: version(name) for name in LIBRARIES}


def unmet_requirements(package: str = "babyllama") -> list[str]:
    """Libraries that are older or newer than a package asks for, with what it asks for."""
    found = []
    for text in requires(package) or []:
        wanted = Requirement(text)
        if wanted.marker and not wanted.marker.evaluate({"extra": ""}):
            continue
        try:
            there = version(wanted.name)
        except PackageNotFoundError:
            there = "none"
        if there == "none" or not wanted.specifier.contains(there, prereleases=True):
            found.append(f"{wanted.name} {there}, wanted {wanted.specifier or 'any'}")
    return found


def load() -> float | None:
    """Programs that wanted a core in the last minute, on average; None where nobody counts."""
    try:
        return os.getloadavg()[0]
    except (AttributeError, OSError):
        return None
