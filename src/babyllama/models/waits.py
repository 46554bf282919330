"""What transformers asks of the device in every forward pass, and what is known here without.

Whether a row holds several texts, and whether it is padded: rows are one text, and full. Python
needs the answers, so that on a GPU each of them waits for all work before it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from transformers import PreTrainedModel, masking_utils

QUESTIONS: tuple[tuple[Any, str], ...] = (
    (masking_utils, "find_packed_sequence_indices"),
    (PreTrainedModel, "warn_if_padding_and_no_attention_mask"),
)


@contextmanager
def nothing_asked() -> Iterator[None]:
    """Answer `None`: one text a row, nothing to warn of. A question that is gone is passed over."""
    asked = [(owner, name, vars(owner)[name]) for owner, name in QUESTIONS if name in vars(owner)]
    for owner, name, _ in asked:
        setattr(owner, name, _none)
    try:
        yield
    finally:
        for owner, name, function in asked:
            setattr(owner, name, function)


def _none(*_: object, **__: object) -> None:
    return None
