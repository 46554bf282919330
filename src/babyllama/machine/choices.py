"""What was chosen on this machine for a recipe, and why, in words."""

import os
from collections.abc import Mapping
from typing import NamedTuple

import torch

from babyllama.devices import float32_matmul_error, has_native_bf16, pick_device, resolve_precision
from babyllama.distillation.compiling import WORTH_COMPILING, Kernel
from babyllama.machine.facts import Processor


class Choice(NamedTuple):
    """One line: what it is about, what was taken, the reason."""

    name: str
    taken: str
    why: str


def device_choice(asked: str) -> Choice:
    """CPU or GPU."""
    device = pick_device(asked)
    why = f"runtime.device is {asked}"
    if asked == "auto":
        why = "torch finds no GPU" if device.type == "cpu" else "torch finds it"
    return Choice("device", str(device), why)


def precision_choice(asked: str, device: torch.device) -> Choice:
    """bf16 autocast or float32."""
    why = f"training.precision is {asked}"
    if asked == "auto":
        can = has_native_bf16(device)
        why = "the hardware multiplies bf16" if can else "no bf16 products in hardware"
    return Choice("precision", resolve_precision(asked, device), why)


def matmul_choice(device: torch.device) -> Choice:
    """How float32 products run, as `prepare_torch` has set it."""
    taken = torch.get_float32_matmul_precision()
    if device.type != "cpu":
        return Choice("float32 products", taken, "the setting of a CPU alone")
    error = float32_matmul_error(taken)
    why = f"off by {error:.0e} of the largest entry in a trial product, so still float32"
    if taken == "highest":
        why = f"off by {error:.0e}; medium is off by {float32_matmul_error('medium'):.0e} here"
    return Choice("float32 products", taken, why)


def huge_pages_choice(mode: str | None, environment: Mapping[str, str] = os.environ) -> Choice:
    """Whether tensors lie in huge pages."""
    asked = environment.get("THP_MEM_ALLOC_ENABLE", "not set")
    setting = f"THP_MEM_ALLOC_ENABLE is {asked}"
    if mode is None:
        return Choice("huge pages", "no", "this system has none that torch could ask for")
    if mode == "always" or (mode == "madvise" and asked == "1"):
        return Choice("huge pages", "yes", f"the system says {mode}, {setting}")
    return Choice("huge pages", "no", f"the system says {mode}, {setting}")


def threads_choice(
    asked: int | None,
    processor: Processor,
    *,
    spin: str,
    environment: Mapping[str, str] = os.environ,
) -> Choice:
    """Threads of torch on the CPU, as `prepare_torch` has set them."""
    why = f"torch's own for {processor.allowed} allowed threads of {processor.cores} cores"
    if asked:
        why = f"runtime.threads is {asked}"
    elif "OMP_NUM_THREADS" in environment:
        why = f"OMP_NUM_THREADS is {environment['OMP_NUM_THREADS']}"
    return Choice("threads", str(torch.get_num_threads()), f"{why}; {spin or 'spin as by default'}")


def kernel_choice(kernel: Kernel, asked: str, logits: float) -> Choice:
    """The form of the loss."""
    much = f"{logits / 1e9:.2g} billion logits of the student"
    if kernel == "compiled" and asked == "on":
        why = "runtime.compile is on"
    elif kernel == "compiled":
        why = f"{much}: compiling pays, and works here"
    elif asked == "off":
        why = "runtime.compile is off"
    elif asked == "auto" and logits < WORTH_COMPILING:
        why = f"{much}: compiling pays from {WORTH_COMPILING / 1e9:.0f} on"
    else:
        why = "torch.compile does not work here"
    return Choice("loss", kernel, why)


def micro_batch_choice(name: str, taken: int, batch: int, asked: int | None) -> Choice:
    """Sequences a forward pass of one model."""
    why = "what fits the device" if taken < batch else "the whole batch fits"
    if asked:
        why = f"models.{name}.training.micro_batch is {asked}"
    return Choice("micro-batch", f"{taken} of {batch}", why)
