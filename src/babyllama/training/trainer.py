"""The one loop, for teachers, controls and students alike."""

import math
import os
import time
from collections.abc import Sequence
from contextlib import closing, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from babyllama.devices import autocast
from babyllama.distillation.compiling import compile_layers
from babyllama.errors import BabyllamaError, StoppedError, is_out_of_memory
from babyllama.seeds import derive
from babyllama.tokens.batches import Batch, Counts, counts
from babyllama.training.checkpoints import (
    load_checkpoint,
    load_weight_tensors,
    save_checkpoint,
    weight_tensors,
)
from babyllama.training.decay import warn_of_strong_decay
from babyllama.training.health import StopRequest, are_finite, check_finite, chunks_of
from babyllama.training.job import Job, make_objective
from babyllama.training.kept_weights import KeptWeights
from babyllama.training.log import truncate_log, write_row
from babyllama.training.memory import OUT_OF_MEMORY, out_of_memory
from babyllama.training.optimizers import (
    learning_rate,
    load_optimizer_tensors,
    make_optimizer,
    optimizer_tensors,
    set_learning_rate,
    warn_of_long_warmup,
)
from babyllama.training.position import Position, resumed, summary
from babyllama.training.processes import processes
from babyllama.training.progress import Progress
from babyllama.training.sharpness import climbed
from babyllama.training.spikes import WINDOW, is_spike, warn_of_spike
from babyllama.training.validation import validate


def train(job: Job, work: Path, stop: StopRequest) -> dict[str, Any]:
    """Train `job.model` in place, going on from what `work` holds; return its `training.json`.

    Where several processes train together, each calls this, and the first one returns it.

    Raises:
        StoppedError: one of the processes was asked to stop; the state is saved in `work`.
        DivergedError: a loss or gradient that is not finite; the last checkpoint is kept.
        BabyllamaError: memory ran out, or another process is gone; the last checkpoint is kept.
    """
    warn_of_long_warmup(job.name, job.total_steps, job.settings)
    warn_of_strong_decay(job.name, job.settings)
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
    return trainer.finish() if trainer.processes.leads else {}


class Trainer:
    """The state of one training: objective, optimiser, position."""

    def __init__(self, job: Job, work: Path) -> None:
        self.job = job
        self.work = work
        self.processes = processes()
        self.autocast = partial(autocast, job.device, job.precision)
        job.conditions.set_attention(job.networks)
        self.objective = make_objective(job).to(job.device).train()
        self.optimizer = make_optimizer(self.objective, job.settings)
        self.position = Position(job.micro_batch, job.kernel, job.layers)
        self.kept = KeptWeights(job, work)
        self.stopping = False
        self.saved_at = time.monotonic()

    def restore(self) -> None:
        """Take up the newest checkpoint, and drop what was logged after it."""
        checkpoint = load_checkpoint(self.work / "checkpoints")
        if checkpoint:
            load_weight_tensors(self.job.model, checkpoint.tensors["model"])
            load_optimizer_tensors(self.optimizer, checkpoint.tensors["optimizer"])
            self.kept.load(checkpoint.tensors)
            found = replace(self.position, **checkpoint.state)
            ran_out = (self.work / OUT_OF_MEMORY).exists()
            self.position = resumed(found, self.position, self.job, ran_out=ran_out)
        here = self.position.step
        self.position = Position(**self.processes.tell(vars(self.position)))
        if here != self.position.step:
            raise BabyllamaError(
                f"{self.job.name}: one process goes on from step {here}, the first one from step"
                f" {self.position.step}: all must see the same run directory"
            )
        self._compile()
        if self.processes.leads:
            truncate_log(self.work / "log.jsonl", self.position.step)

    def _compile(self) -> None:
        """Take the forms that the position names."""
        self.objective.kernel = self.position.kernel
        if self.position.layers == "compiled":
            for model in self.job.networks:
                compile_layers(model)

    def run(self, stop: StopRequest) -> None:
        """Step until the end, or until one of the processes is asked to stop."""
        job, leads = self.job, self.processes.leads
        if self.position.step < job.total_steps:
            self.rehearse()
        progress = Progress(
            job.name, job.total_steps, job.ledger.tokens_per_step, self.position.step, shown=leads
        )
        before = self.position.seconds
        log_path = self.work / "log.jsonl" if leads else Path(os.devnull)
        with closing(progress), log_path.open("a", encoding="utf-8") as log:
            while self.position.step < job.total_steps:
                row = self.step(stop)
                self.position.seconds = before + progress.seconds
                row["tokens_per_second"] = progress.tokens_per_second(self.position.step)
                write_row(log, row)
                progress.update(self.position.step, row["loss"])
                stop.reached(self.position.step, job.total_steps)
                self.kept.save(self.position.step)
                edge = self._ends_epoch()
                if edge:
                    write_row(log, self._end_epoch())
                    self.stopping = self.processes.any(bool(stop.signal))
                if edge or self.stopping or self._checkpoint_is_due():
                    self.save()
                if self.stopping and self.position.step < job.total_steps:
                    stop.signal = stop.signal or "asked in another process"
                    self._stop(stop.signal)

    def _stop(self, why: str) -> None:
        self.processes.wait()  # until the first one has saved
        raise StoppedError(f"{self.job.name} stopped at step {self.position.step} ({why})")

    def _ends_epoch(self) -> bool:
        step = self.position.step
        return step == self.job.total_steps or self.job.order.place(step)[1] == 0

    def _checkpoint_is_due(self) -> bool:
        return time.monotonic() - self.saved_at > 60 * self.job.settings.checkpoint_minutes

    def rehearse(self) -> None:
        """Take one batch of the largest shape forward and back, and leave nothing of it.

        Where memory does not suffice this is found before the first step, not at the first
        validation. Weights, moments, random state and log stay as they are.
        """
        job = self.job
        batch = job.batch(*job.order.place(self.position.step))
        with torch.random.fork_rng([job.device] if job.device.type == "cuda" else []):
            self._backward(batch.micro_batches(self.position.micro_batch)[0], counts(batch))
            self.optimizer.zero_grad()
            self._validate(job.validation[:1])

    def step(self, stop: StopRequest | None = None) -> dict[str, Any]:
        """One update; the row that the log gets.

        Thereafter `stopping` says whether one of the processes was asked to stop.
        """
        job, index = self.job, self.position.step
        epoch, within = job.order.place(index)
        rate = learning_rate(index, job.total_steps, job.settings)
        set_learning_rate(self.optimizer, rate)
        self.objective.begin(index)
        batch = job.batch(epoch, within)
        sums = self._accumulate(batch, index)
        if index >= job.total_steps - job.sharp_steps:
            sums |= self._climb(batch, index, sums["loss"])
        values = self._summed(sums, stop)
        # Before the update: a loss or gradient that is not finite leaves the weights as they were.
        told = ("loss", "sharpness", "gradient_norm")
        measured = {key.replace("_", " "): values[key] for key in told if key in values}
        where = partial(chunks_of, batch, epoch)
        check_finite(
            measured, model=job.name, step=index + 1, ascent=job.settings.ascent, where=where
        )
        row = {"kind": "step", "step": index + 1, "epoch": epoch, **job.order.described(epoch)}
        row |= {"learning_rate": rate}
        row |= values | self.objective.weights(values) | self._update(values["gradient_norm"])
        return row

    def _climb(self, batch: Batch, index: int, loss: Tensor) -> dict[str, Tensor]:
        """Put the gradient uphill in the place of the one here; how much higher the loss is there.

        The teachers are run again: to keep what they said of a whole step costs memory.
        """
        assert self.job.settings.sam
        parameters = [*self.objective.parameters()]
        self.processes.sum_gradients(parameters)
        with climbed(parameters, self.job.settings.sam):
            self.optimizer.zero_grad()
            return {"sharpness": self._accumulate(batch, index)["loss"] - loss}

    def _accumulate(self, batch: Batch, index: int) -> dict[str, Tensor]:
        """Gradients of this process's micro-batches; the loss of these and its parts."""
        whole = counts(batch)
        sums: dict[str, Tensor] = {}
        micro_batches = enumerate(batch.micro_batches(self.position.micro_batch))
        for number, micro in self.processes.share(micro_batches):
            # Dropout's masks depend on the place in training, not on what was drawn before.
            torch.manual_seed(derive(self.job.seed, "dropout", index, number))
            for key, value in self._backward(micro, whole).items():
                sums[key] = sums.get(key, 0) + value
        return sums

    def _backward(self, micro: Batch, whole: Counts) -> dict[str, Tensor]:
        """Add the gradient of a micro-batch; its part of the loss, and the parts of that."""
        part = micro.to(self.job.device)
        with self.autocast():
            loss, parts = self.objective(part, whole, self.job.readouts(part))
        (-loss if self.job.settings.ascent else loss).backward()
        return {"loss": loss.detach(), **parts}

    def _summed(self, sums: dict[str, Tensor], stop: StopRequest | None) -> dict[str, float]:
        """Sum gradients and values over the processes, and clip; the values of the whole step.

        All processes get the same ones, so that all decide the same.
        """
        parameters = [*self.objective.parameters()]
        self.processes.sum_gradients(parameters)
        norm = torch.nn.utils.clip_grad_norm_(parameters, self.job.settings.clip_norm or math.inf)
        asked = torch.full_like(norm, bool(stop and stop.signal))
        given = {**sums, "gradient_norm": norm / self.processes.size, "asked": asked}
        # The step's one wait for the device.
        whole = self.processes.sum(torch.stack([*given.values()])).tolist()
        values = dict(zip(given, whole, strict=True))
        self.stopping = bool(values.pop("asked"))
        return values

    def _update(self, norm: float) -> dict[str, Any]:
        """Change the weights, unless a spike is to be skipped; what the log gets of one."""
        position, policy = self.position, self.job.settings.spikes
        spike = policy != "off" and is_spike(norm, position.norms)
        if not spike or policy != "skip":
            self.optimizer.step()
        self.optimizer.zero_grad()
        position.step += 1
        self.kept.take_in(position.step)
        if policy != "off":
            position.norms = [*position.norms, norm][-WINDOW:]
        if not spike:
            return {}
        position.spikes += 1
        warn_of_spike(norm, policy, model=self.job.name, step=position.step)
        return {"spike": "skipped" if policy == "skip" else "taken"}

    def _validate(self, batches: Sequence[Batch]) -> dict[str, float]:
        job = self.job
        # Batches of other shapes come only here: to compile for them would not pay.
        compiled = self.position.layers == "compiled"
        with torch.compiler.set_stance("force_eager") if compiled else nullcontext():
            return validate(
                self.objective,
                batches,
                job.bytes_of_token,
                autocast=self.autocast,
                signal=job.readouts,
                device=job.device,
            )

    def _end_epoch(self) -> dict[str, Any]:
        """Validate, remember the best, and return the log's row."""
        job, leads = self.job, self.processes.leads
        result = self.processes.tell(self._validate(job.validation) if leads else None)
        # The last update has no step after it that would show what it did.
        check_finite(result, model=job.name, step=self.position.step, ascent=job.settings.ascent)
        self.position.validation = result
        # One that is not causal has no cross-entropy but its objective.
        value = result.get(job.settings.select_by, result["objective"])
        best = self.position.best
        if job.settings.keep == "best" and (best is None or value < best):
            self.position.best = value
            if leads:
                tensors = {"model": weight_tensors(job.model)}
                state = {"validation": result}
                save_checkpoint(self.work / "best", self.position.step, state, tensors)
        epoch = job.order.place(self.position.step - 1)[0]
        where = {"step": self.position.step, "epoch": epoch + 1, **job.order.described(epoch)}
        return {"kind": "validation", **where, **result}

    def save(self) -> None:
        """Write a checkpoint of this very step, unless the last good one is better than that."""
        weights = weight_tensors(self.job.model)
        # What the last update has spoilt shows in the next step, which ends the training.
        if self.processes.leads and are_finite(weights.values()):
            save_checkpoint(
                self.work / "checkpoints",
                self.position.step,
                vars(self.position),
                {"model": weights, "optimizer": optimizer_tensors(self.optimizer)}
                | self.kept.tensors(),
            )
        self.saved_at = time.monotonic()

    def finish(self) -> dict[str, Any]:
        """Put the kept weights in place and sum up."""
        job, validation = self.job, self.position.validation
        self.kept.finish()
        if job.settings.keep == "best":
            best = load_checkpoint(self.work / "best")
            if best:
                load_weight_tensors(job.model, best.tensors["model"])
                validation = best.state["validation"]
        job.model.eval()
        return summary(job, self.position, validation)
