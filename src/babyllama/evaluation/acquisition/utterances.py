"""Utterances to children, and where the words of a list stand in them.

The layout is `sent_words.json` of the BabyLM 2023 pipeline: a JSON list of objects with `sent`, the
utterance, and `words`, the listed words that it holds. A listed word is found at every place where
the utterance has it as whole words: case and apostrophes do not count (`Don't` is `dont`),
punctuation at the edge of a word is set apart first (`ball.` is read as `ball .`, as CHILDES writes
it), and a word of several words is found where they stand side by side. So `ice` is found within
`ice cream` and not within `iced`.

The pipeline (`lm_eval/tasks/aoa_pred.py`) looks for the word's token ids instead, with and without
the space before them: it misses `I`, `Cheerios` and whatever else a tokenizer spells in another
case, takes the first token of `playing` for `play`, and searches all 32 utterances of a batch for
the words of each.
"""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from transformers import PreTrainedModel

from babyllama.errors import CorruptDataError
from babyllama.evaluation.acquisition.files import read_json
from babyllama.evaluation.surprisal import Alignment, surprisals
from babyllama.recipe import Prefix

# Apostrophes at the edge of a word belong to it: goin', 'cause.
_BEFORE = re.compile(r"(?<!\S)[^\w\s'\u2019]+(?=[\w'\u2019])")
_BEHIND = re.compile(r"(?<=[\w'\u2019])[^\w\s'\u2019]+(?!\S)")
_APOSTROPHES = str.maketrans("", "", "'\u2019")


@dataclass(frozen=True)
class Utterance:
    """What is said, and the listed words in it."""

    words: tuple[str, ...]
    """What stands between white space, once punctuation is set apart."""
    places: Mapping[str, tuple[int, ...]]
    """Listed word -> the indices of the words at which it begins."""


def read_utterances(file: Path, listed: Collection[str]) -> list[Utterance]:
    """The utterances that hold a word of the list.

    Raises:
        RecipeError: there is no such file.
        CorruptDataError: it is no list of utterances with their words, an utterance does not
            hold a word that it claims, or none of them holds a word of the list.
    """
    items = read_json(file)
    if not isinstance(items, list) or not items:
        raise CorruptDataError(f"{file} is no list of utterances: give objects of 'sent', 'words'")
    read = (_utterance(f"{file}, utterance {n}", item, listed) for n, item in enumerate(items, 1))
    utterances = [utterance for utterance in read if utterance.places]
    if not utterances:
        raise CorruptDataError(f"{file}: no utterance holds a word of the list: check both files")
    return utterances


def _utterance(where: str, item: Any, listed: Collection[str]) -> Utterance:
    sentence, held = (
        (item.get("sent"), item.get("words")) if isinstance(item, dict) else (None, None)
    )
    texts = held if isinstance(held, list) else [None]
    if not isinstance(sentence, str) or not all(isinstance(text, str) for text in texts):
        raise CorruptDataError(f"{where} lacks a text under 'sent' or a list under 'words': add it")
    words = tuple(_BEHIND.sub(r" \g<0>", _BEFORE.sub(r"\g<0> ", sentence)).split())
    folded = [_folded(word) for word in words]
    places = {}
    for text in sorted(set(texts) & set(listed)):
        places[text] = tuple(_found(folded, [_folded(part) for part in text.split()]))
        if not places[text]:
            raise CorruptDataError(f"{where} does not hold its word {text!r}: mend 'words'")
    return Utterance(words, places)


def _folded(word: str) -> str:
    return word.lower().translate(_APOSTROPHES)


def _found(words: Sequence[str], sought: Sequence[str]) -> Iterator[int]:
    """The indices at which consecutive words begin."""
    length = len(sought)
    return (n for n in range(len(words) - length + 1) if [*words[n : n + length]] == [*sought])


def average_surprisals(
    model: PreTrainedModel,
    tokenizer: Any,
    utterances: Sequence[Utterance],
    *,
    prefix: Prefix,
    alignment: Alignment,
) -> dict[str, float]:
    """Listed word -> mean bits over its occurrences; the tokens of an occurrence are summed.

    A word all of whose occurrences have no surprisal (without a prefix: the first word of an
    utterance) is not in it.

    Raises:
        RecipeError: an utterance longer than the model's positions.
    """
    found: dict[str, list[float]] = {}
    said = surprisals(model, tokenizer, [u.words for u in utterances], prefix, alignment)
    lines = groupby(said, key=lambda word: word.line)
    for utterance, (_, words) in zip(utterances, lines, strict=True):
        bits = [word.bits for word in words]
        for form, begins in utterance.places.items():
            length = len(form.split())
            found.setdefault(form, []).extend(sum(bits[n : n + length]) for n in begins)
    means = {form: _mean(bits) for form, bits in found.items()}
    return {form: mean for form, mean in means.items() if mean is not None}


def _mean(bits: Sequence[float]) -> float | None:
    """The mean of what is known; None where nothing is."""
    known = np.array(bits)[~np.isnan(bits)]
    return float(known.mean()) if known.size else None
