"""Whatever became of a file that the program wrote, it is read as it was or refused."""

import json
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
import torch
from fuzz import DEEP, changed, damaged, fuzzed, json_bytes, kept
from hypothesis import given
from hypothesis import strategies as st

from babyllama.corpus.fetching.fetch import _read_lock
from babyllama.corpus.pieces import read_pieces
from babyllama.distillation.caching.header import check_header, read_header
from babyllama.distillation.caching.shards import Shards
from babyllama.store import read_manifest, verify
from babyllama.tokens.packing import read_packed
from babyllama.training.checkpoints import load_checkpoint, save_checkpoint
from small_cache import GRID, MADE_FROM


def spoilt(content: bytes) -> st.SearchStrategy[bytes]:
    """Damage to bytes and, where they are JSON, to its values."""
    given = damaged(content) | DEEP.map(str.encode) | st.binary(max_size=64)
    try:
        return given | changed(json.loads(content)).map(json_bytes)
    except ValueError:
        return given


@st.composite
def folder_with_a_spoilt_file(draw: st.DrawFn, files: dict[str, bytes]) -> dict[str, bytes]:
    """Files by name, of which one is spoilt or gone."""
    name = draw(st.sampled_from([*files]))
    if draw(st.integers(0, 9)) == 0:
        return {other: content for other, content in files.items() if other != name}
    return files | {name: draw(spoilt(files[name]))}


def written(folder: str, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (Path(folder) / name).parent.mkdir(parents=True, exist_ok=True)
        (Path(folder) / name).write_bytes(content)
    return Path(folder)


def array_bytes(array: Any) -> bytes:
    with TemporaryDirectory() as folder:
        np.save(Path(folder) / "a.npy", array)
        return (Path(folder) / "a.npy").read_bytes()


TOKENS = {
    "train.bin": np.arange(40, dtype=np.uint16).tobytes(),
    "train.offsets.npy": array_bytes(np.array([0, 10, 40], np.int64)),
    "tokens.json": json_bytes(
        {"vocabulary": 50, "train_sources": {"a": {"words": 30, "tokens": 40}}, "train_tokens": 40}
    ),
}


@fuzzed
@given(files=folder_with_a_spoilt_file(TOKENS))
def test_packed_tokens_are_what_their_files_say_or_refused(files: dict[str, bytes]) -> None:
    with TemporaryDirectory() as folder:
        packed = kept(lambda: read_packed(written(folder, files), "train"))
        if packed is not None:
            assert (np.diff(packed.offsets) >= 0).all()
            assert (packed.offsets[0], packed.offsets[-1]) == (0, len(packed.ids))
            assert packed.ids.dtype in (np.uint16, np.uint32)


HEADER = {
    "format": 1,
    "kind": "hidden-int8",
    "teachers": ["gpt2", "llama"],
    "made_from": dict(MADE_FROM),
    **GRID.as_json(),
    "certificate": [{"angle": 1.0}],
}


@fuzzed
@given(content=spoilt(json_bytes(HEADER)))
def test_a_header_of_a_cache_is_the_one_that_is_wanted_or_refused(content: bytes) -> None:
    with TemporaryDirectory() as folder:
        place = written(folder, {"header.json": content})
        header = kept(lambda: read_header(place))
        if header is not None:
            kept(lambda: check_header(place, header, MADE_FROM, GRID))


@fuzzed
@given(size=st.integers(0, 60), gone=st.booleans(), which=st.integers(0, 9))
def test_shards_of_another_length_are_refused(size: int, gone: bool, which: int) -> None:
    dtype = np.dtype(np.uint8)
    shards = [*GRID.shards()]
    picked = shards[which % len(shards)]
    with TemporaryDirectory() as folder:
        files = {shard.name: bytes(shard.rows) for shard in shards} | {picked.name: bytes(size)}
        if gone:
            del files[picked.name]
        found = kept(lambda: Shards(written(folder, files), GRID, dtype))
        assert (found is None) == (gone or size != picked.rows)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of a checkpoint of step 2."""
    folder = tmp_path_factory.mktemp("checkpoint")
    save(folder, 2)
    return {path.name: path.read_bytes() for path in (folder / "step-00000002").iterdir()}


def save(folder: Path, step: int) -> None:
    tensors = {"model": {"weight": torch.full((2,), float(step))}}
    save_checkpoint(folder, step, {"seconds": 1.0}, tensors)


@fuzzed
@given(data=st.data())
def test_a_checkpoint_is_what_was_saved_or_the_one_before_is_taken(
    checkpoint: dict[str, bytes], data: st.DataObject
) -> None:
    files = data.draw(folder_with_a_spoilt_file(checkpoint))
    with TemporaryDirectory() as place:
        folder = Path(place)
        save(folder, 1)
        written(str(folder / "step-00000002"), files)
        found = kept(lambda: load_checkpoint(folder))
        assert found is not None
        step = 2 if files == checkpoint else found.state["step"]
        assert found.state == {"step": step, "seconds": 1.0}
        assert torch.equal(found.tensors["model"]["weight"], torch.full((2,), float(step)))


MANIFEST = {
    "kind": "corpus",
    "fingerprint": "0" * 16,
    "version": 1,
    "settings": {},
    "inputs": {},
    "files": {
        "a": {
            "bytes": 1,
            "sha256": sha256(b"a").hexdigest(),
        }
    },
    "seconds": 1.0,
    "libraries": {},
}
STAMPS = {"a": [1, 5]}


@fuzzed
@given(
    files=folder_with_a_spoilt_file(
        {"manifest.json": json_bytes(MANIFEST), "a": b"a", ".verified.json": json_bytes(STAMPS)}
    )
)
def test_an_artifact_is_what_its_manifest_says_or_refused(files: dict[str, bytes]) -> None:
    with TemporaryDirectory() as folder:
        place = written(folder, files)
        kept(lambda: read_manifest(place))
        kept(lambda: verify(place))


@fuzzed
@given(content=spoilt(json_bytes({"text": "a b\n", "starts": True}) + b"\n"))
def test_pieces_of_a_corpus_are_read_or_refused(content: bytes) -> None:
    with TemporaryDirectory() as folder:
        place = written(folder, {"train/a.jsonl": content})
        for piece in kept(lambda: [*read_pieces(place, "train")]) or []:
            assert isinstance(piece.text, str)


LOCK = {"blimp": {"archives": {}, "files": {"a": {"bytes": 1, "sha256": "b"}}}}


@fuzzed
@given(content=spoilt(json_bytes(LOCK)))
def test_a_lock_file_of_fetch_is_read_or_refused(content: bytes) -> None:
    with TemporaryDirectory() as folder:
        kept(lambda: _read_lock(written(folder, {"lock": content}) / "lock"))
