"""Phrases drawn at random from the lexicon, kept to the words of a corpus.

A `Phrases` is what the templates of the minimal pairs draw from: `noun`, `verb`, `person` and so on
return words whose needed forms the corpus has. No noun, verb or name comes twice in one item. Where
the corpus has no such word, `NoFitError` is raised, and the generator draws another item.
"""

import random
import re
from collections.abc import Collection, Sequence
from functools import cache
from operator import ge
from typing import NamedTuple, TypeVar

from babyllama.evaluation.generator.lexicon import PLACES, Lexicon, Noun, Verb

_Option = TypeVar("_Option")
_SLOT = re.compile(r"\{(\w+)\}")


class NoFitError(LookupError):
    """Nothing that the corpus has fits here; the generator catches it and draws another item."""


class Pair(NamedTuple):
    """One minimal pair: whole sentences."""

    good: str
    bad: str


Item = tuple[Pair, ...]
"""Pairs that belong together: over an item, the good sentences have the same words as the bad."""


def swapped(first: str, second: str, right: str, wrong: str) -> Item:
    """Make two mirrored pairs: `_` in `first` wants `right`, and in `second` it wants `wrong`.

    >>> swapped("the king _ there", "the kings _ there", "is", "are")[1]
    Pair(good='The kings are there.', bad='The kings is there.')
    """
    return (
        Pair(sentence(first.replace("_", right)), sentence(first.replace("_", wrong))),
        Pair(sentence(second.replace("_", wrong)), sentence(second.replace("_", right))),
    )


def reordered(good: str, bad: str) -> Item:
    """Make one pair of sentences that have the same words in another order."""
    return (Pair(sentence(good), sentence(bad)),)


def sentence(text: str) -> str:
    """Tidy the spaces, say "an" before a vowel, begin with a capital and end with a stop.

    >>> sentence("the king saw  a ox ")
    'The king saw an ox.'
    """
    text = " ".join(text.split()).replace(" ?", "?")
    text = re.sub(r"\ba (?=[aeiou])", "an ", text)
    return text[0].upper() + text[1:] + ("" if text.endswith("?") else ".")


def article(noun: Noun) -> str:
    """Return "an" or "a", by spelling: the lexicon has no "hour" and no "unicorn"."""
    return "an" if noun.singular[0] in "aeiou" else "a"


class Phrases:
    """Draws words and phrases; `begin` starts an item.

    `known` holds the lower-cased words that the corpus has often enough.
    """

    def __init__(self, lexicon: Lexicon, known: Collection[str], chance: random.Random) -> None:
        self.lexicon = lexicon
        self.chance = chance
        self._known = frozenset(known)
        self._used: set[str] = set()
        self._nouns = cache(self._find_nouns)
        self._verbs = cache(self._find_verbs)

    def begin(self) -> None:
        """Forget the words of the item before."""
        self._used.clear()

    def pick(self, options: Sequence[_Option]) -> _Option:
        """Draw one of the options, all equally likely."""
        if not options:
            raise NoFitError
        return options[self.chance.randrange(len(options))]

    def word(self, table: str) -> str:
        """Draw from one of the lexicon's plain lists."""
        return self.pick([w for w in self.lexicon.lists[table] if self._has(*w.split())])

    def noun(
        self,
        *kinds: str,
        forms: tuple[str, ...] = ("singular",),
        irregular: bool | None = None,
        gender: str | None = None,
        among: str | None = None,
    ) -> Noun:
        """Draw a noun of one of the kinds (kinds equally likely); `among` names a list of nouns."""
        known = self._nouns(
            kind=self.pick(kinds), forms=forms, irregular=irregular, gender=gender, among=among
        )
        noun = self.pick([noun for noun in known if noun.singular not in self._used])
        self._used.add(noun.singular)
        return noun

    def verb(
        self,
        *forms: str,
        transitive: bool | None = None,
        kind: str | None = None,
        strict: bool = False,
        animate: bool = False,
        bare: bool = False,
        among: str | None = None,
        unlike: tuple[str, ...] = (),
    ) -> Verb:
        """Draw a verb whose forms the corpus has; `kind` is one that its object may have.

        `strict`, `animate` and `bare` ask for verbs that are so (see `Verb`), `among` names a list
        of base forms, and the forms in `unlike` must be spelt differently.
        """
        known = self._verbs(
            forms=forms,
            transitive=transitive,
            kind=kind,
            traits=(strict, animate, bare),
            among=among,
            unlike=unlike,
        )
        verb = self.pick([verb for verb in known if verb.base not in self._used])
        self._used.add(verb.base)
        return verb

    def adjective(self, kind: str) -> str:
        """Draw an adjective that suits a kind of noun."""
        return self.pick([a for a in self.lexicon.adjectives.get(kind, ()) if self._has(a)])

    def linking(self) -> tuple[str, str]:
        """Draw a linking verb: (singular, plural)."""
        return self.pick([pair for pair in self.lexicon.linking if self._has(*pair)])

    def name(self, gender: str) -> str:
        """Draw a first name."""
        names = self.lexicon.names[gender]
        name = self.pick([n for n in names if n not in self._used and self._has(n.lower())])
        self._used.add(name)
        return name

    def person(self, gender: str | None = None) -> str:
        """Draw somebody: "the king", or a name in one case of four."""
        if self.chance.random() < 0.25:
            return self.name(gender or self.pick(("male", "female")))
        return "the " + self.noun("person", gender=gender).singular

    def object_of(self, verb: Verb, *kinds: str) -> str:
        """Draw an object for a transitive verb: "the cup", "the cups"; "" for an intransitive.

        `kinds` are some of the verb's own, by default all.
        """
        if not verb.objects:
            return ""
        noun = self.noun(*(kinds or verb.objects))
        plural = self._has(noun.plural) and self.chance.random() < 0.3
        return "the " + (noun.plural if plural else noun.singular)

    def tail(self, verb: Verb) -> str:
        """Draw what follows the object: "to the house", or ""."""
        return self.fill(self.pick(verb.tails))

    def complement(self, verb: Verb) -> str:
        """Draw all that follows the verb: object and tail."""
        return f"{self.object_of(verb)} {self.tail(verb)}"

    def fill(self, pattern: str, pronoun: str = "") -> str:
        """Put words into the slots of a pattern of the lexicon, `pronoun` into `{self}`."""

        def slot(match: re.Match[str]) -> str:
            kind = match[1]
            if kind == "self":
                return pronoun
            if kind == "adjective":
                return self.adjective("person")
            return self.noun(*(PLACES if kind == "place" else (kind,))).singular

        return _SLOT.sub(slot, pattern)

    def _find_nouns(
        self,
        *,
        kind: str,
        forms: tuple[str, ...],
        irregular: bool | None,
        gender: str | None,
        among: str | None,
    ) -> list[Noun]:
        listed = self.lexicon.lists[among] if among else None
        return [
            noun
            for noun in self.lexicon.nouns
            if noun.kind == kind
            and (gender is None or noun.gender == gender)
            and (irregular is None or noun.irregular == irregular)
            and (listed is None or noun.singular in listed)
            and self._has(*(getattr(noun, form) for form in forms))
        ]

    def _find_verbs(
        self,
        *,
        forms: tuple[str, ...],
        transitive: bool | None,
        kind: str | None,
        traits: tuple[bool, bool, bool],
        among: str | None,
        unlike: tuple[str, ...],
    ) -> list[Verb]:
        listed = self.lexicon.lists[among] if among else None
        return [
            verb
            for verb in self.lexicon.verbs
            if (transitive is None or bool(verb.objects) == transitive)
            and (kind is None or kind in verb.objects)
            and (listed is None or verb.base in listed)
            and all(map(ge, (verb.strict, verb.animate, verb.bare), traits))
            and self._has(*(verb.form(form) for form in forms))
            and len({verb.form(form) for form in unlike}) == len(unlike)
        ]

    def _has(self, *words: str) -> bool:
        return all(word in self._known for word in words)
