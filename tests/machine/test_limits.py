"""Limits of control groups, in trees of files as both versions of Linux have them."""

from pathlib import Path

import pytest

from babyllama.machine.limits import Allowance, cpu_quota, memory_allowance

GIB = 2**30


def tree(root: Path, groups: str, files: dict[str, object]) -> Path:
    """A root with `/proc/self/cgroup` and files under `/sys/fs/cgroup`."""
    content = {"proc/self/cgroup": groups}
    content |= {f"sys/fs/cgroup/{name}": str(text) for name, text in files.items()}
    for name, text in content.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"{text}\n")
    return root


def test_a_machine_without_groups_has_no_limits(tmp_path: Path) -> None:
    assert cpu_quota(tmp_path) is None
    assert memory_allowance(tmp_path) is None


@pytest.mark.parametrize(
    ("text", "quota"), [("200000 100000", 2.0), ("50000 100000", 0.5), ("max 100000", None)]
)
def test_the_quota_of_version_2(tmp_path: Path, text: str, quota: float | None) -> None:
    root = tree(tmp_path, "0::/job", {"job/cpu.max": text})
    assert cpu_quota(root) == quota


def test_the_tightest_group_on_the_way_up_counts(tmp_path: Path) -> None:
    quotas = {"a/b/cpu.max": "max 100000", "a/cpu.max": "150000 100000", "cpu.max": "400000 100000"}
    assert cpu_quota(tree(tmp_path, "0::/a/b", quotas)) == 1.5


def test_a_path_that_only_the_host_has_still_finds_the_limits_of_the_container(
    tmp_path: Path,
) -> None:
    root = tree(tmp_path, "0::/docker/1234", {"cpu.max": "300000 100000"})
    assert cpu_quota(root) == 3


@pytest.mark.parametrize(("quota", "expected"), [(250000, 2.5), (-1, None)])
def test_the_quota_of_version_1(tmp_path: Path, quota: int, expected: float | None) -> None:
    files = {"cpu/job/cpu.cfs_quota_us": quota, "cpu/job/cpu.cfs_period_us": 100000}
    root = tree(tmp_path, "3:cpu,cpuacct:/job\n2:memory:/other", files)
    assert cpu_quota(root) == expected


def test_memory_of_version_2_counts_idle_pages_as_free(tmp_path: Path) -> None:
    files = {
        "job/memory.max": 8 * GIB,
        "job/memory.current": 5 * GIB,
        "job/memory.stat": f"anon 1\ninactive_file {2 * GIB}\nfile 3",
        "memory.max": "max",
    }
    root = tree(tmp_path, "0::/job", files)
    assert memory_allowance(root) == Allowance(8 * GIB, 5 * GIB)


def test_memory_of_version_1_without_a_limit_is_none(tmp_path: Path) -> None:
    files: dict[str, object] = {
        "memory/memory.limit_in_bytes": 9223372036854771712,
        "memory/memory.usage_in_bytes": GIB,
    }
    assert memory_allowance(tree(tmp_path, "4:memory:/", files)) is None
    files["memory/memory.limit_in_bytes"] = 2 * GIB
    assert memory_allowance(tree(tmp_path, "4:memory:/", files)) == Allowance(2 * GIB, GIB)


def test_a_group_that_holds_more_than_its_limit_has_nothing_free(tmp_path: Path) -> None:
    files = {"memory.max": GIB, "memory.current": 2 * GIB}
    assert memory_allowance(tree(tmp_path, "0::/", files)) == Allowance(GIB, 0)
