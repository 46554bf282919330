"""A cache built and read: the signal of its teachers, within what its kind rounds off."""

import itertools
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from babyllama.distillation.caching import build as building
from babyllama.distillation.caching import grid as grids
from babyllama.distillation.caching import space
from babyllama.distillation.caching.header import read_header
from babyllama.distillation.caching.source import CachedSignal
from babyllama.distillation.fused import fused_loss
from babyllama.distillation.loss import pooled_log_probabilities
from babyllama.distillation.teachers import SignalSource
from babyllama.errors import BabyllamaError, CorruptDataError, RecipeError
from babyllama.models.readout import Readout
from babyllama.tokens.batches import Batch, counts
from small_cache import (
    GRID,
    LENGTH,
    MADE_FROM,
    VOCABULARY,
    batch,
    build,
    new_teachers,
    read,
    request,
    workshop,
)

KINDS = ("hidden-fp16", "hidden-int8", "low-rank")
# Of a probability, and of the loss's gradient at the student's head in parts of its length.
TOLERANCE = {"hidden-fp16": (4e-4, 4e-3), "hidden-int8": (1.5e-2, 3e-2), "low-rank": (1e-2, 3e-2)}
SPLITS = [("train", (5, 1700, 0, 898, 899)), ("dev", (7, 0, 19)), ("train", (3,))]


@pytest.fixture(scope="module")
def caches(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One of each kind, low rank with all ranks there are; no test may change them."""
    root = tmp_path_factory.mktemp("caches")
    return {kind: build(root, request(kind, rank=999)) for kind in KINDS}


def probabilities(source: SignalSource, some: Batch, **settings: Any) -> Tensor:
    logits = [readout.logits(slice(None)) for readout in source.signal(some)]
    return pooled_log_probabilities(logits, weights=source.weights, **settings).exp()


def head_gradient(source: SignalSource, some: Batch, **settings: Any) -> Tensor:
    """Of the distillation loss, at the head of a student with random features."""
    torch.manual_seed(1)
    features, head = torch.randn(some.labels.numel(), 8), torch.randn(VOCABULARY, 8)
    head.requires_grad_()
    terms = fused_loss(
        Readout(features, head),
        some.labels.flatten(),
        source.signal(some),
        counts=counts(some),
        ce_weight=0.2,
        teacher_weights=source.weights,
        **settings,
    )
    terms.loss.backward()
    assert head.grad is not None
    return head.grad


def assert_close(
    source: CachedSignal, split: Any, rows: Any, divergence: Any = "forward", **settings: Any
) -> None:
    kind, some = source.header["kind"], batch(split, rows)
    online = new_teachers()
    assert online.weights == [1.0, 3.0]
    most, share = TOLERANCE[kind]
    exact = probabilities(online, some, **settings)
    assert (probabilities(source, some, **settings) - exact).abs().max() < most
    exact = head_gradient(online, some, divergence=divergence, **settings)
    error = head_gradient(source, some, divergence=divergence, **settings) - exact
    assert error.norm() < share * exact.norm()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("split", "rows"), SPLITS)
def test_it_is_the_signal_of_the_teachers(
    caches: dict[str, Path], kind: str, split: Any, rows: Any
) -> None:
    source = read(caches[kind])
    assert source.names == ["gpt2", "llama"]
    assert_close(source, split, rows, temperature=2.0)


@pytest.mark.parametrize("kind", ["hidden-fp16", "hidden-int8"])
@pytest.mark.parametrize(
    ("pool", "temperature"),
    [*itertools.product(["logits", "probabilities"], [0.5, 1.0, 4.0])],
)
def test_hidden_states_serve_every_pool_and_temperature(
    caches: dict[str, Path], kind: str, pool: Any, temperature: float
) -> None:
    source = read(caches[kind], pool=pool, temperature=temperature)
    assert_close(source, *SPLITS[0], pool=pool, temperature=temperature)


@pytest.mark.parametrize("kind", ["hidden-fp16", "hidden-int8"])
def test_hidden_states_serve_all_weights(caches: dict[str, Path], kind: str) -> None:
    source = read(caches[kind], weights={"llama": 1.0, "gpt2": 7.0})
    assert source.weights == [7.0, 1.0]


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_low_rank_serves_every_temperature(caches: dict[str, Path], temperature: float) -> None:
    source = read(caches["low-rank"], temperature=temperature)
    assert source.weights == [1.0]
    if temperature >= 1:
        assert_close(source, *SPLITS[0], temperature=temperature)


def test_low_rank_refuses_another_pool_and_other_weights_by_name(caches: dict[str, Path]) -> None:
    with pytest.raises(RecipeError, match="pool probabilities: a low-rank cache holds the logit"):
        read(caches["low-rank"], pool="probabilities")
    with pytest.raises(RecipeError, match=r"teacher_weights\.gpt2: the low-rank cache was built"):
        read(caches["low-rank"], weights={"gpt2": 1.0, "llama": 2.0})
    assert read(caches["low-rank"], weights={"gpt2": 2.0, "llama": 6.0}).weights == [1.0]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_serves_the_reverse_divergence_and_is_certified_for_it(
    caches: dict[str, Path], kind: str
) -> None:
    source = read(caches[kind], divergence="reverse")
    assert_close(source, *SPLITS[0], temperature=2.0, divergence="reverse")
    assert source.certificate.divergence == "reverse"
    assert source.certificate.angle != read(caches[kind]).certificate.angle
    with pytest.raises(BabyllamaError, match=rf"from {kind} is off by [\d.]+ degrees"):
        read(caches[kind], divergence="reverse", angle=1e-6)


def test_a_bias_of_a_head_is_kept(tmp_path: Path) -> None:
    teachers = new_teachers("gptj")
    torch.nn.init.normal_(teachers.models["gptj"].get_output_embeddings().bias)
    made = {"models/gptj": "1"}
    for kind in KINDS:
        asked = request(kind, teachers=["gptj"], weights={"gptj": 1.0}, made_from=made, rank=99)
        source = read(
            build(tmp_path, asked, teachers), made_from=made, weights={"gptj": 1.0}, temperature=1.0
        )
        found = probabilities(source, batch())
        assert (found - probabilities(teachers, batch())).abs().max() < TOLERANCE[kind][0]


def test_products_in_bf16_take_their_factors_in_it(caches: dict[str, Path]) -> None:
    from small_cache import CPU, wish

    for kind in KINDS:
        for readout in CachedSignal(caches[kind], wish(), CPU, torch.bfloat16).signal(batch()):
            assert readout.weight is not None
            assert {readout.features.dtype, readout.weight.dtype} == {torch.bfloat16}


def test_the_header_says_what_it_is_and_how_exact(caches: dict[str, Path]) -> None:
    for kind in KINDS:
        header = json.loads((caches[kind] / "header.json").read_text("utf-8"))
        assert header["kind"] == kind
        assert [row["temperature"] for row in header["certificate"]] == [1.0, 2.0]
        assert all(row["positions"] == 20 * LENGTH for row in header["certificate"])
        described = read(caches[kind]).described()
        assert described["certificate"]["angle"] == pytest.approx(
            header["certificate"][1]["angle"], rel=1e-3
        )
        shards = [p.stat().st_size for p in caches[kind].glob("*.bin")]
        assert sum(shards) == described["bytes_per_token"] * GRID.tokens
        assert read(caches[kind]).flops == 2.0 * header["tokens_run"]
    angles = [read(caches[kind]).certificate.angle for kind in KINDS]
    assert 0 < angles[0] < angles[1]


def test_the_estimate_of_its_size_is_near(caches: dict[str, Path]) -> None:
    for kind in KINDS:
        rank = read(caches[kind]).header["rank"]
        found = sum(p.stat().st_size for p in caches[kind].iterdir() if p.name != "manifest.json")
        estimate = space.cache_bytes(kind, GRID, [16, 24], VOCABULARY, rank)  # type: ignore[arg-type]
        assert found * 0.8 < estimate < found * 1.4


def test_the_rank_is_the_smallest_that_the_angle_allows(tmp_path: Path) -> None:
    source = read(build(tmp_path, request("low-rank", angle=12.0)))
    rank = source.header["rank"]
    assert 8 <= rank < 40
    assert all(row["angle"] <= 12 for row in source.header["certificate"])
    assert all(row["divergence"] == "forward" for row in source.header["certificate"])
    less = request("low-rank", rank=rank - 8, angle=12.0, made_from={"other": "1"})
    with pytest.raises(
        BabyllamaError, match=r"from low-rank is off by [\d.]+ degrees, .* 12: take"
    ):
        build(tmp_path, less)


def test_a_rank_for_the_reverse_divergence_holds_its_angle(tmp_path: Path) -> None:
    asked = request("low-rank", angle=12.0, divergence="reverse")
    header = read(build(tmp_path, asked), divergence="reverse").header
    assert [row["divergence"] for row in header["certificate"]] == ["reverse", "reverse"]
    assert all(row["angle"] <= 12 for row in header["certificate"])


@pytest.mark.parametrize("kind", KINDS)
def test_a_build_that_is_not_exact_enough_is_refused_with_the_figure(
    tmp_path: Path, kind: str
) -> None:
    with pytest.raises(
        BabyllamaError, match=rf"from {kind} is off by [\d.]+ degrees, .*cache_angle 1e-06"
    ):
        build(tmp_path, request(kind, angle=1e-6))
    assert not [*tmp_path.glob("signal-*/header.json")]


def test_a_student_at_another_temperature_certifies_for_itself(caches: dict[str, Path]) -> None:
    ours = read(caches["low-rank"], temperature=0.5).certificate
    assert ours.temperature == 0.5
    with pytest.raises(BabyllamaError, match=r"degrees, .* at temperature 0\.5 .*cache_angle"):
        read(caches["low-rank"], temperature=0.5, angle=ours.angle * 0.99)


def test_a_teacher_that_bends_its_logits_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        building, "has_linear_head", lambda model: model.config.model_type != "llama"
    )
    with pytest.raises(BabyllamaError, match=r"teacher llama \(llama\) scales or caps its logits"):
        build(tmp_path, request("hidden-fp16"))


def test_a_disk_that_is_too_small_is_found_before_the_first_shard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1 << 20))
    with pytest.raises(BabyllamaError, match=r"needs 0\.00 GiB more, .* has 0\.00 GiB free: free"):
        build(tmp_path, request("hidden-fp16"))
    assert not [*tmp_path.rglob("*.bin")]


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"made_from": MADE_FROM | {"tokens": "other"}}, "tokens"),
        ({"made_from": MADE_FROM | {"tokenizer": "x", "tokens": "y"}}, "tokens, tokenizer"),
        ({"made_from": MADE_FROM | {"models/other": "5"}}, "models/other"),
        ({"grid": replace(GRID, length=6)}, "chunk_length"),
        ({"grid": replace(GRID, offsets=(0,))}, "offsets"),
        ({"grid": replace(GRID, dev=(0,))}, "dev_starts"),
    ],
)
def test_a_cache_of_something_else_is_refused_by_what_differs(
    caches: dict[str, Path], changes: dict[str, Any], named: str
) -> None:
    with pytest.raises(CorruptDataError, match=f"was made with another {named}: delete"):
        read(caches["hidden-fp16"], **changes)


@pytest.mark.parametrize(
    "header",
    [{"format": 1, "made_from": value} for value in (None, 3, "x", [], [[1, 2]])] + [[], 3],
)
def test_a_header_without_mappings_is_refused(tmp_path: Path, header: object) -> None:
    (tmp_path / "header.json").write_text(json.dumps(header))
    with pytest.raises(CorruptDataError, match=r"has no readable header\.json \(.*delete it"):
        read_header(tmp_path)


@pytest.mark.parametrize("file", ["train-rank0-00001.bin", "heads.safetensors", "header.json"])
def test_a_flipped_byte_is_refused_by_the_name_of_its_file(
    caches: dict[str, Path], tmp_path: Path, file: str
) -> None:
    folder = shutil.copytree(caches["hidden-int8"], tmp_path / "copy")
    read(folder)
    content = bytearray((folder / file).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / file).write_bytes(content)
    with pytest.raises(CorruptDataError, match=f"{file} does not have the sha256 of its manifest"):
        read(folder)


def test_a_truncated_shard_is_refused_by_name(caches: dict[str, Path], tmp_path: Path) -> None:
    folder = shutil.copytree(caches["hidden-int8"], tmp_path / "copy")
    shard = folder / "dev-rank0-00000.bin"
    shard.write_bytes(shard.read_bytes()[:-1])
    with pytest.raises(CorruptDataError, match=r"dev-rank0-00000\.bin is \d+ bytes, expected \d+"):
        read(folder)


def contents(folder: Path) -> dict[str, bytes]:
    names = ("manifest.json", ".verified.json")
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.name not in names}


class Killed(BaseException):
    """What no handler of the build may catch."""


def killed_after(tokens: int) -> Callable[[int], None]:
    def tell(done: int) -> None:
        if done >= tokens:
            raise Killed

    return tell


@pytest.mark.parametrize("kind", KINDS)
def test_a_build_that_was_killed_goes_on_and_ends_bit_identical(
    caches: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    work, out = tmp_path / "work", tmp_path / "out"
    out.mkdir()
    asked = request(kind, rank=999)
    for tokens in (2000, 9000, 16000):
        with pytest.raises(Killed):
            building.build_cache(asked, workshop(work, tell=killed_after(tokens)), out)
    finished = {p.name: p.stat().st_mtime_ns for p in work.glob("train-*.bin")}
    assert len(finished) == 3
    spoilt = work / "train-rank0-00001.bin"
    spoilt.write_bytes(b"0" + spoilt.read_bytes()[1:])
    done: list[int] = []
    building.build_cache(asked, workshop(work, tell=done.append), out)
    kept = {p.name: p.stat().st_mtime_ns for p in work.glob("train-*.bin")}
    assert {name for name in finished if kept[name] == finished[name]} == {*finished} - {
        spoilt.name
    }
    assert (
        done[0] == 20 * LENGTH + 2 * 342 * LENGTH
    )  # of finished shards that are still what they were
    assert done[-1] == GRID.tokens
    assert contents(out) == contents(caches[kind])


def test_a_shard_is_a_part_of_the_text(caches: dict[str, Path]) -> None:
    assert GRID.rows_a_shard("train") == -(-grids.LEAST_TOKENS // LENGTH) == 342
    assert len([*caches["hidden-fp16"].glob("train-*.bin")]) == -(-2 * 899 // 342)
