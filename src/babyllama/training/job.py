"""What decides how one model is trained, and the objective that follows from it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from transformers import PreTrainedModel

from babyllama.distillation.compiling import Kernel, pick_kernel, pick_layers
from babyllama.distillation.loss import DistillationLoss
from babyllama.distillation.teachers import SignalSource, Teachers
from babyllama.models.readout import Readout
from babyllama.recipe import Distillation, Training
from babyllama.tokens.batches import Batch, ChunkOrder
from babyllama.training.ledger import Ledger
from babyllama.training.memory import Conditions, free_memory, micro_batch
from babyllama.training.objectives import CrossEntropy, Distilled, Objective
from babyllama.training.processes import processes


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

    @property
    def total_steps(self) -> int:
        """Steps of the whole training."""
        return self.order.total_steps(self.settings.epochs)

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
        )

    @property
    def networks(self) -> list[PreTrainedModel]:
        """What is run in every step: the model, and teachers whose signal is not kept."""
        teachers = self.signal.models.values() if isinstance(self.signal, Teachers) else ()
        return [self.model, *teachers]

    def readouts(self, batch: Batch) -> list[Readout]:
        """What the teachers say of a batch on its device; nothing without teachers."""
        return self.signal.signal(batch) if self.signal else []


def make_objective(job: Job) -> Objective:
    """Distillation where there are teachers to learn from, otherwise cross-entropy alone."""
    if not job.signal or not job.distillation:
        return CrossEntropy(job.model)
    settings = job.distillation
    loss = DistillationLoss(
        temperature=settings.temperature,
        ce_weight=settings.ce_weight,
        pool=settings.pool,
        kl_reduction=settings.kl_reduction,
        teacher_weights=job.signal.weights,
    )
    return Distilled(job.model, loss)
