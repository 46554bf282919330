"""The 2023 variant: figures, what stands beside them, and words that cannot be measured."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from babyllama.errors import CorruptDataError, RecipeError
from babyllama.evaluation.acquisition.children import acquisition, fit
from babyllama.evaluation.acquisition.regression import design, left_out_deviations
from babyllama.evaluation.acquisition.utterances import average_surprisals, read_utterances
from babyllama.evaluation.acquisition.words import read_words
from babyllama.models.folders import folder_digest, load_model
from babyllama.tokens.tokenizer import load_tokenizer
from evaluation.acquisition.conftest import chatter, make_words, write_utterances, write_words

COLUMNS = {"model", "task", "metric", "value", "standard_error", "n", "suite", "convention"}
COLUMNS |= {"limit", "data_sha256", "model_sha256"}
Save = Callable[..., Path]
WORDS = make_words()
MEANS = {word.form: 5 + 7 * np.sin(n) for n, word in enumerate(WORDS)}


def test_a_deviation_is_the_mean_over_the_words_of_a_group() -> None:
    found = fit(WORDS, MEANS)
    surprisal = np.array([MEANS[word.form] for word in WORDS])
    months = np.array([word.months for word in WORDS])
    expected = left_out_deviations(design(WORDS, surprisal), months)
    plain = left_out_deviations(design(WORDS, None), months)
    for group, size in {"overall": 22, "nouns": 7, "predicates": 7, "function_words": 8}.items():
        own = np.array([group in ("overall", word.category) for word in WORDS])
        figures = found.figures(group)
        assert found.size(group) == own.sum() == size
        for metric, values in {
            "deviation": expected[own],
            "deviation without surprisal": plain[own],
            "difference": (expected - plain)[own],
        }.items():
            error = values.std(ddof=1) / size**0.5
            assert figures[metric] == pytest.approx((values.mean(), error))


def test_permuted_surprisal_has_a_mean_and_an_interval_a_group() -> None:
    found = fit(WORDS, MEANS, seed=3)
    nouns = np.array([word.category == "nouns" for word in WORDS])
    means = found.permuted[:, nouns].mean(axis=1)
    figures = found.figures("nouns")
    name = "deviation with permuted surprisal"
    assert figures[name] == pytest.approx((means.mean(), means.std(ddof=1) / 200**0.5))
    bounds = [figures[f"{name}, {end} %"] for end in ("2.5", "97.5")]
    assert [low for low, _ in bounds] == pytest.approx(np.quantile(means, [0.025, 0.975]))
    assert [error for _, error in bounds] == [None, None]


def test_surprisal_that_tells_the_age_beats_what_stands_beside_it() -> None:
    means = {word.form: 3 * word.months for word in WORDS[:-1]}
    told = fit(WORDS[:5] + WORDS[6:-1], means).figures("overall")
    low, _ = told["deviation with permuted surprisal, 2.5 %"]
    assert told["deviation"][0] < 1e-6
    assert min(low, told["deviation without surprisal"][0]) > 0.5


def test_words_of_one_form_share_its_surprisal_and_keep_their_ages() -> None:
    found = fit(WORDS, MEANS)
    surprisal = np.array([MEANS[word.form] for word in WORDS])
    assert WORDS[5].form == WORDS[-1].form
    assert surprisal[5] == surprisal[-1]
    assert len(found.words) == len(WORDS)


def test_a_word_without_surprisal_is_named_and_out_of_the_fit() -> None:
    means = {form: mean for form, mean in MEANS.items() if form != "fish"}
    found = fit(WORDS, means)
    assert [word.form for word in found.missing] == ["fish"]
    assert (found.size("overall"), found.size("nouns")) == (21, 6)
    others = [word for word in WORDS if word.form != "fish"]
    assert found.deviations == pytest.approx(fit(others, means).deviations)


def test_too_few_measured_words_are_refused() -> None:
    with pytest.raises(CorruptDataError, match="13 measured words do not determine"):
        fit(WORDS, {word.form: 1.0 * n for n, word in enumerate(WORDS[:12])})


def test_models_are_measured_with_the_columns_of_every_evaluation(
    save: Save, files: tuple[Path, Path]
) -> None:
    folders = [save("one", seed=1), save("two", seed=2)]
    found = acquisition(folders, *files, prefix="</s>", alignment="same-position", seed=4)
    words, said = read_words(files[0]), read_utterances(files[1], MEANS)
    means = average_surprisals(
        load_model(folders[0]),
        load_tokenizer(folders[0]),
        said,
        prefix="</s>",
        alignment="same-position",
    )
    rows = found.rows()
    [first] = [
        row
        for row in rows
        if (row["model"], row["task"], row["metric"])
        == (str(folders[0]), "function_words", "deviation")
    ]
    expected = fit(words, means, 4).figures("function_words")["deviation"]
    assert (first["value"], first["standard_error"]) == pytest.approx(expected)
    assert (first["n"], first["model_sha256"]) == (8, folder_digest(folders[0]))
    assert "alignment same-position, prefix </s>" in first["convention"]
    assert len(rows) == 2 * 4 * 6
    assert len({row["data_sha256"] for row in rows}) == 1
    assert json.loads(json.dumps(rows)) == rows
    assert {frozenset(row) for row in rows} == {frozenset(COLUMNS)}


def test_a_word_that_never_occurs_is_in_the_rows_and_the_notes(save: Save, tmp_path: Path) -> None:
    silent = {sentence: held for sentence, held in chatter().items() if "fish" not in held}
    words = write_words(tmp_path / "words.csv", WORDS)
    said = write_utterances(tmp_path / "said.json", silent)
    found = acquisition([save("one")], words, said)
    [missing] = [row for row in found.rows() if row["task"].startswith("not measured")]
    assert (missing["task"], missing["value"], missing["n"]) == ("not measured/fish/fish", 0, 0)
    [note] = found.notes()
    assert note.endswith("21 words measured, 1 have no surprisal in these utterances: fish (nouns)")


def test_a_model_named_twice_or_missing_is_refused(
    save: Save, files: tuple[Path, Path], tmp_path: Path
) -> None:
    one = save("one")
    with pytest.raises(RecipeError, match="named twice"):
        acquisition([one, one], *files)
    with pytest.raises(RecipeError, match=r"model folder .*gone does not exist"):
        acquisition([one, tmp_path / "gone"], *files)
