from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import get_cosine_schedule_with_warmup

from babyllama.recipe_training import Training
from babyllama.training.optimizers import (
    learning_rate,
    load_optimizer_tensors,
    make_optimizer,
    optimizer_tensors,
)
from tiny_jobs import new_job, new_model, run


@settings(max_examples=30)
@given(st.integers(0, 30), st.integers(1, 60), st.floats(1e-6, 1))
def test_the_cosine_is_that_of_transformers(warmup: int, total: int, peak: float) -> None:
    ours = Training(learning_rate=peak, warmup_steps=warmup)
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=peak)
    theirs = get_cosine_schedule_with_warmup(optimizer, warmup, total)
    for step in range(total):
        expected = theirs.get_last_lr()[0]
        assert learning_rate(step, total, ours) == pytest.approx(expected, abs=1e-15)
        optimizer.step()
        theirs.step()


def test_a_constant_schedule_stays_at_its_peak_after_warm_up() -> None:
    settings = Training(learning_rate=0.5, schedule="constant", warmup_steps=2)
    assert [learning_rate(step, 5, settings) for step in range(5)] == [0, 0.25, 0.5, 0.5, 0.5]


def test_the_cosine_ends_at_the_given_share() -> None:
    settings = Training(learning_rate=0.5, warmup_steps=10, final_learning_rate=0.1)
    assert learning_rate(10, 50, settings) == 0.5
    assert learning_rate(30, 50, settings) == pytest.approx(0.5 * 0.55)
    assert learning_rate(50, 50, settings) == pytest.approx(0.05)


@pytest.mark.parametrize(("warmup", "told"), [(5, False), (6, True), (300, True)])
def test_a_warm_up_that_fills_the_training_is_told(
    warmup: int, told: bool, tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    run(new_job(epochs=2, warmup_steps=warmup), tmp_path)
    messages = [str(warning.message) for warning in recwarn if "warmup" in str(warning.message)]
    assert len(messages) == told
    for message in messages:
        assert message.startswith(
            f"models.tiny.training.warmup_steps: {warmup} in a training of 6 steps, so the"
            " learning rate never reaches 0.01: lower it"
        )


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_norms_and_biases_have_no_weight_decay(kind: str) -> None:
    model = new_model(kind)
    optimizer = make_optimizer(model, Training(weight_decay=0.1))
    decay = {id(p): g["weight_decay"] for g in optimizer.param_groups for p in g["params"]}
    assert len(decay) == len([*model.parameters()])
    for name, parameter in model.named_parameters():
        spared = "norm" in name or "ln_" in name or name.endswith("bias")
        assert decay[id(parameter)] == (0.0 if spared else 0.1), name


def test_weight_decay_is_decoupled() -> None:
    matrix, bias = nn.Parameter(torch.ones(2, 2)), nn.Parameter(torch.ones(2))
    module = nn.ParameterList([matrix, bias])
    optimizer = make_optimizer(module, Training(learning_rate=0.1, weight_decay=0.5))
    matrix.grad, bias.grad = torch.zeros(2, 2), torch.zeros(2)
    optimizer.step()
    assert torch.equal(matrix.detach(), torch.full((2, 2), 0.95))
    assert torch.equal(bias.detach(), torch.ones(2))


def test_frozen_parameters_are_left_out() -> None:
    module = nn.Linear(2, 2)
    module.weight.requires_grad_(False)
    optimizer = make_optimizer(module, Training())
    assert [p for g in optimizer.param_groups for p in g["params"]] == [module.bias]


def test_the_recipes_betas_and_epsilon_reach_the_optimizer() -> None:
    settings = Training(learning_rate=0.2, betas=(0.8, 0.95), epsilon=1e-6)
    defaults = make_optimizer(nn.Linear(2, 2), settings).defaults
    assert (defaults["lr"], defaults["betas"], defaults["eps"]) == (0.2, (0.8, 0.95), 1e-6)


def test_an_optimizer_that_took_up_saved_tensors_goes_on_as_the_other() -> None:
    def stepped(times: int, module: nn.Linear, optimizer: torch.optim.Optimizer) -> None:
        for _ in range(times):
            module(torch.ones(3)).pow(2).sum().backward()
            optimizer.step()
            optimizer.zero_grad()

    torch.manual_seed(1)
    first = nn.Linear(3, 2)
    one = make_optimizer(first, Training(weight_decay=0.1))
    stepped(3, first, one)
    second = nn.Linear(3, 2)
    second.load_state_dict(first.state_dict())
    other = make_optimizer(second, Training(weight_decay=0.1))
    saved = {name: tensor.clone() for name, tensor in optimizer_tensors(one).items()}
    load_optimizer_tensors(other, saved)
    stepped(2, first, one)
    stepped(2, second, other)
    assert torch.equal(first.weight, second.weight)
    assert torch.equal(first.bias, second.bias)


def test_one_fused_kernel_a_group_updates_all_of_it() -> None:
    """Where a loop over parameters would start a dozen kernels for each."""

    class Called(TorchDispatchMode):
        names: ClassVar[list[str]] = []

        def __torch_dispatch__(
            self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
        ) -> Any:
            self.names.append(func.name())
            return func(*args, **kwargs or {})

    model = new_model("gpt2")
    optimizer = make_optimizer(model, Training())
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    with Called():
        optimizer.step()
    assert [name for name in Called.names if "adamw" in name] == ["aten::_fused_adamw_"] * 2
