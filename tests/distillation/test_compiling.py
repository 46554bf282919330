"""Compiled where a compiler works and a training is long, plain otherwise, and known which."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from babyllama.distillation import compiling
from babyllama.distillation.compiling import (
    WORTH_COMPILING,
    WORTH_COMPILING_LAYERS,
    compile_layers,
    pick_kernel,
    pick_layers,
    resumed_kernel,
)
from babyllama.distillation.fused import fused_loss
from babyllama.errors import IgnoredSettingWarning
from babyllama.models.readout import Readout
from babyllama.tokens.batches import Counts
from tiny_jobs import CHUNK, VOCABULARY, new_model

CPU = torch.device("cpu")


@pytest.fixture
def works(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether a compiler works, as a list of one that a test may change."""
    answer = [True]
    monkeypatch.setattr(compiling, "can_compile", lambda _: answer[0])
    return answer


def test_a_long_training_is_compiled_unless_it_is_switched_off_or_cannot_be(
    works: list[bool],
) -> None:
    assert pick_kernel("auto", CPU, WORTH_COMPILING) == "compiled"
    assert pick_kernel("auto", CPU, WORTH_COMPILING - 1) == "plain"
    assert pick_kernel("off", CPU, WORTH_COMPILING) == "plain"
    works[0] = False
    assert pick_kernel("auto", CPU, WORTH_COMPILING) == "plain"


def test_layers_are_compiled_where_they_have_much_to_do(works: list[bool]) -> None:
    assert pick_layers("auto", CPU, WORTH_COMPILING_LAYERS) == "compiled"
    assert pick_layers("auto", CPU, WORTH_COMPILING_LAYERS - 1e9) == "plain"
    assert pick_layers("off", CPU, WORTH_COMPILING_LAYERS) == "plain"
    works[0] = False
    assert pick_layers("auto", CPU, WORTH_COMPILING_LAYERS) == "plain"


def test_where_it_is_switched_on_short_trainings_are_compiled_too(works: list[bool]) -> None:
    assert pick_kernel("on", CPU, 1) == pick_layers("on", CPU, 1) == "compiled"
    works[0] = False
    with pytest.warns(IgnoredSettingWarning, match=r"runtime.compile is on, but .* no working"):
        assert pick_kernel("on", CPU, WORTH_COMPILING) == "plain"


def test_a_resumed_training_keeps_its_kernel_or_says_that_it_cannot(works: list[bool]) -> None:
    assert resumed_kernel("plain", "auto", CPU, name="tiny") == "plain"
    assert resumed_kernel("compiled", "auto", CPU, name="tiny") == "compiled"
    with pytest.warns(UserWarning, match=r"^tiny: .* compiled .* runtime.compile is off"):
        assert resumed_kernel("compiled", "off", CPU, name="tiny") == "plain"
    works[0] = False
    with pytest.warns(UserWarning, match=r"^tiny: .* no working compiler here"):
        assert resumed_kernel("compiled", "auto", CPU, name="tiny") == "plain"


@pytest.mark.slow
def test_a_missing_compiler_is_no_error_and_prints_nothing(tmp_path: Path) -> None:
    code = "from babyllama.distillation.compiling import can_compile; print(can_compile('cpu'))"
    environment = os.environ | {
        "CXX": str(tmp_path / "none"),
        "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache"),
    }
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"
    assert done.stderr == ""


@pytest.mark.slow
@pytest.mark.parametrize("divergence", ["forward", "reverse"])
@pytest.mark.parametrize("pool", ["logits", "probabilities"])
@pytest.mark.parametrize("product", [torch.float32, torch.bfloat16])
def test_the_compiled_loss_is_the_plain_one_but_for_rounding(
    product: torch.dtype, pool: str, divergence: str
) -> None:
    if not compiling.can_compile("cpu"):
        pytest.skip("no working compiler")
    torch.manual_seed(1)
    student = [torch.randn(37, 8, requires_grad=True), torch.randn(50, 8, requires_grad=True)]
    teachers = [Readout(torch.randn(37, d), torch.randn(50, d)) for d in (4, 6)]
    labels = torch.randint(50, (37,))
    labels[3] = -100
    rounding = 2e-6 if product == torch.float32 else 2e-2

    def terms(kernel: str, taught: list[Readout]) -> tuple[torch.Tensor, ...]:
        settings = {"counts": Counts(36, 3), "temperature": 2.0, "ce_weight": 0.3, "pool": pool}
        settings["divergence"] = divergence
        with torch.autocast("cpu", product, enabled=product != torch.float32):
            found = fused_loss(Readout(*student), labels, taught, kernel=kernel, **settings)
        return (*found, *torch.autograd.grad(found.loss, student))

    for taught in (teachers, []):
        for a, b in zip(terms("compiled", taught), terms("plain", taught), strict=True):
            torch.testing.assert_close(
                a, b, rtol=rounding, atol=rounding * float(b.detach().abs().max())
            )


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["llama", "gpt2"])
@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_compiled_layers_are_the_plain_ones_but_for_rounding_and_keep_their_names(
    kind: str, dropout: float
) -> None:
    if not compiling.can_compile("cpu"):
        pytest.skip("no working compiler")
    model = new_model(kind, dropout=dropout).train()
    ids = torch.randint(VOCABULARY, (4, CHUNK))

    def gradients() -> dict[str, torch.Tensor]:
        torch.manual_seed(5)  # of dropout
        model.zero_grad()
        model(input_ids=ids, labels=ids).loss.backward()
        return {name: p.grad.clone() for name, p in model.named_parameters()}

    plain = gradients()
    compile_layers(model)
    layers = [m for m in model.modules() if m._compiled_call_impl is not None]
    assert len(layers) == model.config.num_hidden_layers
    compiled = gradients()
    assert compiled.keys() == plain.keys()
    for name, gradient in plain.items():
        torch.testing.assert_close(compiled[name], gradient, rtol=1e-4, atol=1e-6)
