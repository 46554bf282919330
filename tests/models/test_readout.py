"""A causal model as features and a head."""

import pytest
import torch

from babyllama.models.architectures import build_model, model_config
from babyllama.models.readout import has_linear_head, read_out
from babyllama.recipe import Architecture


def tiny(kind: str, **options: object) -> torch.nn.Module:
    architecture = Architecture(
        type=kind, layers=1, heads=2, width=16, feed_forward=32, positions=16, options=options
    )
    return build_model(model_config(architecture, 50, (0, 1, 2)), 1).eval()


@pytest.mark.parametrize("kind", ["llama", "gpt2", "gptj", "opt", "gpt_neox", "mistral", "switch"])
def test_features_and_head_give_the_models_logits(kind: str) -> None:
    model = tiny(kind)
    ids = torch.randint(0, 50, (2, 7))
    readout = read_out(model, ids)
    assert has_linear_head(model)
    assert readout.features.shape == (14, 16)
    expected = model(input_ids=ids).logits.flatten(0, 1)
    torch.testing.assert_close(readout.logits(slice(None)), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("cap", [0.01, 30.0])
def test_a_model_that_caps_its_logits_is_read_out_as_logits(cap: float) -> None:
    """Also where fresh weights are too small for the cap to show."""
    model = tiny("gemma2", final_logit_softcapping=cap)
    ids = torch.randint(0, 50, (2, 7))
    assert not has_linear_head(model)
    expected = model(input_ids=ids).logits.flatten(0, 1)
    torch.testing.assert_close(read_out(model, ids).logits(slice(None)), expected)
