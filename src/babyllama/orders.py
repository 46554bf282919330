"""The order in which a model of a recipe sees the training text, and the buckets behind it."""

import warnings
from bisect import bisect_right
from collections.abc import Callable, Collection, Mapping
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

from babyllama.corpus.auditing.readability import buckets, from_json, readability, to_json
from babyllama.corpus.pieces import read_pieces
from babyllama.recipe import Model, Recipe
from babyllama.recipe_training import Curriculum as CurriculumSettings
from babyllama.recipe_training import Training
from babyllama.signals import grid_offsets, reads_cache
from babyllama.tokens.batches import ChunkOrder
from babyllama.tokens.curriculum import Curriculum, Mixed, absent_names, match_buckets
from babyllama.tokens.packing import Packed, read_packed

READABILITY = "readability.json"


def chunk_order(
    recipe: Recipe, model: Model, packed: Packed, seed: int, table: Path | None = None
) -> ChunkOrder:
    """The order in which a model sees the training split.

    `table` is the folder of the sources' readability, where `reads_table` says that it takes one.

    Raises:
        RecipeError: a chunk or a batch that is larger than the split or a phase, or buckets that
            do not go with its sources.
    """
    training = model.training
    assert training
    whole = (packed.ids, recipe.tokens.chunk_length, training.batch_size, seed)
    shift = (training.random_offsets, grid_offsets(recipe, model) if reads_cache(model) else ())
    if not training.curriculum:
        return ChunkOrder(*whole, *shift)
    found = Curriculum(
        *whole,
        *shift,
        buckets=_buckets(training.curriculum, packed.sources, table),
        sources=packed.sources,
        epochs=training.epochs,
    )
    return Mixed(*whole, *shift, curriculum=found) if training.curriculum.mixed else found


def _buckets(
    settings: CurriculumSettings, sources: Collection[str], table: Path | None
) -> list[list[str]]:
    if isinstance(settings.buckets, list):
        return match_buckets(settings.buckets, sources)
    assert table
    return buckets(from_json((table / READABILITY).read_text("utf-8")), settings.buckets)


class Planned(NamedTuple):
    """How long a training will be."""

    steps: int
    counted_epoch: Callable[[int], int]
    """Of a step, both from 0, as `ChunkOrder.counted_epoch`."""


def planned(recipe: Recipe, model: Model, tokens: int, done: Mapping[str, Path]) -> Planned:
    """How long a training on so many tokens will be, before it is begun.

    `done` are the folders of stages by name. Where those that a curriculum follows from are not
    among them, its buckets are taken to be equally large.
    """
    training = model.training
    assert training
    known = {"tokens", "readability"} if reads_table(model) else {"tokens"}
    if training.curriculum and known <= done.keys():
        packed, table = read_packed(done["tokens"], "train"), done.get("readability")
        order = chunk_order(recipe, model, packed, recipe.seed, table)
        steps = training.steps or order.total_steps(training.epochs)
        return Planned(steps, order.counted_epoch)
    whole = tokens // recipe.tokens.chunk_length // training.batch_size
    if not training.curriculum:
        steps = training.steps or training.epochs * whole
        return Planned(steps, lambda step: step // max(1, whole))
    buckets = training.curriculum.buckets
    phases = buckets if isinstance(buckets, int) else len(buckets)
    epochs = [
        whole * phase // phases for phase in range(1, phases + 1) for _ in range(training.epochs)
    ]
    ends = [*accumulate(epochs)]
    return Planned(training.steps or ends[-1], lambda step: bisect_right(ends, step))


def reads_table(model: Model) -> bool:
    """Whether the buckets of a model's curriculum are made by readability."""
    curriculum = model.training.curriculum if model.training else None
    return curriculum is not None and isinstance(curriculum.buckets, int)


def number_of_buckets(recipe: Recipe) -> int | None:
    """Into how many a curriculum of the recipe sorts the sources, of the first that does."""
    curricula = [m.training.curriculum for m in recipe.models.values() if m.training]
    return next((c.buckets for c in curricula if c and isinstance(c.buckets, int)), None)


def make_readability(recipe: Recipe, corpus: Path, out: Path) -> None:
    """How hard the sources of the training split read, for buckets of rising difficulty."""
    table = readability(read_pieces(corpus, "train"), seed=recipe.corpus.seed)
    (out / READABILITY).write_text(to_json(table), "utf-8")


def warn_of_unreached_phases(name: str, order: ChunkOrder, training: Training) -> None:
    """Tell of phases of a curriculum that `training.steps` ends before."""
    planned = order.phases(order.total_steps(training.epochs))
    reached = order.phases(training.steps) if training.steps else planned
    if len(reached) < len(planned):
        warnings.warn(
            f"models.{name}.training.steps: {training.steps} end in phase {len(reached)} of"
            f" {len(planned)} of its curriculum",
            stacklevel=2,
        )


def warn_of_absent_sources(name: str, model: Model, sources: Collection[str]) -> None:
    """Tell of names in buckets that the corpus does not have, and of a phase that falls away."""
    curriculum = model.training.curriculum if model.training else None
    if not curriculum or isinstance(curriculum.buckets, int):
        return
    named, left = curriculum.buckets, match_buckets(curriculum.buckets, sources)
    if absent := absent_names(named, sources):
        fewer = f": {len(left)} of {len(named)} phases are left" if len(left) < len(named) else ""
        warnings.warn(
            f"models.{name}.training.curriculum.buckets: the corpus has no {', '.join(absent)}"
            f"{fewer}",
            stacklevel=2,
        )
