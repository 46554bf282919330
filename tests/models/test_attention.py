"""Attention off oneDNN: where it is taken, and that it gives the same."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from transformers import PreTrainedModel

from babyllama.models.attention import NAME, takes_truth_values, use_default_library

Build = Callable[..., PreTrainedModel]
IDS = torch.arange(10).view(2, 5)


@pytest.fixture(autouse=True)
def precision() -> Iterator[None]:
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    yield
    torch.set_float32_matmul_precision(before)


def test_the_same_comes_out_and_the_setting_stays(build: Build) -> None:
    model = build("llama")
    expected = model(IDS).logits
    use_default_library(model)
    assert model.config._attn_implementation == NAME
    torch.testing.assert_close(model(IDS).logits, expected, rtol=1e-4, atol=1e-5)
    assert torch.get_float32_matmul_precision() == "medium"


def test_a_model_looks_back_only(build: Build) -> None:
    model = build("llama")
    use_default_library(model)
    changed = IDS.clone()
    changed[:, -1] = 3
    torch.testing.assert_close(model(IDS).logits[:, :-1], model(changed).logits[:, :-1])


def test_products_inside_run_with_the_default_library(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, seen = build("llama"), set()
    use_default_library(model)
    inner = torch.nn.functional.scaled_dot_product_attention

    def watched(*given: object, **options: object) -> torch.Tensor:
        seen.add(torch.get_float32_matmul_precision())
        return inner(*given, **options)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", watched)
    model(IDS)
    assert seen == {"highest"}


def test_where_products_are_not_on_onednn_nothing_changes(build: Build) -> None:
    torch.set_float32_matmul_precision("highest")
    model = build("llama")
    use_default_library(model)
    assert model.config._attn_implementation == "sdpa"


def test_other_attention_stays_and_its_masks_are_added(build: Build) -> None:
    model = build("llama")
    assert takes_truth_values(model)
    model.set_attn_implementation("eager")
    use_default_library(model)
    assert model.config._attn_implementation == "eager"
    assert not takes_truth_values(model)


def test_a_saved_model_loads_with_the_usual_attention(build: Build, tmp_path: Path) -> None:
    model = build("llama")
    use_default_library(model)
    model.save_pretrained(tmp_path)
    loaded = type(model).from_pretrained(tmp_path)
    assert loaded.config._attn_implementation == "sdpa"
