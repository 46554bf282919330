"""Parts of a task's items with the same shares of labels as the whole: held out, or to try with."""

from collections.abc import Sequence

from babyllama.errors import CorruptDataError
from babyllama.evaluation.finetuning.files import Example
from babyllama.seeds import generator

LIMIT_SEED = 1
"""One choice for all models and seeds, so that their scores are over the same items."""


def limited(examples: Sequence[Example], limit: int | None) -> Sequence[Example]:
    """At most `limit` items, in their order; those that are not scored give way first."""
    if limit is None or len(examples) <= limit:
        return examples
    scored = [example for example in examples if example.scored]
    chosen = set(_spread(scored, LIMIT_SEED, "limit")[:limit])
    return [example for at, example in enumerate(scored) if at in chosen]


def held_out(
    examples: Sequence[Example], share: float, seed: int
) -> tuple[list[Example], list[Example]]:
    """What is left to train on, and a share held out, each in its order.

    Raises:
        CorruptDataError: fewer than two items.
    """
    if len(examples) < 2:
        raise CorruptDataError(f"{len(examples)} training items cannot be split: give two or more")
    count = min(max(1, round(share * len(examples))), len(examples) - 1)
    out = set(_spread(examples, seed, "held out")[:count])
    left = [example for at, example in enumerate(examples) if at not in out]
    return left, [examples[at] for at in sorted(out)]


def _spread(examples: Sequence[Example], seed: int, stream: str) -> list[int]:
    """Places in an order, drawn by seed, of which every beginning has the labels' shares."""
    keys: dict[int, tuple[float, int]] = {}
    for label in sorted({example.label for example in examples}):
        places = [at for at, example in enumerate(examples) if example.label == label]
        for rank, choice in enumerate(generator(seed, stream, label).permutation(len(places))):
            keys[places[choice]] = ((rank + 0.5) / len(places), label)
    return sorted(keys, key=lambda at: keys[at])
