"""Where listed words stand in utterances, and what their mean surprisal is."""

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import PreTrainedModel

from babyllama.errors import CorruptDataError, RecipeError
from babyllama.evaluation.acquisition.utterances import (
    Utterance,
    average_surprisals,
    read_utterances,
)
from evaluation.acquisition.conftest import write_utterances

Build = Callable[..., PreTrainedModel]


def places(tmp_path: Path, sentence: str, *words: str) -> dict[str, tuple[int, ...]]:
    file = write_utterances(tmp_path / "said.json", {sentence: words})
    [utterance] = read_utterances(file, words)
    return dict(utterance.places)


@pytest.mark.parametrize(
    ("sentence", "word", "expected"),
    [
        ("the dog and the cat .", "the", (0, 3)),
        ("I think I can .", "i", (0, 2)),
        ("Cheerios !", "cheerios", (0,)),
        ("we dont .", "dont", (1,)),
        ("we Don't know , don\u2019t we ?", "dont", (1, 4)),
        ("a ball.", "ball", (1,)),
        ('"ball," he said', "ball", (1,)),
        ("goin' home", "goin", (0,)),
        ("an ice cream cone", "ice cream", (1,)),
        ("an ice cream cone", "ice", (1,)),
        ("it is all\n gone", "all gone", (2,)),
    ],
)
def test_a_word_is_found_as_whole_words(
    tmp_path: Path, sentence: str, word: str, expected: tuple[int, ...]
) -> None:
    assert places(tmp_path, sentence, word) == {word: expected}


@pytest.mark.parametrize(
    ("sentence", "word"),
    [("iced tea", "ice"), ("thats it", "that"), ("cream ice", "ice cream"), ("", "a")],
)
def test_a_word_that_an_utterance_does_not_hold_is_refused(
    tmp_path: Path, sentence: str, word: str
) -> None:
    with pytest.raises(CorruptDataError, match="utterance 1 does not hold its word"):
        places(tmp_path, sentence, word)


def test_punctuation_is_set_apart_and_the_rest_stands(tmp_path: Path) -> None:
    file = write_utterances(tmp_path / "said.json", {"(the dog), isn't it...?": ["dog"]})
    [utterance] = read_utterances(file, ["dog"])
    assert utterance.words == ("(", "the", "dog", "),", "isn't", "it", "...?")


def test_words_that_are_not_listed_do_not_count(tmp_path: Path) -> None:
    said = {"a dog": ["a", "dog"], "a cat": ["cat"]}
    file = write_utterances(tmp_path / "said.json", said)
    assert read_utterances(file, {"dog"}) == [Utterance(("a", "dog"), {"dog": (1,)})]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[", "is not JSON"),
        ("[]", "is no list of utterances"),
        ('{"sent": "a"}', "is no list of utterances"),
        ('[{"sent": "a"}]', "utterance 1 lacks a text under 'sent' or a list under 'words'"),
        ('[{"sent": "a", "words": [1]}]', "utterance 1 lacks"),
        ('[{"sent": 1, "words": ["a"]}]', "utterance 1 lacks"),
        ("[1]", "utterance 1 lacks"),
        ('[{"sent": "a", "words": []}]', "no utterance holds a word of the list"),
    ],
)
def test_a_bad_file_of_utterances_is_refused(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "said.json").write_text(content)
    with pytest.raises(CorruptDataError, match=message):
        read_utterances(tmp_path / "said.json", {"a"})


@torch.no_grad()
def token_bits(
    model: PreTrainedModel, tokenizer: Any, text: str, *, prefix: str = "\n", ahead: int = 1
) -> tuple[list[str], list[float]]:
    """Tokens and their bits in the logits so many positions before them, by the model itself."""
    ids = tokenizer(prefix + text)["input_ids"]
    logs = model(torch.tensor([ids])).logits[0].double().log_softmax(-1) / -math.log(2)
    known = len(tokenizer(prefix)["input_ids"]) if prefix else ahead
    pairs = [(ids[at], float(logs[at - ahead, ids[at]])) for at in range(known, len(ids))]
    return tokenizer.convert_ids_to_tokens([i for i, _ in pairs]), [bits for _, bits in pairs]


def measured(model: PreTrainedModel, tokenizer: Any, said: Sequence[str], **rules: Any) -> Any:
    utterances = [
        Utterance(tuple(text.split()), {word: tuple(at) for word, at in _all(text).items()})
        for text in said
    ]
    return average_surprisals(model, tokenizer, utterances, **{"prefix": "newline", **rules})


def _all(text: str) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for at, word in enumerate(text.split()):
        found.setdefault(word, []).append(at)
    return found


@pytest.mark.parametrize(("alignment", "ahead"), [("before", 1), ("same-position", 0)])
def test_the_tokens_of_a_word_are_summed_and_its_occurrences_averaged(
    build: Build, tokenizer: Any, alignment: str, ahead: int
) -> None:
    model = build()
    means = measured(model, tokenizer, ["x zog the", "zog"], alignment=alignment)
    tokens, bits = token_bits(model, tokenizer, "x zog the", ahead=ahead)
    starts = [n for n, token in enumerate(tokens) if token.startswith("\u0120")]
    assert (starts[0], len(tokens[starts[0] : starts[1]])) == (1, 4)  # " zog" is four tokens
    _, alone = token_bits(model, tokenizer, "zog", ahead=ahead)
    expected = (sum(bits[starts[0] : starts[1]]) + sum(alone)) / 2
    assert means["zog"] == pytest.approx(expected, abs=1e-4)
    assert means["x"] == pytest.approx(bits[0], abs=1e-4)
    assert means["the"] == pytest.approx(sum(bits[starts[1] :]), abs=1e-4)


def test_a_word_of_several_words_sums_them(build: Build, tokenizer: Any) -> None:
    model, words = build(), ("an", "ice", "cream", "cone")
    held = Utterance(words, {"ice cream": (1,), "ice": (1,), "cream": (2,)})
    means = average_surprisals(model, tokenizer, [held], prefix="newline", alignment="before")
    assert means["ice cream"] == pytest.approx(means["ice"] + means["cream"])


def test_without_a_prefix_the_first_word_counts_only_where_it_is_read_at_its_own_place(
    build: Build, tokenizer: Any
) -> None:
    model = build()
    before = measured(model, tokenizer, ["x y", "y x z"], prefix="none", alignment="before")
    tokens, bits = token_bits(model, tokenizer, "y x z", prefix="")
    end = next(n for n, token in enumerate(tokens) if n and token.startswith("\u0120"))
    assert before["x"] == pytest.approx(sum(bits[:end]), abs=1e-4)
    assert before["y"] == pytest.approx(
        measured(model, tokenizer, ["x y"], prefix="none", alignment="before")["y"], abs=1e-4
    )
    said = ["q x", "q"]
    assert "q" not in measured(model, tokenizer, said, prefix="none", alignment="before")
    same = measured(model, tokenizer, ["q"], prefix="none", alignment="same-position")
    _, own = token_bits(model, tokenizer, "q", prefix="", ahead=0)
    assert same["q"] == pytest.approx(own[0], abs=1e-4)


def test_the_prefix_is_what_the_first_word_follows(build: Build, tokenizer: Any) -> None:
    model = build()
    [newline, none] = [
        measured(model, tokenizer, ["x y"], prefix=prefix, alignment="before")
        for prefix in ("newline", "</s>")
    ]
    assert newline["x"] != pytest.approx(none["x"], abs=1e-3)


@pytest.mark.parametrize("alignment", ["before", "same-position"])
def test_an_utterance_longer_than_the_model_s_positions_is_named(
    build: Build, tokenizer: Any, alignment: str
) -> None:
    model = build(positions=4)
    with pytest.raises(RecipeError, match=r"'xxxxxx' takes \d positions"):
        measured(model, tokenizer, ["xxxxxx"], alignment=alignment)
    long = "xxxx" if alignment == "before" else "xxx"
    assert long in measured(model, tokenizer, [long], alignment=alignment)


@pytest.mark.slow
def test_the_published_utterances_hold_all_words_of_the_published_list() -> None:
    folder = Path(__file__).parents[4] / "shared/data/evaluation/aoa"
    said = folder / "sent_words_reconstructed.json"
    if not said.exists():
        pytest.skip("utterances in the format of BabyLM 2023 are not beside the checkout")
    listed = {word for item in json.loads(said.read_text()) for word in item["words"]}
    utterances = read_utterances(said, listed)
    assert len(utterances) > 30_000
    assert {word for utterance in utterances for word in utterance.places} == listed
