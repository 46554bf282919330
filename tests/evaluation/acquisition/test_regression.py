"""The regression: closed form against refitting, what it spans, and what it cannot determine."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression
from sklearn.preprocessing import OneHotEncoder, PolynomialFeatures, StandardScaler

from babyllama.errors import CorruptDataError
from babyllama.evaluation.acquisition.regression import (
    PERMUTATIONS,
    Vector,
    design,
    left_out_deviations,
    log_frequency,
    permuted_deviations,
    residualised,
)
from babyllama.evaluation.acquisition.words import CATEGORIES, ListedWord
from babyllama.seeds import generator
from evaluation.acquisition.conftest import make_words

WORDS = make_words()
MONTHS = np.array([word.months for word in WORDS])
SURPRISAL = generator(1, "surprisal").normal(12, 4, len(WORDS))


def columns(words: list[ListedWord], surprisal: Vector) -> Vector:
    """The predictors as the pipeline's documentation has them, by scikit-learn."""
    unigram = -np.log([[word.frequency] for word in words])
    simple = LinearRegression().fit(unigram, surprisal)
    concreteness = [word.concreteness for word in words]
    numbers = [concreteness, surprisal - simple.predict(unigram), unigram[:, 0]]
    scaled = StandardScaler().fit_transform(np.column_stack(numbers))
    encoder = OneHotEncoder(categories=[[*CATEGORIES]], drop=["nouns"], sparse_output=False)
    dummies = encoder.fit_transform([[word.category] for word in words])
    crossed = PolynomialFeatures(2, interaction_only=True, include_bias=False)
    every = crossed.fit_transform(np.column_stack([dummies, scaled]))
    names = crossed.get_feature_names_out(["p", "f", "c", "s", "u"])
    single = [n for n, name in enumerate(names) if " " not in name]
    crossed_with = [n for n, name in enumerate(names) if name[:2] in {"p ", "f "} and name != "p f"]
    return np.asarray(every[:, single + crossed_with])


def test_the_closed_form_is_what_refitting_without_each_word_gives() -> None:
    predictors = columns(WORDS, SURPRISAL)
    assert predictors.shape == (22, 11)
    expected = []
    for left_out in range(len(WORDS)):
        others = np.arange(len(WORDS)) != left_out
        fitted = LinearRegression().fit(predictors[others], MONTHS[others])
        expected.append(abs(MONTHS[left_out] - fitted.predict(predictors[[left_out]])[0]))
    residuals = residualised(SURPRISAL, log_frequency(WORDS))
    found = left_out_deviations(design(WORDS, residuals), MONTHS)
    assert found == pytest.approx(expected, rel=1e-8)


def test_without_surprisal_it_is_refitting_too() -> None:
    predictors = design(WORDS, None)
    assert predictors.shape == (22, 9)
    others = np.arange(len(WORDS)) != 7
    fitted = LinearRegression().fit(predictors[others], MONTHS[others])
    expected = abs(MONTHS[7] - fitted.predict(predictors[[7]])[0])
    assert left_out_deviations(predictors, MONTHS)[7] == pytest.approx(expected)


def test_the_residual_is_what_log_frequency_does_not_explain() -> None:
    logs = log_frequency(WORDS)
    residuals = residualised(SURPRISAL, logs)
    simple = LinearRegression().fit(logs[:, None], SURPRISAL)
    assert residuals == pytest.approx(SURPRISAL - simple.predict(logs[:, None]))
    assert residuals @ logs == pytest.approx(0, abs=1e-9)


def test_residualising_moves_no_deviation() -> None:
    residuals = residualised(SURPRISAL, log_frequency(WORDS))
    raw = left_out_deviations(design(WORDS, SURPRISAL), MONTHS)
    assert left_out_deviations(design(WORDS, residuals), MONTHS) == pytest.approx(raw)


def test_it_is_one_regression_a_category() -> None:
    whole = left_out_deviations(design(WORDS, SURPRISAL), MONTHS)
    for category in CATEGORIES:
        own = np.array([word.category == category for word in WORDS])
        words = [word for word in WORDS if word.category == category]
        numbers = [[w.concreteness for w in words], log_frequency(words), SURPRISAL[own]]
        alone = np.column_stack([np.ones(len(words)), *numbers])
        assert left_out_deviations(alone, MONTHS[own]) == pytest.approx(whole[own])


def test_permutations_deal_the_residuals_out_again_by_seed() -> None:
    residuals = residualised(SURPRISAL, log_frequency(WORDS))
    first, again, other = (
        np.array([*permuted_deviations(WORDS, residuals, MONTHS, seed)]) for seed in (1, 1, 2)
    )
    assert first.shape == (PERMUTATIONS, len(WORDS)) == (200, 22)
    assert (first == again).all()
    assert not np.isclose(first, other).all(axis=1).any()
    assert len(np.unique(first[:, 0])) == 200
    shuffled = generator(1, "permuted surprisal", 3).permutation(residuals)
    assert first[3] == pytest.approx(left_out_deviations(design(WORDS, shuffled), MONTHS))


def few(category: str, words: int) -> list[ListedWord]:
    others = [word for word in WORDS if word.category != category]
    return [*others, *[word for word in WORDS if word.category == category][:words]]


@pytest.mark.parametrize(
    "words",
    [
        few("predicates", 4),  # each of them decides its own prediction
        few("predicates", 3),
        few("nouns", 0),
        WORDS[:5],
        [replace(word, concreteness=2.0) for word in WORDS],
        [replace(word, frequency=5.0) if word.category == "nouns" else word for word in WORDS],
    ],
)
def test_words_that_do_not_determine_the_coefficients_are_refused(words: list[ListedWord]) -> None:
    months = np.array([word.months for word in words])
    with pytest.raises(CorruptDataError, match=r"do not determine the 12 coefficients .*nouns"):
        left_out_deviations(design(words, SURPRISAL[: len(words)]), months)


def test_five_words_a_category_are_enough() -> None:
    words = few("predicates", 5)
    months = np.array([word.months for word in words])
    assert np.isfinite(left_out_deviations(design(words, SURPRISAL[: len(words)]), months)).all()
