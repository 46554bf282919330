"""Device and precision, as a recipe asks and as the machine allows."""

from collections.abc import Iterator

import pytest
import torch

from babyllama import devices
from babyllama.devices import has_native_bf16, pick_device, prepare_torch, resolve_precision
from babyllama.errors import RecipeError

CPU = torch.device("cpu")


@pytest.fixture
def torch_settings() -> Iterator[None]:
    """The global settings of torch, as they were before."""
    threads, precision = torch.get_num_threads(), torch.get_float32_matmul_precision()
    devices._exact_matmul_precision.cache_clear()
    yield
    devices._exact_matmul_precision.cache_clear()
    torch.set_num_threads(threads)
    torch.set_float32_matmul_precision(precision)


@pytest.mark.parametrize(
    ("cuda", "mps", "expected"),
    [(True, True, "cuda"), (True, False, "cuda"), (False, True, "mps"), (False, False, "cpu")],
)
def test_auto_is_cuda_then_mps_then_the_cpu(
    monkeypatch: pytest.MonkeyPatch, cuda: bool, mps: bool, expected: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert pick_device("auto") == torch.device(expected)


def test_a_device_is_taken_by_name() -> None:
    assert pick_device("cpu") == CPU


@pytest.mark.parametrize("name", ["gpu", "cuda:99", ""])
def test_a_device_that_the_machine_lacks_is_refused_by_name(name: str) -> None:
    with pytest.raises(RecipeError, match=f"runtime.device.*{name!r}"):
        pick_device(name)


@pytest.mark.parametrize(
    ("flag", "expected"),
    [("avx512_bf16", True), ("amx_bf16", True), ("bf16", True), ("avx512_f", False)],
)
def test_a_cpu_has_bf16_where_its_flags_say_so(
    monkeypatch: pytest.MonkeyPatch, flag: str, expected: bool
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {flag: True})
    assert has_native_bf16(CPU) is expected
    assert resolve_precision("auto", CPU) == ("bf16" if expected else "fp32")


@pytest.mark.parametrize("asked", ["bf16", "fp32"])
def test_a_precision_that_is_asked_for_is_taken_on_any_machine(
    monkeypatch: pytest.MonkeyPatch, asked: str
) -> None:
    for available in (True, False):
        monkeypatch.setattr(devices, "has_native_bf16", lambda _, a=available: a)
        assert resolve_precision(asked, CPU) == asked


@pytest.mark.usefixtures("torch_settings")
def test_threads_are_set_where_they_are_given() -> None:
    before = torch.get_num_threads()
    prepare_torch(CPU, None)
    assert torch.get_num_threads() == before
    prepare_torch(CPU, 1)
    assert torch.get_num_threads() == 1


@pytest.mark.usefixtures("torch_settings")
def test_the_float32_products_that_a_cpu_is_left_with_are_exact() -> None:
    prepare_torch(CPU, None)
    left = torch.randn(64, 256, generator=torch.Generator().manual_seed(1))
    exact = left.double() @ left.double().T
    assert float((left @ left.T - exact).abs().max() / exact.abs().max()) < 1e-5


@pytest.mark.usefixtures("torch_settings")
def test_a_matrix_path_that_rounds_to_bf16_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    product = torch.Tensor.__matmul__

    def rounding(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        wide = left.dtype == torch.float64
        return product(left, right) if wide else product(left.bfloat16(), right.bfloat16()).float()

    monkeypatch.setattr(torch.Tensor, "__matmul__", rounding)
    prepare_torch(CPU, None)
    assert torch.get_float32_matmul_precision() == "highest"


@pytest.mark.usefixtures("torch_settings")
@pytest.mark.parametrize("kind", ["cuda", "mps"])
def test_float32_products_of_other_devices_are_left_as_they_are(
    monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """`medium` is a setting of all devices, and stands for TF32 on CUDA."""
    monkeypatch.setattr(devices, "_exact_matmul_precision", lambda: "medium")
    torch.set_float32_matmul_precision("highest")
    prepare_torch(torch.device(kind), 1)
    assert torch.get_float32_matmul_precision() == "highest"
    assert torch.get_num_threads() == 1
    prepare_torch(CPU, None)
    assert torch.get_float32_matmul_precision() == "medium"
