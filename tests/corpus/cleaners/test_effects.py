import json
import random

from hypothesis import given
from hypothesis import strategies as st

from babyllama.corpus.cleaners.effects import (
    EXAMPLE_LENGTH,
    EXAMPLES,
    Change,
    Effect,
    effect_of,
    merge,
)

words = st.text("ab .é猫", max_size=12)
changes = st.lists(st.tuples(words.map("x{}".format), words), max_size=30)


def test_an_effect_counts_lines_drops_and_words() -> None:
    effect = effect_of([("it is  so .", "it is so."), ("(sighs)", ""), ("a b", "ab")])
    assert effect == {
        "lines": 3,
        "dropped": 1,
        "words_before": 7,
        "words_after": 4,
        "examples": sorted(effect["examples"], key=list(effect["examples"]).index),
    }
    assert set(effect["examples"]) == {("it is  so .", "it is so."), ("(sighs)", ""), ("a b", "ab")}


def test_words_are_counted_as_everywhere_else() -> None:
    assert effect_of([("猫が [x]", "猫が")])["words_before"] == 3


def test_nothing_changed_is_an_effect_of_nothing() -> None:
    nothing = effect_of([])
    assert nothing["examples"] == []
    effects = {"rule": nothing}
    merge(effects, {"rule": nothing, "other": nothing})
    assert effects == {"rule": nothing, "other": nothing}


@given(found=changes, seed=st.integers(0, 9), cut=st.integers(0, 30))
def test_parts_in_any_order_merge_to_the_whole(found: list[Change], seed: int, cut: int) -> None:
    whole = {"rule": effect_of(found)}
    shuffled = random.Random(seed).sample(found, len(found))  # noqa: S311
    parts: dict[str, Effect] = {}
    for part in (shuffled[:cut], shuffled[cut:]):
        effects = {"rule": effect_of(part)}
        merge(parts, json.loads(json.dumps(effects)))
    assert json.dumps(parts) == json.dumps(whole)


@given(found=changes)
def test_examples_are_few_different_and_real(found: list[Change]) -> None:
    examples = effect_of(found)["examples"]
    assert len(examples) == min(EXAMPLES, len(set(found)))
    assert set(examples) <= set(found)


def test_long_lines_are_cut_around_what_changed() -> None:
    start, end = "so " * 300, " and" * 300
    [(before, after)] = effect_of([(f"{start}(sighs) go{end}", f"{start}go{end}")])["examples"]
    assert "so (sighs) go and" in before
    assert "so go and" in after
    assert len(before) == len(after) == EXAMPLE_LENGTH
    assert before[0] == before[-1] == "…"
    [(before, after)] = effect_of([(start, "")])["examples"]
    assert (len(before), after) == (EXAMPLE_LENGTH - 1, "")


def test_merging_leaves_what_was_merged_in_alone() -> None:
    other = {"rule": effect_of([("a", "b")])}
    effects: dict[str, Effect] = {}
    merge(effects, other)
    merge(effects, other)
    assert effects["rule"]["lines"] == 2
    assert other["rule"]["lines"] == 1
