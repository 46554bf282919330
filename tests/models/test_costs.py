"""Operations and parameters, against a count by hand and against torch's own counter."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode
from transformers import PreTrainedModel

from babyllama.errors import RecipeError
from babyllama.models.architectures import build_model, model_config
from babyllama.models.costs import (
    activation_bytes,
    forward_flops_per_token,
    meta_model,
    parameter_count,
    training_flops_per_token,
)
from babyllama.recipe import Architecture
from babyllama.tokens.batches import counts, make_batch
from babyllama.training.denoising import Denoising, corruption_for

Tiny = Callable[..., Architecture]
Build = Callable[..., PreTrainedModel]
V, D, F, LAYERS, T = 300, 16, 24, 2, 32  # as in the fixtures
ATTENTION = 4 * D * T


def test_the_operations_of_a_llama_are_those_counted_by_hand(build: Build) -> None:
    projections, feed_forward = 4 * D * D, 3 * D * F
    by_hand = LAYERS * (2 * (projections + feed_forward) + ATTENTION) + 2 * V * D
    assert forward_flops_per_token(build("llama"), T) == by_hand


def test_a_tied_head_counts_once_and_a_table_of_positions_not_at_all(build: Build) -> None:
    projections, feed_forward = 4 * D * D, 2 * D * F
    by_hand = LAYERS * (2 * (projections + feed_forward) + ATTENTION) + 2 * V * D
    assert forward_flops_per_token(build("gpt2"), T) == by_hand


def test_tying_the_head_of_a_model_changes_its_parameters_and_not_its_operations(
    build: Build,
) -> None:
    free, tied = build("llama"), build("llama", options={"tie_word_embeddings": True})
    assert parameter_count(free) - parameter_count(tied) == V * D
    assert forward_flops_per_token(free, T) == forward_flops_per_token(tied, T)


@pytest.mark.parametrize("kind", ["llama", "gpt2", "gptj", "opt", "gpt_neox"])
def test_operations_agree_with_the_counter_of_torch(build: Build, kind: str) -> None:
    model = build(kind, width=64, feed_forward=96)
    model.set_attn_implementation("eager")
    with FlopCounterMode(display=False) as counter:
        model(input_ids=torch.full((3, T), 5), use_cache=False)
    expected = counter.get_total_flops() / (3 * T)
    assert forward_flops_per_token(model, T) == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize("kind", ["roberta", "t5"])
def test_operations_of_other_kinds_agree_with_the_counter_of_torch(tiny: Tiny, kind: str) -> None:
    """On what they read and predict of a text, by its tokens."""
    positions = None if kind == "t5" else T + 3
    architecture = tiny(kind, positions=positions, width=64, feed_forward=96)
    model = build_model(model_config(architecture, V, (0, 1, 2)), 1)
    model.set_attn_implementation("eager")
    text = make_batch(np.arange(3, 3 + 3 * T, dtype=np.uint16), np.arange(3) * T, T, "train")
    corruption = corruption_for(model, 1)
    assert corruption
    batch = corruption(text, 0)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        Denoising(model)(batch, counts(batch))
    expected = counter.get_total_flops() / (3 * T)
    assert forward_flops_per_token(model, T) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("kind", ["roberta", "t5"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_activations_of_other_kinds_are_estimated_from_above_but_not_by_far(
    tiny: Tiny, kind: str, precision: str
) -> None:
    architecture = tiny(kind, positions=None if kind == "t5" else 67, width=64, feed_forward=256)
    model = build_model(model_config(architecture, V, (0, 1, 2)), 1)
    model.set_attn_implementation("eager")
    text = make_batch(np.arange(3, 3 + 4 * 64, dtype=np.uint16), np.arange(4) * 64, 64, "train")
    corruption = corruption_for(model, 1)
    assert corruption
    batch, kept = corruption(text, 0), {}

    def keep(x: Tensor) -> Tensor:
        kept[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes()
        return x

    narrow = torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16")
    with narrow, torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        Denoising(model)(batch, counts(batch))
    own = {p.untyped_storage().data_ptr() for p in model.parameters()}
    measured = sum(size for place, size in kept.items() if place not in own) / 4
    found = activation_bytes(model, 64, precision=precision, plain_attention=True)
    assert 0.8 * measured < found < 3 * measured


def test_a_training_step_costs_three_forward_passes(build: Build) -> None:
    model = build("llama", width=64, feed_forward=96)
    model.set_attn_implementation("eager")
    with FlopCounterMode(display=False) as counter:
        model(input_ids=torch.full((3, T), 5), use_cache=False).logits.sum().backward()
    expected = counter.get_total_flops() / (3 * T)
    assert training_flops_per_token(model, T) == pytest.approx(expected, rel=0.01)


def test_of_experts_those_count_that_a_token_is_sent_to(build: Build) -> None:
    """At capacity 1 the experts have room for as many tokens as there are."""
    options = {"experts": 4, "capacity_factor": 1.0}
    model = build("switch", width=64, feed_forward=96, options=options).train()
    model.set_attn_implementation("eager")
    with FlopCounterMode(display=False) as counter:
        model(input_ids=torch.full((3, T), 5), use_cache=False)
    expected = counter.get_total_flops() / (3 * T)
    assert forward_flops_per_token(model, T) == pytest.approx(expected, rel=0.01)
    dense, router = forward_flops_per_token(build("gpt2"), T), 2 * LAYERS * 4 * D
    assert forward_flops_per_token(build("switch", options=options), T) == dense + router


def test_a_model_that_asks_two_experts_counts_two(build: Build) -> None:
    """Mixtral's, which have three matrices each."""
    model = build("mixtral", options={"num_local_experts": 4})
    projections, experts, router = 4 * D * D, 2 * 3 * D * F, 4 * D
    by_hand = LAYERS * (2 * (projections + experts + router) + ATTENTION) + 2 * V * D
    assert forward_flops_per_token(model, T) == by_hand


def test_a_longer_sequence_costs_more_attention_alone(build: Build) -> None:
    model = build("llama")
    longer = forward_flops_per_token(model, 2 * T) - forward_flops_per_token(model, T)
    assert longer == LAYERS * ATTENTION


def kept_by_autograd(model: PreTrainedModel, precision: str) -> int:
    """Bytes that a forward pass of one sequence leaves for the backward pass, weights apart."""
    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
    held: dict[int, Tensor] = {}

    def pack(tensor: Tensor) -> Tensor:
        held[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with (
        torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor),
        torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"),
    ):
        model.base_model(input_ids=torch.full((4, 64), 5), use_cache=False)
    found = [x.untyped_storage().nbytes() for place, x in held.items() if place not in weights]
    return sum(found) // 4


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("llama", {}),
        ("gpt2", {}),
        ("switch", {"experts": 1, "capacity_factor": 2.0}),
        ("switch", {"experts": 2, "capacity_factor": 2.0}),
    ],
)
@pytest.mark.parametrize("precision", ["bf16", "fp32"])
@pytest.mark.parametrize("plain", [True, False])
def test_activations_are_about_those_that_autograd_keeps(
    build: Build, kind: str, options: dict[str, Any], precision: str, plain: bool
) -> None:
    sizes = {"width": 64, "feed_forward": 256, "positions": 64, "options": options}
    models = [build(kind, layers=layers, **sizes).train() for layers in (1, 3)]
    for model in models:
        model.set_attn_implementation("eager" if plain else "sdpa")
    # Two layers: what the embedding and the last norm keep is not counted.
    one, three = (kept_by_autograd(model, precision) for model in models)
    expected, of_three = (
        activation_bytes(model, 64, precision=precision, plain_attention=plain) for model in models
    )
    assert of_three == 3 * expected
    assert 0.75 < (three - one) / (of_three - expected) < 1.25


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_a_model_without_memory_counts_as_the_real_one(build: Build, tiny: Tiny, kind: str) -> None:
    ghost, real = meta_model(model_config(tiny(kind), V, (0, 1, 2))), build(kind)
    assert {parameter.device.type for parameter in ghost.parameters()} == {"meta"}
    assert parameter_count(ghost) == parameter_count(real)
    assert forward_flops_per_token(ghost, T) == forward_flops_per_token(real, T)


def test_parameters_that_are_tied_count_once(build: Build) -> None:
    layer = 4 * D * D + 4 * D + 2 * D * F + F + D + 4 * D  # weights, biases, two norms
    assert parameter_count(build("gpt2")) == V * D + T * D + LAYERS * layer + 2 * D


def test_a_model_that_cannot_be_built_is_refused_without_memory_too(tiny: Tiny) -> None:
    config = model_config(tiny(options={"hidden_act": "wobble"}), V, (0, 1, 2))
    with pytest.raises(RecipeError, match="wobble"):
        meta_model(config)
