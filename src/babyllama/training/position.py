"""How far a training is: the part of a checkpoint that is not tensors, and what it comes to."""

from dataclasses import dataclass, field, replace
from typing import Any

from babyllama.distillation.compiling import Kernel, resumed_kernel
from babyllama.training.job import Job
from babyllama.training.memory import resumed_micro_batch
from babyllama.training.processes import processes


@dataclass
class Position:
    """Plain values, which JSON keeps as they are."""

    micro_batch: int
    """Of the whole training: dropout draws its masks by micro-batch."""
    kernel: Kernel
    """Of the loss, for the whole training: compiled and plain differ in the last bits."""
    layers: Kernel
    """Of the models, likewise."""
    step: int = 0
    seconds: float = 0.0
    best: float | None = None
    validation: dict[str, float] = field(default_factory=dict)
    spikes: int = 0
    """Found so far, where the recipe asks for them."""
    norms: list[float] = field(default_factory=list)
    """Of the gradients of the last steps, above which a spike stands out."""


def resumed(found: Position, fresh: Position, job: Job, *, ran_out: bool) -> Position:
    """A position to go on from, with the micro-batch and the forms that it began with.

    `fresh` is that of a training which begins now; `ran_out` whether memory did.
    """
    micro_batch = resumed_micro_batch(
        found.micro_batch,
        fresh.micro_batch,
        asked=bool(job.settings.micro_batch),
        forced=ran_out or found.micro_batch > job.settings.batch_size // processes().size,
        name=job.name,
    )
    kernel = resumed_kernel(found.kernel, job.compile, job.device, name=job.name)
    layers = resumed_kernel(
        found.layers, job.compile, job.device, name=job.name, part="compiled layers"
    )
    return replace(found, micro_batch=micro_batch, kernel=kernel, layers=layers)


def summary(job: Job, position: Position, validation: dict[str, float]) -> dict[str, Any]:
    """What `training.json` says of a training that is done, by the numbers of its kept weights."""
    settings, totals = job.settings, job.ledger.totals(job.total_steps, job.passes(job.total_steps))
    return {
        "model": job.name,
        "architecture": job.model.config.model_type,
        "parameters": sum(p.numel() for p in job.model.parameters()),
        "teachers": [*job.signal.names] if job.signal else [],
        "steps": job.total_steps,
        # Of a curriculum too: times through the text that its tokens come to.
        "epochs": job.total_steps / job.order.steps_per_epoch,
        "phases": job.order.phases(job.total_steps),
        "batch_size": settings.batch_size,
        "micro_batch": position.micro_batch,
        "kernel": position.kernel,
        "layers": position.layers,
        **totals,
        "seconds": position.seconds,
        "tokens_per_second": totals["tokens_seen"] / max(1e-9, position.seconds),
        "precision": job.precision,
        "kept": settings.keep,
        "optimizer": settings.optimizer,
        "weight_decay": settings.weight_decay,
        "sam": {**settings.sam.model_dump(), "steps": job.sharp_steps} if settings.sam else None,
        "spikes": None if settings.spikes == "off" else position.spikes,
        "validation": validation,
        "distillation": job.distillation.model_dump() if job.distillation else None,
        "signal": job.signal.described() if job.signal else None,
    }
