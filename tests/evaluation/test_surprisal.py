"""Surprisal of words: bits, summed over tokens, behind the prefix, line by line."""

import math
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, models
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from babyllama.errors import CorruptDataError, RecipeError
from babyllama.evaluation import surprisal
from babyllama.evaluation.scorers import model_scorer
from babyllama.evaluation.scoring import encode, score
from babyllama.evaluation.surprisal import Word, read_lines, surprisals

Build = Callable[..., PreTrainedModel]
LINES = ["the heron waits", "x", "", "in  the\treeds is \ufb01sh and \u65e5\u672c na\u00efve..."]


def words_of(
    model: PreTrainedModel, tokenizer: Any, *lines: str, prefix: Any = "newline"
) -> list[Word]:
    return list(surprisals(model, tokenizer, [line.split() for line in lines], prefix))


@torch.no_grad()
def bits_before(model: PreTrainedModel, tokenizer: Any, context: str, more: str) -> float:
    """Bits of `more` behind a newline and a context, from the model's own probabilities."""
    before = tokenizer("\n" + context)["input_ids"]
    whole = tokenizer("\n" + context + more)["input_ids"]
    assert whole[: len(before)] == before
    nats = model(torch.tensor([whole])).logits[0].double().log_softmax(-1)
    return -sum(float(nats[i - 1, whole[i]]) for i in range(len(before), len(whole))) / math.log(2)


def test_a_word_is_surprising_as_its_tokens_are_behind_the_words_before(
    build: Build, tokenizer: Any
) -> None:
    model = build()
    for line in LINES:
        words = line.split()
        ends = [" ".join(words[:n]) for n in range(len(words) + 1)]
        found = [word.bits for word in words_of(model, tokenizer, line)]
        expected = [
            bits_before(model, tokenizer, before, after.removeprefix(before))
            for before, after in pairwise(ends)
        ]
        assert found == pytest.approx(expected, abs=1e-4)
    assert len(tokenizer(" na\u00efve...")["input_ids"]) > 3


def test_words_are_numbered_by_line_and_place(build: Build, tokenizer: Any) -> None:
    found = words_of(build(), tokenizer, "the heron", "", " ", "in")
    assert [word[:3] for word in found] == [(1, 1, "the"), (1, 2, "heron"), (4, 1, "in")]


@pytest.mark.parametrize("prefix", ["newline", "<s>", "</s>"])
def test_the_words_of_a_line_sum_to_its_score_behind_any_prefix(
    build: Build, tokenizer: Any, prefix: Any
) -> None:
    model, text = build(), "the heron waits still"
    [nats] = score(
        model_scorer(model),
        encode(tokenizer, [text], prefix),
        vocabulary=275,
        positions=48,
        device=torch.device("cpu"),
    )
    found = words_of(model, tokenizer, text, prefix=prefix)
    assert sum(word.bits for word in found) == pytest.approx(-nats / math.log(2), rel=1e-6)


def test_without_a_prefix_the_first_word_has_no_surprisal(build: Build, tokenizer: Any) -> None:
    first, *others = words_of(build(), tokenizer, "the heron waits", prefix="none")
    assert math.isnan(first.bits)
    assert all(word.bits > 0 for word in others)


def test_a_line_does_not_depend_on_the_lines_around_it(
    build: Build, tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = build()
    together = words_of(model, tokenizer, *LINES)
    monkeypatch.setattr(surprisal, "BLOCK", 1)
    alone = words_of(model, tokenizer, *LINES)
    assert [word[:3] for word in together] == [word[:3] for word in alone]
    assert [w.bits for w in together] == pytest.approx([w.bits for w in alone], abs=1e-4)


def odd_tokenizer(*merges: tuple[str, str]) -> PreTrainedTokenizerFast:
    """A tokenizer of whole lines, whose tokens may hold a space anywhere."""
    pieces = ["\n", " ", "a", "b", "c", *("".join(merge) for merge in merges)]
    ids = {piece: number for number, piece in enumerate(pieces)}
    return PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.BPE(ids, [*merges])))


@pytest.mark.parametrize(
    ("line", "tokens", "owners"),
    [
        ("c a b", ["c", " ", "a ", "b"], [0, 1, 1, 2]),  # "a " ends in the space before b
        ("c b", ["c", " b"], [0, 1]),
        ("b c c", ["b", " ", "c", " ", "c"], [0, 1, 1, 2, 2]),
    ],
)
def test_a_space_counts_to_the_word_behind_it_unless_a_word_s_token_holds_it(
    build: Build, line: str, tokens: list[str], owners: list[int]
) -> None:
    model, tokenizer = build(), odd_tokenizer(("a", " "), (" ", "b"))
    assert tokenizer.convert_ids_to_tokens(tokenizer(line)["input_ids"]) == tokens
    check_owners(model, tokenizer, line, owners)


def test_a_token_over_two_words_counts_to_the_first_of_them(build: Build) -> None:
    tokenizer = odd_tokenizer((" ", "b"), ("a", " b"))
    assert tokenizer.convert_ids_to_tokens(tokenizer("a b a")["input_ids"]) == ["a b", " ", "a"]
    model = build()
    check_owners(model, tokenizer, "a b a", [0, 2, 2])
    assert words_of(model, tokenizer, "a b a")[1].bits == 0


def test_a_word_that_the_tokenizer_leaves_out_has_no_bits(build: Build) -> None:
    [left_out] = words_of(build(), odd_tokenizer(), "x")
    assert (left_out.text, left_out.bits) == ("x", 0)


@torch.no_grad()
def check_owners(model: PreTrainedModel, tokenizer: Any, line: str, owners: list[int]) -> None:
    """The words' bits are those of the tokens that they own."""
    ids = [0, *tokenizer(line)["input_ids"]]
    nats = model(torch.tensor([ids])).logits[0].double().log_softmax(-1)
    expected = [0.0] * len(line.split())
    for position, owner in enumerate(owners):
        expected[owner] -= float(nats[position, ids[position + 1]]) / math.log(2)
    found = [word.bits for word in words_of(model, tokenizer, line)]
    assert found == pytest.approx(expected, abs=1e-4)


def test_a_line_that_is_too_long_is_refused_by_its_beginning(build: Build, tokenizer: Any) -> None:
    message = r"the sentence 'x+ x+' takes 49 positions, prefix included, and the model has 48"
    with pytest.raises(RecipeError, match=message):
        words_of(build(), tokenizer, "fine", f"{'x' * 24} {'x' * 24}")


def test_a_file_is_read_line_by_line_without_its_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_bytes("\ufeffthe heron\r\n\r\n in\u2028the reeds".encode())
    assert read_lines(tmp_path / "t.txt") == [["the", "heron"], [], ["in", "the", "reeds"]]


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "holds no word"), (b" \n\n", "holds no word"), (b"a\n\xff", "not UTF-8 at byte 2")],
)
def test_a_file_that_holds_no_text_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "t.txt").write_bytes(content)
    with pytest.raises(CorruptDataError, match=message):
        read_lines(tmp_path / "t.txt")


def test_a_file_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"gone\.txt is no file"):
        read_lines(tmp_path / "gone.txt")
