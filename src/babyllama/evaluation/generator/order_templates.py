"""Templates whose pairs have the same words in another order: structure, scope, questions.

Every template returns one pair (`reordered`). Word frequencies cannot tell its sentences apart.
"""

from babyllama.evaluation.generator.lexicon import PLACES
from babyllama.evaluation.generator.phrases import Item, NoFitError, Phrases, article, reordered

_QUESTION_AUXILIARIES = ("did", "will", "would", "can", "could", "may", "should")


def animate_subject(draw: Phrases) -> Item:
    """Contrast: the king took the cup / the cup took the king."""
    verb = draw.verb("past", kind="thing", animate=True)
    king, cup, tail = draw.person(), draw.noun("thing").singular, draw.tail(verb)
    return reordered(f"{king} {verb.past} the {cup} {tail}", f"the {cup} {verb.past} {king} {tail}")


def negative_subject(draw: Phrases) -> Item:
    """Contrast: no king has ever seen the house / the king has ever seen no house."""
    verb = draw.verb("participle", transitive=True)
    king, cup = draw.noun("person").singular, draw.noun(*verb.objects).singular
    seen, tail = f"{draw.pick(('has', 'had'))} ever {verb.participle}", draw.tail(verb)
    return reordered(f"no {king} {seen} the {cup} {tail}", f"the {king} {seen} no {cup} {tail}")


def negation_scope(draw: Phrases) -> Item:
    """Contrast: the king who is old has not ever seen it / who is not old has ever seen it."""
    verb = draw.verb("participle")
    king, old = draw.noun("person").singular, draw.adjective("person")
    be = draw.pick(("is", "was"))
    rest = f"{verb.participle} {draw.complement(verb)}"
    return reordered(
        f"the {king} who {be} {old} has not ever {rest}",
        f"the {king} who {be} not {old} has ever {rest}",
    )


def left_branch(draw: Phrases) -> Item:
    """Contrast: whose cup did the king take / whose did the king take cup."""
    verb = draw.verb("base", transitive=True, bare=True)
    whose, did = draw.pick(("whose", "which")), draw.pick(_QUESTION_AUXILIARIES)
    king, cup = draw.person(), draw.noun(*verb.objects).singular
    return reordered(
        f"{whose} {cup} {did} {king} {verb.base}?", f"{whose} {did} {king} {verb.base} {cup}?"
    )


def adjunct_island(draw: Phrases) -> Item:
    """Contrast: what did he take after using the cup / what did he take the cup after using."""
    took = draw.verb("base", kind="thing", strict=True, bare=True)
    seeing = draw.verb("progressive", kind="thing", bare=True)
    did, after = draw.pick(_QUESTION_AUXILIARIES), draw.pick(("after", "before"))
    king, cup = draw.person(), draw.noun("thing").singular
    return reordered(
        f"what {did} {king} {took.base} {after} {seeing.progressive} the {cup}?",
        f"what {did} {king} {took.base} the {cup} {after} {seeing.progressive}?",
    )


def coordinate_island(draw: Phrases) -> Item:
    """Contrast: what did the king and the queen take / what did the king take and the queen."""
    verb = draw.verb("base", kind="thing", bare=True)
    did, king, queen = draw.pick(_QUESTION_AUXILIARIES), draw.person(), draw.person()
    return reordered(
        f"what {did} {king} and {queen} {verb.base}?", f"what {did} {king} {verb.base} and {queen}?"
    )


def existential_there(draw: Phrases) -> Item:
    """Contrast: there was a king in every town / there was every king in a town."""
    be = draw.pick(("is", "was"))
    every = draw.pick(("every", "each"))
    king = draw.noun("person", "animal", "thing")
    town = draw.noun(*(PLACES if king.kind == "person" else ("building",)))
    if article(king) != article(town):  # then the two sentences would differ in "a" and "an"
        raise NoFitError
    return reordered(
        f"there {be} a {king.singular} in {every} {town.singular}",
        f"there {be} {every} {king.singular} in a {town.singular}",
    )


def noun_ellipsis(draw: Phrases) -> Item:
    """Contrast: one took one new cup and one took two / one took one cup and one took two new.

    The verbs are those that take no second predicate: "found two old" can be meant.
    """
    verb = draw.verb("past", among="taking")
    cup = draw.noun("thing", "clothing", forms=("singular", "plural"))
    new, two = draw.adjective(cup.kind), draw.word("numbers")
    king, queen = draw.person(), draw.person()
    return reordered(
        f"{king} {verb.past} one {new} {cup.singular} and {queen} {verb.past} {two}",
        f"{king} {verb.past} one {cup.singular} and {queen} {verb.past} {two} {new}",
    )


def question_inversion(draw: Phrases) -> Item:
    """Contrast: is the king who will take it happy / will the king who take it is happy.

    Or the other way: will the king who is happy take it? The verb that moves to the front is
    the one of the main clause.
    """
    form, will = draw.pick((("base", draw.word("modals")), ("participle", "has")))
    verb = draw.verb(form)
    king, happy = draw.noun("person").singular, draw.adjective("person")
    take = f"{verb.form(form)} {draw.complement(verb)}"
    if draw.chance.random() < 0.5:
        return reordered(
            f"is the {king} who {will} {take} {happy}?", f"{will} the {king} who {take} is {happy}?"
        )
    return reordered(
        f"{will} the {king} who is {happy} {take}?", f"is the {king} who {happy} {will} {take}?"
    )
