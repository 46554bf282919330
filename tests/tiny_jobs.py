"""Tiny training jobs: models of one layer and width 16, trained for a few milliseconds."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel

from babyllama.distillation.teachers import Teachers
from babyllama.models.architectures import build_model, model_config
from babyllama.recipe import Architecture
from babyllama.recipe_distillation import Distillation
from babyllama.recipe_training import Training
from babyllama.seeds import generator
from babyllama.tokens.batches import ChunkOrder, validation_batches
from babyllama.training.health import StopRequest
from babyllama.training.job import Job
from babyllama.training.ledger import Ledger
from babyllama.training.trainer import train

VOCABULARY = 300
CHUNK = 12
BATCH = 8
STEPS_PER_EPOCH = 3


def new_model(
    kind: str = "llama", *, seed: int = 1, dropout: float = 0.0, width: int = 16
) -> PreTrainedModel:
    """A model with new weights."""
    architecture = Architecture(
        type=kind,
        layers=1,
        heads=2,
        width=width,
        feed_forward=2 * width,
        # RoBERTa has `<s>` and `</s>` around a text, and a row for the position of `<pad>`.
        positions={"roberta": CHUNK + 3, "t5": None}.get(kind, CHUNK),
        dropout=dropout,
    )
    return build_model(model_config(architecture, VOCABULARY, (0, 1, 2)), seed)


def new_teachers() -> Teachers:
    """A LLaMA and a GPT-2."""
    return Teachers({"llama": new_model(seed=11, width=24), "gpt2": new_model("gpt2", seed=12)})


def new_job(
    *,
    model: PreTrainedModel | None = None,
    teachers: Teachers | None = None,
    distillation: Mapping[str, Any] | None = None,
    fields: Mapping[str, Any] | None = None,
    **settings: Any,
) -> Job:
    """A job from training settings, of two epochs of `STEPS_PER_EPOCH` unless they say more."""
    given = {"epochs": 2, "learning_rate": 1e-2, "warmup_steps": 1, "precision": "fp32"}
    training = Training(**given | {"batch_size": BATCH} | settings)
    # Every id is at most 4 above the one before, so that there is something to learn.
    drawn = generator(7, "text").integers(5, size=CHUNK * BATCH * STEPS_PER_EPOCH)
    ids = (100 + np.cumsum(drawn) % 97).astype(np.uint16)
    job = Job(
        name="tiny",
        model=model or new_model(),
        settings=training,
        order=ChunkOrder(ids, CHUNK, training.batch_size, seed=1),
        validation=validation_batches(ids[: 5 * CHUNK], CHUNK, chunks=4, seed=3, batch_size=3),
        bytes_of_token=torch.arange(VOCABULARY) % 4,
        ledger=Ledger(
            tokens_per_step=training.batch_size * CHUNK,
            words_per_token=0.5,
            flops_per_token=10.0,
            teacher_flops_per_token=4.0,
        ),
        tokenizer=Path("none"),
        seed=1,
        precision=training.precision,
        device=torch.device("cpu"),
        signal=teachers,
        distillation=Distillation(**distillation or {}) if teachers else None,
    )
    return replace(job, **fields or {})


def run(job: Job, work: Path) -> dict[str, Any]:
    """Train a job to its end, and return its `training.json`."""
    work.mkdir(exist_ok=True)
    return train(job, work, StopRequest())


def assert_equal_weights(first: PreTrainedModel, second: PreTrainedModel) -> None:
    """That two models are the same bit for bit."""
    for (name, a), b in zip(first.state_dict().items(), second.state_dict().values(), strict=True):
        assert torch.equal(a, b), name
