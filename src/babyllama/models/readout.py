"""A model as features and a linear head, where it is one."""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from torch.nn import functional
from transformers import PreTrainedModel

from babyllama.models.attention import takes_truth_values
from babyllama.models.waits import nothing_asked

# Logits of a chunk: a million in float32 are 4 MiB on a CPU, more where kernels are wider.
CHUNK_LOGITS = {"cpu": 1 << 20, "cuda": 1 << 26}
# From so many rows on, products are as fast as they get, and adding one [V, D] costs little.
PRODUCT_ROWS = 512


class Readout(NamedTuple):
    """Logits as features [N, D] times a head [V, D], plus a bias [V].

    Without a weight the features are the logits themselves, for a model whose read-out is not
    one linear map.
    """

    features: Tensor
    weight: Tensor | None = None
    bias: Tensor | None = None

    @property
    def vocabulary(self) -> int:
        """V."""
        return (self.features if self.weight is None else self.weight.T).shape[-1]

    def products(self, rows: slice) -> Tensor:
        """Logits [n, V] of some rows, in the type of the features."""
        part = self.features[rows]
        return part if self.weight is None else functional.linear(part, self.weight, self.bias)

    def logits(self, rows: slice) -> Tensor:
        """Logits [n, V] of some rows, in float32 at least."""
        part = self.products(rows)
        return part if part.dtype == torch.float64 else part.float()

    def to(self, dtype: torch.dtype) -> "Readout":
        """The same in another type of products."""
        return Readout(*(None if x is None else x.to(dtype) for x in self))  # type: ignore[arg-type]


def chunk_logits(device_type: str) -> int:
    """Logits of a chunk of rows, by `torch.device.type`."""
    return CHUNK_LOGITS.get(device_type, 1 << 24)


def row_chunks(readout: Readout, rows: int | None = None) -> Iterator[slice]:
    """So many rows, by default all, in equal parts whose logits fit a processor's cache."""
    yield from _parts(len(readout.features) if rows is None else rows, _chunk_rows(readout))


def row_blocks(readout: Readout) -> Iterator[slice]:
    """All rows in equal parts that are large enough for products."""
    yield from _parts(len(readout.features), max(PRODUCT_ROWS, _chunk_rows(readout)))


def _chunk_rows(readout: Readout) -> int:
    return max(1, chunk_logits(readout.features.device.type) // readout.vocabulary)


def _parts(rows: int, most: int) -> Iterator[slice]:
    """As few slices as hold at most so many rows each, none more than a few rows shorter."""
    size = math.ceil(rows / max(1, math.ceil(rows / most)))
    for begin in range(0, rows, max(1, size)):
        yield slice(begin, min(rows, begin + size))


_LINEAR_HEAD: WeakKeyDictionary[PreTrainedModel, bool] = WeakKeyDictionary()


def read_out(
    model: PreTrainedModel,
    input_ids: Tensor,
    *,
    positions: Tensor | None = None,
    ancestors: Tensor | None = None,
) -> Readout:
    """Features [B*T, D] and head of a model on a batch [B, T]; see `Readout`.

    Args:
        model: A causal model.
        input_ids: [B, T].
        positions: [B, T], where a token's place in its row is not its position.
        ancestors: [B, 1, T, T], true where a token (row) looks at another (column); by default at
            all before it.
    """
    given: dict[str, Tensor] = {}
    if positions is not None:
        given["position_ids"] = positions
    if ancestors is not None:
        given["attention_mask"] = _mask(model, ancestors)
    linear = has_linear_head(model)
    with nothing_asked():
        output = (model.base_model if linear else model)(
            input_ids=input_ids, use_cache=False, **given
        )
    if not linear:
        return Readout(output.logits.flatten(0, 1))
    hidden = output.last_hidden_state
    head = model.get_output_embeddings()
    return Readout(hidden.flatten(0, 1), head.weight, head.bias)


def read_masked(model: PreTrainedModel, input_ids: Tensor, places: Tensor) -> Readout:
    """Features [B*P, D] and head of a masked model at some places [B, P] of its input [B, T].

    RoBERTa's head has layers of its own before the one over the vocabulary: they are in the
    features.
    """
    features = _before_the_head(model, input_ids=input_ids)
    return _headed(model, features.take_along_dim(places[..., None], 1))


def read_spans(model: PreTrainedModel, input_ids: Tensor, labels: Tensor) -> Readout:
    """Features [B*D, W] and head of an encoder-decoder, which reads [B, E] and writes [B, D].

    The factor that T5 has before a tied head (Raffel et al.'s code: the width to the power of -1/2)
    is in the features.
    """
    written: Tensor = model.prepare_decoder_input_ids_from_labels(labels)  # type: ignore[operator]
    given = {"input_ids": input_ids, "decoder_input_ids": written, "use_cache": False}
    return _headed(model, _before_the_head(model, **given))


def _headed(model: PreTrainedModel, features: Tensor) -> Readout:
    head = model.get_output_embeddings()
    return Readout(features.flatten(0, 1), head.weight, head.bias)


def _before_the_head(model: PreTrainedModel, **given: Any) -> Tensor:
    """What the last layer of a model is given [B, T, D]; the layer itself multiplies nothing."""
    found: list[Tensor] = []

    def take(_: torch.nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor]:
        found.append(inputs[0])
        return (inputs[0][:, :0],)

    hook = model.get_output_embeddings().register_forward_pre_hook(take)
    try:
        with nothing_asked():
            model(**given)
    finally:
        hook.remove()
    return found[0]


def _mask(model: PreTrainedModel, ancestors: Tensor) -> Tensor:
    """A mask in the form that the model's attention takes: truth values, or what is added."""
    if takes_truth_values(model):
        return ancestors
    return torch.where(ancestors, 0.0, torch.finfo(torch.float32).min)


def has_linear_head(model: PreTrainedModel) -> bool:
    """Whether the logits are the head on the last hidden states, and nothing else.

    Some architectures scale or cap their logits; one forward pass on two tokens tells, and the
    answer is kept with the model.
    """
    if model not in _LINEAR_HEAD:
        _LINEAR_HEAD[model] = _try_linear_head(model)
    return _LINEAR_HEAD[model]


# Makes a cap or a bend of the logits show, whatever the size of the weights.
PROBE = 1000.0


@torch.no_grad()
def _try_linear_head(model: PreTrainedModel) -> bool:
    """Compare the model's logits with its head's own output, on features made large."""
    training = model.training
    model.eval()
    seen: list[Tensor] = []
    head = model.get_output_embeddings()
    hooks = [
        head.register_forward_pre_hook(lambda _, args: (args[0] * PROBE, *args[1:])),
        head.register_forward_hook(lambda _, __, output: seen.append(output)),
    ]
    ids = torch.tensor([[1, 2]], device=model.device)
    try:
        with torch.autocast(model.device.type, enabled=False):
            logits = model(input_ids=ids, use_cache=False).logits
            hidden = model.base_model(input_ids=ids, use_cache=False).last_hidden_state
            linear = head(hidden)
    except (AttributeError, RuntimeError, ValueError):
        return False
    finally:
        for hook in hooks:
            hook.remove()
        model.train(training)
    same_head = len(seen) == 2 and seen[0].shape == logits.shape
    return (
        same_head
        and torch.allclose(seen[0], logits, atol=1e-3, rtol=1e-4)
        and torch.allclose(linear, logits, atol=1e-3, rtol=1e-4)
    )
