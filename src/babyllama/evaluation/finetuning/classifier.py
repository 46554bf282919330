"""A classifier on any model here: its weights, its padding, its logits.

The classes are transformers' own (`AutoModelForSequenceClassification`): a decoder is read at the
last real token of a text, a masked model where its own head reads it (the first token).
"""

import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from transformers import AutoModelForSequenceClassification, PreTrainedModel
from transformers.utils.logging import disable_progress_bar

from babyllama.devices import autocast
from babyllama.errors import CorruptDataError, RecipeError
from babyllama.evaluation.finetuning.encoding import Row
from babyllama.evaluation.finetuning.tasks import Task
from babyllama.models.architectures import longest_input
from babyllama.models.folders import model_kind
from babyllama.seeds import derive
from babyllama.tokens.tokenizer import reason_of

Side = Literal["left", "right"]
PADDED_TOKENS = 1 << 14
"""Of a batch that is only read: it bounds the memory of an evaluation."""


def load_classifier(folder: Path, labels: Sequence[str], seed: int) -> PreTrainedModel:
    """The model of a folder in float32 with a new head, its weights drawn by `seed`.

    Raises:
        RecipeError: the folder is missing, or holds an encoder-decoder.
        CorruptDataError: it holds no model that can be a classifier, or not all of its weights.
    """
    if model_kind(folder) == "encoder-decoder":
        raise RecipeError(
            f"{folder} holds an encoder-decoder, which is not fine-tuned here: give a causal or a"
            " masked model"
        )
    disable_progress_bar()
    with torch.random.fork_rng():
        torch.manual_seed(derive(seed, "classification head"))
        model, report = _loaded(folder, labels)
    missing = [key for key in sorted(report["missing_keys"]) if _was_pretrained(model, key)]
    if missing:
        raise CorruptDataError(
            f"{folder} lacks weights of the model it describes: {', '.join(missing)[:300]}"
        )
    return model


def _loaded(folder: Path, labels: Sequence[str]) -> tuple[PreTrainedModel, dict[str, Any]]:
    try:
        loaded: Any = AutoModelForSequenceClassification.from_pretrained(
            str(folder),
            num_labels=len(labels),
            id2label=dict(enumerate(labels)),
            label2id={label: number for number, label in enumerate(labels)},
            problem_type="single_label_classification",
            dtype=torch.float32,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            output_loading_info=True,
        )
    except Exception as error:
        raise CorruptDataError(
            f"{folder} holds no model that can be a classifier, as safetensors: {reason_of(error)}"
        ) from None
    return cast(tuple[PreTrainedModel, dict[str, Any]], loaded)


def _was_pretrained(model: PreTrainedModel, key: str) -> bool:
    """Whether a weight belongs to what is pretrained: not the head, nor BERT's pooler before it."""
    return key.startswith(f"{model.base_model_prefix}.") and ".pooler." not in key


def padding_id(tokenizer: Any) -> int:
    """An id that stands in no text, to fill up rows with.

    Raises:
        RecipeError: the tokenizer has no such token.
    """
    for token in (tokenizer.pad_token_id, tokenizer.eos_token_id, tokenizer.bos_token_id):
        if token is not None:
            return int(token)
    raise RecipeError(
        f"the tokenizer in {tokenizer.name_or_path} has no <pad>, </s> or <s> to fill up texts"
        " with: give it a pad token"
    )


def padded(rows: Sequence[Row], fill: int, side: Side) -> dict[str, Tensor]:
    """Rows as ids, mask and positions [B, T]; positions count real tokens, on either side."""
    length = max(map(len, rows))
    ids = torch.full((len(rows), length), fill)
    mask = torch.zeros_like(ids)
    for number, row in enumerate(rows):
        place = slice(0, len(row)) if side == "right" else slice(length - len(row), length)
        ids[number, place] = torch.tensor(row)
        mask[number, place] = 1
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    return {"input_ids": ids, "attention_mask": mask, "position_ids": positions}


@dataclass(frozen=True, kw_only=True)
class Classifier:
    """A model with a head on its device, and how it is given rows."""

    model: PreTrainedModel
    fill: int
    """The id of the padding."""
    device: torch.device
    precision: str
    side: Side = "right"
    """Of the padding. A decoder gives the same logits for both, a masked model wants the right."""

    @property
    def positions(self) -> int:
        """Tokens that the model takes."""
        return longest_input(self.model)

    def logits(self, rows: Sequence[Row]) -> Tensor:
        """Logits of one batch [B, labels], in float32."""
        inputs = padded(rows, self.fill, self.side)
        if not _takes_positions(self.model):
            del inputs["position_ids"]
        with autocast(self.device, self.precision):
            found = self.model(**{name: part.to(self.device) for name, part in inputs.items()})
        return cast(Tensor, found.logits.float())

    @torch.inference_mode()
    def read(self, rows: Sequence[Row], pause: Callable[[], None]) -> npt.NDArray[np.float64]:
        """Logits of all rows [rows, labels], without dropout; `pause` is called between batches."""
        self.model.eval()
        parts, order = [], sorted(range(len(rows)), key=lambda index: len(rows[index]))
        for places in _bucketed(order, rows):
            pause()
            parts.append(self.logits([rows[place] for place in places]).cpu().double().numpy())
        found: npt.NDArray[np.float64] = np.concatenate(parts)[np.argsort(order)]
        return found


def _bucketed(order: Sequence[int], rows: Sequence[Row]) -> Iterator[list[int]]:
    """Places in `order`, by length, as batches of at most `PADDED_TOKENS` tokens."""
    batch: list[int] = []
    for place in order:
        if batch and (len(batch) + 1) * len(rows[place]) > PADDED_TOKENS:
            yield batch
            batch = []
        batch.append(place)
    yield batch


def _takes_positions(model: PreTrainedModel) -> bool:
    """Whether positions are given to the model.

    Without them GPT-2 counts the padding on the left. RoBERTa and its kin, whose table of positions
    has a row for padding, number real tokens by themselves, and from another number on.
    """
    if "position_ids" not in inspect.signature(model.forward).parameters:
        return False
    tables = (
        module for name, module in model.named_modules() if name.endswith("position_embeddings")
    )
    return all(getattr(table, "padding_idx", None) is None for table in tables)


def make_classifier(
    folder: Path,
    task: Task,
    tokenizer: Any,
    *,
    seed: int,
    device: torch.device,
    precision: str = "fp32",
) -> Classifier:
    """The classifier of a task, untrained.

    Raises:
        CorruptDataError, RecipeError: as `load_classifier` and `padding_id`; or the tokenizer has
            ids that the model does not know.
    """
    model = load_classifier(folder, task.labels, seed)
    known = cast(torch.nn.Embedding, model.get_input_embeddings()).weight.shape[0]
    if len(tokenizer) > known:
        raise RecipeError(
            f"{folder} has {known} embeddings, and its tokenizer {len(tokenizer)} ids: it is not"
            " the tokenizer that the model was trained with"
        )
    fill = padding_id(tokenizer)
    model.config.pad_token_id = fill  # what the model looks for to find the last real token
    torch.nn.Module.to(model, device)
    return Classifier(model=model, fill=fill, device=device, precision=precision)
