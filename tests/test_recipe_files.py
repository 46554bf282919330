"""Recipes as files and presets: what they extend, and what is none."""

from pathlib import Path

import pytest

from babyllama.errors import RecipeError
from babyllama.recipe_files import preset_text
from babyllama.resolve import load_recipe
from tiny import write_recipe

LAUGHS = b"a0: &a0 [x, x]\n" + b"".join(
    b"a%d: &a%d [*a%d, *a%d, *a%d]\n" % (n, n, n - 1, n - 1, n - 1) for n in range(1, 40)
)


def test_an_unknown_recipe_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(RecipeError, match="no recipe 'minni'; did you mean 'mini'"):
        load_recipe("minni")
    with pytest.raises(RecipeError, match="did you mean 'paper'"):
        preset_text("papper")


def test_a_recipe_extends_files_beside_it_and_presets(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    write_recipe(tmp_path / "a.yaml", {"extends": "mini", "name": "a", "seed": 5})
    write_recipe(tmp_path / "sub" / "b.yaml", {"extends": "../a.yaml", "tokens": {}})
    write_recipe(tmp_path / "sub" / "c.yaml", {"extends": "b.yaml", "training": {"epochs": 9}})
    resolved = load_recipe(str(tmp_path / "sub" / "c.yaml"))
    mini = load_recipe("mini", ["name=a", "seed=5", "training.epochs=9"])
    assert resolved == mini


@pytest.mark.parametrize("circle", [["a"], ["a", "b"], ["a", "b", "c"], ["sub/../a"]])
def test_a_circle_of_extended_recipes_is_refused(circle: list[str], tmp_path: Path) -> None:
    for name, parent in zip(circle, [*circle[1:], circle[0]], strict=True):
        write_recipe(tmp_path / f"{Path(name).name}.yaml", {"extends": f"{parent}.yaml"})
    with pytest.raises(RecipeError, match=r"extends itself: .*a\.yaml"):
        load_recipe(str(tmp_path / "a.yaml"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"name: [", "is not YAML"),
        (b"- a\n- b\n", "must be a mapping of sections, not list"),
        (b"", "must be a mapping of sections, not NoneType"),
        (b"name: \xff\xfe", "cannot be read as UTF-8"),
        (b"extends: none-such", "no recipe 'none-such'"),
        (LAUGHS, "stands for more than 100,000 values: write fewer aliases"),
        (b"name: &a [*a]", "is not YAML"),
        (b"name: " + b"[" * 50_000, "is not YAML"),
        (b"extends: gone.yaml", "gone.yaml does not exist"),
    ],
)
def test_a_file_that_is_no_recipe_is_refused(content: bytes, message: str, tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    file.write_bytes(content)
    with pytest.raises(RecipeError) as caught:
        load_recipe(str(file))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_recipe_file_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"gone.yaml does not exist"):
        load_recipe(str(tmp_path / "gone.yaml"))
