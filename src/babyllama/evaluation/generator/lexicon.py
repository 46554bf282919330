"""The words of the built-in minimal pairs: typed tables, read from `lexicon.yaml`.

Which noun goes with which verb is decided by kinds ("food", "person"): a verb lists the kinds its
object may have, and adjectives are listed by kind, so that the pairs differ in grammar and not in
sense. The words are common ones; `phrases` keeps to those that a corpus has.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

PLACES = ("building", "land")
"""The kinds of noun that one can go to and be in: the slot `{place}`."""

VERB_FORMS = ("base", "third", "past", "participle", "progressive")
"""The forms of a verb, in the order of the table: take, takes, took, taken, taking."""


@dataclass(frozen=True)
class Noun:
    """A noun that one can count, or a mass noun, whose `plural` is empty."""

    singular: str
    plural: str
    kind: str
    gender: str  # "male", "female" or "neutral"

    @property
    def irregular(self) -> bool:
        """Whether the plural is not the spelling rule's (man, men; wife, wives)."""
        return bool(self.plural) and self.plural != regular_plural(self.singular)


@dataclass(frozen=True)
class Verb:
    """A verb in one of its uses. A form that is empty is never used."""

    base: str
    third: str
    past: str
    participle: str
    progressive: str
    objects: tuple[str, ...]  # kinds of noun; none for an intransitive verb
    tails: tuple[str, ...]  # what may follow (the object); "" where nothing needs to
    reflexive: tuple[str, ...]  # what may follow and holds the slot {self}
    strict: bool  # the object cannot be left out; or none can be added
    animate: bool  # only a living being can be the subject

    @property
    def bare(self) -> bool:
        """Whether the verb needs nothing beyond its object."""
        return "" in self.tails

    def form(self, name: str) -> str:
        """Return one of `VERB_FORMS` by its name."""
        return str(getattr(self, name))


@dataclass(frozen=True)
class Lexicon:
    """Every table of `lexicon.yaml`; `lists` holds the plain lists of words by their name there."""

    nouns: tuple[Noun, ...]
    verbs: tuple[Verb, ...]
    adjectives: Mapping[str, tuple[str, ...]]  # by kind of noun
    names: Mapping[str, tuple[str, ...]]  # by gender
    linking: tuple[tuple[str, str], ...]  # (is, are): verbs that an adjective may follow
    lists: Mapping[str, tuple[str, ...]]


def regular_plural(singular: str) -> str:
    """Spell the plural by rule.

    >>> [regular_plural(word) for word in ("king", "church", "lady", "boy", "ox")]
    ['kings', 'churches', 'ladies', 'boys', 'oxes']
    """
    if singular.endswith(("s", "x", "z", "ch", "sh")):
        return singular + "es"
    if singular.endswith("y") and singular[-2] not in "aeiou":
        return singular[:-1] + "ies"
    return singular + "s"


@cache
def load_lexicon() -> Lexicon:
    """Read the table that ships with the package."""
    text = files("babyllama.evaluation").joinpath("lexicon.yaml").read_text(encoding="utf-8")
    table: dict[str, Any] = yaml.safe_load(text)
    return Lexicon(
        nouns=tuple(_nouns(table.pop("nouns"))),
        verbs=tuple(_verb(row) for row in table.pop("verbs")),
        adjectives=_tuples(table.pop("adjectives")),
        names=_tuples(table.pop("names")),
        linking=tuple((singular, plural) for singular, plural in table.pop("linking")),
        lists=_tuples(table),
    )


def _nouns(table: Mapping[str, Mapping[str, Mapping[str, str]]]) -> Iterator[Noun]:
    for kind, genders in table.items():
        for gender, words in genders.items():
            for singular, plural in words.items():
                yield Noun(singular=singular, plural=plural, kind=kind, gender=gender)


def _verb(row: Mapping[str, Any]) -> Verb:
    forms = ["" if form == "-" else form for form in str(row["forms"]).split()]
    return Verb(
        **dict(zip(VERB_FORMS, forms, strict=True)),
        objects=tuple(row.get("objects", ())),
        tails=tuple(row["tails"]),
        reflexive=tuple(row.get("reflexive", ())),
        strict=bool(row.get("strict", False)),
        animate=bool(row.get("animate", False)),
    )


def _tuples(table: Mapping[str, list[str]]) -> dict[str, tuple[str, ...]]:
    return {key: tuple(words) for key, words in table.items()}
