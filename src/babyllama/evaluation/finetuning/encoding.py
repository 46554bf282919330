"""A task's items as token ids that fit a model: what is cut from a text that is too long.

The text is tokenised as in scoring, signs such as `<s>` in it being plain characters, and stands
between the special tokens that the tokenizer puts around a text by itself: none, for tokenizers of
this project.
"""

from collections import Counter
from collections.abc import Sequence
from string import Formatter
from typing import Any

from babyllama.errors import CorruptDataError, RecipeError
from babyllama.evaluation.finetuning.files import Example
from babyllama.evaluation.finetuning.tasks import Task
from babyllama.tokens.tokenizer import plain_encoder

Row = tuple[int, ...]


def encode(tokenizer: Any, task: Task, examples: Sequence[Example], max_length: int) -> list[Row]:
    """Token ids of each example, at most `max_length` of them, special tokens included.

    A text that is too long loses tokens at the end of its longest part (field of the task), then
    of whichever part is the longest, until it fits. What the template adds stays, and so does the
    last token of the text, at which a decoder is read.

    Raises:
        CorruptDataError: an example without text.
        RecipeError: the template alone is too long.
    """
    before, after = _around(tokenizer)
    limit = max_length - len(before) - len(after)
    laid_out = [_laid_out(task, example.parts) for example in examples]
    encodings = plain_encoder(tokenizer).encode_batch(
        [text for text, _ in laid_out], add_special_tokens=False
    )
    rows = []
    for example, (_, spans), encoding in zip(examples, laid_out, encodings, strict=True):
        if not encoding.ids:
            raise CorruptDataError(f"{task.name}: item {example.id} has no text: remove it")
        kept: Sequence[int] = range(len(encoding.ids))
        if len(encoding.ids) > limit:
            kept = _kept(_owners(encoding.offsets, spans), limit, task.name)
        rows.append((*before, *(encoding.ids[at] for at in kept), *after))
    return rows


def _around(tokenizer: Any) -> tuple[Row, Row]:
    """The special tokens that a tokenizer puts before and after a text."""
    bare = tokenizer("a", add_special_tokens=False)["input_ids"]
    whole = tokenizer("a")["input_ids"]
    at = next(n for n in range(len(whole)) if whole[n : n + len(bare)] == bare)
    return tuple(whole[:at]), tuple(whole[at + len(bare) :])


def _laid_out(task: Task, parts: Sequence[str]) -> tuple[str, list[tuple[int, int]]]:
    """The text of an item, and where in it (characters from, to) each field of the template is."""
    values, text, spans = dict(zip(task.fields, parts, strict=True)), "", []
    for literal, name, _, _ in Formatter().parse(task.template):
        text += literal
        if name is not None:
            spans.append((len(text), len(text) + len(values[name])))
            text += values[name]
    return text, spans


def _owners(
    offsets: Sequence[tuple[int, int]], spans: Sequence[tuple[int, int]]
) -> list[int | None]:
    """The number of the part that each token's last character lies in; None in the template's."""
    ends = [max(begin, end - 1) for begin, end in offsets]
    return [
        next((n for n, (begin, stop) in enumerate(spans) if begin <= end < stop), None)
        for end in ends
    ]


def _kept(owners: Sequence[int | None], limit: int, name: str) -> list[int]:
    """The places of the tokens that stay."""
    room = Counter(owner for owner in owners[:-1] if owner is not None)
    for _ in range(len(owners) - limit):
        part = max(room, key=lambda each: room[each], default=None)
        if part is None or not room[part]:
            raise RecipeError(
                f"{name}: the template alone takes more than the {limit} tokens that the model"
                " and max_length allow: take a model with more positions"
            )
        room[part] -= 1
    kept = []
    for place, owner in enumerate(owners[:-1]):
        if owner is None or room[owner]:
            kept.append(place)
            if owner is not None:
                room[owner] -= 1
    return [*kept, len(owners) - 1]
