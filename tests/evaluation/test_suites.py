"""Suites by name, and the BabyLM supplement: no `UID`, no term, line ends within sentences."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import PreTrainedModel

from babyllama.corpus.fetching.registry import entry
from babyllama.errors import RecipeError
from babyllama.evaluation.conventions import CONVENTIONS
from babyllama.evaluation.evaluate import evaluate
from babyllama.evaluation.minimal_pairs import read_suite
from babyllama.evaluation.suites import SUITES, suite_folder
from babyllama.models.folders import load_model, save_model
from babyllama.tokens.tokenizer import load_tokenizer

REAL = Path(__file__).parents[3] / "shared/data/evaluation/supplement"
SUPPLEMENT = {
    "hypernym": [
        {
            "row": 1,
            "contrast": "x",
            "sentence_good": "the heron waits",
            "sentence_bad": "heron the waits",
        }
    ],
    "turn_taking": [
        {
            "type": "single",
            "other": None,
            "sentence_good": "Is it still?\nThe water is.",
            "sentence_bad": "Is it still?\nThe water it.",
        },
        {
            "type": "double",
            "other": "I",
            "sentence_good": '"In the reeds?" it said.\n"Yes."',
            "sentence_bad": '"In the reeds?" it said.\n"the."',
        },
    ],
}


@pytest.fixture
def supplement(tmp_path: Path) -> Path:
    folder = tmp_path / "filtered"
    folder.mkdir()
    for name, rows in SUPPLEMENT.items():
        (folder / f"{name}.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return folder


@pytest.mark.parametrize("name", SUITES)
def test_a_known_suite_lies_where_fetch_puts_it(name: str, tmp_path: Path) -> None:
    known = SUITES[name]
    places = {place for archive in entry(known.entry).archives for place in archive.keep.values()}
    assert (Path(known.folder).parts or (".",))[0] in places
    folder = tmp_path / known.entry / known.folder
    with pytest.raises(
        RecipeError, match=f"get it with babyllama fetch {known.entry} --to {tmp_path}$"
    ):
        suite_folder(name, tmp_path)
    folder.mkdir(parents=True)
    assert suite_folder(name, tmp_path) == folder


def test_a_suite_may_be_any_folder_here_or_where_things_are_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place in ("mine", "data/blimp", "data/set/part", "blimp-fast"):
        (tmp_path / place).mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert suite_folder(str(tmp_path)) == tmp_path
    for name, place in (("mine", "mine"), ("blimp", "data/blimp"), ("set/part", "data/set/part")):
        assert suite_folder(name) == Path(place)
    assert suite_folder("blimp-fast") == Path("blimp-fast")


@pytest.mark.parametrize(
    ("name", "hint"), [("blimp-filterd", "; did you mean blimp-filtered?"), ("x", "")]
)
def test_an_unknown_name_gets_a_hint_and_the_list(name: str, hint: str, tmp_path: Path) -> None:
    with pytest.raises(RecipeError) as caught:
        suite_folder(name, tmp_path)
    assert str(caught.value).endswith(f"of that name{hint}; known: {', '.join(SUITES)}")


def test_a_file_of_the_supplement_is_a_paradigm_and_a_phenomenon(supplement: Path) -> None:
    found = [(each.name, each.phenomenon, len(each.pairs)) for each in read_suite(supplement)]
    assert found == [("hypernym", "hypernym", 1), ("turn_taking", "turn_taking", 2)]


def direct(model: PreTrainedModel, tokenizer: Any, text: str) -> float:
    """The log-probability of a text behind a line end, token by token."""
    ids = tokenizer.encode("\n" + text, add_special_tokens=False)
    with torch.no_grad():
        logits = model(torch.tensor([ids])).logits[0].double().log_softmax(-1)
    return sum(float(logits[at, token]) for at, token in enumerate(ids[1:]))


def test_sentences_with_line_ends_are_scored_whole(
    supplement: Path, build: Callable[..., PreTrainedModel], tokenizer: Any, tmp_path: Path
) -> None:
    save_model(build(), Path(tokenizer.name_or_path), tmp_path / "model")
    found = evaluate([tmp_path / "model"], supplement, CONVENTIONS["babyllama"], precision="fp32")
    model, words = load_model(tmp_path / "model"), load_tokenizer(tmp_path / "model")
    means = []
    for name, rows in SUPPLEMENT.items():
        texts = [(str(row["sentence_good"]), str(row["sentence_bad"])) for row in rows]
        right = [direct(model, words, good) > direct(model, words, bad) for good, bad in texts]
        means.append(sum(right) / len(right))
        assert found.scores[str(tmp_path / "model")]["phenomena"][len(means) - 1] == {
            "phenomenon": name,
            "accuracy": means[-1],
            "standard_error": pytest.approx((means[-1] * (1 - means[-1]) / len(right)) ** 0.5),
            "n": len(right),
        }
    assert found.scores[str(tmp_path / "model")]["macro_phenomena"]["accuracy"] == sum(means) / 2


@pytest.mark.skipif(not REAL.is_dir(), reason="the BabyLM supplement does not lie beside it")
@pytest.mark.parametrize(("part", "pairs"), [("fast", 250), ("filtered", 5218)])
def test_the_supplement_as_published_has_five_phenomena(part: str, pairs: int) -> None:
    suite = read_suite(REAL / part)
    assert [each.phenomenon for each in suite] == [each.name for each in suite]
    assert len(suite) == 5
    assert sum(len(each.pairs) for each in suite) == pairs
    assert sum("\n" in good for each in suite for good, _ in each.pairs) > pairs / 20
