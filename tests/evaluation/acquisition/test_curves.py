"""The 2025 variant: checkpoints, the two rules, the correlation and its rows."""

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import pearsonr

from babyllama.errors import RecipeError
from babyllama.evaluation.acquisition import curves
from babyllama.evaluation.acquisition.contexts import COLUMNS, Context
from babyllama.evaluation.acquisition.curves import (
    Ages,
    acquisition_curves,
    checkpoints,
    context_bits,
)
from babyllama.evaluation.acquisition.sigmoids import model_age, sigmoid
from babyllama.evaluation.surprisal import surprisals
from babyllama.models.folders import load_model
from babyllama.tokens.tokenizer import load_tokenizer

Save = Callable[..., Path]
SEEN = [1_000_000, 2_000_000, 10_000_000, 20_000_000, 90_000_000]
WORDS = ["heron", "water", "reeds", "waits"]


def write_files(folder: Path, *, silent: Sequence[str] = ()) -> tuple[Path, Path]:
    """Two contexts a word, and curves of which the last never reaches one half."""
    contexts = {
        word: [] if word in silent else [{"context": "the"}, {"context": "in the"}]
        for word in WORDS
    }
    (folder / "c.json").write_text(json.dumps(contexts))
    months = np.arange(16.0, 31.0)
    heights = [1.0, 1.0, 1.0, 0.3]
    shares = [sigmoid(months, height, 0.6, 19.0 + n, 0.0) for n, height in enumerate(heights)]
    rows = [[str(n), WORDS[n], *map(str, own)] for n, own in enumerate(shares)]
    lines = [["", *COLUMNS], *rows]
    (folder / "h.csv").write_text("\n".join(",".join(row) for row in lines))
    return folder / "c.json", folder / "h.csv"


def trained(save: Save, name: str = "model", seen: Sequence[int] = SEEN) -> Path:
    """A model folder with checkpoints of other seeds."""
    for seed, words in enumerate(seen):
        save(f"{name}/by-words/words-{words}", seed=seed + 2)
    return save(name)


def test_checkpoints_are_found_by_words_seen_rising(save: Save) -> None:
    model = trained(save)
    (model / "by-words" / "notes").mkdir()
    assert list(checkpoints(model)) == SEEN
    assert checkpoints(model)[10_000_000].name == "words-10000000"


def test_a_model_without_enough_checkpoints_is_told_how_to_get_them(
    save: Save, tmp_path: Path
) -> None:
    model = save("model")
    with pytest.raises(RecipeError, match=r"holds 0 .* training\.save_at_words=babylm"):
        acquisition_curves([model], *write_files(tmp_path))
    with pytest.raises(RecipeError, match="holds 3 models as by-words/words-N"):
        acquisition_curves([trained(save, "other", SEEN[:3])], *write_files(tmp_path))


@pytest.mark.parametrize("word", ["heron", "all gone"])
def test_bits_are_those_of_the_last_words(save: Save, word: str) -> None:
    folder = save("model")
    lines = [["in", "the", *word.split()]]
    expected = [*surprisals(load_model(folder), load_tokenizer(folder), lines, "newline")]
    [found] = context_bits(folder, [Context(word, ("in", "the"))], "newline")
    assert found == pytest.approx(sum(each.bits for each in expected[2:]), abs=1e-4)


def test_a_context_that_does_not_fit_is_cut_from_its_beginning(save: Save) -> None:
    folder = save("model", positions=5)
    long, short = Context("in", ("zebra",) * 3 + ("the",)), Context("in", ("the",))
    found = context_bits(folder, [long, short], "newline")
    assert found[0] == pytest.approx(found[1], abs=1e-4)


def test_the_rules_turn_the_same_bits_into_other_ages(
    save: Save, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    logs, words = np.log10(np.array(SEEN) + 1.0), np.array(SEEN, dtype=float)
    mean = {word: 19 - sigmoid(logs, 13, 5, 6.5 + 0.2 * n, 0.0) for n, word in enumerate(WORDS)}

    def bits(folder: Path, contexts: Sequence[Context], prefix: str) -> list[float]:
        at = SEEN.index(int(folder.name.removeprefix("words-")))
        return [mean[c.word][at] + (0.5 if len(c.before) == 1 else -0.5) for c in contexts]

    monkeypatch.setattr(curves, "context_bits", bits)
    found = acquisition_curves([trained(save)], *write_files(tmp_path))
    [model] = found.seen
    points = [np.stack([mean[word] + 0.5, mean[word] - 0.5], axis=1) for word in WORDS]
    for rule, expected in {
        "mean-bits": [model_age(words, mean[w], math.log2(275)) for w in WORDS],
        "babylm-2025": [
            model_age(np.repeat(words, 2), own.ravel() * math.log(2), math.log2(300_000))
            for own in points
        ],
    }.items():
        ages = found.ages[model, rule]
        assert [ages.model[word] for word in WORDS] == pytest.approx(expected)
        months = [ages.children[word] for word in WORDS]
        assert months == pytest.approx([19.0, 20.0, 21.0, None])
    assert found.ages[model, "mean-bits"].model != found.ages[model, "babylm-2025"].model


def test_the_score_is_pearson_s_r_over_words_with_both_ages() -> None:
    model = {"a": 6.5, "b": 7.1, "c": 6.9, "d": None, "e": 7.4}
    children: dict[str, float | None] = {"a": 18.0, "b": 24.0, "c": 25.0, "d": 20.0, "e": None}
    found = Ages(model=model, children=children)
    expected = pearsonr([6.5, 7.1, 6.9], [18, 24, 25])
    correlation = found.correlation()
    assert correlation is not None
    assert (correlation.r, correlation.p) == pytest.approx((expected.statistic, expected.pvalue))
    assert correlation.standard_error == pytest.approx(math.sqrt(1 - expected.statistic**2))
    assert Ages(model=dict(list(model.items())[:2]), children=children).correlation() is None
    same = Ages(model=dict.fromkeys("abc", 7.0), children=children)
    assert same.correlation() is None


def test_rows_hold_the_correlation_and_the_ages_of_every_word(save: Save, tmp_path: Path) -> None:
    told: list[str] = []
    files = write_files(tmp_path, silent=["water"])
    found = acquisition_curves([trained(save)], *files, say=told.append)
    assert len(told) == len(SEEN)
    rows = found.rows()
    assert json.loads(json.dumps(rows)) == rows
    assert len(rows) == 2 * (2 + 2 * len(WORDS))
    [silent] = [
        row
        for row in rows
        if (row["task"], row["metric"]) == ("word/water", "log10 of words seen")
        and row["convention"].startswith("mean-bits")
    ]
    assert (silent["value"], silent["n"]) == (None, 0)
    [months] = {row["value"] for row in rows if row["metric"] == "months of children"} & {
        found.ages[(*found.seen, "mean-bits")].children["water"]  # type: ignore[index]
    }
    assert months == pytest.approx(20.0)
