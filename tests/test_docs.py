"""What the documents tell people to type and to look for is there."""

import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from babyllama import cli
from babyllama.recipe_files import preset_copy
from babyllama.resolve import load_recipe

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
INDENTED = re.compile(r"^ {4,}(.*)$", re.MULTILINE)
SHELL = re.compile(r"^```(?:sh|bash|shell)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"^(?:\.venv/bin/)?babyllama (.*)$", re.MULTILINE)
YAML = re.compile(r"^```yaml\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def commands() -> Iterator[tuple[str, str]]:
    """Every line of a page that calls babyllama: indented, or in a fence."""
    for page in PAGES:
        text = page.read_text("utf-8")
        for line in COMMAND.findall("\n".join([*INDENTED.findall(text), *SHELL.findall(text)])):
            yield page.name, line


def parsed(line: str) -> dict[str, Any]:
    """What the command line gives to the function behind it, which is not called."""
    found: list[dict[str, Any]] = []
    command: Any = typer.main.get_command(cli.app)
    pending = [command]
    while pending:
        each = pending.pop()
        each.callback = lambda **given: found.append(given)
        pending += getattr(each, "commands", {}).values()
    command.main(shlex.split(line, comments=True), "babyllama", standalone_mode=False)
    return {key: value for given in found for key, value in given.items()}


@pytest.fixture
def recipes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the recipes that pages tell people to write; others are a copy of `mini`."""
    shutil.rmtree(tmp_path)
    tmp_path.mkdir()
    for page in PAGES:
        for text in YAML.findall(page.read_text("utf-8")):
            (tmp_path / f"{yaml.safe_load(text)['name']}.yaml").write_text(text, "utf-8")
    (tmp_path / "my.yaml").write_text(preset_copy("mini", "my"), "utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_documents_hold_commands() -> None:
    assert len([*commands()]) > 10
    assert "README.md" in dict(commands())


@pytest.mark.parametrize(("page", "line"), [*commands()])
def test_a_command_in_the_documents_can_be_meant(recipes: Path, page: str, line: str) -> None:
    given = parsed(line)
    if given.get("recipe"):
        load_recipe(given["recipe"], given.get("overrides") or [])


@pytest.mark.parametrize("line", ["run mini --fast", "fetsh blimp", "generate runs/mini"])
def test_a_command_that_is_none_would_show(line: str) -> None:
    with pytest.raises(Exception, match=r"(?i)no such|missing"):
        parsed(line)


def test_the_tour_names_every_module() -> None:
    tour = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    names = {path.stem for path in (ROOT / "src").rglob("*.py")} - {"__init__"}
    missing = {name for name in names if f"`{name}" not in tour}
    assert not {name for name in missing if not name.endswith("_templates")}
