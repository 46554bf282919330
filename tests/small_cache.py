"""A cache of two tiny teachers on made-up text, and what it takes to build and read it."""

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel

from babyllama.distillation.caching.build import Request, Workshop, build_cache
from babyllama.distillation.caching.grid import Grid
from babyllama.distillation.caching.source import CachedSignal, Wish
from babyllama.distillation.teachers import Teachers
from babyllama.models.architectures import build_model, model_config
from babyllama.recipe import Architecture
from babyllama.seeds import generator
from babyllama.store import Identity, Store
from babyllama.tokens.batches import Batch, make_batch
from babyllama.tokens.packing import Ids

VOCABULARY = 300
LENGTH = 12
MADE_FROM = {"tokens": "1", "tokenizer": "2", "models/gpt2": "3", "models/llama": "4"}
CPU = torch.device("cpu")


def new_teacher(kind: str, seed: int, width: int) -> PreTrainedModel:
    """A teacher whose predictions are far from uniform."""
    architecture = Architecture(
        type=kind, layers=1, heads=2, width=width, feed_forward=2 * width, positions=LENGTH
    )
    model = build_model(model_config(architecture, VOCABULARY, (0, 1, 2)), seed)
    model.get_output_embeddings().weight.data.normal_(std=0.3)
    return model


def new_teachers(*kinds: str) -> Teachers:
    """By default a GPT-2 and a LLaMA of different widths, which weigh 1 and 3."""
    given = kinds or ("gpt2", "llama")
    torch.manual_seed(4)
    models = {kind: new_teacher(kind, seed, 16 + 8 * seed) for seed, kind in enumerate(given)}
    return Teachers(models, {"llama": 3.0})


def text(split: str, chunks: int) -> Ids:
    """Ids of a split, and a part of a chunk over."""
    return generator(5, split).integers(VOCABULARY, size=chunks * LENGTH + 7).astype(np.uint16)


TEXTS: dict[Any, Ids] = {"train": text("train", 900), "dev": text("dev", 40)}
GRID = Grid(LENGTH, chunks=899, offsets=(3, 0), dev=tuple(range(0, 40 * LENGTH, 2 * LENGTH)))


def request(kind: Any, **changes: Any) -> Request:
    """For the default teachers with equal weights, without a bound on the angle."""
    settings: dict[str, Any] = {
        "kind": kind,
        "grid": GRID,
        "teachers": ["gpt2", "llama"],
        "made_from": MADE_FROM,
        "weights": {"gpt2": 1.0, "llama": 3.0},
        "angle": 180.0,
        "precision": "fp32",
        "seed": 1,
    }
    return Request(**settings | changes)


def workshop(
    work: Path,
    teachers: Teachers | None = None,
    tell: Callable[[int], None] = lambda _: None,
    texts: Any = TEXTS,
) -> Workshop:
    """On the CPU, in float32."""
    work.mkdir(exist_ok=True)
    return Workshop(
        teachers=teachers or new_teachers(),
        texts=texts,
        device=CPU,
        autocast=nullcontext,
        work=work,
        tell=tell,
        flops_per_token=2.0,
    )


def build(root: Path, asked: Request, teachers: Teachers | None = None, texts: Any = TEXTS) -> Path:
    """A cache as an artifact of a store."""
    identity = Identity("signal", 1, {"kind": asked.kind}, asked.made_from)
    return Store(root).make(
        identity, lambda out, work: build_cache(asked, workshop(work, teachers, texts=texts), out)
    )


def wish(**changes: Any) -> Wish:
    """What the cache of `request` serves."""
    settings: dict[str, Any] = {
        "made_from": MADE_FROM,
        "grid": GRID,
        "weights": {"gpt2": 1.0, "llama": 3.0},
        "pool": "logits",
        "temperature": 2.0,
        "angle": 180.0,
    }
    return Wish(**settings | changes)


def read(folder: Path, **changes: Any) -> CachedSignal:
    """The cache opened in float32."""
    return CachedSignal(folder, wish(**changes), CPU, torch.float32)


def batch(split: Any = "train", rows: tuple[int, ...] = (5, 1700, 0, 898, 899)) -> Batch:
    """Chunks of all shards of the cache, in no order."""
    starts = GRID.starts(split)[list(rows)]
    return make_batch(TEXTS[split], starts, LENGTH, split)
