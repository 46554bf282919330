"""What was chosen, and the reason that is told."""

import pytest
import torch

from babyllama.machine import choices
from babyllama.machine.facts import Processor

CPU = torch.device("cpu")
MACHINE = Processor("x", cores=4, threads=8, allowed=8, quota=None, instructions=())


def test_the_device_and_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choices, "pick_device", lambda _: CPU)
    assert choices.device_choice("cpu")[1:] == ("cpu", "runtime.device is cpu")
    assert choices.device_choice("auto")[1:] == ("cpu", "torch finds no GPU")
    monkeypatch.setattr(choices, "pick_device", lambda _: torch.device("cuda"))
    assert choices.device_choice("auto")[1:] == ("cuda", "torch finds it")


@pytest.mark.parametrize(
    ("native", "precision", "why"),
    [
        (True, "bf16", "the hardware multiplies bf16"),
        (False, "fp32", "no bf16 products in hardware"),
    ],
)
def test_the_precision_and_why(
    monkeypatch: pytest.MonkeyPatch, native: bool, precision: str, why: str
) -> None:
    monkeypatch.setattr("babyllama.devices.has_native_bf16", lambda _: native)
    monkeypatch.setattr(choices, "has_native_bf16", lambda _: native)
    assert choices.precision_choice("auto", CPU)[1:] == (precision, why)
    assert choices.precision_choice("fp32", CPU)[1:] == ("fp32", "training.precision is fp32")


@pytest.mark.parametrize(
    ("taken", "why"),
    [
        ("medium", "off by 3e-06 of the largest entry in a trial product, so still float32"),
        ("highest", "off by 1e-07; medium is off by 3e-06 here"),
    ],
)
def test_the_float32_path_with_its_measured_error(
    monkeypatch: pytest.MonkeyPatch, taken: str, why: str
) -> None:
    errors = {"medium": 3e-6, "highest": 1e-7}
    monkeypatch.setattr(choices, "float32_matmul_error", errors.__getitem__)
    monkeypatch.setattr(torch, "get_float32_matmul_precision", lambda: taken)
    assert choices.matmul_choice(CPU)[1:] == (taken, why)


@pytest.mark.parametrize(
    ("mode", "asked", "taken"),
    [
        ("always", None, "yes"),
        ("madvise", "1", "yes"),
        ("madvise", "0", "no"),
        ("madvise", None, "no"),
        ("never", "1", "no"),
        (None, "1", "no"),
    ],
)
def test_huge_pages_need_the_system_and_the_setting(
    mode: str | None, asked: str | None, taken: str
) -> None:
    environment = {"THP_MEM_ALLOC_ENABLE": asked} if asked else {}
    assert choices.huge_pages_choice(mode, environment).taken == taken


@pytest.mark.parametrize(
    ("asked", "environment", "why"),
    [
        (3, {"OMP_NUM_THREADS": "1"}, "runtime.threads is 3"),
        (None, {"OMP_NUM_THREADS": "1"}, "OMP_NUM_THREADS is 1"),
        (None, {}, "torch's own for 8 allowed threads of 4 cores"),
    ],
)
def test_threads_and_who_says_so(asked: int | None, environment: dict[str, str], why: str) -> None:
    found = choices.threads_choice(asked, MACHINE, spin="", environment=environment)
    assert found[1:] == (str(torch.get_num_threads()), f"{why}; spin as by default")


def test_the_form_of_the_loss_and_why() -> None:
    def why(kernel: choices.Kernel, asked: str, logits: float) -> str:
        return choices.kernel_choice(kernel, asked, logits).why

    assert why("compiled", "auto", 3e10).startswith("30 billion logits")
    assert why("plain", "off", 3e10) == "runtime.compile is off"
    assert why("compiled", "on", 1e9) == "runtime.compile is on"
    assert why("plain", "on", 1e9) == "torch.compile does not work here"
    assert why("plain", "auto", 1e9).endswith("compiling pays from 20 on")
    assert why("plain", "auto", 3e10) == "torch.compile does not work here"


def test_the_micro_batch_and_why() -> None:
    def why(taken: int, asked: int | None = None) -> str:
        return choices.micro_batch_choice("a", taken, 16, asked).why

    assert why(16) == "the whole batch fits"
    assert why(4) == "what fits the device"
    assert why(4, asked=4) == "models.a.training.micro_batch is 4"
