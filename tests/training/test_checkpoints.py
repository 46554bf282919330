import json
import shutil
import warnings
from pathlib import Path

import pytest
import torch
from torch import nn

from babyllama.training.checkpoints import (
    Checkpoint,
    load_checkpoint,
    load_weight_tensors,
    save_checkpoint,
    weight_tensors,
)
from tiny_jobs import new_model


def save(folder: Path, step: int) -> Path:
    """A checkpoint whose content tells its step."""
    save_checkpoint(
        folder,
        step,
        {"seconds": step / 2},
        {"model": {"weight": torch.full((3, 4), float(step))}, "optimizer": {}},
    )
    return folder / f"step-{step:08d}"


def assert_holds(checkpoint: Checkpoint | None, step: int) -> None:
    assert checkpoint is not None
    assert checkpoint.state == {"step": step, "seconds": step / 2}
    assert torch.equal(checkpoint.tensors["model"]["weight"], torch.full((3, 4), float(step)))
    assert checkpoint.tensors["optimizer"] == {}


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_was_saved_is_loaded(tmp_path: Path) -> None:
    save(tmp_path, 7)
    assert_holds(load_checkpoint(tmp_path), 7)


def test_a_folder_without_checkpoints_holds_none(tmp_path: Path) -> None:
    assert load_checkpoint(tmp_path / "missing") is None
    assert load_checkpoint(tmp_path) is None


def test_the_newest_wins_and_two_are_kept(tmp_path: Path) -> None:
    for step in (9, 100, 1001):
        save(tmp_path, step)
    assert names(tmp_path) == ["step-00000100", "step-00001001"]
    assert_holds(load_checkpoint(tmp_path), 1001)


def test_files_are_safetensors_and_json_alone(tmp_path: Path) -> None:
    newest = save(tmp_path, 1)
    assert {path.suffix for path in newest.iterdir()} == {".safetensors", ".json"}
    for path in newest.glob("*.json"):
        json.loads(path.read_text("utf-8"), parse_constant=pytest.fail)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-2])


def flip(path: Path) -> None:
    """Another value in the middle; in JSON a digit, so that it still parses."""
    content = bytearray(path.read_bytes())
    digits = [i for i, byte in enumerate(content) if chr(byte).isdigit()]
    where = digits[len(digits) // 2] if path.suffix == ".json" else len(content) - 2
    content[where] = ord("1") if content[where] != ord("1") else ord("2")
    path.write_bytes(content)


@pytest.mark.parametrize("spoil", [truncate, flip, Path.unlink])
@pytest.mark.parametrize(
    "name", ["model.safetensors", "optimizer.safetensors", "state.json", "sha256.json"]
)
def test_a_spoilt_checkpoint_is_named_and_the_one_before_taken(
    tmp_path: Path, name: str, spoil: object
) -> None:
    save(tmp_path, 5)
    newest = save(tmp_path, 10)
    assert callable(spoil)
    spoil(newest / name)
    with pytest.warns(UserWarning, match="step-00000010 is passed over"):
        found = load_checkpoint(tmp_path)
    assert_holds(found, 5)


def test_with_every_checkpoint_spoilt_there_is_none(tmp_path: Path) -> None:
    for step in (5, 10):
        truncate(save(tmp_path, step) / "model.safetensors")
    with pytest.warns(UserWarning, match="passed over") as warned:
        assert load_checkpoint(tmp_path) is None
    assert len(warned) == 2


def test_a_half_written_folder_is_not_seen_and_goes_with_the_next_save(tmp_path: Path) -> None:
    newest = save(tmp_path, 5)
    half = tmp_path / ".step-00000010.new"
    shutil.copytree(newest, half)
    (half / "sha256.json").unlink()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert_holds(load_checkpoint(tmp_path), 5)
    save(tmp_path, 9)
    assert names(tmp_path) == ["step-00000005", "step-00000009"]


def test_a_spoilt_later_checkpoint_takes_no_good_ones_place(tmp_path: Path) -> None:
    for step in (5, 10):
        save(tmp_path, step)
    truncate(tmp_path / "step-00000010" / "model.safetensors")
    save(tmp_path, 7)
    assert names(tmp_path) == ["step-00000005", "step-00000007"]


def test_a_step_may_be_saved_again(tmp_path: Path) -> None:
    truncate(save(tmp_path, 5) / "model.safetensors")
    save(tmp_path, 5)
    assert_holds(load_checkpoint(tmp_path), 5)


def test_weights_go_out_and_back_with_tied_ones_once() -> None:
    first, second = new_model("gpt2", seed=1), new_model("gpt2", seed=2)
    tensors = weight_tensors(first)
    assert "lm_head.weight" not in tensors
    assert not any(tensor.requires_grad for tensor in tensors.values())
    load_weight_tensors(second, tensors)
    assert second.get_output_embeddings().weight is second.get_input_embeddings().weight
    states = zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in states)


def test_weights_of_another_model_are_refused() -> None:
    tensors = weight_tensors(nn.Linear(2, 3))
    with pytest.raises(ValueError, match="bias"):
        load_weight_tensors(nn.Linear(2, 3, bias=False), tensors)
