"""What a user writes, as one raw mapping: a preset, a file over what it extends, `key.path=value`.

A recipe file may name another with `extends`, which is gone once the two are merged.
"""

import os
import re
from datetime import date
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from babyllama.errors import RecipeError, did_you_mean
from babyllama.recipe import Recipe
from babyllama.schema import takes, under

Raw = dict[str, Any]
DEEPEST = 50
MOST_VALUES = 100_000
"""Of a recipe. Aliases of aliases let a few short lines stand for more than any memory holds."""


class _Loader(yaml.SafeLoader):
    """Reads `1e-4` as a number and `off` as a word, as YAML 1.2, and nothing deeply nested."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """A node; PyYAML takes a second for a thousand open brackets, and a minute for more."""
        self.depth += 1
        if self.depth > DEEPEST:
            raise yaml.YAMLError(f"it is nested more than {DEEPEST} deep")
        found: yaml.Node | None = super().compose_node(parent, index)
        self.depth -= 1
        return found


BOOLEAN = "tag:yaml.org,2002:bool"
_Loader.yaml_implicit_resolvers = {
    first: [(tag, form) for tag, form in forms if tag != BOOLEAN]
    for first, forms in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(BOOLEAN, re.compile(r"^(?:true|false)$", re.IGNORECASE), [*"tTfF"])
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?[0-9.]+[eE][-+]?[0-9]+$"), [*"-+.0123456789"]
)


def preset_names() -> list[str]:
    """The recipes that ship with the package."""
    folder = resources.files("babyllama") / "recipes"
    return sorted(
        f.name.removesuffix(".yaml") for f in folder.iterdir() if f.name.endswith(".yaml")
    )


def preset_text(name: str) -> str:
    """The YAML of a recipe that ships with the package."""
    if name not in preset_names():
        raise RecipeError(f"no recipe {name!r}{did_you_mean(name, preset_names())}")
    return (resources.files("babyllama") / "recipes" / f"{name}.yaml").read_text("utf-8")


def preset_copy(name: str, own: str) -> str:
    """A shipped recipe under another name, so that it does not run in the place of that one."""
    safe = re.sub(r"[^A-Za-z0-9_-]+", "-", own).lstrip("-_") or name
    line = yaml.safe_dump({"name": safe}).strip()
    return re.sub(r"^name: .*$", line, preset_text(name), count=1, flags=re.MULTILINE)


def read_raw(source: str) -> Raw:
    """The mapping of a preset or a YAML file, merged over what it extends."""
    return _read_raw(source, ())


def _read_raw(source: str, seen: tuple[str, ...]) -> Raw:
    if source in seen:
        raise RecipeError(f"recipe {source!r} extends itself: {' -> '.join([*seen, source])}")
    raw = _parse_recipe(source)
    parent = raw.pop("extends", None)
    if parent is None:
        return raw
    base = _read_raw(_beside(source, str(parent)), (*seen, source))
    return dict(merge(base, raw))


def _is_file(source: str) -> bool:
    return Path(source).suffix in {".yaml", ".yml"} or Path(source).is_file()


def _beside(source: str, parent: str) -> str:
    """What a recipe extends: a file as seen from the recipe's own folder, or a preset."""
    if not _is_file(source):
        return parent
    file = os.path.normpath(Path(source).parent / parent)
    return file if _is_file(file) else parent


def _recipe_text(source: str) -> str:
    if not _is_file(source):
        return preset_text(source)
    try:
        return Path(source).read_text("utf-8")
    except FileNotFoundError:
        raise RecipeError(f"recipe file {source} does not exist: check the path") from None
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"recipe file {source} cannot be read as UTF-8: {error}") from None


def _parse_yaml(text: str, what: str) -> Any:
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if _values(node, {}) <= MOST_VALUES:
            return loader.construct_document(node) if node else None
    except Exception as error:  # what PyYAML raises for a wrong tag depends on the tag
        raise RecipeError(f"{what} is not YAML: {' '.join(str(error).split())[:300]}") from None
    raise RecipeError(f"{what} stands for more than {MOST_VALUES:,} values: write fewer aliases")


def _values(node: yaml.Node | None, known: dict[int, int]) -> int:
    """Values that a node stands for, with those behind aliases each time; `known` by node."""
    if not isinstance(node, yaml.CollectionNode):
        return 1
    if id(node) not in known:
        pairs = (pair if isinstance(pair, tuple) else (pair,) for pair in node.value)
        known[id(node)] = 1 + sum(_values(child, known) for pair in pairs for child in pair)
    return known[id(node)]


def _parse_recipe(source: str) -> Raw:
    raw = _parse_yaml(_recipe_text(source), f"recipe {source}")
    if not isinstance(raw, dict):
        raise RecipeError(
            f"recipe {source} must be a mapping of sections, not {type(raw).__name__}"
        )
    return raw


def parse_override(text: str) -> Raw:
    """The mapping that a `key.path=value` stands for.

    Raises:
        RecipeError: it has another form, or its value is not YAML.
    """
    key, equals, value = text.partition("=")
    if not equals or not all(key.split(".")):
        raise RecipeError(f"override {text!r} must look like key.path=value")
    parsed = _parse_yaml(value, f"override {text!r}")
    if takes(under(Recipe, key.split(".")), str) and isinstance(parsed, int | float | date):
        parsed = value.strip()  # a folder called 2023 is no number
    for part in reversed(key.split(".")):
        parsed = {part: parsed}
    return dict(parsed)


def merge(base: Any, over: Any) -> Any:
    """Mappings merge key by key; anything else is replaced."""
    if not (isinstance(base, dict) and isinstance(over, dict)):
        return over
    return {**base, **{key: merge(base.get(key), value) for key, value in over.items()}}
