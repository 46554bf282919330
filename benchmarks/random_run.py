"""What a recipe trains, with random weights on random tokens."""

import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

from babyllama.devices import pick_device, resolve_precision
from babyllama.distillation.caching.build import Request, Workshop, build_cache
from babyllama.distillation.caching.codes import Kind
from babyllama.distillation.caching.grid import Grid
from babyllama.distillation.caching.header import HEADER
from babyllama.distillation.caching.source import CachedSignal, Wish
from babyllama.distillation.compiling import compile_layers
from babyllama.distillation.teachers import SignalSource, Teachers
from babyllama.models.architectures import build_model, model_config
from babyllama.recipe import Recipe
from babyllama.recipe_training import Training
from babyllama.store import Identity, Store
from babyllama.tokens.batches import ChunkOrder
from babyllama.training.job import Job
from babyllama.training.ledger import Ledger
from babyllama.training.trainer import Trainer

BATCHES = 2
RANK = 256
WAIVED = 180.0
"""These caches are for timing alone: random teachers have no structure a low rank could hold."""
LONG = 1e9
"""Operations a token: what is compiled is what a long training compiles."""


def network(recipe: Recipe, name: str) -> transformers.PreTrainedModel:
    """A model of the recipe with random weights."""
    entry = recipe.models[name]
    config = model_config(entry.architecture, recipe.tokenizer.vocabulary, (0, 1, 2))
    model = build_model(config, recipe.seed_of(entry))
    return torch.nn.Module.to(model, pick_device("auto"))


def student_training(recipe: Recipe) -> Training:
    """Settings of the student's training."""
    training = recipe.models["student"].training
    assert training
    return training


def text(recipe: Recipe, batches: int = BATCHES) -> Any:
    """Random tokens: some batches of the student."""
    tokens = batches * student_training(recipe).batch_size * recipe.tokens.chunk_length
    return np.random.default_rng(1).integers(0, recipe.tokenizer.vocabulary, tokens, np.uint16)


def teachers_of(recipe: Recipe, compiling: str) -> Teachers:
    """With random weights, as `babyllama.signals` runs them for a cache."""
    found = Teachers({name: network(recipe, name) for name in recipe.models["student"].teachers})
    for model in found.models.values():
        model.set_attn_implementation("eager")
        if compiling != "off":
            compile_layers(model)
    return found


def workshop(teachers: Teachers, ids: Any, work: Path) -> Workshop:
    """Where caches of a text are built."""
    device = pick_device("auto")
    bf16 = resolve_precision("auto", device) == "bf16"
    return Workshop(
        teachers=teachers,
        texts={"train": ids, "dev": ids},
        device=device,
        autocast=lambda: torch.autocast(device.type, torch.bfloat16, enabled=bf16),
        work=work,
        tell=lambda _: None,
        flops_per_token=0.0,
    )


def grid_of(recipe: Recipe, ids: Any) -> Grid:
    """All chunks of a text; two of them are held out."""
    length = recipe.tokens.chunk_length
    return Grid(length, len(ids) // length, (0,), (0, length))


def keep(recipe: Recipe, kind: Kind, shop: Workshop) -> Path:
    """Build a cache; its folder."""
    names = sorted(shop.teachers.names)
    request = Request(
        kind=kind,
        grid=grid_of(recipe, shop.texts["train"]),
        teachers=names,
        made_from={},
        weights=dict.fromkeys(names, 1.0),
        angle=WAIVED,
        rank=RANK if kind == "low-rank" else None,
        precision="bf16",
        seed=1,
    )
    work = shop.work / kind
    work.mkdir()
    identity = Identity("signal", 1, {"kind": kind}, {})
    return Store(shop.work).make(
        identity, lambda out, _: build_cache(request, replace(shop, work=work), out)
    )


def open_cache(recipe: Recipe, ids: Any, folder: Path) -> CachedSignal:
    """As a student opens it."""
    names = json.loads((folder / HEADER).read_text("utf-8"))["teachers"]
    wish = Wish(
        made_from={},
        grid=grid_of(recipe, ids),
        weights=dict.fromkeys(names, 1.0),
        pool="logits",
        temperature=2.0,
        angle=WAIVED,
    )
    return CachedSignal(folder, wish, pick_device("auto"), torch.bfloat16)


def trainer(recipe: Recipe, ids: Any, signal: SignalSource | None, compiling: str) -> Trainer:
    """The recipe's student in a long training, plain or with a signal."""
    device, settings = pick_device("auto"), student_training(recipe)
    chunk, vocabulary = recipe.tokens.chunk_length, recipe.tokenizer.vocabulary
    job = Job(
        name="student",
        model=network(recipe, "student"),
        settings=settings.model_copy(update={"epochs": 10**6, "warmup_steps": 0}),
        order=ChunkOrder(ids, chunk, settings.batch_size, 1),
        validation=[],
        bytes_of_token=torch.ones(vocabulary),
        ledger=Ledger(settings.batch_size * chunk, 1.0, LONG, 0.0),
        tokenizer=Path(),
        seed=1,
        precision=resolve_precision("auto", device),
        device=device,
        signal=signal,
        distillation=recipe.models["student"].distillation if signal else None,
        compile=compiling,
    )
    started = Trainer(job, Path(tempfile.mkdtemp()))
    started.restore()  # nothing, but it compiles what a long training has compiled
    return started
