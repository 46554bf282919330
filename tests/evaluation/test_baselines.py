"""The kinds of the paper's baselines in one table, each said to be scored as it was."""

import json
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console
from transformers import AutoModelForCausalLM, AutoTokenizer, ByT5Tokenizer

from babyllama.errors import IgnoredSettingWarning, RecipeError
from babyllama.evaluation.baselines import described
from babyllama.evaluation.conventions import CONVENTIONS
from babyllama.evaluation.evaluate import evaluate
from babyllama.evaluation.masked import pseudo_log_likelihoods
from babyllama.evaluation.minimal_pairs import read_suite, sentences, summarise
from babyllama.evaluation.span import span_log_likelihoods
from babyllama.models.folders import load_model, save_model
from babyllama.tokens.tokenizer import load_tokenizer
from baselines import build_model, nats_of, write_model

OURS, OLD = CONVENTIONS["babyllama"], CONVENTIONS["babylm-2023"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("models")
    return {kind: write_model(place / kind, kind) for kind in ("opt", "roberta", "bert", "t5")}


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pairs of which random models get some right; the last is a tie."""
    folder = tmp_path_factory.mktemp("pairs")
    words = ["heron", "reeds", "water", "still", "waits", "until", "in", "is"]
    rows = [
        {"sentence_good": f"the {word} {n}", "sentence_bad": f"the {n} {word}"}
        for word in words
        for n in "abc"
    ]
    rows.append({"sentence_good": "the reeds", "sentence_bad": "the reeds"})
    (folder / "p.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder


def causal_scores(folder: Path, texts: list[str]) -> list[float]:
    """Behind </s> and with a space, one sentence at a time, by plain transformers."""
    tokenizer = AutoTokenizer.from_pretrained(str(folder))
    model = AutoModelForCausalLM.from_pretrained(str(folder))
    found = []
    for text in texts:
        ids = [
            tokenizer.eos_token_id,
            *tokenizer(f" {text}", add_special_tokens=False)["input_ids"],
        ]
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([ids])).logits[0]
        found.append(nats_of(logits[:-1], ids[1:]))
    return found


def test_opt_is_scored_as_a_causal_model(folders: dict[str, Path], suite: Path) -> None:
    pairs = read_suite(suite)
    expected = summarise(pairs, np.array(causal_scores(folders["opt"], sentences(pairs))), "good")
    found = evaluate([folders["opt"]], suite, OLD, precision="fp32").scores[str(folders["opt"])]
    assert found == expected
    assert 0.1 < expected["macro_paradigms"]["accuracy"] < 0.9


def test_every_kind_stands_in_one_table_by_its_own_rule(
    folders: dict[str, Path], suite: Path
) -> None:
    found = evaluate([*folders.values()], suite, OLD)
    pairs = read_suite(suite)
    texts = sentences(pairs)
    for kind in ("roberta", "bert"):
        model, tokenizer = load_model(folders[kind], "masked"), load_tokenizer(folders[kind])
        nats = pseudo_log_likelihoods(model, tokenizer, texts, OLD)
        assert found.scores[str(folders[kind])] == summarise(pairs, nats, "good")
    model, tokenizer = load_model(folders["t5"], "encoder-decoder"), load_tokenizer(folders["t5"])
    nats = span_log_likelihoods(model, tokenizer, texts, OLD)
    assert found.scores[str(folders["t5"])] == summarise(pairs, nats, "good")


def test_a_tie_counts_as_the_convention_says(folders: dict[str, Path], suite: Path) -> None:
    masked = folders["bert"]
    good, half = (
        evaluate([masked], suite, replace(OLD, ties=ties)).scores[str(masked)]["macro_paradigms"]
        for ties in ("good", "half")
    )
    assert good["accuracy"] - half["accuracy"] == pytest.approx(0.5 / 25)


def test_every_row_says_how_it_was_scored(folders: dict[str, Path], suite: Path) -> None:
    found = evaluate([*folders.values()], suite, OLD, precision="bf16")
    told = {row["model"]: row["convention"] for row in found.rows()}
    shared = "leading_space yes, normalise sum, ties good, headline phenomena, precision"
    own = f"name babylm-2023, prefix special tokens, {shared} fp32, scored_by"
    assert told == {
        str(folders["opt"]): f"name babylm-2023, prefix </s>, {shared} bf16",
        str(folders["roberta"]): f"{own} pseudo-log-likelihood",
        str(folders["bert"]): f"{own} pseudo-log-likelihood",
        str(folders["t5"]): f"{own} decoder after two </s>",
    }
    ways = {
        described("encoder-decoder", rules, "fp32")["scored_by"] for rules in CONVENTIONS.values()
    }
    assert ways == {"one masked span", "decoder after two </s>", "decoder after <s> or </s>"}


def test_every_column_says_how_it_was_scored(folders: dict[str, Path], suite: Path) -> None:
    def printed(*kinds: str) -> str:
        console = Console(width=300)
        with console.capture() as capture:
            console.print(evaluate([folders[kind] for kind in kinds], suite, OURS).table())
        return capture.get()

    [ways] = [line for line in printed("opt", "bert", "t5").splitlines() if "scored by" in line]
    assert ways.split("  ")[0] == "scored by"
    assert ways.split("scored by")[1].split() == [
        *("log-probability", "pseudo-log-likelihood"),
        *("one", "masked", "span"),
    ]
    assert "scored by" not in printed("opt")


@pytest.mark.parametrize("kind", ["roberta", "t5"])
def test_only_causal_models_are_pooled(folders: dict[str, Path], suite: Path, kind: str) -> None:
    named = {"roberta": "masked", "t5": "encoder-decoder"}[kind]
    message = rf"--pool takes causal models, and .*{kind} is of the kind {named}: score it without"
    with pytest.raises(RecipeError, match=message):
        evaluate([folders["opt"], folders[kind]], suite, OURS, pool="logits")


def test_a_prefix_that_has_no_effect_is_said_to_have_none(
    folders: dict[str, Path], suite: Path
) -> None:
    both = [folders["opt"], folders["bert"]]
    with pytest.warns(
        IgnoredSettingWarning, match=r"--prefix has no effect on .*bert: only causal"
    ):
        evaluate(both, suite, replace(OURS, prefix="<s>"), limit=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        evaluate(both, suite, OURS, limit=1)
        evaluate(both[:1], suite, replace(OURS, prefix="<s>"), limit=1)


def test_a_tokenizer_that_is_code_is_refused_by_name(
    folders: dict[str, Path], suite: Path, tmp_path: Path
) -> None:
    save_model(build_model("t5"), folders["t5"], tmp_path)
    for file in tmp_path.glob("*token*"):
        file.unlink()
    ByT5Tokenizer().save_pretrained(str(tmp_path))
    with pytest.raises(RecipeError, match=r"has a tokenizer that is code, not a tokenizer\.json"):
        evaluate([tmp_path], suite, OURS)
