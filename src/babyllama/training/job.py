"""What decides how one model is trained, and the objective that follows from it."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor
from transformers import PreTrainedModel

from babyllama.distillation.compiling import Kernel, pick_kernel, pick_layers
from babyllama.distillation.loss import DistillationLoss
from babyllama.distillation.masking import masked_inputs
from babyllama.distillation.schedules import ce_weight
from babyllama.distillation.teachers import SignalSource, Teachers
from babyllama.models.readout import Readout
from babyllama.recipe_distillation import Distillation
from babyllama.recipe_training import Training
from babyllama.tokens.batches import Batch, ChunkOrder
from babyllama.tokens.corruption import Corruption
from babyllama.training.denoising import corruption_for, plain_objective
from babyllama.training.ledger import Ledger
from babyllama.training.memory import Conditions, copies_of, free_memory, micro_batch
from babyllama.training.objectives import Distilled, Objective
from babyllama.training.processes import processes
from babyllama.training.sharpness import sharp_steps


@dataclass(frozen=True, kw_only=True)
class Job:
    """Everything that decides how one model is trained."""

    name: str
    model: PreTrainedModel
    settings: Training
    order: ChunkOrder
    validation: Sequence[Batch]
    bytes_of_token: Tensor
    ledger: Ledger
    tokenizer: Path
    """Folder of the tokenizer's files, for models saved on the way."""
    seed: int
    precision: str
    device: torch.device
    signal: SignalSource | None = None
    """The teachers, or what was kept of them."""
    distillation: Distillation | None = None
    compile: str = "auto"
    """As `runtime.compile` of the recipe."""

    @cached_property
    def _corruption(self) -> Corruption | None:
        return corruption_for(self.model, self.seed)

    def batch(self, epoch: int, step: int) -> Batch:
        """What the model reads at a step of an epoch, both from 0, and what it predicts."""
        batch = self.order.batch(epoch, step)
        return self._corruption(batch, epoch) if self._corruption else batch

    @property
    def total_steps(self) -> int:
        """Steps of the whole training."""
        return steps_of(self.order, self.settings)

    @property
    def sharp_steps(self) -> int:
        """How many of the last steps are two passes, for `training.sam`."""
        return sharp_steps(self.settings.sam, self.total_steps, self.order.counted_epoch)

    def passes(self, steps: int) -> int:
        """Forward and backward passes of the first steps."""
        return steps + max(0, steps - (self.total_steps - self.sharp_steps))

    @property
    def micro_batch(self) -> int:
        """Sequences a forward pass, for a training that would start now.

        So few that each of several processes has a micro-batch in every step.
        """
        fits = micro_batch(self.model, self.settings, self.conditions, free_memory(self.device))
        return min(fits, max(1, self.settings.batch_size // processes().size))

    @property
    def kernel(self) -> Kernel:
        """Which form of the loss computes the gradient, for a training that would start now."""
        logits = self.total_steps * self.ledger.tokens_per_step * len(self.bytes_of_token)
        return pick_kernel(self.compile, self.device, logits)

    @property
    def layers(self) -> Kernel:
        """Whether the layers of student and teachers are compiled, for one that would start now."""
        ledger = self.ledger
        flops = ledger.flops_per_token + ledger.teacher_flops_per_token
        return pick_layers(
            self.compile, self.device, self.total_steps * ledger.tokens_per_step * flops
        )

    @property
    def conditions(self) -> Conditions:
        """What the memory of the training depends on."""
        return Conditions(
            positions=self.order.chunk_length,
            precision=self.precision,
            device=self.device,
            teachers=len(self.signal.weights) if self.signal else 0,
            copies=copies_of(self.settings),
        )

    @property
    def networks(self) -> list[PreTrainedModel]:
        """What is run in every step: the model, and teachers whose signal is not kept."""
        teachers = self.signal.models.values() if isinstance(self.signal, Teachers) else ()
        return [self.model, *teachers]

    def readouts(self, batch: Batch) -> list[Readout]:
        """What the teachers say of a batch on its device; nothing without teachers."""
        return self.signal.signal(batch) if self.signal else []


def steps_of(order: ChunkOrder, settings: Training) -> int:
    """Steps of a training on a text in some order."""
    return settings.steps or order.total_steps(settings.epochs)


def make_objective(job: Job) -> Objective:
    """Distillation where there are teachers to learn from, otherwise what its kind has."""
    if not job.signal or not job.distillation:
        return plain_objective(job.model)
    settings = job.distillation
    loss = DistillationLoss(
        temperature=settings.temperature,
        ce_weight=settings.ce_weight,
        pool=settings.pool,
        kl_reduction=settings.kl_reduction,
        teacher_weights=job.signal.weights,
        divergence=settings.divergence,
    )
    return Distilled(
        job.model,
        loss,
        ce_weight=lambda step: ce_weight(step, job.total_steps, settings),
        inputs=lambda batch, step: masked_inputs(
            batch, settings.mask_inputs, seed=job.seed, step=step
        ),
    )
