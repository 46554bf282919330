"""Encoder-decoders score a sentence as what a masked span holds, or as the published tools do."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer, BartConfig, PreTrainedModel
from transformers import BartForConditionalGeneration as Bart

from babyllama.errors import RecipeError
from babyllama.evaluation import span
from babyllama.evaluation.conventions import CONVENTIONS
from babyllama.evaluation.span import span_log_likelihoods
from babyllama.models.folders import load_model, save_model
from babyllama.tokens.tokenizer import load_tokenizer
from baselines import POSITIONS, SENTENCES, masked_tokenizer, nats_of, own_ids, write_model

OURS = CONVENTIONS["babyllama"]
Way = Callable[[Any, str], tuple[list[int], list[int], int]]
"""Tokenizer and sentence -> what the encoder reads, what the decoder writes, how much unscored."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("span") / "t5", "t5")


def parts(folder: Path) -> tuple[PreTrainedModel, Any]:
    return load_model(folder, "encoder-decoder"), load_tokenizer(folder)


def as_a_span(tokenizer: Any, text: str) -> tuple[list[int], list[int], int]:
    whole = tokenizer("<extra_id_0>")["input_ids"]
    assert whole == [tokenizer.convert_tokens_to_ids("<extra_id_0>"), tokenizer.eos_token_id]
    return whole, [whole[0], *own_ids(tokenizer, text)], 1


def as_in_2023(tokenizer: Any, text: str) -> tuple[list[int], list[int], int]:
    end = tokenizer.eos_token_id
    assert tokenizer("</s>")["input_ids"] == [end, end]
    return [end, end], [*own_ids(tokenizer, text), end], 0


def as_the_harness(tokenizer: Any, text: str) -> tuple[list[int], list[int], int]:
    return [tokenizer.bos_token_id], own_ids(tokenizer, f" {text}"), 0


@torch.no_grad()
def direct(folder: Path, text: str, way: Way) -> float:
    """One sentence at a time, all by plain transformers."""
    tokenizer = AutoTokenizer.from_pretrained(str(folder))
    model = AutoModelForSeq2SeqLM.from_pretrained(str(folder))
    read, write, unscored = way(tokenizer, text)
    logits = model(input_ids=torch.tensor([read]), labels=torch.tensor([write])).logits[0]
    return nats_of(logits[unscored:], write[unscored:])


@pytest.mark.parametrize(
    ("name", "way"),
    [
        ("babyllama", as_a_span),
        ("babylm-2025", as_a_span),
        ("babylm-2023", as_in_2023),
        ("lm-eval", as_the_harness),
    ],
)
def test_a_sentence_has_the_likelihood_that_its_convention_says(
    folder: Path, name: Any, way: Way
) -> None:
    expected = [direct(folder, text, way) for text in SENTENCES]
    found = span_log_likelihoods(*parts(folder), SENTENCES, CONVENTIONS[name])
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert np.argsort(found).tolist() == np.argsort(expected).tolist()  # every decision
    assert len({round(score, 2) for score in expected}) == len(SENTENCES)


def test_the_prefix_of_a_convention_does_not_matter(folder: Path) -> None:
    one, other = (
        span_log_likelihoods(*parts(folder), SENTENCES, replace(OURS, prefix=prefix)).tolist()
        for prefix in ("newline", "none")
    )
    assert one == other


def test_the_size_of_batches_does_not_matter_and_stays_below_the_budget(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, tokenizer = parts(folder)
    whole = span_log_likelihoods(model, tokenizer, SENTENCES, OURS)
    seen: list[tuple[int, ...]] = []
    model.register_forward_pre_hook(
        lambda _, __, given: seen.append(tuple(given["decoder_input_ids"].shape)), with_kwargs=True
    )
    monkeypatch.setattr(span, "BUDGET", 20_000)
    found = span_log_likelihoods(model, tokenizer, SENTENCES * 20, OURS)
    np.testing.assert_allclose(found, np.tile(whole, 20), atol=1e-5)
    assert max(rows * 275 * length for rows, length in seen) <= 20_000
    assert sum(rows for rows, _ in seen) == len(SENTENCES)  # equal sentences are scored once


def test_t5_takes_a_sentence_of_any_length(folder: Path) -> None:
    text = "x" * 700
    [found] = span_log_likelihoods(*parts(folder), [text], OURS)
    assert found == pytest.approx(direct(folder, text, as_a_span), abs=1e-2)


@pytest.fixture(scope="module")
def bart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An encoder-decoder with a mask in place of sentinels, and with a table of positions."""
    folder = tmp_path_factory.mktemp("bart")
    heads: dict[str, Any] = {"encoder_attention_heads": 2, "decoder_attention_heads": 2}
    layers: dict[str, Any] = {"encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 16}
    ids: dict[str, Any] = {
        "vocab_size": 275,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
    }
    config = BartConfig(
        d_model=16, decoder_ffn_dim=16, max_position_embeddings=POSITIONS, **heads, **layers, **ids
    )
    save_model(Bart(config), masked_tokenizer(folder / "tokenizer"), folder / "model")
    return folder / "model"


def test_a_tokenizer_without_sentinels_is_refused_by_name(bart: Path) -> None:
    message = r"model is an encoder-decoder, and its tokenizer has no <extra_id_0>, .*babylm-2023"
    with pytest.raises(RecipeError, match=message):
        span_log_likelihoods(*parts(bart), SENTENCES, OURS)


def test_a_model_without_sentinels_is_scored_as_in_2023(bart: Path) -> None:
    def way(tokenizer: Any, text: str) -> tuple[list[int], list[int], int]:
        return [1, 2, 2], [1, *own_ids(tokenizer, text), 2], 1

    found = span_log_likelihoods(*parts(bart), SENTENCES, CONVENTIONS["babylm-2023"])
    np.testing.assert_allclose(found, [direct(bart, text, way) for text in SENTENCES], atol=1e-4)


def test_a_sentence_longer_than_the_positions_is_refused_by_name(bart: Path) -> None:
    rules, fits = CONVENTIONS["babylm-2023"], "x" * (POSITIONS - 2)
    assert np.isfinite(span_log_likelihoods(*parts(bart), [fits], rules)).all()
    message = rf"the sentence 'x{{39}}' takes 41 positions, special .*model has {POSITIONS}: leave"
    with pytest.raises(RecipeError, match=message):
        span_log_likelihoods(*parts(bart), [f"{fits}x"], rules)


@pytest.mark.parametrize("name", ["babylm-2023", "lm-eval"])
def test_a_tokenizer_without_an_end_is_refused_where_the_encoder_is_shown_one(
    folder: Path, name: Any
) -> None:
    model, tokenizer = parts(folder)
    tokenizer.bos_token = tokenizer.eos_token = None
    with pytest.raises(RecipeError, match=r"the tokenizer of .*t5 has no </s>, which this conv"):
        span_log_likelihoods(model, tokenizer, SENTENCES, CONVENTIONS[name])


def test_a_model_that_does_not_say_how_its_decoder_starts_is_refused(folder: Path) -> None:
    model, tokenizer = parts(folder)
    model.config.decoder_start_token_id = None
    with pytest.raises(RecipeError, match=r"t5: config.json names no decoder_start_token_id"):
        span_log_likelihoods(model, tokenizer, SENTENCES, OURS)
