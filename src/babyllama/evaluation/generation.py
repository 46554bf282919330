"""Text from a model: samples for the report, and `babyllama generate`."""

from typing import Any

import torch
from transformers import PreTrainedModel

from babyllama.errors import RecipeError
from babyllama.models.architectures import longest_input
from babyllama.seeds import derive
from babyllama.tokens.tokenizer import plain_encoder


@torch.inference_mode()
def continue_text(
    model: PreTrainedModel,
    tokenizer: Any,
    prompt: str,
    *,
    tokens: int,
    temperature: float,
    seed: int,
) -> str:
    """The prompt and at most `tokens` sampled tokens behind it; temperature 0 is greedy.

    Text starts as a line does in training: behind a newline token.

    Raises:
        RecipeError: the prompt alone fills the model's positions.
    """
    ids = plain_encoder(tokenizer).encode("\n" + prompt, add_special_tokens=False).ids
    positions = longest_input(model)
    room = positions - len(ids)
    if room < 1:
        raise RecipeError(
            f"the prompt of {len(ids)} tokens fills the model's {positions} positions: shorten it"
        )
    sampling: dict[str, Any] = {"do_sample": False}
    if temperature > 0:
        sampling = {"do_sample": True, "temperature": temperature, "top_k": 0}
    input_ids = torch.tensor([ids], device=model.device)
    with torch.random.fork_rng():
        torch.manual_seed(derive(seed, f"generate {prompt}"))
        output = model.generate(  # type: ignore[operator]
            input_ids,
            attention_mask=torch.ones_like(input_ids),
            max_new_tokens=min(tokens, room),
            pad_token_id=tokenizer.pad_token_id,
            **sampling,
        )
    return str(tokenizer.decode(output[0], skip_special_tokens=True)).lstrip("\n")
