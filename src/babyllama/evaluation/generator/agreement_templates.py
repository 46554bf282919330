"""Templates whose pairs differ in the form of one word: agreement, binding, case, verb forms.

Every template returns two mirrored pairs (`swapped`): the form that is wrong in one is right in the
other, so that a preference for a form, or for frequent words, decides nothing.
"""

import re

from babyllama.evaluation.generator.lexicon import PLACES, Noun, Verb
from babyllama.evaluation.generator.phrases import Item, NoFitError, Phrases, swapped

_NUMBERS = ("singular", "plural")
_REFLEXIVE = {"male": "himself", "female": "herself"}
_OTHER = {"male": "female", "female": "male"}
_PRONOUNS = (("he", "him"), ("she", "her"), ("they", "them"), ("we", "us"), ("I", "me"))
_ADJUNCT = re.compile(r"\b(by|for) \{self\}")
_IRREGULAR_KINDS = ("person", "person", "person", "animal", "thing")  # few things are irregular
_SUBJECT_KINDS = ("person", "person", "person", "animal", "thing", "clothing", "building", "land")


def subject_verb(draw: Phrases, *, irregular: bool) -> Item:
    """Contrast: the king *takes* the cup; the kings *take* the cup."""
    kind = draw.pick(_IRREGULAR_KINDS if irregular else _SUBJECT_KINDS)
    noun = draw.noun(kind, forms=_NUMBERS, irregular=irregular)
    singular, plural, rest = _predicate(draw, kind)
    return swapped(f"the {noun.singular} _ {rest}", f"the {noun.plural} _ {rest}", singular, plural)


def subject_verb_prepositional(draw: Phrases) -> Item:
    """Contrast: the father of the kings *takes* the cup: the nearest noun has the other number."""
    noun, preposition, other = _modified(draw)
    singular, plural, rest = _predicate(draw, "person")
    return swapped(
        f"the {noun.singular} {preposition} the {other.plural} _ {rest}",
        f"the {noun.plural} {preposition} the {other.singular} _ {rest}",
        singular,
        plural,
    )


def subject_verb_relative(draw: Phrases) -> Item:
    """Contrast: the king who saw the horses *takes* the cup."""
    noun = draw.noun("person", forms=_NUMBERS)
    verb = draw.verb("past", transitive=True, bare=True)
    other = draw.noun(*verb.objects, forms=_NUMBERS)
    singular, plural, rest = _predicate(draw, "person")
    return swapped(
        f"the {noun.singular} who {verb.past} the {other.plural} _ {rest}",
        f"the {noun.plural} who {verb.past} the {other.singular} _ {rest}",
        singular,
        plural,
    )


def determiner_noun(draw: Phrases, *, irregular: bool) -> Item:
    """Contrast: the king took this *cup*; the king took these *cups*."""
    noun, before, after = _object_frame(draw, irregular)
    this, these = draw.pick((("this", "these"), ("that", "those")))
    return swapped(
        f"{before} {this} _ {after}", f"{before} {these} _ {after}", noun.singular, noun.plural
    )


def determiner_adjective_noun(draw: Phrases, *, irregular: bool) -> Item:
    """Contrast: the king took *this* new cup; the king took *these* new cups."""
    noun, before, after = _object_frame(draw, irregular)
    adjective = draw.adjective(noun.kind)
    this, these = draw.pick((("this", "these"), ("that", "those")))
    return swapped(
        f"{before} _ {adjective} {noun.singular} {after}",
        f"{before} _ {adjective} {noun.plural} {after}",
        this,
        these,
    )


def anaphor_gender(draw: Phrases) -> Item:
    """Contrast: the king saw *himself*; the queen saw *herself*."""
    king, queen = draw.person("male"), draw.person("female")
    verb, rest = _reflexive(draw)
    return swapped(
        f"{king} {verb.past} {rest}", f"{queen} {verb.past} {rest}", "himself", "herself"
    )


def anaphor_number(draw: Phrases) -> Item:
    """Contrast: the king saw *himself*; the kings saw *themselves*."""
    noun = draw.noun("person", forms=_NUMBERS, gender=draw.pick(("male", "female")))
    verb, rest = _reflexive(draw)
    return swapped(
        f"the {noun.singular} {verb.past} {rest}",
        f"the {noun.plural} {verb.past} {rest}",
        _REFLEXIVE[noun.gender],
        "themselves",
    )


def binding_command(draw: Phrases) -> Item:
    """Contrast: the mother of the king saw *herself*: the nearer noun has the other gender."""
    verb, rest = _reflexive(draw)

    def frame(gender: str) -> str:
        head = draw.noun("kin", "person", gender=gender, among="kin").singular
        return f"the {head} of {draw.person(_OTHER[gender])} {verb.past} {rest}"

    return swapped(frame("female"), frame("male"), "herself", "himself")


def binding_domain(draw: Phrases) -> Item:
    """Contrast: the king said that the queen saw *herself*: the antecedent is near."""
    king, queen = draw.person("male"), draw.person("female")
    said = draw.word("reporting")
    verb, rest = _reflexive(draw, adjunct=False)
    return swapped(
        f"{king} {said} that {queen} {verb.past} {rest}",
        f"{queen} {said} that {king} {verb.past} {rest}",
        "herself",
        "himself",
    )


def pronoun_case(draw: Phrases) -> Item:
    """Contrast: *he* saw the king; the king saw *him*."""
    verb = draw.verb("past", kind="person")
    king, queen = draw.noun("person").singular, draw.noun("person").singular
    tail = draw.tail(verb)
    subject, object_ = draw.pick(_PRONOUNS)
    return swapped(
        f"_ {verb.past} the {king} {tail}", f"the {queen} {verb.past} _ {tail}", subject, object_
    )


def irregular_active(draw: Phrases) -> Item:
    """Contrast: the king has *taken* the cup; the king *took* the cup."""
    forms = ("past", "participle")
    verb = draw.verb(*forms, unlike=forms)
    person, rest = draw.person(), draw.complement(verb)
    has = draw.pick(("has", "had"))
    return swapped(f"{person} {has} _ {rest}", f"{person} _ {rest}", verb.participle, verb.past)


def irregular_passive(draw: Phrases) -> Item:
    """Contrast: the cup was *taken* by the king; it was the king who *took* the cup."""
    forms = ("past", "participle")
    verb = draw.verb(*forms, transitive=True, unlike=forms)
    person, cup, tail = draw.person(), draw.noun(*verb.objects).singular, draw.tail(verb)
    return swapped(
        f"the {cup} was _ {tail} by {person}",
        f"it was {person} who _ the {cup} {tail}",
        verb.participle,
        verb.past,
    )


def auxiliary_form(draw: Phrases) -> Item:
    """Contrast: the king will *take* the cup; the king has *taken* (is *taking*) the cup."""
    form = draw.pick(("participle", "progressive"))
    verb = draw.verb("base", form, unlike=("base", "participle"))  # not "is come"
    # "The king had work" is right, and so is "the king is live on stage".
    nouns_or_adjectives = "mass_nouns" if form == "participle" else "stative_adjectives"
    if verb.base in draw.lexicon.lists[nouns_or_adjectives]:
        raise NoFitError
    person, rest = draw.person(), draw.complement(verb)
    auxiliary = draw.pick(("has", "had") if form == "participle" else ("is", "was"))
    modal = draw.word("modals")
    return swapped(
        f"{person} {modal} _ {rest}", f"{person} {auxiliary} _ {rest}", verb.base, verb.form(form)
    )


def transitivity(draw: Phrases) -> Item:
    """Contrast: the king *took* the cup; then the king *went*."""
    form = draw.pick(("past", "progressive"))
    auxiliary = "was" if form == "progressive" else ""
    took = draw.verb(form, transitive=True, strict=True, bare=True)
    went = draw.verb(form, transitive=False, strict=True)
    time = draw.word("times")
    king, queen, cup = draw.person(), draw.person(), draw.object_of(took)
    return swapped(
        f"{king} {auxiliary} _ {cup}",
        f"{time} {queen} {auxiliary} _",
        took.form(form),
        went.form(form),
    )


def passive_transitivity(draw: Phrases) -> Item:
    """Contrast: the cup was *taken* by the king; by that time the king had *gone*."""
    taken = draw.verb("participle", transitive=True, strict=True, bare=True)
    gone = draw.verb("participle", transitive=False, strict=True)
    time = draw.word("perfect_times")
    cup, king, queen = draw.noun(*taken.objects).singular, draw.person(), draw.person()
    return swapped(
        f"the {cup} was _ by {king}",
        f"{time} {queen} had _",
        taken.participle,
        gone.participle,
    )


def that_or_what(draw: Phrases) -> Item:
    """Contrast: the king saw *what* the queen took; the king saw *that* the queen took the cup.

    The object is no person: "what the queen found the singers" (namely brave) can be meant.
    """
    kind = draw.pick(("thing", "clothing"))
    verb = draw.verb("past", kind=kind, strict=True, bare=True)
    knew = draw.word("knowing")
    king, queen, cup = draw.person(), draw.person(), draw.object_of(verb, kind)
    clause = f"{king} {knew} _ {queen} {verb.past}"
    return swapped(clause, f"{clause} {cup}", "what", "that")


def able_or_hard(draw: Phrases) -> Item:
    """Contrast: the king is *able* to take the cup; the cup is *hard* to take."""
    verb = draw.verb("base", "progressive", kind="thing", strict=True, bare=True)
    be = draw.pick(("is", "was"))
    cup = draw.noun("thing").singular
    king = draw.person()
    able, hard = draw.word("able"), draw.word("hard")
    return swapped(
        f"{king} {be} _ to {verb.base} the {cup}", f"the {cup} {be} _ to {verb.base}", able, hard
    )


def _predicate(draw: Phrases, kind: str) -> tuple[str, str, str]:
    """Draw a verb that agrees, for subjects of a kind: singular, plural, and what follows."""
    style = draw.chance.random() if kind == "person" else 1.0
    if style < 0.5:
        verb = draw.verb("third", "base", unlike=("base", "past"))  # not "the king put it there"
        return verb.third, verb.base, draw.complement(verb)
    if style < 0.65:
        verb = draw.verb("participle")
        return "has", "have", f"{verb.participle} {draw.complement(verb)}"
    singular, plural = draw.linking()
    return singular, plural, draw.adjective(kind)


def _modified(draw: Phrases) -> tuple[Noun, str, Noun]:
    """Draw a person, a preposition and a noun that may follow: the father of, the man near."""
    preposition = draw.pick(("of", "of", "with", "near"))
    if preposition == "of":
        head = draw.noun("kin", "person", forms=_NUMBERS, among="relations")
        return head, preposition, draw.noun("person", forms=_NUMBERS)
    kinds = ("animal", "thing") if preposition == "with" else ("person", "animal", *PLACES)
    return draw.noun("person", forms=_NUMBERS), preposition, draw.noun(*kinds, forms=_NUMBERS)


def _object_frame(draw: Phrases, irregular: bool) -> tuple[Noun, str, str]:
    """Draw an object, and the sentence before and after it."""
    kinds = _IRREGULAR_KINDS if irregular else (*_SUBJECT_KINDS[2:], "writing")
    noun = draw.noun(*kinds, forms=_NUMBERS, irregular=irregular)
    verb = draw.verb("past", kind=noun.kind)
    return noun, f"{draw.person()} {verb.past}", draw.tail(verb)


def _reflexive(draw: Phrases, *, adjunct: bool = True) -> tuple[Verb, str]:
    """Draw a verb and a rest with `_` for the pronoun; without `adjunct` none by or for it.

    (In "the king said that the queen went by himself" the king may have said it by himself.)
    """
    verb = draw.verb("past")
    pattern = draw.pick([p for p in verb.reflexive if adjunct or not _ADJUNCT.search(p)])
    return verb, draw.fill(pattern, "_")
