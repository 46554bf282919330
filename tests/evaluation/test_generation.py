"""Text that goes on from a prompt: what decides it, and what it never does."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from transformers import PreTrainedModel

from babyllama.errors import IgnoredSettingWarning, RecipeError
from babyllama.evaluation.generation import continue_text

Build = Callable[..., PreTrainedModel]
PROMPT = "The heron"


def text_of(model: Any, tokenizer: Any, prompt: str = PROMPT, **changes: Any) -> str:
    settings = {"tokens": 8, "temperature": 0.8, "seed": 1} | changes
    return continue_text(model, tokenizer, prompt, **settings)


def new_ids(model: Any, tokenizer: Any, **changes: Any) -> list[int]:
    """The ids that a model adds to the prompt."""
    decoded: list[int] = []

    class Spy:
        def __getattr__(self, name: str) -> Any:
            return getattr(tokenizer, name)

        def decode(self, ids: torch.Tensor, **settings: Any) -> str:
            decoded.extend(ids.tolist())
            return str(tokenizer.decode(ids, **settings))

    text_of(model, Spy(), **changes)
    return decoded[len(tokenizer("\n" + PROMPT)["input_ids"]) :]


@torch.no_grad()
def greedy_by_hand(model: PreTrainedModel, tokenizer: Any, prompt: str, tokens: int) -> str:
    ids = tokenizer("\n" + prompt)["input_ids"]
    while tokens and ids[-1] != tokenizer.eos_token_id:
        ids.append(int(model(input_ids=torch.tensor([ids])).logits[0, -1].argmax()))
        tokens -= 1
    return str(tokenizer.decode(ids, skip_special_tokens=True))


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_temperature_zero_is_greedy_behind_a_newline(
    build: Build, tokenizer: Any, kind: str
) -> None:
    model = build(kind)
    expected = greedy_by_hand(model, tokenizer, PROMPT, 8)
    for seed in (1, 2):
        assert "\n" + text_of(model, tokenizer, temperature=0, seed=seed) == expected


def test_a_low_temperature_is_nearly_greedy(build: Build, tokenizer: Any) -> None:
    model = build()
    greedy = text_of(model, tokenizer, temperature=0)
    assert text_of(model, tokenizer, temperature=1e-4) == greedy


def test_the_seed_decides_the_sample(build: Build, tokenizer: Any) -> None:
    model = build()
    torch.manual_seed(1)
    first = text_of(model, tokenizer, seed=1)
    torch.manual_seed(2)
    assert text_of(model, tokenizer, seed=1) == first
    assert text_of(model, tokenizer, seed=2) != first


def test_a_sample_leaves_the_random_state_as_it_was(build: Build, tokenizer: Any) -> None:
    before = torch.get_rng_state()
    text_of(build(), tokenizer)
    assert torch.equal(torch.get_rng_state(), before)


def test_improbable_tokens_are_sampled_too(build: Build, tokenizer: Any) -> None:
    model = build()
    for parameter in model.parameters():
        parameter.data.mul_(0.1)  # all ids nearly as probable
    found = {new_ids(model, tokenizer, tokens=1, seed=seed)[0] for seed in range(100)}
    assert len(found) > 65  # of 275; by default transformers draws from the best 50 alone


@pytest.mark.parametrize("prompt", [PROMPT, "Where <s> is no start </s>", "\ufb01sh \uff1e", ""])
@pytest.mark.parametrize("temperature", [0.0, 1.5])
def test_the_text_starts_with_the_prompt_as_the_tokenizer_reads_it(
    build: Build, tokenizer: Any, prompt: str, temperature: float
) -> None:
    folded = prompt.replace("\ufb01", "fi").replace("\uff1e", ">")
    assert text_of(build(), tokenizer, prompt, temperature=temperature).startswith(folded)


def test_no_more_tokens_are_added_than_asked_for(build: Build, tokenizer: Any) -> None:
    model = build()
    model.generation_config.eos_token_id = None
    lengths = [len(new_ids(model, tokenizer, tokens=tokens)) for tokens in (1, 2, 5)]
    assert lengths == [1, 2, 5]


def test_text_ends_where_the_positions_do(build: Build, tokenizer: Any) -> None:
    model = build("gpt2", positions=16)
    model.generation_config.eos_token_id = None
    used = len(tokenizer("\n" + PROMPT)["input_ids"])
    assert len(new_ids(model, tokenizer, tokens=999)) == 16 - used


def test_a_prompt_that_fills_the_positions_is_refused(build: Build, tokenizer: Any) -> None:
    model = build("gpt2", positions=16)
    assert text_of(model, tokenizer, "x" * 14)
    with pytest.raises(RecipeError, match=r"prompt of 16 tokens fills the model's 16 positions"):
        text_of(model, tokenizer, "x" * 15)


def test_a_model_without_positions_goes_on_as_well(build: Build, tokenizer: Any) -> None:
    with pytest.warns(IgnoredSettingWarning):
        model = build("bloom")
    assert text_of(model, tokenizer).startswith(PROMPT)


def test_ids_are_made_on_the_device_of_the_model(
    build: Build, tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    model: Any = build().to("meta")  # type: ignore[arg-type]
    devices = []

    def generate(ids: torch.Tensor, attention_mask: torch.Tensor, **_: Any) -> torch.Tensor:
        devices.extend([ids.device.type, attention_mask.device.type])
        return torch.tensor([[5]])

    monkeypatch.setattr(model, "generate", generate)
    text_of(model, tokenizer)
    assert devices == ["meta", "meta"]
