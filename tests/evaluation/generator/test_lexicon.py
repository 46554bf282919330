"""The tables of words: complete, consistent, spelt as the generator relies on."""

import re
from collections import Counter

import pytest

from babyllama.evaluation.generator.lexicon import PLACES, VERB_FORMS, load_lexicon, regular_plural

LEXICON = load_lexicon()
KINDS = {noun.kind for noun in LEXICON.nouns}
SINGULARS = {noun.singular for noun in LEXICON.nouns}


def test_no_noun_or_name_stands_twice():
    everyone = [n for names in LEXICON.names.values() for n in names]
    nouns = [noun.singular for noun in LEXICON.nouns]
    assert max(Counter(nouns).values()) == 1
    assert max(Counter(everyone).values()) == 1
    assert not {name.lower() for name in everyone} & set(nouns)


def test_words_are_single_lower_cased_words():
    words = [w for noun in LEXICON.nouns for w in (noun.singular, noun.plural) if w]
    words += [verb.form(f) for verb in LEXICON.verbs for f in VERB_FORMS if verb.form(f)]
    words += [a for adjectives in LEXICON.adjectives.values() for a in adjectives]
    assert [word for word in words if not re.fullmatch("[a-z]+", word)] == []


@pytest.mark.parametrize(
    ("word", "irregular"), [("man", True), ("wife", True), ("ox", True), ("lady", False)]
)
def test_an_irregular_plural_is_known_by_its_spelling(word, irregular):
    (noun,) = [noun for noun in LEXICON.nouns if noun.singular == word]
    assert noun.irregular == irregular


def test_a_mass_noun_has_no_plural_and_is_not_irregular():
    bread = next(noun for noun in LEXICON.nouns if noun.singular == "bread")
    assert bread.plural == ""
    assert not bread.irregular


def test_irregular_nouns_are_truly_so():
    irregular = {noun.plural for noun in LEXICON.nouns if noun.irregular}
    assert all(p.endswith(("men", "ves", "ice", "eese", "oxen", "children")) for p in irregular)
    assert regular_plural("wolf") == "wolfs"


def test_a_or_an_follows_from_the_spelling():
    # sentence() and article() look at the first letter only.
    words = SINGULARS | {a for adjectives in LEXICON.adjectives.values() for a in adjectives}
    assert not {
        w
        for w in words
        if w.startswith(("uni", "use", "eu", "honest", "honour", "hour", "heir", "one"))
    }


def test_verbs_name_kinds_and_slots_that_exist():
    slots = KINDS | {"place", "adjective", "self"}
    for verb in LEXICON.verbs:
        assert set(verb.objects) <= KINDS, verb.base
        patterns = verb.tails + verb.reflexive
        assert set(re.findall(r"\{(\w+)\}", " ".join(patterns))) <= slots, verb.base
        assert all("{self}" in pattern for pattern in verb.reflexive), verb.base
        assert not any("{self}" in tail for tail in verb.tails), verb.base
    assert set(PLACES) <= KINDS
    assert set(LEXICON.adjectives) <= KINDS


def test_the_forms_of_verbs_stand_in_their_columns():
    for verb in LEXICON.verbs:
        assert verb.third.endswith("s"), verb.base
        assert verb.progressive.endswith("ing") or not verb.progressive, verb.base
        assert verb.base, verb
        assert verb.past, verb.base
        # "Can be left out" is shown by an intransitive use, so a strict verb has none.
        assert len({v.strict for v in LEXICON.verbs if v.base == verb.base}) == 1, verb.base


def test_lists_of_nouns_and_verbs_name_what_the_tables_hold():
    assert set(LEXICON.lists["relations"]) <= SINGULARS
    kin = {n.singular: n.gender for n in LEXICON.nouns if n.singular in LEXICON.lists["kin"]}
    assert set(kin) == set(LEXICON.lists["kin"])
    assert set(kin.values()) == {"male", "female"}
    # With an object, "had help the king" is wrong whether help is a noun or not.
    for name in ("mass_nouns", "stative_adjectives"):
        assert set(LEXICON.lists[name]) <= {v.base for v in LEXICON.verbs if not v.objects}
    assert set(LEXICON.lists["taking"]) <= {v.base for v in LEXICON.verbs if v.objects}
    assert set(LEXICON.names) == {"male", "female"}
