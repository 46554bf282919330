"""What a container or a job may use: the limits of its control groups, in both versions of Linux.

A group's limits hold for all groups in it, so that the tightest on the way up counts. Elsewhere,
and without limits, everything here is None.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path("/")
# Version 1 writes "no limit" as the largest number of whole pages.
NO_LIMIT = 1 << 60


class Allowance(NamedTuple):
    """Bytes of memory: all that a group may hold, and what it may still take."""

    limit: int
    free: int


def cpu_quota(root: Path = ROOT) -> float | None:
    """Cores whose time this process may use, which may be a fraction."""
    quotas = []
    for folder in _groups("cpu", root):
        quota, period = [*_text(folder / "cpu.max").split(), "", ""][:2]
        if not period:
            quota = _text(folder / "cpu.cfs_quota_us")
            period = _text(folder / "cpu.cfs_period_us")
        if quota.isdigit() and period.isdigit() and int(period):
            quotas.append(int(quota) / int(period))
    return min(quotas, default=None)


def memory_allowance(root: Path = ROOT) -> Allowance | None:
    """Memory of the tightest group; pages of files that nobody uses now count as free."""
    found = []
    for folder in _groups("memory", root):
        limit = _number(folder, "memory.max", "memory.limit_in_bytes")
        used = _number(folder, "memory.current", "memory.usage_in_bytes")
        if limit is None or used is None or limit >= NO_LIMIT:
            continue
        stat = dict(line.split() for line in _text(folder / "memory.stat").splitlines())
        idle = int(stat.get("total_inactive_file", stat.get("inactive_file", 0)))
        found.append(Allowance(limit, max(0, limit - used + idle)))
    return min(found, key=lambda each: each.free, default=None)


def _groups(controller: str, root: Path) -> Iterator[Path]:
    """The folders of this process's groups, each with those above it.

    In a container the path may be the host's: what of it is there counts.
    """
    mount = root / "sys" / "fs" / "cgroup"
    for line in _text(root / "proc" / "self" / "cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        top = mount / controller if controllers else mount
        folder = top / path.strip("/")
        for each in (folder, *folder.parents):
            if each.is_dir():
                yield each
            if each == top:
                break


def _number(folder: Path, *names: str) -> int | None:
    """The first that holds one: `max` is none."""
    return next((int(text) for name in names if (text := _text(folder / name)).isdigit()), None)


def _text(path: Path) -> str:
    """What a file says; nothing where it cannot be read."""
    try:
        return path.read_text("utf-8").strip()
    except OSError:
        return ""
