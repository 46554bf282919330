"""Making a cache: measure and certify first, then every shard in order, then the header."""

import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load_file, save, save_file
from torch import Tensor

from babyllama.distillation.caching.certificate import Certificate, Pooling, certify
from babyllama.distillation.caching.codes import Kind
from babyllama.distillation.caching.coding import Coding, hidden_coding, low_rank_coding
from babyllama.distillation.caching.grid import Grid, Shard
from babyllama.distillation.caching.header import FORMAT, HEADER
from babyllama.distillation.caching.low_rank import (
    Basis,
    Head,
    Moments,
    fit_basis,
    smallest_rank,
)
from babyllama.distillation.caching.shards import is_finished, write_finished
from babyllama.distillation.caching.space import HELD_OUT, cache_bytes, check_space
from babyllama.distillation.loss import Divergence
from babyllama.distillation.teachers import Teachers
from babyllama.errors import BabyllamaError
from babyllama.models.readout import Readout, has_linear_head
from babyllama.seeds import generator
from babyllama.store import write_json
from babyllama.tokens.batches import Split, make_batch
from babyllama.tokens.packing import Ids

BASIS, HEADS, EXACT = "basis.safetensors", "heads.safetensors", "held-out.safetensors"
# What a cache is built for; a student at another temperature certifies it when it starts.
TEMPERATURES = (1.0, 2.0)
# Tokens that the teachers take at a time, and positions that the basis of low rank is fitted on.
FORWARD_TOKENS = 8192
BASIS_TOKENS = 32768


@dataclass(frozen=True, kw_only=True)
class Request:
    """What decides the content of a cache, and what it may not exceed."""

    kind: Kind
    grid: Grid
    teachers: Sequence[str]
    """In the order of their read-outs."""
    made_from: Mapping[str, str]
    """What the signal depends on, by name -> its fingerprint."""
    weights: Mapping[str, float]
    """Of the teachers in the logit pool: low rank holds this pool and no other."""
    angle: float
    """Degrees that the certificate may have at most."""
    rank: int | None = None
    """Of low rank; by default the smallest that the certificate allows."""
    divergence: Divergence = "forward"
    """Whose gradient is certified."""
    precision: str
    seed: int
    """Of the positions that the basis is fitted on."""


@dataclass(frozen=True, kw_only=True)
class Workshop:
    """Where and with what a cache is made."""

    teachers: Teachers
    texts: Mapping[Split, Ids]
    device: torch.device
    autocast: Callable[[], AbstractContextManager[object]]
    work: Path
    """Keeps finished shards when a build is killed."""
    tell: Callable[[int], None]
    """Called with the tokens that are done, first with those of finished shards."""
    flops_per_token: float
    """Of all teachers' forward passes."""

    def features(
        self, split: Split, starts: npt.NDArray[np.int64], length: int
    ) -> Iterator[list[Tensor]]:
        """The exact features of all teachers on chunks, [n, D_k] in float32, a batch at a time."""
        size = max(1, FORWARD_TOKENS // length)
        for first in range(0, len(starts), size):
            batch = make_batch(self.texts[split], starts[first : first + size], length, split)
            with self.autocast():
                signal = self.teachers.signal(batch.to(self.device))
            yield [readout.features.float() for readout in signal]


def build_cache(request: Request, shop: Workshop, out: Path) -> None:
    """Fill `out` with a cache.

    Raises:
        BabyllamaError: a teacher without a linear head, too little disk, or a certificate above
            the angle that was asked for.
    """
    heads = _heads(shop.teachers)
    exact = _held_out(request, shop, heads)
    coding = _coding(request, shop, heads, exact)
    draft = _Draft(heads, exact, coding, _certified(request, coding, exact))
    _write_shards(request, shop, draft)
    _assemble(request, shop, draft, out)


class _Draft(NamedTuple):
    """What is known of a cache before its shards are made."""

    heads: list[Head]
    exact: list[Readout]
    """Of the held-out positions."""
    coding: Coding
    certificates: list[Certificate]


def _write_shards(request: Request, shop: Workshop, draft: _Draft) -> None:
    """All that are not finished yet, in order."""
    shards = [*request.grid.shards()]
    finished = [shard for shard in shards if is_finished(shop.work / shard.name)]
    held = sum((shop.work / shard.name).stat().st_size for shard in finished)
    check_space(shop.work, _bytes(request, draft) - held, key="distillation.signal")
    done = sum(shard.rows for shard in finished) * request.grid.length
    shop.tell(done)
    for shard in shards:
        if shard not in finished:
            write_finished(
                shop.work / shard.name, _encoded(request, shop, draft.coding, shard, done)
            )
            done += shard.rows * request.grid.length


def _heads(teachers: Teachers) -> list[Head]:
    for name, model in teachers.models.items():
        if not has_linear_head(model):
            raise BabyllamaError(
                f"distillation.signal: teacher {name} ({model.config.model_type}) scales or caps"
                " its logits, so hidden states do not hold its signal: set it to online"
            )
    layers = [model.get_output_embeddings() for model in teachers.models.values()]
    return [
        Head(layer.weight.detach(), None if layer.bias is None else layer.bias.detach())
        for layer in layers
    ]


def _held_out(request: Request, shop: Workshop, heads: list[Head]) -> list[Readout]:
    """The exact signal of some chunks of the dev split, at even distances."""
    starts = request.grid.starts("dev")[held_out_rows(request.grid)]
    parts = [*shop.features("dev", starts, request.grid.length)]
    features = [torch.cat(of_teacher) for of_teacher in zip(*parts, strict=True)]
    return [Readout(f, *head) for f, head in zip(features, heads, strict=True)]


def held_out_rows(grid: Grid) -> npt.NDArray[np.int64]:
    """Rows of the dev split that certificates are measured on."""
    number = max(1, min(len(grid.dev), HELD_OUT // grid.length))
    return np.linspace(0, len(grid.dev) - 1, number).round().astype(np.int64)


def _coding(request: Request, shop: Workshop, heads: list[Head], exact: list[Readout]) -> Coding:
    length = request.grid.length
    if request.kind != "low-rank":
        return hidden_coding(request.kind, length, heads)
    path = shop.work / BASIS
    if not is_finished(path):
        basis = _fitted_basis(request, shop, heads, exact)
        write_finished(path, [save(basis.cut(basis.rank).tensors())])
    tensors = load_file(path, device=str(shop.device))
    return low_rank_coding(length, Basis(**tensors))


def _fitted_basis(
    request: Request, shop: Workshop, heads: list[Head], exact: list[Readout]
) -> Basis:
    """Fitted on positions of the training text, cut to the smallest rank that is exact enough."""
    grid = request.grid
    starts = grid.starts("train")
    number = min(len(starts), max(1, BASIS_TOKENS // grid.length))
    picked = np.sort(generator(request.seed, "basis").permutation(len(starts))[:number])
    moments = Moments(shop.features("train", starts[picked], grid.length))
    weights = [request.weights[name] for name in request.teachers]
    shares = [weight / sum(weights) for weight in weights]
    basis = fit_basis(heads, shares, moments)

    def holds(rank: int) -> bool:
        coding = low_rank_coding(grid.length, basis.cut(rank))
        return all(c.angle <= request.angle for c in _certificates(request, coding, exact))

    if request.rank:
        return basis.cut(min(request.rank, basis.rank))
    return basis.cut(smallest_rank(basis.rank, holds))


def _certificates(request: Request, coding: Coding, exact: list[Readout]) -> Iterator[Certificate]:
    """At every temperature, with the weights of the request."""
    weights = [request.weights[name] for name in request.teachers]
    features = [readout.features for readout in exact]
    cached = coding.decode(coding.encode(features))
    ours = [1.0] if coding.basis else weights
    for temperature in TEMPERATURES:
        yield certify(
            Pooling(exact, weights), Pooling(cached, ours), temperature, request.divergence
        )


def _certified(request: Request, coding: Coding, exact: list[Readout]) -> list[Certificate]:
    """The certificates.

    Raises:
        BabyllamaError: one is above the angle that was asked for.
    """
    certificates = [*_certificates(request, coding, exact)]
    for certificate in certificates:
        refuse_above(certificate, request.kind, request.angle)
    return certificates


def refuse_above(certificate: Certificate, kind: str, angle: float) -> None:
    """Refuse a certificate that has more degrees than asked.

    Raises:
        BabyllamaError: with the figure.
    """
    if not certificate.angle <= angle:
        raise BabyllamaError(
            f"distillation.signal: the gradient from {kind} is off by {certificate}, more than"
            f" distillation.cache_angle {angle:g}: take a more exact kind (hidden-fp16, online) or"
            " raise the angle"
        )


def _bytes(request: Request, draft: _Draft) -> int:
    widths = [head.weight.shape[1] for head in draft.heads]
    rank = draft.coding.basis.rank if draft.coding.basis else None
    return cache_bytes(request.kind, request.grid, widths, len(draft.heads[0].weight), rank)


def _encoded(
    request: Request, shop: Workshop, coding: Coding, shard: Shard, done: int
) -> Iterator[bytes]:
    """The bytes of a shard."""
    length = request.grid.length
    starts = request.grid.starts(shard.split)[shard.first : shard.first + shard.rows]
    for features in shop.features(shard.split, starts, length):
        yield coding.encode(features).tobytes()
        done += len(features[0])
        shop.tell(done)


def _assemble(request: Request, shop: Workshop, draft: _Draft, out: Path) -> None:
    """Put all of a cache into its folder; finished shards stay where they were, too."""
    names = [shard.name for shard in request.grid.shards()]
    if draft.coding.basis:
        names.append(BASIS)
    for name in names:
        _link(shop.work / name, out / name)
    save_file(_named_heads(request.teachers, draft.heads), out / HEADS)
    held_out = zip(request.teachers, draft.exact, strict=True)
    save_file({name: readout.features.cpu() for name, readout in held_out}, out / EXACT)
    write_json(out / HEADER, _header(request, shop, draft))


def _header(request: Request, shop: Workshop, draft: _Draft) -> dict[str, Any]:
    basis, tokens = draft.coding.basis, _tokens_run(request)
    return {
        "format": FORMAT,
        "kind": request.kind,
        "teachers": [*request.teachers],
        "widths": [head.weight.shape[1] for head in draft.heads],
        "rank": basis.rank if basis else None,
        "weights": dict(request.weights) if basis else None,
        "precision": request.precision,
        "made_from": dict(request.made_from),
        **request.grid.as_json(),
        "bytes_per_token": draft.coding.codec.dtype.itemsize / request.grid.length,
        "tokens_run": tokens,
        "flops": tokens * shop.flops_per_token,
        "certificate": [certificate._asdict() for certificate in draft.certificates],
    }


def _named_heads(teachers: Iterable[str], heads: Iterable[Head]) -> dict[str, Tensor]:

    found = {}
    for name, head in zip(teachers, heads, strict=True):
        found[f"{name}.weight"] = head.weight.float().contiguous().cpu()
        if head.bias is not None:
            found[f"{name}.bias"] = head.bias.float().contiguous().cpu()
    return found


def _tokens_run(request: Request) -> int:
    """Tokens that the teachers have read for a cache: all chunks, and what was measured on."""
    grid = request.grid
    measured = len(held_out_rows(grid)) * grid.length
    if request.kind == "low-rank":
        chunks = max(1, BASIS_TOKENS // grid.length)
        measured += grid.length * min(grid.rows_in("train"), chunks)
    return grid.tokens + measured


def _link(source: Path, target: Path) -> None:
    """The same file under a second name; a copy where the file system has no such thing."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
