"""The list of words: when children say each, and what else is known to go with that.

The layout is `word_list.csv` of the BabyLM 2023 pipeline, from Portelance et al. (2023): one row an
item of the parents' questionnaire. A form may stand in several rows, as `can` the auxiliary and
`can` the object: they share the form's surprisal and have ages of their own.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from babyllama.errors import CorruptDataError
from babyllama.evaluation.acquisition.files import Row, cell, number, read_table

Category = Literal["nouns", "predicates", "function_words"]
CATEGORIES: tuple[Category, ...] = get_args(Category)
COLUMNS = ("word_clean", "aoa", "lexical_category", "concreteness", "frequency")


@dataclass(frozen=True)
class ListedWord:
    """One row of the list."""

    form: str
    """What stands in utterances, in lower case; of several words, as `ice cream`, with spaces."""
    definition: str
    """Which of several words of one form it is."""
    category: Category
    concreteness: float
    frequency: float
    """Occurrences in child-directed speech, more than 0."""
    months: float
    """The age of acquisition."""


def read_words(file: Path) -> list[ListedWord]:
    """The list, in its order.

    Raises:
        RecipeError: there is no such file.
        CorruptDataError: a missing column, an empty cell, a number that is none, an unknown
            lexical category, a word that stands there twice, or no words.
    """
    places: dict[tuple[str, str], str] = {}
    words = []
    for where, row in read_table(file, COLUMNS):
        word = _word(where, row)
        key = (word.form, word.definition)
        if key in places:
            raise CorruptDataError(
                f"{where} has {word.form!r} again, which stands in {places[key]}: remove one, or"
                " tell them apart under 'definition'"
            )
        places[key] = where
        words.append(word)
    return words


def _word(where: str, row: Row) -> ListedWord:
    category = cell(where, row, "lexical_category")
    if category not in CATEGORIES:
        raise CorruptDataError(
            f"{where} has the lexical category {category!r}: give one of {', '.join(CATEGORIES)}"
        )
    frequency = number(where, row, "frequency")
    if frequency <= 0:
        raise CorruptDataError(
            f"{where} has the frequency {frequency:g}, which has no logarithm: count at least 1"
        )
    form = " ".join(cell(where, row, "word_clean").lower().split())
    return ListedWord(
        form=form,
        definition=row.get("definition") or form,
        category=category,
        concreteness=number(where, row, "concreteness"),
        frequency=frequency,
        months=number(where, row, "aoa"),
    )
