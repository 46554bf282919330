"""`babyllama doctor`: readable text, exit codes, and warnings that stop nothing."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from babyllama import doctor
from babyllama.doctor import examine, needed
from babyllama.machine import facts
from babyllama.resolve import load_recipe, resolve
from tiny import babyllama, recipe

PARTS = ["machine", "chosen for tiny", "throughput", "tiny on this machine", "warnings"]
FACTS = "CPU cores instructions memory disk GPU huge OpenMP versions device precision threads loss"


def test_it_tells_machine_choices_speed_and_time(tmp_path: Path, data: Path) -> None:
    command = babyllama(tmp_path, "doctor", data / "tiny.yaml", "--run-dir", "runs/a")
    assert command.code == 0, command.err
    assert not (tmp_path / "runs").exists()
    lines = command.out.splitlines()
    assert [line for line in lines if not line.startswith((" ", "-", "none"))] == PARTS
    assert max(map(len, lines)) <= 80
    names = {line.split()[0] for line in lines if re.match("  [^ ]", line)}
    assert set(FACTS.split()) <= names
    assert re.search(r"student, alone +[\d,]+ tokens/s", command.out)
    assert re.search(r"student, taught +[\d,]+ tokens/s", command.out)
    assert re.search(r"all trainings +about \d+ s", command.out)
    for name in ("llama", "gpt2", "student", "control"):
        assert re.search(rf"^  {name} +about \d+ s; 0.0 M parameters", command.out, re.MULTILINE)


def test_settings_are_taken_as_run_takes_them(tmp_path: Path, data: Path) -> None:
    command = babyllama(
        tmp_path, "doctor", data / "tiny.yaml", "models.student.training.micro_batch=4"
    )
    assert command.code == 0, command.err
    assert "models.student.training.micro_batch" in command.out
    assert "4 of 32" in command.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["minni"], "error: no recipe 'minni'; did you mean 'mini'?\n"),
        (["mini", "runtime.device=tpu"], "error: runtime.device: this machine has no device 'tpu'"),
    ],
)
def test_what_cannot_be_meant_ends_with_2(
    tmp_path: Path, arguments: list[str], message: str
) -> None:
    command = babyllama(tmp_path, "doctor", *arguments)
    assert command.code == 2
    assert command.err.startswith(message)


def test_the_recipe_is_mini_and_its_text_need_not_be_there(tmp_path: Path) -> None:
    mini = load_recipe("mini", ["corpus.path=none"])
    needs = needed(mini, tmp_path / "runs" / "mini")
    assert needs.tokens == pytest.approx(1_500_000 * 5.4 / 3.5, abs=1)
    assert [cost.name for cost in needs.costs] == ["llama", "gpt2", "student", "control"]
    assert all(cost.flops for cost in needs.costs)
    (told,) = needs.concerns
    assert told.startswith("a run would stop here: ")
    assert "none" in told


def test_time_is_unknown_where_nothing_tells_how_much_text_there_is(
    tmp_path: Path, data: Path
) -> None:
    raw = recipe(data, corpus={"path": str(tmp_path / "none")})
    lines = [*examine(resolve(raw), tmp_path / "runs" / "a", seconds=0.1)]
    assert any("unknown without the text: give corpus.path" in line for line in lines)
    assert not any("all trainings" in line for line in lines)
    assert any(re.search(r"loss +plain or compiled \(the amount of text", line) for line in lines)


def test_disk_holds_models_checkpoints_and_tokens(tmp_path: Path, data: Path) -> None:
    needs = needed(resolve(recipe(data)), tmp_path / "runs" / "a")
    sizes = [cost.parameters for cost in needs.costs]
    assert needs.disk == 4 * sum(sizes) + 24 * max(sizes) + 2 * (needs.tokens or 0)


def test_a_kept_signal_is_part_of_time_and_disk(tmp_path: Path, data: Path) -> None:
    raw = recipe(data, distillation={"signal": "hidden-int8"})
    needs = needed(resolve(raw), tmp_path / "runs" / "a")
    (signal,) = needs.signals
    assert needs.disk > signal.bytes > 0
    out = " ".join(examine(resolve(raw), tmp_path / "runs" / "a", seconds=0.1))
    assert re.search(r"signal/student +about \d+ s; hidden-int8", out)


def test_warnings_stop_nothing(tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(facts, "load", lambda: 99.0)
    full = facts.Disk(tmp_path, 0, writable=False)
    monkeypatch.setattr(facts, "disk", lambda _: full)
    monkeypatch.setattr(facts, "unmet_requirements", lambda: ["torch 1.0, wanted >=2"])
    monkeypatch.setattr(doctor, "has_native_bf16", lambda _: False)
    lines = [*examine(resolve(recipe(data)), tmp_path / "runs" / "a", seconds=0.1)]
    told = " ".join(lines[lines.index("warnings") :])
    for text in ("load 99.0", "cannot be written", "of disk", "torch 1.0", "no bf16"):
        assert text in " ".join(told.split())


def test_nothing_to_warn_of_is_said(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in doctor.concerns.__dict__:
        if name.startswith("of_"):
            monkeypatch.setattr(doctor.concerns, name, lambda *_: [])
    lines = [*examine(resolve(recipe(data)), tmp_path / "runs" / "a", seconds=0.1)]
    assert lines[-2:] == ["warnings", "- none"]


def test_a_recipe_too_large_says_so_and_is_estimated(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("babyllama.estimate.memory", lambda: facts.Memory(1, 1, limited=True))
    lines = [*examine(resolve(recipe(data)), tmp_path / "runs" / "a", seconds=0.1)]
    text = " ".join(" ".join(lines).split())
    assert "with a small model, since student does not fit the memory or the ten seconds" in text
    assert "all trainings about" in text


def test_torch_finds_its_settings_when_it_is_imported(tmp_path: Path, data: Path) -> None:
    """With `python -m babyllama` they are in the environment before the first import of torch."""
    code = """
import importlib.abc, os, runpy, sys

class Watch(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            print(os.environ.get("THP_MEM_ALLOC_ENABLE"), os.environ.get("GOMP_SPINCOUNT"))
            os._exit(7)

sys.meta_path.insert(0, Watch())
sys.argv = ["babyllama", *sys.argv[1:]]
runpy.run_module("babyllama", run_name="__main__")
"""
    bare = {k: v for k, v in os.environ.items() if not k.startswith(("THP_", "GOMP_", "OMP_"))}
    for environment, found in ((bare, "1 300"), (bare | {"GOMP_SPINCOUNT": "5"}, "1 5")):
        for command in (["doctor"], ["run", "demo"], ["evaluate", "x", "--suite", "y"]):
            got = subprocess.run(
                [sys.executable, "-c", code, *command],
                cwd=tmp_path, env=environment | {"PYTHONUNBUFFERED": "1"},
                capture_output=True, text=True, check=False,
            )  # fmt: skip
            assert (got.returncode, got.stdout.strip()) == (7, found), (command, got.stderr)
