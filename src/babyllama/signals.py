"""The kept signal of a recipe's students: which cache each reads, how it is made and opened."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from transformers import PreTrainedModel

from babyllama.devices import autocast, pick_device, resolve_precision
from babyllama.distillation.caching.build import Request, Workshop, build_cache
from babyllama.distillation.caching.codes import Kind
from babyllama.distillation.caching.grid import Grid, cached_offsets
from babyllama.distillation.caching.low_rank import RANK_STEP
from babyllama.distillation.caching.source import CachedSignal, Wish
from babyllama.distillation.caching.space import cache_bytes, check_space
from babyllama.distillation.compiling import compile_layers, pick_layers
from babyllama.distillation.teachers import Teachers
from babyllama.lineage import active_teachers, pool_weights
from babyllama.models.folders import load_model
from babyllama.recipe import Model, Recipe
from babyllama.recipe_distillation import Distillation
from babyllama.tokens.batches import chunk_count, validation_starts
from babyllama.tokens.packing import read_packed
from babyllama.training.memory import Conditions
from babyllama.training.progress import Progress


@dataclass(frozen=True)
class Kept:
    """A cache in the store."""

    folder: Path
    made_from: Mapping[str, str]
    """Name of an input -> its fingerprint."""


def reads_cache(model: Model) -> bool:
    """Whether a model learns from a kept signal."""
    settings = model.distillation
    return bool(active_teachers(model) and settings and settings.signal != "online")


def grid_offsets(recipe: Recipe, model: Model) -> tuple[int, ...]:
    """Where the chunk grids start whose signal is kept for a model."""
    assert model.training
    assert model.distillation
    if not model.training.random_offsets:
        return (0,)
    number = model.distillation.cache_offsets
    return cached_offsets(recipe.corpus.seed, recipe.tokens.chunk_length, number)


def teacher_shares(model: Model) -> dict[str, float]:
    """Weights that sum to one, by the name of a teacher, sorted."""
    names = sorted(model.teachers)
    weights = pool_weights(names, model.distillation or Distillation())
    return dict(zip(names, weights, strict=True))


def signal_settings(recipe: Recipe, model: Model) -> dict[str, Any]:
    """What decides the content of the cache that a model reads, beside its inputs.

    Hidden states serve every temperature, pool and weight, so that students with different ones
    share them; of the angle they only have to be below.
    """
    assert model.training
    assert model.distillation
    settings: dict[str, Any] = {
        "kind": model.distillation.signal,
        "chunk_length": recipe.tokens.chunk_length,
        "validation_chunks": recipe.tokens.validation_chunks,
        "offsets": [*grid_offsets(recipe, model)],
        "shifted": model.training.random_offsets,
        "precision": model.training.precision,
    }
    if model.distillation.signal == "low-rank":
        settings["teacher_weights"] = teacher_shares(model)
        settings["angle"] = model.distillation.cache_angle
        settings["rank"] = model.distillation.cache_rank
        if model.distillation.divergence != "forward":
            settings["divergence"] = model.distillation.divergence
    return settings


def signal_grid(recipe: Recipe, model: Model, *, train_tokens: int, dev_tokens: int) -> Grid:
    """The chunks whose signal is kept, for splits of so many tokens."""
    assert model.training
    length = recipe.tokens.chunk_length
    shifted = model.training.random_offsets
    dev = validation_starts(
        dev_tokens, length, chunks=recipe.tokens.validation_chunks, seed=recipe.corpus.seed
    )
    return Grid(
        length,
        chunk_count(train_tokens, length, shifted=shifted),
        grid_offsets(recipe, model),
        tuple(dev.tolist()),
    )


def signal_bytes(
    recipe: Recipe, model: Model, grid: Grid, teachers: Sequence[PreTrainedModel], *, least: bool
) -> int:
    """What the cache of a model takes: of low rank, before it is built, the least or the most."""
    assert model.distillation
    heads = [teacher.get_output_embeddings().weight for teacher in teachers]
    rank = model.distillation.cache_rank or (RANK_STEP if least else None)
    kind, widths = cast(Kind, model.distillation.signal), [head.shape[1] for head in heads]
    return cache_bytes(kind, grid, widths, recipe.tokenizer.vocabulary, rank)


def check_signal_space(
    recipe: Recipe, name: str, *, tokens: Path, teachers: Sequence[PreTrainedModel], store: Path
) -> None:
    """Hold the cache of the student `name` against the free disk, before teachers are trained.

    Raises:
        BabyllamaError: it does not fit.
    """
    model = recipe.models[name]
    needed = signal_bytes(recipe, model, _grid_of(recipe, model, tokens), teachers, least=True)
    check_space(store, needed, key=f"models.{name}.distillation.signal")


def _grid_of(recipe: Recipe, model: Model, tokens: Path) -> Grid:
    train, dev = (len(read_packed(tokens, split).ids) for split in ("train", "dev"))
    return signal_grid(recipe, model, train_tokens=train, dev_tokens=dev)


def make_signal(
    recipe: Recipe,
    name: str,
    *,
    tokens: Path,
    teachers: Mapping[str, Path],
    made_from: Mapping[str, str],
    out: Path,
    work: Path,
) -> None:
    """The cache that the student `name` reads first; see `build_cache`."""
    model = recipe.models[name]
    assert model.training
    assert model.distillation
    device = pick_device(recipe.runtime.device)
    precision = resolve_precision(model.training.precision, device)
    shares = teacher_shares(model)
    ensemble = Teachers({teacher: load_model(teachers[teacher]) for teacher in shares}).to(device)
    length = recipe.tokens.chunk_length
    conditions = Conditions(positions=length, precision=precision, device=device, teachers=0)
    conditions.set_attention(ensemble.models.values())  # as where they are run in every step
    low_rank = model.distillation.signal == "low-rank"
    request = Request(
        kind=cast(Kind, model.distillation.signal),
        grid=_grid_of(recipe, model, tokens),
        teachers=[*shares],
        made_from=made_from,
        weights=shares if low_rank else dict.fromkeys(shares, 1.0),
        angle=model.distillation.cache_angle,
        rank=model.distillation.cache_rank,
        divergence=model.distillation.divergence if low_rank else "forward",
        precision=precision,
        seed=recipe.corpus.seed,
    )
    flops = ensemble.flops_per_token(length)
    if pick_layers(recipe.runtime.compile, device, request.grid.tokens * flops) == "compiled":
        for teacher in ensemble.models.values():
            compile_layers(teacher)
    progress = _Told("signal", request.grid.tokens)
    shop = Workshop(
        teachers=ensemble,
        texts={"train": read_packed(tokens, "train").ids, "dev": read_packed(tokens, "dev").ids},
        device=device,
        autocast=partial(autocast, device, precision),
        work=work,
        tell=progress,
        flops_per_token=flops,
    )
    try:
        build_cache(request, shop, out)
    finally:
        progress.close()


class _Told:
    """Progress in tokens, of which those that were done before do not count for the rate."""

    def __init__(self, label: str, total: int) -> None:
        self.label, self.total = label, total
        self.line: Progress | None = None

    def __call__(self, done: int) -> None:
        if self.line is None:
            self.line = Progress(self.label, self.total, 1, done, unit="token")
        self.line.update(done)

    def close(self) -> None:
        if self.line:
            self.line.close()


def open_signal(
    recipe: Recipe, name: str, kept: Kept, *, tokens: Path, device: torch.device, precision: str
) -> CachedSignal:
    """The cache of a student, checked.

    Raises:
        CorruptDataError: it is not what was built, or was built from something else.
        BabyllamaError: with the student's settings it is not exact enough.
    """
    model = recipe.models[name]
    assert model.distillation
    wish = Wish(
        made_from=kept.made_from,
        grid=_grid_of(recipe, model, tokens),
        weights=teacher_shares(model),
        pool=model.distillation.pool,
        temperature=model.distillation.temperature,
        divergence=model.distillation.divergence,
        angle=model.distillation.cache_angle,
    )
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    return CachedSignal(kept.folder, wish, device, dtype)
