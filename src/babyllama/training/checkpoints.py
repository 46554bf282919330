"""Checkpoints that a kill cannot spoil: written beside, synced, renamed, the marker last.

A checkpoint is a folder `step-00000120` with tensors as safetensors, plain JSON in `state.json`,
and the marker `sha256.json`, which holds the sha256 of all of them. Loading takes the newest one
that verifies.
"""

import json
import shutil
import warnings
from pathlib import Path
from typing import Any, NamedTuple

from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from babyllama.store import file_digest, sync_path, sync_tree, write_json

STATE = "state.json"
MARKER = "sha256.json"
KEPT = 2


class Checkpoint(NamedTuple):
    """What was saved: JSON, and tensors by file stem and name."""

    state: dict[str, Any]
    tensors: dict[str, dict[str, Tensor]]


def save_checkpoint(
    folder: Path, step: int, state: dict[str, Any], tensors: dict[str, dict[str, Tensor]]
) -> None:
    """Write the checkpoint of a step, then delete all but the newest up to it."""
    final = folder / f"step-{step:08d}"
    beside = folder / f".{final.name}.new"
    for half_written in folder.glob(".step-*.new"):
        shutil.rmtree(half_written)
    beside.mkdir(parents=True)
    for stem, values in tensors.items():
        save_file({k: v.contiguous() for k, v in values.items()}, beside / f"{stem}.safetensors")
    write_json(beside / STATE, {"step": step, **state})
    digests = {path.name: file_digest(path) for path in sorted(beside.iterdir())}
    write_json(beside / MARKER, digests)
    sync_tree(beside)
    shutil.rmtree(final, ignore_errors=True)
    beside.rename(final)
    sync_path(folder)
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
        except (OSError, ValueError, KeyError) as error:
            warnings.warn(f"checkpoint {path.name} is passed over: {error}", stacklevel=2)
    return None


def _newest_first(folder: Path) -> list[Path]:
    return sorted(folder.glob("step-*"), reverse=True)


def _load(path: Path) -> Checkpoint:
    digests = json.loads((path / MARKER).read_text("utf-8"))
    for name, digest in digests.items():
        if file_digest(path / name) != digest:
            raise ValueError(f"{name} does not have the sha256 of its marker")
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
