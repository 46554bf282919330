"""What can be fetched: official addresses and what is known of the files, from `registry.yaml`."""

from functools import cache
from importlib.resources import files
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, PositiveInt

from babyllama.errors import RecipeError, did_you_mean

DIGEST = r"^(sha256:[0-9a-f]{64}|md5:[0-9a-f]{32}|git:[0-9a-f]{40})$"
_DIGESTS = {"sha256": "sha256", "md5": "md5", "git": "git blob id"}
FILE_NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]*$"


class _Known(BaseModel):
    """A part of the registry: frozen, and every key known."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Archive(_Known):
    """A zip or tar.gz at an official address."""

    name: Annotated[str, Field(pattern=FILE_NAME)]
    """The file name it is saved under, and looked for in a mirror."""
    url: str
    bytes: PositiveInt | None = None
    digest: Annotated[str, Field(pattern=DIGEST)] | None = None
    """Algorithm and hexadecimal digits: sha256, md5, or the id of a git blob."""
    generated: bool = False
    """Whether the server packs it anew at every request, so that its bytes are never the same."""
    keep: Annotated[dict[str, str], Field(min_length=1)]
    """Folder in the archive -> folder it becomes, `.` for none; the rest is left out."""


class Entry(_Known):
    """Something that has a name and can be fetched."""

    name: Annotated[str, Field(pattern=FILE_NAME)]
    about: str
    page: str
    """Where its makers tell of it."""
    licence: str
    citation: str
    use: str
    """How to take it into use, with `{folder}` for where it is."""
    archives: Annotated[list[Archive], Field(min_length=1)]
    characters: dict[str, int] = {}
    """Unpacked file -> its characters, every line end counted as one."""
    bytes: dict[str, int] = {}
    """Unpacked file -> its bytes."""


def names() -> list[str]:
    """Every name that can be fetched, as the registry orders them."""
    return list(_entries())


def entry(name: str) -> Entry:
    """What is known under a name.

    Raises:
        RecipeError: there is no such name.
    """
    entries = _entries()
    if name not in entries:
        raise RecipeError(f"nothing to fetch is called {name!r}{did_you_mean(name, entries)}")
    return entries[name]


def describe(name: str) -> str:
    """Some lines for people: what it is, where it comes from, its terms, what is checked.

    Raises:
        RecipeError: there is no such name.
    """
    known = entry(name)
    lines = [f"{name}: {known.about}", f"  page      {known.page}"]
    lines += [f"  archive   {archive.url} ({_size(archive)})" for archive in known.archives]
    lines += [f"  licence   {known.licence}", f"  cite      {known.citation}"]
    lines += [f"  checked   {_checks(known)}", f"  use       {known.use.format(folder=name)}"]
    return "\n".join(lines)


def _size(archive: Archive) -> str:
    return f"{archive.bytes / 1e6:,.0f} MB" if archive.bytes else "size unknown"


def _checks(known: Entry) -> str:
    digests = [(a.digest.partition(":")[0], a.name) for a in known.archives if a.digest]
    parts = [f"{_DIGESTS[kind]} of {archive}" for kind, archive in digests]
    parts += [f"characters of {len(known.characters)} files"] if known.characters else []
    parts += [f"bytes of {len(known.bytes)} files"] if known.bytes else []
    return ", ".join(parts) or "nothing known beforehand: the lock file holds what came first"


@cache
def _entries() -> dict[str, Entry]:
    text = files("babyllama.corpus.fetching").joinpath("registry.yaml").read_text(encoding="utf-8")
    table: dict[str, dict[str, Any]] = yaml.safe_load(text)
    return {name: Entry(name=name, **fields) for name, fields in table.items()}
