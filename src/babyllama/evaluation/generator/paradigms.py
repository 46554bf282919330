"""English minimal pairs made from the words of a corpus: an evaluation without a download.

The paradigms follow the phenomena of BLiMP (Warstadt et al. 2020, "BLiMP: The Benchmark of
Linguistic Minimal Pairs for English", TACL 8), with templates and a lexicon of their own. Every
content word, in every form used, occurs in the training text; scores compare models trained on one
text, and neither with BLiMP nor with another text's.

Pairs are balanced: either a pair has the same words in another order, or two mirrored pairs follow
each other, so that the word that is wrong in the first is right in the second. A scorer that knows
only how frequent words are gets 50 %. Mirrored pairs are not independent of each other.
"""

import json
import random
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

from babyllama.errors import BabyllamaError
from babyllama.evaluation.generator import agreement_templates as agreement
from babyllama.evaluation.generator import order_templates as order
from babyllama.evaluation.generator.lexicon import load_lexicon
from babyllama.evaluation.generator.phrases import Item, NoFitError, Pair, Phrases

FEWEST_PAIRS = 50
"""A paradigm with fewer distinct pairs than this is left out (or than `pairs`, if that is less)."""

_FRUITLESS_DRAWS = 1000  # in a row: then the corpus has no more pairs to give
_WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)*")


class Paradigm(NamedTuple):
    """One contrast. The phenomenon has BLiMP's name where BLiMP has the phenomenon."""

    name: str
    phenomenon: str
    draw: Callable[[Phrases], Item]


_FIELDS = {
    "anaphor_agreement": "morphology",
    "argument_structure": "syntax",
    "auxiliary_form": "morphology",
    "binding": "syntax_semantics",
    "control_raising": "syntax",
    "determiner_noun_agreement": "morphology",
    "ellipsis": "syntax",
    "filler_gap_dependency": "syntax",
    "irregular_forms": "morphology",
    "island_effects": "syntax",
    "npi_licensing": "semantics",
    "pronoun_case": "morphology",
    "quantifiers": "semantics",
    "subject_auxiliary_inversion": "syntax",
    "subject_verb_agreement": "morphology",
}

_AGREEMENT = "subject_verb_agreement"
_DETERMINER = "determiner_noun_agreement"

PARADIGMS = (
    Paradigm("subject_verb_regular", _AGREEMENT, partial(agreement.subject_verb, irregular=False)),
    Paradigm("subject_verb_irregular", _AGREEMENT, partial(agreement.subject_verb, irregular=True)),
    Paradigm("subject_verb_prepositional", _AGREEMENT, agreement.subject_verb_prepositional),
    Paradigm("subject_verb_relative", _AGREEMENT, agreement.subject_verb_relative),
    Paradigm("determiner_noun", _DETERMINER, partial(agreement.determiner_noun, irregular=False)),
    Paradigm(
        "determiner_noun_irregular", _DETERMINER, partial(agreement.determiner_noun, irregular=True)
    ),
    Paradigm(
        "determiner_adjective_noun",
        _DETERMINER,
        partial(agreement.determiner_adjective_noun, irregular=False),
    ),
    Paradigm(
        "determiner_adjective_noun_irregular",
        _DETERMINER,
        partial(agreement.determiner_adjective_noun, irregular=True),
    ),
    Paradigm("anaphor_gender", "anaphor_agreement", agreement.anaphor_gender),
    Paradigm("anaphor_number", "anaphor_agreement", agreement.anaphor_number),
    Paradigm("binding_command", "binding", agreement.binding_command),
    Paradigm("binding_domain", "binding", agreement.binding_domain),
    Paradigm("pronoun_case", "pronoun_case", agreement.pronoun_case),
    Paradigm("irregular_participle_active", "irregular_forms", agreement.irregular_active),
    Paradigm("irregular_participle_passive", "irregular_forms", agreement.irregular_passive),
    Paradigm("auxiliary_form", "auxiliary_form", agreement.auxiliary_form),
    Paradigm("transitivity", "argument_structure", agreement.transitivity),
    Paradigm("transitivity_passive", "argument_structure", agreement.passive_transitivity),
    Paradigm("animate_subject", "argument_structure", order.animate_subject),
    Paradigm("npi_negative_subject", "npi_licensing", order.negative_subject),
    Paradigm("npi_negation_scope", "npi_licensing", order.negation_scope),
    Paradigm("that_or_what", "filler_gap_dependency", agreement.that_or_what),
    Paradigm("island_left_branch", "island_effects", order.left_branch),
    Paradigm("island_adjunct", "island_effects", order.adjunct_island),
    Paradigm("island_coordinate", "island_effects", order.coordinate_island),
    Paradigm("existential_there", "quantifiers", order.existential_there),
    Paradigm("noun_ellipsis", "ellipsis", order.noun_ellipsis),
    Paradigm("able_or_hard", "control_raising", agreement.able_or_hard),
    Paradigm("question_inversion", "subject_auxiliary_inversion", order.question_inversion),
)
"""The paradigms, in the order in which they are written."""


def words_of(text: str) -> list[str]:
    """Split into lower-cased words: runs of letters, with apostrophes inside.

    >>> words_of("The king’s men, well-known, didn't go in 1066.")
    ['the', "king's", 'men', 'well', 'known', "didn't", 'go', 'in']
    """
    return _WORD.findall(text.lower().replace("’", "'"))


def count_words(texts: Iterable[str]) -> Counter[str]:
    """Count the words (as `words_of` splits them) of many texts."""
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(words_of(text))
    return counts


def write_paradigms(
    *,
    word_counts: Mapping[str, int],
    seed: int,
    out: Path,
    pairs: int = 200,
    minimum_count: int = 5,
) -> dict[str, int]:
    """Write `<paradigm>.jsonl` into `out`, and return how many pairs each paradigm got.

    `word_counts` holds the lower-cased words of the training text (`count_words`). Every word of a
    pair occurs in it at least `minimum_count` times, in that spelling: whether "answers" is a verb
    there is not looked at. A paradigm that the corpus has too few words
    for (under `FEWEST_PAIRS`) gets 0 and no file. Mirrored pairs are never parted: an odd `pairs`
    is rounded down for them. The pairs depend on the seed and on which words are known, on nothing
    else.

    Raises BabyllamaError where no paradigm can be made.
    """
    if pairs < 2:
        raise BabyllamaError(f"minimal pairs: a paradigm needs at least 2 pairs, got {pairs}")
    known = frozenset(word for word, count in word_counts.items() if count >= minimum_count)
    made = {paradigm: _distinct_pairs(paradigm, known, seed, pairs) for paradigm in PARADIGMS}
    if not any(made.values()):
        raise BabyllamaError(
            f"minimal pairs: the training text has too few English words that occur "
            f"{minimum_count} times ({len(known)} words); name a folder of pair files "
            "in evaluation.suites, and leave these out with evaluation.suites.generated=null"
        )
    out.mkdir(parents=True, exist_ok=True)
    for paradigm, chosen in made.items():
        if chosen:
            _write(out / f"{paradigm.name}.jsonl", paradigm, chosen)
    return {paradigm.name: len(chosen) for paradigm, chosen in made.items()}


def _distinct_pairs(
    paradigm: Paradigm, known: frozenset[str], seed: int, wanted: int
) -> list[Pair]:
    """Draw up to `wanted` pairs, or none at all where the corpus has too few."""
    chance = random.Random(f"{seed}/{paradigm.name}")  # noqa: S311 - a sample, no secret
    phrases = Phrases(load_lexicon(), known, chance)
    chosen: dict[Pair, None] = {}
    fruitless = 0
    while len(chosen) < wanted and fruitless < _FRUITLESS_DRAWS:
        item = _drawn(paradigm, phrases, known)
        if len(chosen) + len(item) > wanted:
            break
        new = bool(item) and not any(pair in chosen for pair in item)
        fruitless = 0 if new else fruitless + 1
        if new:
            chosen.update(dict.fromkeys(item))
    return list(chosen) if len(chosen) >= min(FEWEST_PAIRS, wanted - 1) else []


def _drawn(paradigm: Paradigm, phrases: Phrases, known: frozenset[str]) -> Item:
    """Draw one item; an empty one where it would need a word that the corpus lacks."""
    phrases.begin()
    try:
        item = paradigm.draw(phrases)
    except NoFitError:
        return ()
    words = (word for pair in item for word in words_of(f"{pair.good} {pair.bad}"))
    return item if known.issuperset(words) else ()


def _write(path: Path, paradigm: Paradigm, pairs: Iterable[Pair]) -> None:
    rows = (
        {
            "sentence_good": pair.good,
            "sentence_bad": pair.bad,
            "linguistics_term": paradigm.phenomenon,
            "UID": paradigm.name,
            "field": _FIELDS[paradigm.phenomenon],
            "pair_id": number,
        }
        for number, pair in enumerate(pairs)
    )
    lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    path.write_text("".join(lines), encoding="utf-8")
