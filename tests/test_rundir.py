"""The run directory: links, status, and what changed since the last run."""

import json
import os
import socket
from pathlib import Path
from typing import Any

import pytest

from babyllama.errors import BabyllamaError, RecipeError
from babyllama.rundir import RunDirectory, why_stale
from babyllama.schema import flatten
from babyllama.stages import Stage
from babyllama.store import Identity, Store


def build(out: Path, partial: Path) -> None:
    (out / "scores.json").write_text("{}")
    (out / "items.npy").write_bytes(b"items")


def stage(name: str, inputs: dict[str, str] | None = None, **settings: Any) -> Stage:
    return Stage(name, Identity(name.split("/", maxsplit=1)[0], 1, settings, inputs or {}), build)


@pytest.fixture
def directory(tmp_path: Path) -> RunDirectory:
    made = RunDirectory(tmp_path / "runs" / "a")
    made.create()
    return made


@pytest.fixture
def store(directory: RunDirectory) -> Store:
    return Store(directory.store_root)


def show(directory: RunDirectory, store: Store, *stages: Stage) -> dict[str, Path]:
    folders = {s.name: store.make(s.identity, s.build) for s in stages}
    for name, folder in folders.items():
        directory.link(name, folder)
    return folders


def test_runs_beside_each_other_share_a_store(tmp_path: Path) -> None:
    roots = {RunDirectory(tmp_path / name).store_root for name in ("a", "b")}
    assert roots == {tmp_path / ".store"}


def test_an_artifact_shows_under_the_name_of_its_stage(
    directory: RunDirectory, store: Store
) -> None:
    folders = show(directory, store, stage("models/a"), stage("scores/a/blimp"))
    assert (directory.path / "models" / "a").resolve() == folders["models/a"]
    scores = directory.path / "scores" / "a"
    assert (scores / "blimp.json").read_text() == "{}"
    assert (scores / "blimp.items.npy").read_bytes() == b"items"


def test_a_link_is_replaced(directory: RunDirectory, store: Store) -> None:
    show(directory, store, stage("models/a", epochs=1))
    folders = show(directory, store, stage("models/a", epochs=2))
    assert (directory.path / "models" / "a").resolve() == folders["models/a"]
    assert os.listdir(directory.path / "models") == ["a"]  # noqa: PTH208 (hidden ones too)


def test_runs_can_be_moved_with_their_store(directory: RunDirectory, store: Store) -> None:
    show(directory, store, stage("models/a"))
    moved = directory.path.parent.rename(directory.path.parent.with_name("elsewhere"))
    assert (moved / "a" / "models" / "a" / "manifest.json").exists()


def test_links_hold_where_the_folder_of_runs_is_itself_a_link(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "disk" / "deep" / "runs").mkdir(parents=True)
    (tmp_path / "runs").symlink_to(tmp_path / "disk" / "deep" / "runs")
    monkeypatch.chdir(tmp_path)
    directory = RunDirectory(Path("runs/a"))
    show(directory, Store(directory.store_root), stage("models/a"))
    monkeypatch.chdir("/")
    moved = (tmp_path / "disk" / "deep").rename(tmp_path / "other")
    assert (moved / "runs" / "a" / "models" / "a" / "manifest.json").exists()


def test_links_to_stages_that_are_gone_from_the_recipe_go_too(
    directory: RunDirectory, store: Store
) -> None:
    kept = [stage("corpus"), stage("models/a"), stage("scores/a/blimp")]
    gone = [stage("models/b"), stage("scores/a/old"), stage("scores/b/blimp"), stage("suites/x")]
    show(directory, store, *kept, *gone)
    (directory.path / "report").mkdir()
    (directory.path / "report" / "mine.txt").touch()
    directory.drop_unused_links(kept)
    links = {str(p.relative_to(directory.path)) for p in directory.path.rglob("*")}
    assert {"corpus", "models/a", "scores/a/blimp.json", "report/mine.txt"} <= links
    assert "scores/a/blimp.items.npy" in links
    assert not {"models/b", "scores/a/old.json", "scores/b/blimp.json", "suites/x"} & links
    assert "scores/a/old.items.npy" not in links
    assert not (directory.path / "scores" / "b").exists()
    assert all(store.has(s.identity) for s in gone)


def test_the_users_own_links_and_folders_stay(
    directory: RunDirectory, store: Store, tmp_path: Path
) -> None:
    show(directory, store, stage("models/a"), stage("scores/a/blimp"))
    (tmp_path / "mine").mkdir()
    own = ["data/link", "bin/lib64", "models/mine", "scores/a/mine.json", "suites/mine", "mine"]
    for name in own:
        (directory.path / name).parent.mkdir(exist_ok=True)
        (directory.path / name).symlink_to(tmp_path / "mine")
    (directory.path / "scores" / "empty").mkdir()
    directory.drop_unused_links([])
    assert not (directory.path / "models" / "a").exists()
    assert not (directory.path / "scores" / "a" / "blimp.json").exists()
    assert all((directory.path / name).is_symlink() for name in own)
    assert (directory.path / "scores" / "empty").is_dir()


def test_a_second_process_cannot_have_the_folder(directory: RunDirectory) -> None:
    with directory.locked():
        holder = f"process {os.getpid()} on {socket.gethostname()}"
        with (
            pytest.raises(BabyllamaError, match=rf"{directory.path} is in use by {holder}: wait"),
            directory.locked(),
        ):
            pass
    with directory.locked():
        pass
    assert not [*directory.path.iterdir()]


def test_a_stage_that_a_run_has_not_come_to_keeps_its_row(
    directory: RunDirectory, store: Store
) -> None:
    first = [stage("corpus", words=1), stage("models/a", epochs=1), stage("models/gone")]
    directory.write_stages(first, show(directory, store, *first), {"corpus", "models/a"})
    second = [stage("corpus", words=2), stage("models/a", epochs=2)]
    directory.write_stages(second, show(directory, store, second[0]), {"corpus"})
    rows = directory.previous()
    assert list(rows) == ["corpus", "models/a"]
    assert rows["corpus"]["settings"] == {"words": 2}
    assert why_stale(second[1], rows["models/a"]) == "epochs 1 -> 2"


def test_stages_tell_what_was_reused_and_what_it_took(
    directory: RunDirectory, store: Store
) -> None:
    stages = [stage("corpus"), stage("tokens")]
    directory.write_stages(stages, show(directory, store, *stages), {"tokens"})
    rows = json.loads((directory.path / "stages.json").read_text())
    assert [(row["stage"], row["reused"]) for row in rows] == [("corpus", True), ("tokens", False)]
    assert all(row["seconds"] >= 0 for row in rows)


@pytest.mark.parametrize("content", [None, "", "{", "7", "[7]", "[{}]", '{"a": 1}'])
def test_stages_that_cannot_be_read_count_as_none(
    directory: RunDirectory, content: str | None
) -> None:
    if content is not None:
        (directory.path / "stages.json").write_text(content)
    assert directory.previous() == {}


def row_of(made: Stage) -> dict[str, Any]:
    identity = made.identity
    return {
        "fingerprint": identity.fingerprint,
        "settings": identity.settings,
        "inputs": identity.inputs,
    }


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        (stage("m", epochs=1), stage("m", epochs=2), "epochs 1 -> 2"),
        (stage("m", t={"lr": 0.1}), stage("m", t={"lr": 0.2}), "t.lr 0.1 -> 0.2"),
        (stage("m", a=1, b=1), stage("m", a=2, b=2), "a 1 -> 2, b 1 -> 2"),
        (stage("m"), stage("m", new=3), "new None -> 3"),
        (stage("m", {"tokens": "x"}), stage("m", {"tokens": "y"}), "tokens changed"),
        (stage("m"), stage("m", {"models/a": "y"}), "models/a changed"),
        (stage("m"), stage("m"), ""),
        (stage("m", d=None), stage("m", d={"t": 2}), "d.t None -> 2"),
    ],
)
def test_what_changed_is_told_from_what_to_what(before: Stage, after: Stage, reason: str) -> None:
    assert why_stale(after, row_of(before)) == reason


def test_a_change_of_the_program_is_told() -> None:
    old = Stage("m", Identity("m", 1, {}, {}), build)
    new = Stage("m", Identity("m", 2, {}, {}), build)
    assert why_stale(new, row_of(old)) == "the program changed"


def test_nothing_is_told_of_a_stage_that_is_new() -> None:
    assert why_stale(stage("m", epochs=1), None) == ""


def test_the_status_tells_the_state_and_the_process(directory: RunDirectory) -> None:
    directory.write_status("running", stage="models/a")
    status = json.loads((directory.path / "status.json").read_text())
    assert status["state"] == "running"
    assert status["stage"] == "models/a"
    assert status["process"] == os.getpid()


def test_a_run_directory_cannot_be_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RecipeError, match=r"--run-dir .*file is a file: name a folder"):
        RunDirectory(tmp_path / "file").create()


def test_flat_keys_name_the_place() -> None:
    assert flatten({"a": {"b": {"c": 1}}, "d": {}}) == {"a.b.c": 1}
