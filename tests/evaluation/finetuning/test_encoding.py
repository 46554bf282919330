"""A task's items as token ids: what stands in them, and what is cut."""

from typing import Any

import pytest
from tokenizers.processors import TemplateProcessing

from babyllama.errors import CorruptDataError, RecipeError
from babyllama.evaluation.finetuning.encoding import encode
from babyllama.evaluation.finetuning.files import Example
from babyllama.evaluation.finetuning.tasks import TASKS
from babyllama.tokens.tokenizer import load_tokenizer, plain_encoder

RTE = TASKS["rte"]


def ids(tokenizer: Any, text: str) -> list[int]:
    return list(plain_encoder(tokenizer).encode(text, add_special_tokens=False).ids)


def row(tokenizer: Any, limit: int, *parts: str, task: str = "rte") -> list[int]:
    return list(encode(tokenizer, TASKS[task], [Example("7", parts, 0)], limit)[0])


def test_a_text_that_fits_is_the_tasks_text(tokenizer: Any) -> None:
    parts = ("is it the heron", "the heron", "the water is still")
    assert row(tokenizer, 99, *parts, task="multirc") == ids(
        tokenizer, TASKS["multirc"].text(parts)
    )


def test_signs_of_special_tokens_are_characters(tokenizer: Any) -> None:
    assert row(tokenizer, 99, "the </s>", "<s> heron") == ids(tokenizer, "the </s>\n<s> heron")
    assert not {0, 1, 2} & set(row(tokenizer, 99, "the </s>", "<s> heron<pad>"))


@pytest.mark.parametrize(
    ("first", "second"),
    [("abcdefgh" * 3, "xyz"), ("abc", "uvwxyz" * 4), ("abcdef" * 4, "uvwxyz" * 4)],
)
@pytest.mark.parametrize("limit", [6, 9, 14])
def test_the_longest_part_is_cut_at_its_end_and_the_last_token_stays(
    tokenizer: Any, first: str, second: str, limit: int
) -> None:
    one, line, two = ids(tokenizer, first), ids(tokenizer, "\n"), ids(tokenizer, second)
    body, last = two[:-1], two[-1:]
    while len(one) + len(line) + len(body) + 1 > limit:
        if len(one) >= len(body):
            one.pop()
        else:
            body.pop()
    assert row(tokenizer, limit, first, second) == one + line + body + last
    assert len(one + line + body + last) == limit


def test_what_the_template_adds_stays(tokenizer: Any) -> None:
    found = row(tokenizer, 36, "q" * 50, "a" * 50, "p" * 50, task="multirc")
    text = tokenizer.decode(found)
    assert len(found) == 36
    assert text.startswith("Question: q")
    assert " Answer: a" in text
    assert text.endswith("p")


def test_a_tokenizers_own_special_tokens_stand_around_and_count(tokenizer: Any) -> None:
    own = load_tokenizer(tokenizer.name_or_path)
    own.backend_tokenizer.post_processor = TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)]
    )
    assert row(own, 99, "ab", "cd") == [1, *ids(tokenizer, "ab\ncd"), 2]
    cut = row(own, 9, "a" * 40, "cd")
    assert (len(cut), cut[0], cut[-2:]) == (9, 1, [*ids(tokenizer, "d"), 2])


def test_what_cannot_be_encoded_is_refused_by_name(tokenizer: Any) -> None:
    with pytest.raises(CorruptDataError, match="MV: item 7 has no text: remove it"):
        row(tokenizer, 9, "", task="MV")
    with pytest.raises(RecipeError, match="multirc: the template alone takes more than the 5"):
        row(tokenizer, 5, "q", "a", "p", task="multirc")
