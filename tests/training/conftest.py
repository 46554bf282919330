"""Tiny training jobs: models of one layer and width 16, trained for a few milliseconds."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import PreTrainedModel

from babyllama.distillation.teachers import Teachers
from babyllama.models.architectures import build_model, model_config
from babyllama.recipe import Architecture, Distillation, Training
from babyllama.seeds import generator
from babyllama.tokens.batches import ChunkOrder, validation_batches
from babyllama.tokens.tokenizer import save_tokenizer, train_tokenizer
from babyllama.training.health import StopRequest
from babyllama.training.ledger import Ledger
from babyllama.training.trainer import Job, Trainer, train

VOCABULARY = 300
CHUNK = 12
BATCH = 8
STEPS_PER_EPOCH = 3

NewModel = Callable[..., PreTrainedModel]
NewJob = Callable[..., Job]


@pytest.fixture(scope="session")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tokenizer's folder."""
    folder = tmp_path_factory.mktemp("tokenizer")
    words = "the quick brown foxes jump over lazy dogs while seven wizards make toxic brew"
    save_tokenizer(train_tokenizer([f"{words}\n"] * 9, VOCABULARY), folder)
    return folder


@pytest.fixture
def new_model() -> NewModel:
    def make(
        kind: str = "llama", *, seed: int = 1, dropout: float = 0.0, width: int = 16
    ) -> PreTrainedModel:
        architecture = Architecture(
            type=kind,
            layers=1,
            heads=2,
            width=width,
            feed_forward=2 * width,
            positions=CHUNK,
            dropout=dropout,
        )
        return build_model(model_config(architecture, VOCABULARY, (0, 1, 2)), seed)

    return make


@pytest.fixture
def new_job(new_model: NewModel, tokenizer: Path) -> NewJob:
    """A job from training settings; with `teachers`, distilled from a LLaMA and a GPT-2."""

    def make(
        *,
        model: PreTrainedModel | None = None,
        teachers: bool | Teachers = False,
        distillation: Mapping[str, Any] | None = None,
        fields: Mapping[str, Any] | None = None,
        **settings: Any,
    ) -> Job:
        given = {"epochs": 2, "learning_rate": 1e-2, "warmup_steps": 1, "precision": "fp32"}
        training = Training(**given | {"batch_size": BATCH} | settings)
        # Few ids a row follow from the ones before, so that there is something to learn.
        drawn = generator(7, "text").integers(3, 40, CHUNK * BATCH * STEPS_PER_EPOCH)
        ids = np.cumsum(drawn % 5, dtype=np.int64) % 97
        ids = (ids + 100).astype(np.uint16)
        if teachers is True:
            models = {"llama": new_model(seed=11, width=24), "gpt2": new_model("gpt2", seed=12)}
            teachers = Teachers(models)
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
            tokenizer=tokenizer,
            seed=1,
            precision=training.precision,
            device=torch.device("cpu"),
            teachers=teachers or None,
            distillation=Distillation(**distillation or {}) if teachers else None,
        )
        return replace(job, **fields or {})

    return make


@pytest.fixture
def new_trainer(new_job: NewJob, tmp_path: Path) -> Callable[..., Trainer]:
    """A trainer that has not stepped yet, of a job with the given settings."""
    return lambda **changes: Trainer(new_job(**changes), tmp_path)


@pytest.fixture
def trained(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Train a job to its end in `work`, and return its `training.json`."""

    def run(job: Job, work: Path = tmp_path / "work") -> dict[str, Any]:
        work.mkdir(exist_ok=True)
        return train(job, work, StopRequest())

    return run
