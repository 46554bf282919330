"""What is compiled where that works and pays: the loss's elementwise part, and a model's layers."""

import functools
import warnings
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor
from transformers import PreTrainedModel

from babyllama.errors import IgnoredSettingWarning

Kernel = Literal["plain", "compiled"]

# Compiling takes up to a minute once, and each logit of a training is then 3 ns cheaper.
WORTH_COMPILING = 2e10
# Compiling a model's layers takes up to two minutes, and they are then a fifth to a quarter faster:
# on two cores it is made good within half an hour, which is so many operations.
WORTH_COMPILING_LAYERS = 4e14
# A run's models differ in vocabulary, type and temperature: each is compiled for itself.
FORMS = 64


def pick_kernel(asked: str, device: torch.device, logits: float) -> Kernel:
    """The loss's, for a training of so many logits of the student; `asked` as `runtime.compile`."""
    return _form(asked, device, pays=logits >= WORTH_COMPILING)


def pick_layers(asked: str, device: torch.device, flops: float) -> Kernel:
    """That of layers that do so many operations; `asked` as `runtime.compile`."""
    return _form(asked, device, pays=flops >= WORTH_COMPILING_LAYERS)


def _form(asked: str, device: torch.device, *, pays: bool) -> Kernel:
    if asked == "off" or (asked == "auto" and not pays):
        return "plain"
    if can_compile(device.type):
        return "compiled"
    if asked == "on":
        warnings.warn(
            "runtime.compile is on, but there is no working compiler here: nothing is compiled",
            IgnoredSettingWarning,
            stacklevel=3,
        )
    return "plain"


def resumed_kernel(
    begun: Kernel, asked: str, device: torch.device, *, name: str, part: str = "a compiled loss"
) -> Kernel:
    """That of the checkpoint, since the two differ in the last bits; plain where it must be."""
    if begun == "plain" or (asked != "off" and can_compile(device.type)):
        return begun
    why = "runtime.compile is off" if asked == "off" else "there is no working compiler here"
    warnings.warn(
        f"{name}: the training began with {part} and goes on without, since {why}: it will end a"
        " few bits away from where it would have",
        stacklevel=3,
    )
    return "plain"


@functools.cache
def can_compile(device_type: str) -> bool:
    """Whether torch compiles a small function here, tried once a process."""
    if device_type not in ("cpu", "cuda"):
        return False
    given = torch.linspace(-1, 1, 64, device=device_type).view(2, 32)
    try:
        return torch.allclose(compiled(_trial)(given), _trial(given))
    except Exception:  # whatever a machine without a compiler, its headers or Triton raises
        return False


def _trial(x: Tensor) -> Tensor:
    return x.exp() / x.exp().sum(-1, keepdim=True)


@functools.cache
def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, compiled for every form of its arguments but their number of rows.

    What the process did before has no part in the result: nothing is generalised on the way.
    """
    _prepare()
    run = torch.compile(function, dynamic=False, fullgraph=True)

    def call(*arguments: Any, **settings: Any) -> Any:
        for tensor in _tensors(arguments):
            torch._dynamo.maybe_mark_dynamic(tensor, 0)
        return run(*arguments, **settings)

    return call


def compile_layers(model: PreTrainedModel) -> None:
    """Compile the layers that a model repeats, in place: one form serves all of a kind.

    The names of its weights stay as they are. What has no such layers stays as it is.
    """
    _prepare()
    for layer in model.modules():
        if type(layer).__name__ in (model._no_split_modules or ()):
            layer.compile(dynamic=False)


def _prepare() -> None:
    import torch._dynamo.config as dynamo  # noqa: PLC0415 (seconds, and only where it is needed)
    import torch._inductor.config as inductor  # noqa: PLC0415

    inductor.compile_threads = 1  # no pool of processes for a kernel or two
    inductor.fallback_random = True  # dropout's masks are then those of the plain form
    dynamo.recompile_limit = max(dynamo.recompile_limit, FORMS)


def _tensors(arguments: Any) -> list[Tensor]:
    """Those among the arguments, and in their lists."""
    flat = (x for given in arguments for x in (given if isinstance(given, list) else [given]))
    return [x for x in flat if isinstance(x, Tensor)]
