"""The Switch Transformer: against GPT-2, and against the paper's rules one token at a time."""

import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel, PreTrainedModel

from babyllama.errors import RecipeError
from babyllama.models.architectures import model_config
from babyllama.models.costs import meta_model, parameter_count
from babyllama.models.folders import load_model, save_model
from babyllama.models.switch import (
    Router,
    SwitchConfig,
    SwitchFeedForward,
    SwitchForCausalLM,
    SwitchModel,
    capacity,
    load_balancing,
)
from babyllama.recipe import Architecture
from babyllama.resolve import load_recipe

Tiny = Callable[..., Architecture]
Build = Callable[..., PreTrainedModel]
D, F, E = 6, 10, 4
IDS = torch.arange(3, 63).view(4, 15)


def layer(**changes: Any) -> SwitchFeedForward:
    """One feed-forward layer in float64, weights and biases large enough to tell experts apart."""
    given = {"n_embd": D, "n_inner": F, "n_head": 2, "experts": E, "jitter": 0.0}
    config = SwitchConfig(**given | {"resid_pdrop": 0.0} | changes)
    made = SwitchFeedForward(config).double()
    torch.manual_seed(5)
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.7)
    return made


def hidden(rows: int = 3, length: int = 7) -> Tensor:
    return torch.randn(rows, length, D, dtype=torch.float64, generator=torch.manual_seed(6))


def expert(made: SwitchFeedForward, number: int, x: Tensor) -> Tensor:
    """One expert on one token, from its own weights."""
    e = made.experts
    inner = x @ e.c_fc[number] + e.c_fc_bias[number * F : (number + 1) * F]
    bent = functional.gelu(inner, approximate="tanh")
    return bent @ e.c_proj[number] + e.c_proj_bias[number * D : (number + 1) * D]


def one_by_one(made: SwitchFeedForward, x: Tensor, room: float) -> tuple[Tensor, Tensor, int]:
    """The layer a token at a time: its output, its load-balancing loss, tokens dropped."""
    taken, sent = [0] * E, [0] * E
    shares = torch.zeros(E, dtype=x.dtype)
    out, dropped = [], 0
    tokens = x.reshape(-1, D)
    for token in tokens:
        scores = torch.stack([token @ weight for weight in made.router.weight]).exp()
        probabilities = scores / scores.sum()
        best = int(probabilities.argmax())
        sent[best] += 1
        shares = shares + probabilities / len(tokens)
        if taken[best] < room:
            taken[best] += 1
            out.append(probabilities[best] * expert(made, best, token))
        else:
            dropped += 1
            out.append(torch.zeros(D, dtype=x.dtype))
    balance = sum(E * sent[i] / len(tokens) * shares[i] for i in range(E))
    return torch.stack(out).view_as(x), torch.as_tensor(balance), dropped


@pytest.mark.parametrize("factor", [0.5, 1.0, 4.0])
@pytest.mark.parametrize("training", [True, False])
def test_the_layer_is_the_papers_one_token_at_a_time(factor: float, training: bool) -> None:
    made = layer(capacity_factor=factor).train(training)
    x = hidden().requires_grad_()
    room = math.ceil(factor * 21 / E) if training else math.inf
    expected, balance, dropped = one_by_one(made, x, room)
    assert (dropped > 0) is (training and factor <= 1)
    found = made(x)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    weights = torch.randn_like(found)
    loss, direct = (found * weights).sum(), (expected * weights).sum()
    if training:
        assert made.balance is not None
        torch.testing.assert_close(made.balance, balance, rtol=1e-12, atol=0)
        loss, direct = loss + 3 * made.balance, direct + 3 * balance
    given = [x, *made.parameters()]
    for a, b in zip(
        torch.autograd.grad(loss, given), torch.autograd.grad(direct, given), strict=True
    ):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("factor", [0.75, 2.0])
def test_gradients_are_those_of_small_differences(factor: float) -> None:
    made = layer(capacity_factor=factor).train()
    names = [name for name, _ in made.named_parameters()]

    def run(x: Tensor, *values: Tensor) -> tuple[Tensor, Tensor]:
        out = torch.func.functional_call(made, dict(zip(names, values, strict=True)), x)
        assert made.balance is not None
        return out, made.balance

    given = [hidden(2, 4), *(p.detach().clone() for p in made.parameters())]
    wanted = [value.requires_grad_() for value in given]
    assert torch.autograd.gradcheck(run, wanted, fast_mode=True)


def test_tokens_above_the_capacity_are_dropped_the_last_ones_first() -> None:
    made = layer(capacity_factor=1.0).train()
    with torch.no_grad():
        made.router.weight.zero_()
        made.router.weight[2] = 1.0
        out = made(hidden(2, 6).abs())
    # 12 tokens for 4 experts: the one that all go to takes 3.
    arrived = (out != 0).any(-1)
    assert arrived.flatten().tolist() == [True] * 3 + [False] * 9


@pytest.mark.parametrize(
    ("factor", "tokens", "experts", "expected"),
    [
        (1.0, 8, 4, 2),
        (1.0, 9, 4, 3),
        (1.25, 4096, 8, 640),
        (0.1, 5, 8, 1),
        (1e-9, 5, 8, 1),
        (1.1, 100, 10, 11),
        (100.0, 7, 2, 7),
    ],
)
def test_the_capacity_is_the_even_share_times_its_factor_rounded_up(
    factor: float, tokens: int, experts: int, expected: int
) -> None:
    assert capacity(factor, tokens, experts) == expected


def as_dense(model: PreTrainedModel) -> GPT2LMHeadModel:
    """A GPT-2 with the weights of a Switch Transformer's first experts."""
    names = ("vocab_size", "n_positions", "n_embd", "n_layer", "n_head", "n_inner")
    drops = ("resid_pdrop", "embd_pdrop", "attn_pdrop")
    dense = GPT2LMHeadModel(GPT2Config(**{k: getattr(model.config, k) for k in (*names, *drops)}))
    state = {}
    for name, value in model.state_dict().items():
        if ".experts." not in name:
            state[name] = value
        elif name.endswith("_bias"):
            first = value.view(model.config.experts, -1)[0]
            state[name.replace(".experts", "").replace("_bias", ".bias")] = first
        else:
            state[name.replace(".experts", "") + ".weight"] = value[0]
    dense.load_state_dict({k: v for k, v in state.items() if ".router." not in k})
    return dense


@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize("factor", [1.0, 2.0])
def test_with_one_expert_it_is_gpt2_bit_for_bit(
    build: Build, dropout: float, factor: float
) -> None:
    options = {"experts": 1, "capacity_factor": factor, "jitter": 0.0 if dropout else 0.1}
    model = build("switch", dropout=dropout, options=options).train()
    dense = as_dense(model).train()
    for each in (model, dense):
        torch.manual_seed(3)
        each.logits = each(input_ids=IDS).logits
        each.logits.logsumexp(-1).sum().backward()
    assert torch.equal(model.logits, dense.logits)
    for name, parameter in dense.named_parameters():
        ours = name.replace(".mlp.", ".mlp.experts.")
        if ours != name:
            ours = ours.replace(".weight", "").replace(".bias", "_bias")
        gradient, expected = model.get_parameter(ours).grad, parameter.grad
        assert gradient is not None
        assert expected is not None
        assert torch.equal(gradient.flatten(), expected.flatten()), name
    routers = [m.weight.grad for m in model.modules() if isinstance(m, Router)]
    assert not any(gradient.any() for gradient in routers if gradient is not None)


def test_with_experts_it_is_another_function_than_gpt2(build: Build) -> None:
    model = build("switch", options={"experts": 2})
    assert not torch.allclose(model(IDS).logits, as_dense(model).eval()(IDS).logits, atol=1e-4)


def test_in_evaluation_a_row_does_not_depend_on_the_others(build: Build) -> None:
    model = build("switch", options={"experts": 4, "capacity_factor": 0.5})
    together = model(IDS).logits
    alone = torch.cat([model(row[None]).logits for row in IDS])
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-6)


def test_a_capacity_for_evaluation_drops_tokens_there_too() -> None:
    made = layer(eval_capacity_factor=0.5).eval()
    x = hidden()
    expected, _, dropped = one_by_one(made, x, math.ceil(0.5 * 21 / E))
    assert dropped
    torch.testing.assert_close(made(x), expected)
    assert made.balance is None


def test_generation_with_a_cache_is_the_one_without(build: Build) -> None:
    model = build("switch", options={"experts": 4})
    settings: dict[str, Any] = {"max_new_tokens": 8, "do_sample": False, "pad_token_id": 0}
    cached, plain = (
        model.generate(IDS[:1], use_cache=cache, **settings) for cache in (True, False)
    )
    assert torch.equal(cached, plain)


def test_jitter_stirs_what_the_router_reads_in_training_alone() -> None:
    config = SwitchConfig(n_embd=D, n_head=2, experts=D, jitter=0.25)
    router = Router(config)
    router.weight.data = torch.eye(D)
    x = torch.zeros(2000, D)
    x[:, 0] = 1  # the first logit is the factor itself, the others are 0
    stirred = router.train()(x).detach().log()
    factors = stirred[:, 0] - stirred[:, 1]
    assert 0.75 <= float(factors.min()) < 0.76
    assert 1.24 < float(factors.max()) <= 1.2501
    quiet = router.eval()(x)
    torch.testing.assert_close(quiet, x.softmax(-1))


def test_without_jitter_training_draws_nothing() -> None:
    made, x = layer(capacity_factor=4.0), hidden()
    assert torch.equal(made.train()(x), made(x))
    torch.testing.assert_close(made(x), made.eval()(x))


def test_the_router_is_in_float32_under_autocast() -> None:
    made, x = layer().float().eval(), hidden().float()
    expected = made.router(x.flatten(0, 1))
    with torch.autocast("cpu", torch.bfloat16):
        found = made.router(x.flatten(0, 1))
        assert made(x).dtype == torch.bfloat16
    assert found.dtype == torch.float32
    assert torch.equal(found, expected)


def test_an_even_load_is_one_and_a_full_one_the_number_of_experts() -> None:
    even = torch.full((8, 4), 0.25)
    assert float(load_balancing(even, torch.arange(8) % 4)) == pytest.approx(1)
    all_to_one = functional.one_hot(torch.zeros(8, dtype=torch.long), 4).float()
    assert float(load_balancing(all_to_one, torch.zeros(8, dtype=torch.long))) == pytest.approx(4)


def test_the_auxiliary_loss_is_the_weighted_sum_over_layers_once(build: Build) -> None:
    model: Any = build("switch", layers=3, options={"experts": 4, "load_balance": 0.5}).train()
    assert model.auxiliary_loss() is None
    model(IDS)
    layers = [m.balance for m in model.modules() if isinstance(m, SwitchFeedForward)]
    assert len(layers) == 3
    found = model.auxiliary_loss()
    torch.testing.assert_close(found, 0.5 * sum(layers))
    assert found.requires_grad
    assert model.auxiliary_loss() is None
    model.eval()(IDS)
    assert model.auxiliary_loss() is None


def test_a_saved_model_is_read_without_remote_code(
    build: Build, tokenizer_folder: Path, tmp_path: Path
) -> None:
    options = {"experts": 3, "capacity_factor": 2, "eval_capacity_factor": 1.5, "jitter": 0}
    model = build("switch", seed=4, options=options)
    save_model(model, tokenizer_folder, tmp_path)
    for loaded in (load_model(tmp_path), AutoModelForCausalLM.from_pretrained(str(tmp_path))):
        assert isinstance(loaded, SwitchForCausalLM)
        assert isinstance(loaded.base_model, SwitchModel)
        assert {key: getattr(loaded.config, key) for key in options} == options
        assert torch.equal(loaded.eval()(IDS).logits, model(IDS).logits)


@pytest.mark.slow
def test_outside_an_import_makes_the_type_known(build: Build, tmp_path: Path) -> None:
    build("switch").save_pretrained(tmp_path)
    script = (
        "import babyllama.models.switch; from transformers import AutoModelForCausalLM as A;"
        f"print(type(A.from_pretrained({str(tmp_path)!r})).__name__)"
    )
    command = [sys.executable, "-c", script]
    found = subprocess.run(command, check=False, capture_output=True, text=True)
    assert found.stdout.strip() == "SwitchForCausalLM", found.stderr


def test_weights_begin_as_those_of_gpt2(build: Build) -> None:
    model = build("switch", width=64, feed_forward=256, options={"experts": 4})
    model.requires_grad_(False)
    for made in (m for m in model.modules() if isinstance(m, SwitchFeedForward)):
        assert float(made.router.weight.std()) == pytest.approx(0.02, rel=0.2)
        assert float(made.experts.c_fc.std()) == pytest.approx(0.02, rel=0.05)
        # Two layers, each with two residual paths.
        assert float(made.experts.c_proj.std()) == pytest.approx(0.02 / 2, rel=0.05)
        assert not made.experts.c_fc_bias.any()
        assert not made.experts.c_proj_bias.any()
        assert not torch.equal(made.experts.c_fc[0], made.experts.c_fc[1])


def test_every_weight_but_the_routers_begins_as_wide_as_in_gpt2(build: Build) -> None:
    """The output of attention is the one that transformers narrows from outside of its layer."""
    sizes = {"width": 128, "feed_forward": 256}
    model, dense = build("switch", **sizes, options={"experts": 1}), build("gpt2", **sizes)
    for name, weight in as_dense(model).named_parameters():
        expected = float(dense.get_parameter(name).std())
        assert float(weight.std()) == pytest.approx(expected, rel=0.05), name


def test_biases_of_experts_are_told_from_matrices_by_their_shape(build: Build) -> None:
    model = build("switch", options={"experts": 4})
    biases = [p for name, p in model.named_parameters() if name.endswith("bias")]
    assert biases
    assert {p.ndim for p in biases} == {1}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"expert": 2}, r"unknown key architecture\.options\.expert of switch.* 'experts'"),
        ({"experts": 0}, r"switch refuses these settings: experts must be at least 1, not 0"),
        ({"experts": 2.5}, r"switch refuses these settings: .*experts"),
        ({"capacity_factor": 0}, r"capacity_factor must be above 0 and finite, not 0"),
        ({"capacity_factor": math.nan}, r"capacity_factor must be above 0 and finite, not nan"),
        ({"eval_capacity_factor": -1.0}, r"eval_capacity_factor must be above 0"),
        ({"jitter": 1.0}, r"jitter must be at least 0 and below 1, not 1\.0"),
        ({"load_balance": -0.1}, r"load_balance must be 0 or above, not -0\.1"),
    ],
)
def test_a_setting_of_the_experts_that_cannot_be_meant_is_refused(
    tiny: Tiny, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(RecipeError, match=message):
        model_config(tiny("switch", options=options), 300, (0, 1, 2))


def test_the_models_of_the_papers_appendix_have_these_numbers_of_parameters() -> None:
    recipe = load_recipe("appendix-switch")
    found = {}
    for name, model in recipe.models.items():
        assert model.architecture
        config = model_config(model.architecture, recipe.tokenizer.vocabulary, (0, 1, 2))
        found[name] = parameter_count(meta_model(config))
    feed_forward, router = 2 * 256 * 1024 + 1024 + 256, 256
    for experts in (1, 2, 4, 8):
        more = 8 * ((experts - 1) * feed_forward + experts * router)
        assert found.pop(f"experts{experts}") == 10_447_360 + more
        assert found.pop(f"experts{experts}-roomy", None) in {None, 10_447_360 + more}
    assert found == {"dense": 10_447_360}
