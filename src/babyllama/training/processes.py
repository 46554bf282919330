"""The processes that train one model together: torchrun starts them, sums join them.

Each holds the whole model and takes its share of a step's micro-batches. Gradients are summed, not
averaged: the loss divides by the counts of the whole step. The first process leads, and it alone
writes; what the others have to know of that, it tells them as JSON.
"""

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from babyllama.errors import BabyllamaError, RecipeError

# The first process may clean text or score for hours while the others wait.
PATIENCE = timedelta(days=7)
# Gradients that travel at once: what is held beside them.
BUCKET = 1 << 24

T = TypeVar("T")


@dataclass(frozen=True)
class Processes:
    """One process among those of the run: the one that asks."""

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this is the first process, which writes."""
        return self.rank == 0

    def share(self, parts: Iterable[T]) -> list[T]:
        """Every n-th part, beginning with that of this process's rank."""
        return [*parts][self.rank :: self.size]

    def sum(self, values: Tensor) -> Tensor:
        """Sum a tensor over the processes, in place; all then hold the same bits.

        Raises:
            BabyllamaError: another process is gone.
        """
        if self.size > 1:
            with _contact():
                dist.all_reduce(values)
        return values

    def sum_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Sum the gradients over the processes; one that a process lacks counts as zero."""
        if self.size > 1:
            for bucket in _buckets(parameters):
                given = [torch.zeros_like(p) if p.grad is None else p.grad for p in bucket]
                flat = self.sum(torch.cat([gradient.flatten() for gradient in given]))
                parts = flat.split([p.numel() for p in bucket])
                for parameter, part in zip(bucket, parts, strict=True):
                    parameter.grad = part.view_as(parameter)

    def any(self, asked: bool) -> bool:
        """Whether one of the processes says so."""
        return asked if self.size == 1 else bool(self.sum(torch.tensor(int(asked))))

    def wait(self) -> None:
        """Go on when all processes have come here."""
        self.any(False)

    def tell(self, value: Any = None) -> Any:
        """The value of the first process, as JSON gives it back; those of the others are nothing.

        Raises:
            BabyllamaError: another process is gone.
        """
        if self.size == 1:
            return value
        content = torch.tensor([*json.dumps(value).encode()], dtype=torch.uint8)
        length = torch.tensor(len(content))
        with _contact():
            dist.broadcast(length, 0)
            if not self.leads:
                content = torch.empty(int(length), dtype=torch.uint8)
            dist.broadcast(content, 0)
        return json.loads(bytes(content.tolist()))


def processes() -> Processes:
    """Those that were joined, or this one alone."""
    if dist.is_available() and dist.is_initialized():
        return Processes(dist.get_rank(), dist.get_world_size())
    return Processes()


@contextmanager
def joined(device: torch.device) -> Iterator[Processes]:
    """Join the processes that torchrun or `accelerate launch` started with this one, if it did.

    Raises:
        RecipeError: a device on which processes cannot sum.
        BabyllamaError: the environment does not say where the others are.
    """
    size = os.environ.get("WORLD_SIZE", "1")
    if size == "1":
        yield Processes()
        return
    if device.type not in ("cpu", "cuda"):
        raise RecipeError(
            f"runtime.device {device.type}: several processes train on cpu or cuda alone: start one"
        )
    try:
        backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
        dist.init_process_group(backend, timeout=PATIENCE)
    except (ValueError, RuntimeError) as error:
        raise BabyllamaError(
            f"WORLD_SIZE is {size}, but the processes cannot be joined ({_line(error)}): start them"
            " with torchrun, or one without WORLD_SIZE"
        ) from None
    yield processes()
    # Not after an error: the others may wait in a sum, and learn of it as this process ends.
    dist.destroy_process_group()


@contextmanager
def _contact() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise BabyllamaError(
            f"another process of this run is gone ({_line(error)}): its own message says why; run"
            " the same command again to go on"
        ) from None


def _line(error: Exception) -> str:
    return str(error).split("\n", maxsplit=1)[0]


def _buckets(parameters: Iterable[nn.Parameter]) -> Iterator[list[nn.Parameter]]:
    """Trained parameters of one type, in their order, of about `BUCKET` numbers together."""
    bucket: list[nn.Parameter] = []
    for parameter in (p for p in parameters if p.requires_grad):
        held = sum(p.numel() for p in bucket)
        if bucket and (held >= BUCKET or parameter.dtype != bucket[0].dtype):
            yield bucket
            bucket = []
        bucket.append(parameter)
    if bucket:
        yield bucket
