"""Whatever stands in a recipe or behind a command, it is a recipe or is refused in one line."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import yaml
from fuzz import DEEP, ODD_TEXT, changed, damaged, fuzzed, kept
from hypothesis import given
from hypothesis import strategies as st

from babyllama.recipe import Recipe
from babyllama.recipe_files import preset_names, preset_text
from babyllama.resolve import load_recipe
from babyllama.rundir import recipe_yaml
from tiny import recipe

TINY = recipe(Path("data"))
VALUES = (
    ODD_TEXT
    | st.integers().map(str)
    | st.floats().map(str)
    | DEEP
    | st.sampled_from(
        [
            *(
                "null",
                "~",
                "[]",
                "{}",
                "- a",
                "*a",
                "&a b",
                "!!timestamp x",
                "!!int ''",
                "!!bool x",
            ),
            *("!!python/object/apply:os.system [ls]", "2023-13-45", "0x", "1:2:3", ".e1", "<<: 1"),
            *("{[a]: b}", "? a", "[1, [2", "a: b: c", "%YAML 9.9", "--- a\n--- b", "!a b", "'"),
            "&a [*a]",
            "{a: &a {b: *a}}",
        ]
    )
)
KEYS = (
    st.sampled_from(
        [
            *("seed", "name", "corpus.path", "corpus.words", "corpus.cleaners.story", "training"),
            *(
                "models.student.teachers",
                "models.llama.architecture",
                "models.new.twin_of",
                "models",
            ),
            *("training.betas", "evaluation.suites.pairs", "report.prompts", "runtime.threads"),
            *(
                "distillation.temperature",
                "extends",
                "models.llama.healthy",
                "corpus.cleaners.story.drop",
            ),
        ]
    )
    | ODD_TEXT
)


def resolved(text: str | bytes, *overrides: str) -> Recipe | None:
    """A recipe from the text of a file, or None where it is refused in one line."""
    with TemporaryDirectory() as folder:
        file = Path(folder) / "r.yaml"
        file.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"))
        found: Recipe | None = kept(lambda: load_recipe(str(file), overrides))
        return found


@fuzzed
@given(text=st.sampled_from(preset_names()).flatmap(lambda n: damaged(preset_text(n).encode())))
def test_a_damaged_recipe_is_a_recipe_or_refused(text: bytes) -> None:
    resolved(text)


@fuzzed
@given(raw=changed(TINY))
def test_a_recipe_with_another_value_is_a_recipe_or_refused(raw: Any) -> None:
    found = resolved(yaml.safe_dump(raw, allow_unicode=True))
    if found is not None:  # what a run keeps of it is that recipe again
        assert resolved(recipe_yaml(found)) == found


@fuzzed
@given(key=KEYS, value=VALUES)
def test_an_override_changes_a_recipe_or_is_refused(key: str, value: str) -> None:
    resolved(yaml.safe_dump(TINY), f"{key}={value}")


@fuzzed
@given(text=VALUES | st.text(max_size=200))
def test_any_text_is_a_recipe_or_refused(text: str) -> None:
    resolved(text)


@fuzzed
@given(name=ODD_TEXT)
def test_any_name_is_a_recipe_or_refused(name: str) -> None:
    kept(lambda: load_recipe(name.replace("/", "")))


BOMB = "a: &a [x, x, x, x, x, x, x, x]\n" + "".join(
    f"{chr(ord('a') + n)}: &{chr(ord('a') + n)} [{', '.join(['*' + chr(ord('a') + n - 1)] * 8)}]\n"
    for n in range(1, 12)
)


@pytest.mark.parametrize("place", ["{}", "models:\n  m:\n    architecture: {{options: *l}}\n"])
def test_a_recipe_that_grows_without_end_is_refused(place: str) -> None:
    """Eight to the twelfth: YAML lets twelve short lines stand for it."""
    assert resolved(BOMB + place.format("")) is None
