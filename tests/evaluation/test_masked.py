"""Masked models score a sentence by masking its tokens one at a time."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    AutoModelForMaskedLM,
    AutoTokenizer,
    MobileBertConfig,
    MobileBertForMaskedLM,
    PreTrainedModel,
)

from babyllama.errors import RecipeError
from babyllama.evaluation import masked
from babyllama.evaluation.conventions import CONVENTIONS
from babyllama.evaluation.masked import pseudo_log_likelihoods
from babyllama.models.folders import load_model, save_model
from babyllama.tokens.tokenizer import load_tokenizer
from baselines import (
    POSITIONS,
    SENTENCES,
    masked_tokenizer,
    nats_of,
    own_ids,
    write_model,
    write_tokenizer,
)

OURS, OLD = CONVENTIONS["babyllama"], CONVENTIONS["babylm-2023"]


@pytest.fixture(scope="module", params=["roberta", "bert"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("masked") / request.param, request.param)


def parts(folder: Path) -> tuple[PreTrainedModel, Any]:
    return load_model(folder, "masked"), load_tokenizer(folder)


@torch.no_grad()
def direct(folder: Path, text: str) -> float:
    """One sentence, one mask at a time, all by plain transformers."""
    tokenizer = AutoTokenizer.from_pretrained(str(folder))
    model = AutoModelForMaskedLM.from_pretrained(str(folder))
    ids = [tokenizer.bos_token_id, *own_ids(tokenizer, text), tokenizer.eos_token_id]
    total = 0.0
    for place in range(1, len(ids) - 1):
        copy = [*ids[:place], tokenizer.mask_token_id, *ids[place + 1 :]]
        logits = model(input_ids=torch.tensor([copy])).logits[0, place]
        total += nats_of(logits[None], [ids[place]])
    return total


def test_scores_are_those_of_masking_every_token_by_itself(folder: Path) -> None:
    expected = [direct(folder, text) for text in SENTENCES]
    found = pseudo_log_likelihoods(*parts(folder), SENTENCES, OURS)
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert np.argsort(found).tolist() == np.argsort(expected).tolist()  # every decision
    assert len({round(score, 2) for score in expected}) == len(SENTENCES)


def test_a_convention_s_space_applies_and_its_prefix_does_not(folder: Path) -> None:
    expected = [direct(folder, f" {text}") for text in SENTENCES]
    for rules in (OLD, replace(OLD, prefix="newline")):
        found = pseudo_log_likelihoods(*parts(folder), SENTENCES, rules)
        np.testing.assert_allclose(found, expected, atol=1e-4)


def test_the_size_of_batches_does_not_matter(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = pseudo_log_likelihoods(*parts(folder), SENTENCES, OURS)
    for budget in (1, 9_000):
        monkeypatch.setattr(masked, "BUDGET", budget)
        found = pseudo_log_likelihoods(*parts(folder), SENTENCES, OURS)
        np.testing.assert_allclose(found, whole, atol=1e-5)


def test_no_batch_holds_more_than_the_budget(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, tokenizer = parts(folder)
    seen: list[tuple[int, ...]] = []
    model.register_forward_pre_hook(
        lambda _, __, given: seen.append(tuple(given["input_ids"].shape)), with_kwargs=True
    )
    monkeypatch.setattr(masked, "BUDGET", 5_000)
    pseudo_log_likelihoods(model, tokenizer, SENTENCES * 20, OURS)
    assert max(rows * (275 + 8 * 16 * length) for rows, length in seen) <= 5_000
    copies = sum(len(own_ids(tokenizer, text)) for text in SENTENCES)
    assert sum(rows for rows, _ in seen) == copies  # equal sentences are scored once


def test_special_tokens_are_found_by_the_tokenizer_s_own_rule(tmp_path: Path) -> None:
    bare = write_tokenizer(tmp_path / "bare", names=["<mask>"], frame="$A")
    model, tokenizer = parts(write_model(tmp_path / "model", "bert", bare))
    ids = own_ids(tokenizer, "The heron")
    expected = 0.0
    for place, target in enumerate(ids):
        copy = [*ids[:place], tokenizer.mask_token_id, *ids[place + 1 :]]
        expected += nats_of(model(input_ids=torch.tensor([copy])).logits[0, place][None], [target])
    [found] = pseudo_log_likelihoods(model, tokenizer, ["The heron"], OURS)
    assert found == pytest.approx(expected, abs=1e-4)


def test_a_head_that_is_no_module_of_its_own_gives_the_same(tmp_path: Path) -> None:
    tokenizer = masked_tokenizer(tmp_path / "tokenizer")
    sizes: dict[str, Any] = {"hidden_size": 32, "embedding_size": 16, "intra_bottleneck_size": 16}
    config = MobileBertConfig(
        vocab_size=275, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, **sizes
    )
    save_model(MobileBertForMaskedLM(config), tokenizer, tmp_path / "model")
    found = pseudo_log_likelihoods(*parts(tmp_path / "model"), SENTENCES, OURS)
    expected = [direct(tmp_path / "model", text) for text in SENTENCES]
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_a_sentence_longer_than_the_positions_is_refused_by_name(folder: Path) -> None:
    # RoBERTa's first position is the one behind that of <pad>, 0 here.
    positions = POSITIONS - 1 if folder.name == "roberta" else POSITIONS
    fits = "x" * (positions - 2)
    assert np.isfinite(pseudo_log_likelihoods(*parts(folder), [fits], OURS)).all()
    message = rf"the sentence 'x{{{positions - 1}}}' takes {positions + 1} positions, special .*"
    with pytest.raises(RecipeError, match=rf"{message}{folder.name} has {positions}: leave"):
        pseudo_log_likelihoods(*parts(folder), ["The heron", f"{fits}x"], OURS)


def test_a_tokenizer_without_a_mask_is_refused_by_name(tmp_path: Path) -> None:
    bare = write_tokenizer(tmp_path / "bare", frame="<s> $A </s>")
    model = write_model(tmp_path / "model", "bert", bare)
    with pytest.raises(
        RecipeError, match=r"model is a masked model, .* has no mask token: name it"
    ):
        pseudo_log_likelihoods(*parts(model), SENTENCES, OURS)
