"""Answers that are known without the device are the ones that transformers would find."""

import pytest
import torch
from transformers import PreTrainedModel, masking_utils

from babyllama.models.architectures import build_model, model_config
from babyllama.models.readout import read_out
from babyllama.models.waits import QUESTIONS, nothing_asked
from babyllama.recipe import Architecture


def model(kind: str, **options: object) -> PreTrainedModel:
    architecture = Architecture(
        type=kind, layers=2, heads=2, width=16, feed_forward=32, positions=64, options=options
    )
    return build_model(model_config(architecture, 300, (0, 1, 2)), seed=1).eval()


@pytest.mark.parametrize("kind", ["llama", "gpt2", "gptj", "opt", "mistral", "qwen3"])
def test_features_are_those_of_the_model_asked_in_the_usual_way(kind: str) -> None:
    built = model(kind, **({"sliding_window": 4} if kind == "mistral" else {}))
    ids = torch.randint(3, 300, (3, 12), generator=torch.Generator().manual_seed(1))
    expected = built.base_model(input_ids=ids, use_cache=False).last_hidden_state
    assert torch.equal(read_out(built, ids).features, expected.flatten(0, 1))


def test_the_questions_are_asked_again_afterwards_even_after_an_error() -> None:
    def found() -> list[object]:
        return [getattr(owner, name) for owner, name in QUESTIONS]

    before = found()
    assert len(before) == 2
    with nothing_asked():
        assert not set(map(id, found())) & set(map(id, before))
    assert found() == before

    @nothing_asked()
    def fail() -> None:
        raise ValueError("inside")

    with pytest.raises(ValueError, match="inside"):
        fail()
    assert found() == before


def test_a_question_that_transformers_no_longer_asks_is_passed_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr(masking_utils, "find_packed_sequence_indices")
    with nothing_asked():
        assert not hasattr(masking_utils, "find_packed_sequence_indices")
    assert not hasattr(masking_utils, "find_packed_sequence_indices")
