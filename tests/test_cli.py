"""The commands: what they print, what they write, and how they end."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from babyllama.recipe_files import preset_names, preset_text
from babyllama.resolve import load_recipe
from tiny import babyllama


def real(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    """`python -m babyllama ARGUMENTS`, with nothing imported beforehand."""
    command = [sys.executable, "-m", "babyllama", *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


def test_help_needs_no_heavy_import(tmp_path: Path) -> None:
    heavy = "import sys; from babyllama.cli import app; print({'torch', 'numpy', 'transformers',"
    code = f"{heavy} 'pydantic'}} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "set()\n"
    begun = time.monotonic()
    command = real("--help", cwd=tmp_path)
    assert command.returncode == 0
    assert {"run", "recipes", "generate"} <= set(command.stdout.split())
    assert time.monotonic() - begun < 5


def test_recipes_are_listed_with_what_they_are(tmp_path: Path) -> None:
    command = real("recipes", cwd=tmp_path)
    assert command.returncode == 0
    listed = dict(line.split(maxsplit=1) for line in command.stdout.splitlines())
    assert list(listed) == preset_names()
    assert "embedded corpus" in listed["demo"]


def test_a_recipe_is_copied_and_never_over_a_file(tmp_path: Path) -> None:
    command = babyllama(tmp_path, "recipes", "copy", "mini", "my.yaml")
    assert command.code == 0, command.err
    assert command.out == "wrote my.yaml; run it with: babyllama run my.yaml\n"
    text = (tmp_path / "my.yaml").read_text("utf-8")
    assert text == preset_text("mini").replace("name: mini", "name: my")
    assert load_recipe(str(tmp_path / "my.yaml")) == load_recipe("mini", ["name=my"])
    (tmp_path / "my.yaml").write_text("mine")
    again = babyllama(tmp_path, "recipes", "copy", "mini", "my.yaml")
    assert again.code == 2
    assert again.err == "error: my.yaml exists: choose another name or delete it\n"
    assert (tmp_path / "my.yaml").read_text() == "mine"


@pytest.mark.parametrize(
    ("file", "name"),
    [("2023.yaml", "2023"), ("my own.v2.yaml", "my-own-v2"), ("_x.yaml", "x"), ("ü.yaml", "demo")],
)
def test_a_copy_has_the_name_of_its_file_as_far_as_a_run_can_have_it(
    tmp_path: Path, file: str, name: str
) -> None:
    command = babyllama(tmp_path, "recipes", "copy", "demo", file)
    assert command.code == 0, command.err
    assert load_recipe(str(tmp_path / file)).name == name


@pytest.mark.parametrize(
    ("name", "file", "message"),
    [
        ("minni", "x.yaml", "error: no recipe 'minni'; did you mean 'mini'?\n"),
        ("mini", "no/x.yaml", "error: no is no folder: create it or choose another\n"),
        ("mini", "file/x.yaml", "error: file is no folder: create it or choose another\n"),
        ("mini", "folder", "error: folder exists: choose another name or delete it\n"),
    ],
)
def test_a_copy_that_cannot_be_is_refused(
    tmp_path: Path, name: str, file: str, message: str
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    command = babyllama(tmp_path, "recipes", "copy", name, file)
    assert (command.code, command.err) == (2, message)


def test_a_model_goes_on_with_a_text(finished: Path) -> None:
    def generate(*options: object) -> str:
        command = babyllama(finished, "generate", "runs/first/models/student", *options)
        assert command.code == 0, command.err
        assert command.err == ""
        return command.out

    first = generate("The king", "--tokens", 5)
    assert first.startswith("The king")
    assert len(first) > len("The king\n")
    assert generate("The king", "--tokens", 5) == first
    assert generate("The king", "--tokens", 5, "--seed", 2) != first
    greedy = generate("The king", "--tokens", 5, "--temperature", 0)
    assert greedy == generate("The king", "--tokens", 5, "--temperature", 0, "--seed", 2)


@pytest.mark.parametrize(
    "arguments",
    [
        ["run"],
        ["walk"],
        ["run", "mini", "--fast"],
        ["generate", "x", "y", "--tokens", 0],
        ["generate", "x", "y", "--temperature", -1],
    ],
)
def test_a_command_line_that_cannot_be_meant_ends_with_2(
    tmp_path: Path, arguments: list[object]
) -> None:
    command = babyllama(tmp_path, *arguments)
    assert command.code == 2
    assert "Traceback" not in command.err
    assert "Usage" in command.err


def test_a_warning_is_one_line(tmp_path: Path, data: Path) -> None:
    text = shutil.copytree(data / "text", tmp_path / "text")
    (text / "picture.png").touch()
    command = babyllama(tmp_path, "run", data / "tiny.yaml", "--dry-run", f"corpus.path={text}")
    assert command.code == 0, command.err
    assert command.err == f"warning: not part of the corpus: {text / 'picture.png'}\n"


def test_without_a_run_directory_a_run_lives_under_its_name(copied: Path, data: Path) -> None:
    command = babyllama(copied, "run", data / "tiny.yaml", "name=other")
    assert command.code == 0, command.err
    assert (copied / "runs" / "other" / "report" / "index.html").exists()
    assert "made " not in command.err


@pytest.mark.slow
def test_the_real_command_finds_a_finished_run_up_to_date(finished: Path, data: Path) -> None:
    begun = time.monotonic()
    command = real("run", data / "tiny.yaml", "--run-dir", "runs/first", cwd=finished)
    assert command.returncode == 0, command.stderr
    assert "made " not in command.stderr
    stages = json.loads((finished / "runs/first/stages.json").read_text("utf-8"))
    assert command.stderr.count("up to date ") == len(stages) > 10
    assert time.monotonic() - begun < 60


def test_the_environment_is_set_before_torch_is_imported_and_the_users_own_is_kept() -> None:
    code = (
        "import os; from babyllama.cli import prepare; prepare();"
        " print(os.environ['THP_MEM_ALLOC_ENABLE'], os.environ['TOKENIZERS_PARALLELISM'])"
    )
    bare = {key: value for key, value in os.environ.items() if not key.startswith("THP")}
    bare["TOKENIZERS_PARALLELISM"] = "false"
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=bare
    )
    assert found.stdout == "1 false\n"
