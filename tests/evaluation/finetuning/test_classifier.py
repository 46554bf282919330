"""Classifiers: what is pretrained, what is new, and that padding moves nothing."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import PreTrainedModel, RobertaConfig, RobertaForMaskedLM, T5Config

from babyllama.errors import CorruptDataError, RecipeError
from babyllama.evaluation.finetuning import classifier as module
from babyllama.evaluation.finetuning.classifier import (
    Classifier,
    Side,
    load_classifier,
    make_classifier,
    padding_id,
)
from babyllama.evaluation.finetuning.tasks import TASKS
from babyllama.models.folders import load_model, save_model
from babyllama.tokens.tokenizer import load_tokenizer

Build = Callable[..., PreTrainedModel]
CPU = torch.device("cpu")
KINDS = ["llama", "gpt2", "gptj", "opt", "gpt_neox"]
ROWS = [(9, 33, 71, 5), (40,), (8, 8, 12, 100, 200, 31, 7), (55, 3)]


def made(folder: Path, tokenizer: Any, side: Side = "right", seed: int = 1) -> Classifier:
    found = make_classifier(
        folder, TASKS["mnli"], tokenizer, seed=seed, device=CPU, precision="fp32"
    )
    found.model.eval()
    return Classifier(**{**vars(found), "side": side})


@pytest.fixture(params=KINDS)
def folder(request: Any, build: Build, tokenizer: Any, tmp_path: Path) -> Path:
    save_model(build(request.param), Path(tokenizer.name_or_path), tmp_path / "model")
    return tmp_path / "model"


@pytest.mark.parametrize("side", get_args(Side))
def test_neither_side_nor_amount_of_padding_moves_the_logits(
    folder: Path, tokenizer: Any, side: Side
) -> None:
    model = made(folder, tokenizer, side)
    with torch.inference_mode():
        alone = torch.cat([model.logits([row]) for row in ROWS])
        together = model.logits(ROWS)
        more = model.logits([*ROWS, tuple(range(10, 40))])[: len(ROWS)]
    assert alone.shape == (4, 3)
    assert alone.std(0).min() > 1e-3
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(more, alone, rtol=1e-4, atol=1e-5)


def test_logits_are_those_of_the_last_real_token(pretrained: Path, tokenizer: Any) -> None:
    model = made(pretrained, tokenizer)
    with torch.inference_mode():
        hidden = load_model(pretrained).model(torch.tensor([ROWS[2]])).last_hidden_state
        expected = hidden[0, -1] @ model.model.score.weight.T
        torch.testing.assert_close(model.logits(ROWS)[2], expected, rtol=1e-4, atol=1e-5)


def test_only_the_head_is_new_and_its_seed_decides_it(folder: Path) -> None:
    before = torch.random.get_rng_state()
    first, again, other = (load_classifier(folder, ("a", "b"), seed) for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), before)
    pretrained = load_model(folder)
    expected = getattr(pretrained, pretrained.base_model_prefix).state_dict()
    found = getattr(first, first.base_model_prefix).state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert torch.equal(first.score.weight, again.score.weight)
    assert not torch.equal(first.score.weight, other.score.weight)
    assert first.config.id2label == {0: "a", 1: "b"}


def test_a_model_that_lacks_weights_is_refused(pretrained: Path, tmp_path: Path) -> None:
    weights = load_file(pretrained / "model.safetensors")
    lost = "model.layers.1.self_attn.q_proj.weight"
    save_file({k: v for k, v in weights.items() if k != lost}, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text((pretrained / "config.json").read_text())
    with pytest.raises(CorruptDataError, match=rf"lacks weights of the model it describes: {lost}"):
        load_classifier(tmp_path, ("a", "b"), 1)


def test_what_is_no_model_is_refused(pretrained: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="does not exist: check the path"):
        load_classifier(tmp_path / "none", ("a", "b"), 1)
    with pytest.raises(CorruptDataError, match=r"holds no readable config\.json"):
        load_classifier(tmp_path, ("a", "b"), 1)
    (tmp_path / "config.json").write_text((pretrained / "config.json").read_text())
    with pytest.raises(CorruptDataError, match="holds no model that can be a classifier"):
        load_classifier(tmp_path, ("a", "b"), 1)


def test_an_encoder_decoder_is_refused_by_name(tmp_path: Path) -> None:
    T5Config().save_pretrained(tmp_path)
    with pytest.raises(RecipeError, match="holds an encoder-decoder, which is not fine-tuned"):
        load_classifier(tmp_path, ("a", "b"), 1)


def test_a_masked_model_is_read_by_its_own_head(tokenizer: Any, tmp_path: Path) -> None:
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = RobertaConfig(
        **sizes, vocab_size=275, intermediate_size=24, max_position_embeddings=50, pad_token_id=0
    )
    save_model(RobertaForMaskedLM(config), Path(tokenizer.name_or_path), tmp_path)
    model = made(tmp_path, tokenizer)
    with torch.inference_mode():
        alone = torch.cat([model.logits([row]) for row in ROWS])
        torch.testing.assert_close(model.logits(ROWS), alone, rtol=1e-4, atol=1e-5)


def test_all_rows_are_read_in_their_order_in_batches_of_bounded_size(
    pretrained: Path, tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PADDED_TOKENS", 8)
    model, sizes = made(pretrained, tokenizer), []
    one = Classifier.logits

    def counted(self: Classifier, rows: Any) -> torch.Tensor:
        sizes.append(len(rows) * max(map(len, rows)))
        return one(self, rows)

    with torch.inference_mode():
        alone = torch.cat([model.logits([row]) for row in ROWS]).double().numpy()
    monkeypatch.setattr(Classifier, "logits", counted)
    calls: list[int] = []
    found = model.read(ROWS, lambda: calls.append(1))
    np.testing.assert_allclose(found, alone, rtol=1e-4, atol=1e-5)
    assert max(sizes) <= 8
    assert len(calls) == len(sizes) > 1


def test_a_tokenizer_without_a_pad_token_fills_up_with_another_special_one(tokenizer: Any) -> None:
    own = load_tokenizer(tokenizer.name_or_path)
    assert padding_id(own) == 0
    own.pad_token = None
    assert padding_id(own) == own.eos_token_id == 2
    own.eos_token = own.bos_token = None
    with pytest.raises(RecipeError, match="give it a pad token"):
        padding_id(own)


def test_a_tokenizer_of_another_model_is_refused(
    build: Build, tokenizer: Any, tmp_path: Path
) -> None:
    model = build("llama")
    model.resize_token_embeddings(200)
    save_model(model, Path(tokenizer.name_or_path), tmp_path)
    with pytest.raises(RecipeError, match="has 200 embeddings, and its tokenizer 275 ids"):
        made(tmp_path, tokenizer)
