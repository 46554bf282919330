"""Damaged checkpoints, a full disk and stale folders, under a training of the command line."""

import json
import os
import resource
import signal
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from sabotage import Instant, contents, die_at

from babyllama.training.checkpoints import load_checkpoint, save_checkpoint
from disks import small_disk as disk
from tiny import babyllama, started

RUN = ("run", "r.yaml", "--run-dir", "runs/a")


def save(folder: Path, step: int) -> Path:
    tensors = {"model": {"weight": torch.full((3, 4), float(step))}}
    save_checkpoint(folder, step, {"seconds": 1.0}, tensors)
    return folder / f"step-{step:08d}"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def killed(unmade: Path) -> Path:
    """The folder of checkpoints of a teacher whose run was killed in its sixth save."""
    instant = Instant("rename", r"/checkpoints/\.step-\d+\.new", nth=6)
    with started(unmade, *RUN, first=partial(die_at, instant)) as command:
        assert command.finish().code == -signal.SIGKILL, command.err
    (folder,) = (unmade / "runs" / ".store").glob("model-*.partial/checkpoints")
    assert names(folder) == [".step-00000006.new", "step-00000004", "step-00000005"]
    return folder


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-5])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("name", "spoil"),
    [
        ("model.safetensors", flip),
        pytest.param("optimizer.safetensors", truncate, marks=pytest.mark.slow),
        pytest.param("state.json", Path.unlink, marks=pytest.mark.slow),
        pytest.param("sha256.json", Path.unlink, marks=pytest.mark.slow),
        pytest.param("sha256.json", truncate, marks=pytest.mark.slow),
    ],
)
def test_a_run_falls_back_from_a_spoilt_checkpoint_and_names_it(
    killed: Path, unmade: Path, small_run: Path, name: str, spoil: Callable[[Path], object]
) -> None:
    """And the stale folder of the save that was killed is no obstacle."""
    spoil(killed / "step-00000005" / name)
    command = babyllama(unmade, *RUN)
    assert command.code == 0, command.err
    warned = [line for line in command.err.splitlines() if "passed over" in line]
    assert len(warned) == 1
    assert warned[0].startswith("warning: checkpoint step-00000005 is passed over: ")
    assert contents(unmade / "runs") == contents(small_run / "runs")


def test_a_checkpoint_with_a_file_that_its_marker_does_not_name_is_spoilt(tmp_path: Path) -> None:
    save(tmp_path, 1)
    marker = save(tmp_path, 2) / "sha256.json"
    digests = json.loads(marker.read_text())
    del digests["model.safetensors"]
    marker.write_text(json.dumps(digests))
    with pytest.warns(UserWarning, match="step-00000002 is passed over: sha256.json does not name"):
        found = load_checkpoint(tmp_path)
    assert found
    assert found.state["step"] == 1


def test_older_checkpoints_go_only_when_the_newest_can_be_read_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for step in (1, 2):
        save(tmp_path, step)
    whole, rename = names(tmp_path), Path.rename

    def spoiling(self: Path, target: Path) -> Path:
        flip(self / "model.safetensors")
        return rename(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", spoiling)
        with pytest.warns(UserWarning, match="step-00000003 cannot be read back .*older ones are"):
            save(tmp_path, 3)
    assert names(tmp_path) == [*whole, "step-00000003"]
    with pytest.warns(UserWarning, match="step-00000003 is passed over"):
        found = load_checkpoint(tmp_path)
    assert found
    assert found.state["step"] == 2
    save(tmp_path, 4)
    assert names(tmp_path) == ["step-00000003", "step-00000004"]


def test_the_digests_are_those_of_what_was_meant_not_of_what_the_disk_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = Path.write_bytes
    monkeypatch.setattr(Path, "write_bytes", lambda self, data: write(self, data[:-4]))
    with pytest.warns(UserWarning, match="step-00000001 cannot be read back"):
        save(tmp_path, 1)


def test_files_are_synced_before_the_rename_and_folders_behind_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the marker is written last of all files."""
    folder, told = tmp_path / "checkpoints", list[str]()
    for call in ("fsync", "rename"):
        monkeypatch.setattr(os, call, partial(recorded, getattr(os, call), told, call))
    save(folder, 1)
    at = told.index("rename .step-00000001.new")
    synced = {"model.safetensors", "state.json", "sha256.json", ".step-00000001.new"}
    assert {f"fsync {name}" for name in synced} <= {*told[:at]}
    assert told[at + 1 :] == ["fsync checkpoints", f"fsync {tmp_path.name}"]
    written = sorted((folder / "step-00000001").iterdir(), key=lambda path: path.stat().st_mtime_ns)
    assert written[-1].name == "sha256.json"


def recorded(
    original: Callable[..., Any], told: list[str], call: str, given: Any, *more: Any
) -> Any:
    path = Path(f"/proc/self/fd/{given}").readlink() if isinstance(given, int) else Path(given)
    told.append(f"{call} {path.name}")
    return original(given, *more)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="reads which file was synced")
def test_an_artifact_is_synced_before_its_rename_and_the_store_behind_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from babyllama.store import Identity, Store

    def build(out: Path, _: Path) -> None:
        (out / "inner").mkdir()
        (out / "inner" / "text").write_text("a")

    told = list[str]()
    for call in ("fsync", "rename"):
        monkeypatch.setattr(os, call, partial(recorded, getattr(os, call), told, call))
    folder = Store(tmp_path / ".store").make(Identity("corpus", 1, {}, {}), build)
    at = told.index(f"rename {folder.name}.new")
    for name in ("text", "inner", "manifest.json", f"{folder.name}.new"):
        assert f"fsync {name}" in told[:at]
    assert told[at + 1] == "fsync .store"


def small_files(size: int) -> None:
    """No file may grow past a size, as on a full disk: the write fails."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def test_a_save_that_the_system_refuses_keeps_the_checkpoint_before(
    killed: Path, unmade: Path, small_run: Path
) -> None:
    """A limit on the size of files, which needs no root; test_bad_input has a disk that is full."""
    largest = max(path.stat().st_size for path in killed.rglob("*.safetensors"))
    with started(unmade, *RUN, first=partial(small_files, largest - 1)) as command:
        finished = command.finish()
    assert finished.code == 1
    assert finished.error_lines[-1] == (
        "error: the system refuses a file of that size: raise its limit (ulimit -f) or choose a"
        " --run-dir on another file system, then run the same command again"
    )
    found = load_checkpoint(killed)
    assert found
    assert found.state["step"] == 5
    assert babyllama(unmade, *RUN).code == 0
    assert contents(unmade / "runs") == contents(small_run / "runs")


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk that has no room for a third checkpoint; skipped where none can be had."""
    with disk(tmp_path / "disk", "64k") as place:
        yield place


def test_a_disk_that_fills_up_in_a_save_costs_no_older_checkpoint(full_disk: Path) -> None:
    def saved(step: int) -> None:
        values = torch.full((3000,), float(step))
        save_checkpoint(full_disk, step, {"seconds": 1.0}, {"model": {"weight": values}})

    for step in (1, 2):
        saved(step)
    (full_disk / "ballast").write_bytes(b"x" * 15_000)
    with pytest.raises(OSError, match="No space left"):
        saved(3)
    found = load_checkpoint(full_disk)
    assert found
    assert found.state["step"] == 2
    (full_disk / "ballast").unlink()
    saved(3)
    assert names(full_disk) == ["step-00000002", "step-00000003"]
