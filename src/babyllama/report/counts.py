"""What is counted of a run's text: its corpus, what cleaning did to it, and its tokens."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class SourceCounts:
    """One source of one split, counted before (`words_raw`) and after cleaning.

    `bytes_replaced` are bytes of its files that were not UTF-8, `lines_overlapping` lines that
    were dropped because the held-out text or an evaluation set has them too.
    """

    documents: int
    words: int
    words_raw: int
    bytes_replaced: int = 0
    lines_overlapping: int = 0


@dataclass(frozen=True, kw_only=True)
class RuleEffect:
    """What one cleaning rule did to one source.

    `lines` it changed, `dropped` of them with nothing left, and the words of those lines before
    and after the rule. The examples are pairs of a line before and after, cut where it is long.
    """

    lines: int
    dropped: int
    words_before: int
    words_after: int
    examples: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, kw_only=True)
class SourceFertility:
    """How many tokens the tokenizer spends on the words of one source."""

    words: int
    tokens: int
    tokens_per_word: float


@dataclass(frozen=True, kw_only=True)
class Fertility:
    """The size of the vocabulary, and its fertility per source."""

    vocabulary: int
    sources: Mapping[str, SourceFertility]


@dataclass(frozen=True, kw_only=True)
class TokenCounts:
    """The packed corpus."""

    train_tokens: int
    dev_tokens: int
