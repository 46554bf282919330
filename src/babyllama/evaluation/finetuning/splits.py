"""Parts of a task's items with the same shares of labels as the whole: held out, or to try with."""

from collections import Counter
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
    examples: Sequence[Example], share: float, seed: int, passage: int | None = None
) -> tuple[list[Example], list[Example]]:
    """What is left to train on, and a share (below a half) held out, each in its order.

    With `passage`, the place of one among an example's parts, items of one passage stay together.

    Raises:
        CorruptDataError: fewer than two items, or a single passage.
    """
    if len(examples) < 2:
        raise CorruptDataError(f"{len(examples)} training items cannot be split: give two or more")
    if passage is None:
        count = min(max(1, round(share * len(examples))), len(examples) - 1)
        out = set(_spread(examples, seed, "held out")[:count])
    else:
        out = _whole_passages(examples, share, seed, passage)
    left = [example for at, example in enumerate(examples) if at not in out]
    return left, [examples[at] for at in sorted(out)]


def _whole_passages(examples: Sequence[Example], share: float, seed: int, passage: int) -> set[int]:
    """Places of the items of some passages, drawn by seed, with about the labels' shares.

    The passages come in drawn order, and one is taken if that brings the numbers of items by label
    closer, as squares, to the share of each label; if none does, the one that comes closest.
    """
    groups: dict[str, list[int]] = {}
    for at, example in enumerate(examples):
        groups.setdefault(example.parts[passage], []).append(at)
    if len(groups) < 2:
        raise CorruptDataError(
            f"{len(examples)} training items share one passage and cannot be split: give items of"
            " two passages or more"
        )
    labels = Counter(example.label for example in examples)
    wanted = {label: share * count for label, count in labels.items()}

    def gain(places: Sequence[int]) -> float:
        counts = Counter(examples[at].label for at in places)
        return sum(count * (2 * wanted[label] - count) for label, count in counts.items())

    members, out = [*groups.values()], set[int]()
    drawn = [members[at] for at in generator(seed, "held out").permutation(len(members))]
    for places in drawn:
        if gain(places) > 0:
            out.update(places)
            for at in places:
                wanted[examples[at].label] -= 1
    return out or {*max(drawn, key=gain)}


def _spread(examples: Sequence[Example], seed: int, stream: str) -> list[int]:
    """Places in an order, drawn by seed, of which every beginning has the labels' shares."""
    keys: dict[int, tuple[float, int]] = {}
    for label in sorted({example.label for example in examples}):
        places = [at for at, example in enumerate(examples) if example.label == label]
        for rank, choice in enumerate(generator(seed, stream, label).permutation(len(places))):
            keys[places[choice]] = ((rank + 0.5) / len(places), label)
    return sorted(keys, key=lambda at: keys[at])
