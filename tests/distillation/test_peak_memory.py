"""The fused loss holds a fraction of what the materialised one does."""

import sys
from pathlib import Path

import pytest
import torch
from torch.nn import functional

from babyllama.distillation.fused import fused_loss
from babyllama.distillation.loss import distillation_loss
from babyllama.models.readout import Readout
from babyllama.tokens.batches import Counts

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))
from peak_memory import peak_bytes

TOKENS, VOCABULARY, WIDTH = 4096, 16_000, 64


@pytest.mark.slow
@pytest.mark.parametrize("divergence", ["forward", "reverse"])
@pytest.mark.parametrize("product", [torch.float32, torch.bfloat16])
def test_at_most_a_sixth_of_the_materialised_loss(product: torch.dtype, divergence: str) -> None:
    features = torch.randn(TOKENS, WIDTH, requires_grad=True)
    weight = torch.randn(VOCABULARY, WIDTH, requires_grad=True)
    teachers = [Readout(torch.randn(TOKENS, 32), torch.randn(VOCABULARY, 32)) for _ in range(2)]
    labels = torch.randint(VOCABULARY, (TOKENS,))
    settings = {"counts": Counts(TOKENS, 32), "temperature": 2.0, "ce_weight": 0.5}
    settings["divergence"] = divergence

    def fused() -> None:
        fused_loss(Readout(features, weight), labels, teachers, **settings).loss.backward()

    def materialised() -> None:
        logits = functional.linear(features, weight)[None]
        with torch.no_grad():
            taught = [functional.linear(*teacher[:2])[None] for teacher in teachers]
        distillation_loss(logits, labels[None], taught, **settings).loss.backward()

    with torch.autocast("cpu", product, enabled=product != torch.float32):
        assert 6 * peak_bytes(fused) <= peak_bytes(materialised)
