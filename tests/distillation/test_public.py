"""The loss as others import it, and as `docs/distillation.md` shows it."""

import re
from pathlib import Path
from typing import Any

import torch

import babyllama

PAGE = Path(__file__).parents[2] / "docs" / "distillation.md"


def code_blocks(heading: str) -> list[str]:
    """The indented blocks under a heading, without their indent."""
    section = PAGE.read_text("utf-8").partition(f"## {heading}\n")[2].partition("\n## ")[0]
    blocks = re.findall(r"(?:^(?: {4}.*)?\n)+", section, re.MULTILINE)
    return [re.sub("^ {4}", "", block, flags=re.MULTILINE) for block in blocks if block.strip()]


def test_everything_public_can_be_imported() -> None:
    assert babyllama.__all__ == ["Counts", "DistillationLoss", "distillation_loss"]
    for name in babyllama.__all__:
        assert getattr(babyllama, name).__name__ == name
    assert babyllama.Counts(tokens=3, sequences=1).tokens == 3


def test_the_example_of_the_docs_runs_and_its_micro_batches_add_up_to_the_step() -> None:
    whole_step, accumulation = code_blocks("In your own training loop")
    names: dict[str, Any] = {}
    exec(whole_step, names)  # noqa: S102
    gradient = names["student"].grad.clone()
    assert gradient.abs().max() > 0
    names["student"].grad = None
    exec(accumulation, names)  # noqa: S102
    torch.testing.assert_close(names["student"].grad, gradient)
