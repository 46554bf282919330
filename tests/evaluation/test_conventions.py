"""Each convention scores as the tool that it is named after, where that differs from the others."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any, get_args, get_type_hints

import numpy as np
import pytest
import torch
from transformers import PreTrainedModel

from babyllama.cli import scores
from babyllama.evaluation.conventions import CONVENTIONS, Convention, convention
from babyllama.evaluation.minimal_pairs import Paradigm, summarise
from babyllama.evaluation.scorers import model_scorer
from babyllama.evaluation.scoring import encode, score
from babyllama.recipe import ConventionName, Prefix

Build = Callable[..., PreTrainedModel]
Rule = tuple[tuple[int, ...], float, str]


def behaviour(name: ConventionName, tokenizer: Any) -> Rule:
    """The ids that stand for a sentence, what a tie counts, and what the one number is over."""
    rules = CONVENTIONS[name]
    [row] = encode(tokenizer, ["The reeds"], rules.prefix, leading_space=rules.leading_space)
    tie = summarise([Paradigm("p", "p", [("a", "a")])], np.array([-3.0, -3.0]), rules.ties)
    return row, tie["macro_paradigms"]["accuracy"], rules.headline


def ids(tokenizer: Any, text: str) -> tuple[int, ...]:
    return tuple(tokenizer(text)["input_ids"])


def test_babyllama_reads_a_sentence_behind_a_newline_and_halves_ties(tokenizer: Any) -> None:
    expected = ids(tokenizer, "\nThe reeds"), 0.5, "phenomena"
    assert behaviour("babyllama", tokenizer) == expected


def test_lm_eval_starts_with_s_and_a_space_and_lets_the_good_sentence_win_a_tie(
    tokenizer: Any,
) -> None:
    expected = (tokenizer.bos_token_id, *ids(tokenizer, " The reeds")), 1.0, "paradigms"
    assert behaviour("lm-eval", tokenizer) == expected


def test_babylm_2023_starts_with_the_end_of_a_sequence_and_is_over_12_phenomena(
    tokenizer: Any,
) -> None:
    expected = (tokenizer.eos_token_id, *ids(tokenizer, " The reeds")), 1.0, "phenomena"
    assert behaviour("babylm-2023", tokenizer) == expected


def test_babylm_2025_has_no_space_and_is_over_67_paradigms(tokenizer: Any) -> None:
    expected = (tokenizer.bos_token_id, *ids(tokenizer, "The reeds")), 1.0, "paradigms"
    assert behaviour("babylm-2025", tokenizer) == expected


def test_a_prefix_and_a_normalisation_replace_the_convention_s() -> None:
    usual = CONVENTIONS["lm-eval"]
    assert convention("lm-eval") == usual
    assert convention("lm-eval", "none") == replace(usual, prefix="none")
    assert convention("lm-eval", None, "tokens") == replace(usual, normalise="tokens")


def test_a_convention_gives_a_model_scores_of_its_own(build: Build, tokenizer: Any) -> None:
    found = set()
    for rules in CONVENTIONS.values():
        rows = encode(tokenizer, ["The reeds"], rules.prefix, leading_space=rules.leading_space)
        found.add(round(scores_of(build(), rows)[0], 4))
    assert len(found) == len(CONVENTIONS)


def scores_of(model: PreTrainedModel, rows: list[tuple[int, ...]], **rules: Any) -> list[float]:
    device = torch.device("cpu")
    scorer = model_scorer(model)
    return list(score(scorer, rows, vocabulary=275, positions=48, device=device, **rules))


def test_a_score_a_token_is_the_mean_over_the_tokens_that_are_scored(
    build: Build, tokenizer: Any
) -> None:
    rows = encode(tokenizer, ["the reeds", "a", "the heron waits in the reeds"], "newline")
    sums = scores_of(build(), rows)
    means = scores_of(build(), rows, normalise="tokens")
    expected = [total / (len(row) - 1) for total, row in zip(sums, rows, strict=True)]
    assert means == pytest.approx(expected)
    assert scores_of(build(), [(1,)], normalise="tokens") == [0]


@pytest.mark.parametrize("name", CONVENTIONS)
def test_every_convention_sums_so_that_a_model_that_knows_nothing_prefers_the_shorter(
    name: ConventionName, build: Build, tokenizer: Any
) -> None:
    rules, model = CONVENTIONS[name], build()
    for parameter in model.parameters():
        parameter.data.zero_()
    texts = ["the reeds", "the heron waits in the reeds"]
    rows = encode(tokenizer, texts, rules.prefix, leading_space=rules.leading_space)
    short, long = scores_of(model, rows, normalise=rules.normalise)
    assert short - long == pytest.approx((len(rows[1]) - len(rows[0])) * math.log(275), rel=1e-5)


def test_the_space_is_before_the_first_word_alone(tokenizer: Any) -> None:
    [spaced, twice] = encode(tokenizer, ["the reeds", " the reeds"], "none", leading_space=True)
    assert spaced == ids(tokenizer, " the reeds")
    assert twice == ids(tokenizer, "  the reeds")


def test_a_prefix_may_stand_in_for_the_one_of_the_convention() -> None:
    assert convention("lm-eval") == CONVENTIONS["lm-eval"]
    other = convention("lm-eval", "newline")
    assert other == Convention("lm-eval", "newline", True, "sum", "good", "paradigms")


def test_a_convention_tells_all_of_itself() -> None:
    told = CONVENTIONS["babylm-2023"].described("fp32")
    assert told == {
        "name": "babylm-2023",
        "prefix": "</s>",
        "leading_space": "yes",
        "normalise": "sum",
        "ties": "good",
        "headline": "phenomena",
        "precision": "fp32",
    }


def test_recipes_and_commands_offer_every_convention_and_prefix() -> None:
    offered = get_type_hints(scores.evaluate)
    assert get_args(offered["convention"]) == get_args(ConventionName) == tuple(CONVENTIONS)
    assert get_args(scores.PrefixName) == get_args(Prefix)
    assert all(name == rules.name for name, rules in CONVENTIONS.items())
