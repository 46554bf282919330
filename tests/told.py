"""What the command of a run tells, and what its folder holds."""

import json
import re
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from tiny import Finished


def made(command: Finished) -> list[str]:
    return re.findall(r"^made +(\S+)", command.err, re.MULTILINE)


def up_to_date(command: Finished) -> list[str]:
    return re.findall(r"^up to date +(\S+)", command.err, re.MULTILINE)


def weights(run: Path, model: str) -> dict[str, torch.Tensor]:
    return load_file(run / "models" / model / "model.safetensors")


def same_weights(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


def read(path: Path) -> Any:
    return json.loads(path.read_text("utf-8"))


def status(run: Path) -> str:
    return str(read(run / "status.json")["state"])
