"""What a cleaning rule did to a text: counts, and a few real examples.

Blocks of one source are cleaned in any order and in several processes; their effects are merged.
So an effect is plain data, ready for JSON, and all in it is a sum or a choice that does not
depend on the order of arrival.
"""

import heapq
import zlib
from collections.abc import Mapping, Sequence
from itertools import takewhile
from typing import TypedDict

from babyllama.corpus.words import count_words

Change = tuple[str, str]
"""A line before and after one rule; dropped lines are empty afterwards."""

EXAMPLES = 5
"""The most examples that an effect keeps."""

EXAMPLE_LENGTH = 300
"""The most characters of an example's line."""

_LEAD = 60  # characters of a cut line that stand before its first change


class Effect(TypedDict):
    """What one rule did.

    A line that a rule changed twice, because another rule gave it cause to, counts twice. Over
    all rules of a text `words_before - words_after` adds up to the words that the text lost.
    """

    lines: int
    """Lines that the rule changed or dropped."""
    dropped: int
    """Those of them of which nothing was left."""
    words_before: int
    """Words of the changed lines, before the rule."""
    words_after: int
    examples: Sequence[Sequence[str]]
    """At most `EXAMPLES` of the changes, all different: pairs of before and after."""


def effect_of(changes: Sequence[Change]) -> Effect:
    """Sum up what one rule changed.

    >>> effect_of([("well .", "well."), ("*", "")])["words_after"]
    1
    """
    return {
        "lines": len(changes),
        "dropped": sum(not after for _, after in changes),
        "words_before": count_words("\n".join([before for before, _ in changes])),
        "words_after": count_words("\n".join([after for _, after in changes])),
        "examples": _chosen(_cut(changes)),
    }


def merge(effects: dict[str, Effect], others: Mapping[str, Effect]) -> None:
    """Add the effects of another part of a text to `effects`, rule by rule.

    >>> effects = {"drop_music": effect_of([("# la", "la")])}
    >>> merge(effects, {"drop_music": effect_of([("la #", "la")])})
    >>> effects["drop_music"]["lines"]
    2
    """
    for name, other in others.items():
        one = effects.get(name)
        effects[name] = other if one is None else _added(one, other)


def _added(one: Effect, other: Effect) -> Effect:
    if not other["lines"]:
        return one
    return {
        "lines": one["lines"] + other["lines"],
        "dropped": one["dropped"] + other["dropped"],
        "words_before": one["words_before"] + other["words_before"],
        "words_after": one["words_after"] + other["words_after"],
        "examples": _chosen([(b, a) for b, a in (*one["examples"], *other["examples"])]),
    }


def _chosen(changes: Sequence[Change]) -> list[Change]:
    """Choose by checksum: as good as at random, and the same in whatever order they come."""
    keys = [zlib.crc32(before.encode()) for before, _ in changes]
    bound = max(heapq.nsmallest(EXAMPLES, set(keys)), default=0)
    few = {(key, change) for key, change in zip(keys, changes, strict=True) if key <= bound}
    return [change for _, change in sorted(few)[:EXAMPLES]]


def _cut(changes: Sequence[Change]) -> list[Change]:
    """Cut long lines to a window around the first place where the two differ."""
    size = EXAMPLE_LENGTH
    return [c if len(c[0]) <= size >= len(c[1]) else _windows(*c) for c in changes]


def _windows(before: str, after: str) -> Change:
    same = takewhile(lambda pair: pair[0] == pair[1], zip(before, after, strict=False))
    start = max(0, sum(1 for _ in same) - _LEAD)
    return _window(before, start), _window(after, start)


def _window(line: str, start: int) -> str:
    part = line[start : start + EXAMPLE_LENGTH - 2]
    return ("…" if start and part else "") + part + ("…" if start + len(part) < len(line) else "")
