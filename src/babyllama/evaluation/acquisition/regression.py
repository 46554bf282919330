"""Age of acquisition from surprisal: a linear regression that leaves each word out in turn.

As `get_loo_mad_results` of the BabyLM 2023 pipeline (lm_eval/tasks/aoa_pred.py), after Portelance
et al. (2023): months = lexical category + concreteness + surprisal + log frequency + category x
(concreteness, surprisal, log frequency), with nouns as the base. Surprisal is what log frequency
does not explain of it: the residual of a simple regression over all words.

Leaving a word out needs no refitting. With the hat matrix H = X (X'X)^-1 X' the deviation of word i
from the prediction of a fit without it is e_i / (1 - h_ii), where e is the residual of the one fit
over all words. The residualisation is fixed on all words, as in the pipeline. It moves nothing
here: log frequency is a predictor with the same interactions, so raw surprisal spans the same
space. Nor does scaling. And since every predictor meets every category, the fit is one regression
a category.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from babyllama.errors import CorruptDataError
from babyllama.evaluation.acquisition.words import CATEGORIES, ListedWord
from babyllama.seeds import generator

Vector = npt.NDArray[np.float64]
PERMUTATIONS = 200
_DETERMINED = 1e-9
"""A word whose leverage is this close to 1 decides its own prediction."""


def log_frequency(words: Sequence[ListedWord]) -> Vector:
    """Natural logarithm of each word's count, [words]."""
    return np.log([word.frequency for word in words])


def residualised(surprisal: Vector, log_frequencies: Vector) -> Vector:
    """What log frequency does not explain of surprisal: least squares over all words, [words]."""
    simple = np.column_stack([np.ones_like(log_frequencies), log_frequencies])
    coefficients = np.linalg.lstsq(simple, surprisal, rcond=None)[0]
    return np.asarray(surprisal - simple @ coefficients)


def design(words: Sequence[ListedWord], surprisal: Vector | None) -> Vector:
    """The predictors of every word, [words, 12]; without surprisal, [words, 9].

    Columns: 1, two dummies of category, the standardised numbers, and each dummy times each number.
    """
    numbers = [np.array([word.concreteness for word in words]), log_frequency(words)]
    if surprisal is not None:
        numbers.append(surprisal)
    scaled = [(column - column.mean()) / (column.std() or 1.0) for column in numbers]
    dummies = [
        np.array([float(word.category == category) for word in words])
        for category in CATEGORIES[1:]
    ]
    products = [dummy * column for dummy in dummies for column in scaled]
    return np.column_stack([np.ones(len(words)), *dummies, *scaled, *products])


def left_out_deviations(predictors: Vector, months: Vector) -> Vector:
    """How far each word's age is from what a fit to all others predicts, in months, [words].

    Raises:
        CorruptDataError: the words do not determine the coefficients, or would not without one.
    """
    rank = np.linalg.matrix_rank(predictors)
    basis, _ = np.linalg.qr(predictors)
    free = 1 - (basis**2).sum(axis=1)
    if rank < predictors.shape[1] or free.min() < _DETERMINED:
        raise CorruptDataError(
            f"{len(months)} measured words do not determine the {predictors.shape[1]} coefficients"
            " with each word left out: give at least 5 words a lexical category"
            f" ({', '.join(CATEGORIES)}) that differ in concreteness, frequency and surprisal"
        )
    residuals = months - basis @ (basis.T @ months)
    return np.asarray(np.abs(residuals / free))


def permuted_deviations(
    words: Sequence[ListedWord], residuals: Vector, months: Vector, seed: int
) -> Iterator[Vector]:
    """Deviations, [words], with residual surprisal dealt out to words at random, 200 times."""
    for index in range(PERMUTATIONS):
        shuffled = generator(seed, "permuted surprisal", index).permutation(residuals)
        yield left_out_deviations(design(words, shuffled), months)
