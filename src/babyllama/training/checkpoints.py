"""Checkpoints that a kill cannot spoil: written beside, synced, renamed, the marker last.

A checkpoint is a folder `step-00000120` with tensors as safetensors, plain JSON in `state.json`,
and the marker `sha256.json`, which holds the sha256 of all of them. Loading takes the newest one
that verifies; older ones are deleted only after the newest has been read back from its place.
"""

import json
import shutil
import warnings
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from babyllama.store import file_digest, sync_path, sync_tree, write_json

STATE = "state.json"
MARKER = "sha256.json"
KEPT = 2
DAMAGE = (OSError, ValueError, KeyError, TypeError, RecursionError, SafetensorError)
"""What reading a damaged checkpoint raises."""


class Checkpoint(NamedTuple):
    """What was saved: JSON, and tensors by file stem and name."""

    state: dict[str, Any]
    tensors: dict[str, dict[str, Tensor]]


def save_checkpoint(
    folder: Path, step: int, state: dict[str, Any], tensors: dict[str, dict[str, Tensor]]
) -> None:
    """Write the checkpoint of a step; once it verifies, delete all but the newest up to it."""
    final = folder / f"step-{step:08d}"
    beside = folder / f".{final.name}.new"
    for half_written in folder.glob(".step-*.new"):
        shutil.rmtree(half_written)
    beside.mkdir(parents=True)
    digests = {}
    for stem, values in tensors.items():
        # Of what was meant, not of what the disk then holds.
        content = save({k: v.contiguous() for k, v in values.items()})
        (beside / f"{stem}.safetensors").write_bytes(content)
        digests[f"{stem}.safetensors"] = sha256(content).hexdigest()
    write_json(beside / STATE, {"step": step, **state})
    digests[STATE] = file_digest(beside / STATE)
    write_json(beside / MARKER, digests)
    sync_tree(beside)
    shutil.rmtree(final, ignore_errors=True)
    beside.rename(final)
    for parent in (folder, folder.parent):
        sync_path(parent)
    try:
        _verify(final)
    except DAMAGE as error:
        warnings.warn(
            f"checkpoint {final.name} cannot be read back ({error}): older ones are kept; check"
            " the disk",
            stacklevel=2,
        )
    else:
        _delete_older(folder, final)


def _delete_older(folder: Path, final: Path) -> None:
    # One of a later step is a bad one that was passed over: it must not take a good one's place.
    kept = [path for path in _newest_first(folder) if path <= final][:KEPT]
    for old in set(_newest_first(folder)) - set(kept):
        (old / MARKER).unlink(missing_ok=True)
        shutil.rmtree(old)


def load_checkpoint(folder: Path) -> Checkpoint | None:
    """The newest checkpoint that verifies; a bad one is named in a warning and passed over."""
    for path in _newest_first(folder):
        try:
            return _load(path)
        except DAMAGE as error:
            warnings.warn(f"checkpoint {path.name} is passed over: {error}", stacklevel=2)
    return None


def _newest_first(folder: Path) -> list[Path]:
    return sorted(folder.glob("step-*"), reverse=True)


def _verify(path: Path) -> None:
    """Hold every file against the marker; one of `DAMAGE` where they differ."""
    digests = json.loads((path / MARKER).read_text("utf-8"))
    names = {file.name for file in path.iterdir()} - {MARKER}
    if not isinstance(digests, dict) or STATE not in digests or names - digests.keys():
        raise ValueError(f"{MARKER} does not name all files")
    for name, digest in digests.items():
        if file_digest(path / name) != digest:
            raise ValueError(f"{name} does not have the sha256 of its marker")


def _load(path: Path) -> Checkpoint:
    _verify(path)
    state = json.loads((path / STATE).read_text("utf-8"))
    return Checkpoint(state, {file.stem: load_file(file) for file in path.glob("*.safetensors")})


def weight_tensors(module: nn.Module) -> dict[str, Tensor]:
    """Parameters, tied ones once, and the buffers that belong to the state."""
    kept = set(module.state_dict())
    buffers = {name: value for name, value in module.named_buffers() if name in kept}
    return {name: p.detach() for name, p in module.named_parameters()} | buffers


def load_weight_tensors(module: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Put back what `weight_tensors` took out."""
    wanted = set(weight_tensors(module))
    if wanted != set(tensors):
        raise ValueError(f"weights differ in {sorted(wanted ^ set(tensors))[:3]}")
    module.load_state_dict(tensors, strict=False)
