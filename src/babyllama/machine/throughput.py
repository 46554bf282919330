"""How fast this machine trains: some steps of a student, plain and with its teachers.

Random weights and tokens at a recipe's sizes. What would not fit the memory or the time is measured
with fewer layers and sequences, or with a small model: operations a second carry over to the sizes
that were asked for, roughly.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel

from babyllama.distillation.teachers import Teachers
from babyllama.errors import RecipeError
from babyllama.models.architectures import build_model, model_config
from babyllama.models.costs import (
    forward_flops_per_token,
    meta_model,
    parameter_count,
    training_flops_per_token,
)
from babyllama.models.kinds import kind_of_config
from babyllama.recipe import Architecture
from babyllama.recipe_distillation import Distillation
from babyllama.recipe_training import Training
from babyllama.seeds import generator
from babyllama.tokens.batches import ChunkOrder
from babyllama.training.job import Job
from babyllama.training.ledger import Ledger
from babyllama.training.memory import TRAINED, WEIGHT, Conditions, micro_batch, training_bytes
from babyllama.training.muon import update_flops
from babyllama.training.trainer import Trainer

COUNTED, WARM_UP, LEAST = 7, 1, 3
"""Steps of each kind: at most, before them, and so many must be expected to fit the time."""
# The part of the matrix rate that whole training steps of small models reach, about.
EFFICIENCY = 0.35
# Drawing a random weight takes as long as so many operations, about: 15 ns at 100 GFLOP/s.
FLOPS_A_WEIGHT = 1500
# The part of the free memory that is taken at most.
USABLE = 0.6
PLAIN = {"epochs": 1, "steps": None, "random_offsets": False, "sam": None, "weight_decay": 0.0}
"""Settings of the steps that are timed: each is one pass, on a text of their own."""
SMALL_POSITIONS = 128
SMALL = Architecture(
    type="llama", layers=2, heads=4, width=128, feed_forward=384, positions=SMALL_POSITIONS
)
"""Fits everywhere; stands for what fits nowhere, with 4,096 words and 8 x 128 tokens a step."""


@dataclass(frozen=True)
class Trial:
    """The steps to measure: configurations of transformers, and how the student is trained."""

    student: Any
    teachers: Mapping[str, Any]
    training: Training
    positions: int
    """Tokens of a sequence."""
    device: torch.device
    precision: str
    distillation: Distillation | None = None

    @property
    def tokens(self) -> int:
        """Of a step."""
        return self.training.batch_size * self.positions

    @property
    def flops(self) -> tuple[float, float]:
        """Of a plain step, and what the teachers add to it."""
        student = meta_model(self.student)
        plain = self.tokens * training_flops_per_token(student, self.positions)
        taught = (
            forward_flops_per_token(meta_model(config), self.positions)
            for config in self.teachers.values()
        )
        return plain + update_flops(student, self.training), self.tokens * sum(taught)


@dataclass(frozen=True)
class Throughput:
    """Operations a second of training steps."""

    plain: float
    taught: float
    """With teachers that are run in every step; without any it is as `plain`."""
    steps: int
    """That were counted, of each kind."""
    trial: Trial
    """What was measured."""
    own: bool
    """Whether that are the sizes asked for."""


def measure(trial: Trial, free: float, seconds: float) -> Throughput:
    """Time steps of a trial, or of a smaller one, for about so many seconds.

    `free` are the bytes that it may take; medians of up to `COUNTED` steps of each kind in turn.
    """
    end = time.monotonic() + seconds
    rate = _expected_rate(trial)
    fitting = (fit for fit in _smaller(trial) if _fits(fit, free, rate * seconds))
    taken = next(fitting, _small(trial))
    kinds = [_trainer(taken, taught=False)]
    if taken.teachers:
        kinds.append(_trainer(taken, taught=True))
    times = _times([trainer.step for trainer in kinds], taken.device, end)
    plain, teaching = taken.flops
    alone = median(times[0])
    return Throughput(
        plain=plain / alone,
        taught=(plain + teaching) / median(times[1]) if taken.teachers else plain / alone,
        steps=len(times[0]),
        trial=taken,
        own=taken is trial,
    )


def _times(
    steps: list[Callable[[], object]], device: torch.device, end: float
) -> list[list[float]]:
    """Seconds of every step, the kinds in turn, until time is over but at least once."""
    times: list[list[float]] = [[] for _ in steps]
    for turn in range(WARM_UP + COUNTED):
        begun = time.monotonic()
        for step, found in zip(steps, times, strict=True):
            started = time.perf_counter()
            step()
            if device.type == "cuda":  # the update runs on after the step has read its values
                torch.cuda.synchronize(device)
            if turn >= WARM_UP:
                found.append(time.perf_counter() - started)
        now = time.monotonic()
        if turn >= WARM_UP and now + (now - begun) > end:
            break
    return times


def _smaller(trial: Trial) -> Iterator[Trial]:
    """The trial, then with layers halved down to one, and then the sequences of a step."""
    yield trial
    configs = [trial.student, *trial.teachers.values()]
    deepest = max(config.num_hidden_layers for config in configs)
    while deepest > 1:
        deepest //= 2
        yield replace(
            trial,
            student=_cut(trial.student, deepest),
            teachers={name: _cut(config, deepest) for name, config in trial.teachers.items()},
        )
    flat = {name: _cut(config, 1) for name, config in trial.teachers.items()}
    flat_trial = replace(trial, student=_cut(trial.student, 1), teachers=flat)
    sequences = trial.training.batch_size
    while sequences > 1:
        sequences //= 2
        yield replace(flat_trial, training=_with_batch(trial.training, sequences))


def _cut(config: Any, layers: int) -> Any:
    """The configuration with so many layers, where it has more."""
    small = deepcopy(config)
    small.num_hidden_layers = min(layers, config.num_hidden_layers)
    if kind_of_config(config) == "encoder-decoder":
        small.num_decoder_layers = min(layers, config.num_decoder_layers)
    if getattr(small, "layer_types", None):
        small.layer_types = small.layer_types[:layers]
    return small


def _with_batch(training: Training, sequences: int) -> Training:
    return training.model_copy(update={"batch_size": sequences})


def _small(trial: Trial) -> Trial:
    config = model_config(SMALL, 4096, (0, 1, 2))
    return replace(
        trial,
        student=config,
        teachers=dict.fromkeys(trial.teachers, config),
        training=_with_batch(trial.training, 8),
        positions=SMALL_POSITIONS,
    )


def _fits(trial: Trial, free: float, flops: float) -> bool:
    """Whether a few steps can be expected to fit so many bytes and operations."""
    try:
        student = meta_model(trial.student)
        teachers = [meta_model(config) for config in trial.teachers.values()]
    except RecipeError:  # a configuration that cannot be cut
        return False
    conditions = Conditions(
        positions=trial.positions,
        precision=trial.precision,
        device=trial.device,
        teachers=len(teachers),
    )
    frozen = sum(map(parameter_count, teachers))
    sides = 2 if teachers else 1
    sequences = micro_batch(student, trial.training, conditions, free)
    # One side runs at a time, beside the weights and moments of the other.
    taken = training_bytes(student, conditions, sequences) + WEIGHT * frozen
    taken += (sides - 1) * (WEIGHT + TRAINED) * parameter_count(student)
    plain, teaching = trial.flops
    steps = (WARM_UP + LEAST) * (sides * plain + teaching)
    drawn = FLOPS_A_WEIGHT * (frozen + sides * parameter_count(student))
    return taken < USABLE * free and drawn + steps < flops


def _expected_rate(trial: Trial) -> float:
    """Operations a second that steps may reach, from a tenth of a second of products."""
    dtype = torch.bfloat16 if trial.precision == "bf16" else torch.float32
    left = torch.ones(1024, 512, device=trial.device, dtype=dtype)
    (left @ left.T).sum().item()
    count, started = 0, time.perf_counter()
    while time.perf_counter() - started < 0.1:
        (left @ left.T).sum().item()
        count += 1
    return EFFICIENCY * count * 2 * 1024 * 1024 * 512 / (time.perf_counter() - started)


def _trainer(trial: Trial, *, taught: bool) -> Trainer:
    """The loop of the real training, on random tokens."""
    batch, chunk = trial.training.batch_size, trial.positions
    vocabulary = trial.student.vocab_size
    steps = WARM_UP + COUNTED
    ids = generator(1, "trial").integers(0, vocabulary, steps * batch * chunk)
    job = Job(
        name="trial",
        model=_network(trial.student, trial),
        settings=trial.training.model_copy(update=PLAIN),
        order=ChunkOrder(ids.astype(np.uint32), chunk, batch, 1),
        validation=[],
        bytes_of_token=torch.ones(vocabulary),
        ledger=Ledger(batch * chunk, 1.0, 0.0, 0.0),
        tokenizer=Path(),
        seed=1,
        precision=trial.precision,
        device=trial.device,
        signal=_teachers(trial) if taught else None,
        distillation=(trial.distillation or Distillation()) if taught else None,
        compile="off",
    )
    return Trainer(job, Path())


def _teachers(trial: Trial) -> Teachers:
    return Teachers({name: _network(config, trial) for name, config in trial.teachers.items()})


def _network(config: Any, trial: Trial) -> PreTrainedModel:
    model = build_model(config, seed=1)
    torch.nn.Module.to(model, trial.device)
    return model
