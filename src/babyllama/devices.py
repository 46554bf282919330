"""The machine a run finds: device, precision, and the float32 matrix path of a CPU."""

import functools
import os

import torch

from babyllama.errors import RecipeError


def pick_device(asked: str) -> torch.device:
    """The device by name; `auto` is CUDA, then MPS, then the CPU.

    Of several processes on a machine each takes a GPU of its own, where none is named by number.

    Raises:
        RecipeError: this machine has no such device.
    """
    if asked != "auto":
        try:
            torch.empty(0, device=asked)
            return _own(torch.device(asked))
        except (RuntimeError, AssertionError):
            raise RecipeError(
                f"runtime.device: this machine has no device {asked!r}: use auto or cpu"
            ) from None
    if torch.cuda.is_available():
        return _own(torch.device("cuda"))
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def _own(device: torch.device) -> torch.device:
    """The GPU of this process, by the number that torchrun gave it."""
    number = os.environ.get("LOCAL_RANK")
    if str(device) != "cuda" or number is None:
        return device
    own = torch.device("cuda", int(number))
    torch.cuda.set_device(own)
    return own


def has_native_bf16(device: torch.device) -> bool:
    """Whether bf16 products run in hardware, so that autocast saves time."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "cpu":
        flags = torch.cpu.get_capabilities()
        return bool(flags.get("avx512_bf16") or flags.get("amx_bf16") or flags.get("bf16"))
    return False


def resolve_precision(asked: str, device: torch.device) -> str:
    """`bf16` or `fp32` for what a recipe asks."""
    if asked == "auto":
        return "bf16" if has_native_bf16(device) else "fp32"
    return asked


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """The context of forward passes in a precision of `resolve_precision`; `fp32` is without."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")


def prepare_torch(device: torch.device, threads: int | None) -> None:
    """Set the threads, and on a CPU take the faster float32 matrix path where it is as exact."""
    if threads:
        torch.set_num_threads(threads)
    # The setting is torch's for all devices: on CUDA it would round float32 products to TF32.
    if device.type == "cpu":
        torch.set_float32_matmul_precision(_exact_matmul_precision())


def float32_matmul_error(precision: str) -> float:
    """How far a float32 product on the CPU is off with this `torch` setting.

    The largest error of one of 256 x 256, as a share of its largest entry: about 1e-7 where
    products are float32, 1e-3 where the factors are rounded to bf16.
    """
    before = torch.get_float32_matmul_precision()
    left = torch.linspace(-1, 1, 256 * 256).reshape(256, 256)
    right = left.T.contiguous().cos()
    exact = left.double() @ right.double()
    torch.set_float32_matmul_precision(precision)
    try:
        return float((left @ right - exact).abs().max() / exact.abs().max())
    finally:
        torch.set_float32_matmul_precision(before)


@functools.cache
def _exact_matmul_precision() -> str:
    """`medium` where that is still float32.

    On AMD processors it leaves a slow path of the default library; on some others it rounds the
    factors to bf16, which the error of one product shows.
    """
    return "medium" if float32_matmul_error("medium") < 1e-5 else "highest"
