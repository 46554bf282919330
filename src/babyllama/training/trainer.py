"""The one loop, for teachers, controls and students alike."""

import math
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch import Tensor
from transformers import PreTrainedModel

from babyllama.distillation.compiling import Kernel, pick_kernel, resumed_kernel
from babyllama.distillation.loss import DistillationLoss, cross_entropy_share
from babyllama.distillation.teachers import SignalSource, Teachers
from babyllama.errors import StoppedError, is_out_of_memory
from babyllama.models.folders import save_model
from babyllama.models.readout import Readout
from babyllama.recipe import Distillation, Training
from babyllama.seeds import derive
from babyllama.tokens.batches import Batch, ChunkOrder, counts
from babyllama.training.checkpoints import (
    load_checkpoint,
    load_weight_tensors,
    save_checkpoint,
    weight_tensors,
)
from babyllama.training.health import StopRequest, check_finite
from babyllama.training.ledger import Ledger, crossed, words_grid
from babyllama.training.log import truncate_log, write_row
from babyllama.training.memory import (
    OUT_OF_MEMORY,
    Conditions,
    free_memory,
    micro_batch,
    out_of_memory,
    resumed_micro_batch,
)
from babyllama.training.objectives import CrossEntropy, Distilled, Objective
from babyllama.training.optimizers import (
    learning_rate,
    load_optimizer_tensors,
    make_optimizer,
    optimizer_tensors,
    warn_of_long_warmup,
)
from babyllama.training.progress import Progress
from babyllama.training.validation import validate


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
        return self.settings.epochs * self.order.steps_per_epoch

    @property
    def micro_batch(self) -> int:
        """Sequences a forward pass, for a training that would start now."""
        return micro_batch(self.model, self.settings, self.conditions, free_memory(self.device))

    @property
    def kernel(self) -> Kernel:
        """Which form of the loss computes the gradient, for a training that would start now."""
        logits = self.total_steps * self.ledger.tokens_per_step * len(self.bytes_of_token)
        return pick_kernel(self.compile, self.device, logits)

    @property
    def conditions(self) -> Conditions:
        """What the memory of the training depends on."""
        return Conditions(
            positions=self.order.chunk_length,
            precision=self.precision,
            device=self.device,
            teachers=len(self.signal.weights) if self.signal else 0,
        )


@dataclass
class Position:
    """How far a training is: the part of a checkpoint that is not tensors."""

    micro_batch: int
    """Of the whole training: dropout draws its masks by micro-batch."""
    kernel: Kernel
    """Of the whole training: compiled and plain differ in the last bits."""
    step: int = 0
    seconds: float = 0.0
    best: float | None = None
    validation: dict[str, float] = field(default_factory=dict)


def train(job: Job, work: Path, stop: StopRequest) -> dict[str, Any]:
    """Train `job.model` in place, going on from what `work` holds; return its `training.json`.

    Raises:
        StoppedError: asked to stop; the state is saved in `work`.
        DivergedError: a loss or gradient that is not finite; the last checkpoint is kept.
        BabyllamaError: memory ran out; the last checkpoint is kept.
    """
    warn_of_long_warmup(job.name, job.total_steps, job.settings)
    trainer = Trainer(job, work)
    trainer.restore()
    try:
        with stop.listening():
            trainer.run(stop)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        (work / OUT_OF_MEMORY).touch()
        raise out_of_memory(job.name, trainer.position.micro_batch) from None
    return trainer.finish()


class Trainer:
    """The state of one training: objective, optimiser, position."""

    def __init__(self, job: Job, work: Path) -> None:
        self.job = job
        self.work = work
        # Accelerate keeps one state a process, and every model of a run has its own precision.
        AcceleratorState._reset_state()
        self.accelerator = Accelerator(
            cpu=job.device.type == "cpu",
            mixed_precision="bf16" if job.precision == "bf16" else "no",
        )
        if job.conditions.plain_attention:
            for model in [job.model, *_run_teachers(job)]:
                model.set_attn_implementation("eager")
        self.objective = make_objective(job).to(job.device).train()
        self.optimizer = make_optimizer(self.objective, job.settings)
        self.position = Position(micro_batch=job.micro_batch, kernel=job.kernel)
        self.objective.kernel = self.position.kernel
        self.saved_at = time.monotonic()

    def restore(self) -> None:
        """Take up the newest checkpoint, and drop what was logged after it."""
        checkpoint = load_checkpoint(self.work / "checkpoints")
        if checkpoint:
            load_weight_tensors(self.job.model, checkpoint.tensors["model"])
            load_optimizer_tensors(self.optimizer, checkpoint.tensors["optimizer"])
            now = self.position.micro_batch
            self.position = replace(self.position, **checkpoint.state)
            self.position.micro_batch = resumed_micro_batch(
                self.position.micro_batch,
                now,
                asked=bool(self.job.settings.micro_batch),
                ran_out=(self.work / OUT_OF_MEMORY).exists(),
                name=self.job.name,
            )
            self.position.kernel = resumed_kernel(
                self.position.kernel, self.job.compile, self.job.device, name=self.job.name
            )
            self.objective.kernel = self.position.kernel
        truncate_log(self.work / "log.jsonl", self.position.step)

    def run(self, stop: StopRequest) -> None:
        """Step until the end, or until asked to stop."""
        job = self.job
        progress = Progress(
            job.name, job.total_steps, job.ledger.tokens_per_step, self.position.step
        )
        before = self.position.seconds
        log_path = self.work / "log.jsonl"
        with closing(progress), log_path.open("a", encoding="utf-8") as log:
            while self.position.step < job.total_steps:
                row = self.step()
                self.position.seconds = before + progress.seconds
                row["tokens_per_second"] = progress.tokens_per_second(self.position.step)
                write_row(log, row)
                progress.update(self.position.step, row["loss"])
                self._save_by_words()
                edge = self.position.step % job.order.steps_per_epoch == 0
                if edge:
                    write_row(log, self._end_epoch())
                stopping = bool(stop.signal)
                if edge or stopping or self._checkpoint_is_due():
                    self.save()
                if stopping and self.position.step < job.total_steps:
                    raise StoppedError(f"{job.name} stopped at step {self.position.step}")

    def _checkpoint_is_due(self) -> bool:
        return time.monotonic() - self.saved_at > 60 * self.job.settings.checkpoint_minutes

    def step(self) -> dict[str, Any]:
        """One update; the row that the log gets."""
        job, index = self.job, self.position.step
        epoch, within = divmod(index, job.order.steps_per_epoch)
        rate = learning_rate(index, job.total_steps, job.settings)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        sums = self._accumulate(job.order.batch(epoch, within), index)
        sums["gradient_norm"] = torch.nn.utils.clip_grad_norm_(
            self.objective.parameters(), job.settings.clip_norm or math.inf
        )
        # The step's one wait for the device.
        values = dict(zip(sums, torch.stack([*sums.values()]).tolist(), strict=True))
        # Before the update: a loss or gradient that is not finite leaves the weights as they were.
        measured = {"loss": values["loss"], "gradient norm": values["gradient_norm"]}
        check_finite(measured, model=job.name, step=index + 1)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.position.step = index + 1
        row = {"kind": "step", "step": index + 1, "epoch": epoch, "learning_rate": rate}
        return row | values | self._share(values)

    def _accumulate(self, batch: Batch, index: int) -> dict[str, Tensor]:
        """Gradients of the step's micro-batches; its loss and the parts of that."""
        job, whole = self.job, counts(batch)
        sums: dict[str, Tensor] = {}
        for number, micro in enumerate(batch.micro_batches(self.position.micro_batch)):
            # Dropout's masks depend on the place in training, not on what was drawn before.
            torch.manual_seed(derive(job.seed, "dropout", index, number))
            part = micro.to(job.device)
            with self.accelerator.autocast():
                loss, parts = self.objective(part, whole, self._signal(part))
            self.accelerator.backward(loss)
            for key, value in {"loss": loss.detach(), **parts}.items():
                sums[key] = sums.get(key, 0) + value
        return sums

    def _share(self, values: dict[str, float]) -> dict[str, float]:
        """How much of a mixed loss is cross-entropy."""
        if not isinstance(self.objective, Distilled):
            return {}
        loss = self.objective.loss
        share = cross_entropy_share(
            values["cross_entropy"],
            values["kl"],
            temperature=loss.temperature,
            ce_weight=loss.ce_weight,
        )
        return {"cross_entropy_share": share}

    def _signal(self, batch: Batch) -> list[Readout]:
        return self.job.signal.signal(batch) if self.job.signal else []

    def _end_epoch(self) -> dict[str, Any]:
        """Validate, remember the best, and return the log's row."""
        job = self.job
        result = validate(
            self.objective,
            job.validation,
            job.bytes_of_token,
            autocast=self.accelerator.autocast,
            signal=self._signal,
            device=job.device,
        )
        # The last update has no step after it that would show what it did.
        check_finite(result, model=job.name, step=self.position.step)
        self.position.validation = result
        value, best = result[job.settings.select_by], self.position.best
        if job.settings.keep == "best" and (best is None or value < best):
            self.position.best = value
            save_checkpoint(
                self.work / "best",
                self.position.step,
                {"validation": result},
                {"model": weight_tensors(job.model)},
            )
        epoch = self.position.step // job.order.steps_per_epoch
        return {"kind": "validation", "step": self.position.step, "epoch": epoch, **result}

    def _save_by_words(self) -> None:
        """Save the model when it has seen a number of words that the recipe asks for."""
        job, step = self.job, self.position.step
        grid = words_grid(job.settings.save_at_words)
        for words in crossed(grid, job.ledger.words(step - 1), job.ledger.words(step)):
            save_model(job.model, job.tokenizer, self.work / "by-words" / f"words-{words}")

    def save(self) -> None:
        """Write a checkpoint of this very step."""
        save_checkpoint(
            self.work / "checkpoints",
            self.position.step,
            vars(self.position),
            {
                "model": weight_tensors(self.job.model),
                "optimizer": optimizer_tensors(self.optimizer),
            },
        )
        self.saved_at = time.monotonic()

    def finish(self) -> dict[str, Any]:
        """Put the kept weights in place and sum up."""
        job, settings = self.job, self.job.settings
        validation = self.position.validation
        if settings.keep == "best":
            best = load_checkpoint(self.work / "best")
            if best:
                load_weight_tensors(job.model, best.tensors["model"])
                validation = best.state["validation"]
        job.model.eval()
        totals = job.ledger.totals(job.total_steps)
        return {
            "model": job.name,
            "architecture": job.model.config.model_type,
            "parameters": sum(p.numel() for p in job.model.parameters()),
            "teachers": [*job.signal.names] if job.signal else [],
            "steps": job.total_steps,
            "epochs": settings.epochs,
            "batch_size": settings.batch_size,
            "micro_batch": self.position.micro_batch,
            "kernel": self.position.kernel,
            **totals,
            "seconds": self.position.seconds,
            "tokens_per_second": totals["tokens_seen"] / max(1e-9, self.position.seconds),
            "precision": job.precision,
            "kept": settings.keep,
            "validation": validation,
            "distillation": job.distillation.model_dump() if job.distillation else None,
            "signal": job.signal.described() if job.signal else None,
        }


def _run_teachers(job: Job) -> list[PreTrainedModel]:
    """Teachers that are run in every step."""
    return [*job.signal.models.values()] if isinstance(job.signal, Teachers) else []


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
