"""What a training holds in memory, and how many sequences of it fit a forward pass."""

import warnings
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from transformers import PreTrainedModel

from babyllama.errors import BabyllamaError, IgnoredSettingWarning
from babyllama.models.costs import activation_bytes, parameter_count
from babyllama.models.readout import PRODUCT_ROWS, chunk_logits
from babyllama.recipe_training import Training

OUT_OF_MEMORY = "out-of-memory"
"""Left in a training's folder where memory ran out."""

# Logits of a micro-batch, which some architectures give in full: 32 million in float32 are 128 MiB.
LOGITS_BUDGET = {"cpu": 1 << 25, "cuda": 1 << 28}
# Bytes of activations where the free memory is not asked for: a CPU's changes from run to run, and
# the micro-batch has to be the same in each. 2,048 tokens and more are as fast as they get there.
ACTIVATIONS_BUDGET = 3 << 29
# Up to so many positions plain attention is faster on a CPU than the fused kernel's backward.
PLAIN_ATTENTION = 256
# Bytes a parameter: gradient and two moments (Muon has one); beside them the weight, and its bf16
# copy.
TRAINED, WEIGHT, BF16_COPY = 12, 4, 2
# Copies of a chunk's logits that live at once; of a block's products, beside one a teacher.
LOGITS_AT_ONCE, PRODUCTS_AT_ONCE = 5, 2
# The part of the free memory that is planned with: kernels take some for themselves.
USABLE = 0.8


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """How a model is trained: what its memory depends on beside its sizes."""

    positions: int
    """Tokens of a sequence."""
    precision: str
    device: torch.device
    teachers: int
    copies: int = 0
    """Of the weights, kept beside them; see `copies_of`."""

    @property
    def plain_attention(self) -> bool:
        """Whether attention runs as plain products, which keep every score."""
        return self.device.type == "cpu" and self.positions <= PLAIN_ATTENTION

    def set_attention(self, models: Iterable[PreTrainedModel]) -> None:
        """Let models attend the way that is faster here: the last bits depend on it."""
        if self.plain_attention:
            for model in models:
                model.set_attn_implementation("eager")


def copies_of(settings: Training) -> int:
    """Copies of the weights that a training keeps: those a step of SAM began at, the average."""
    return bool(settings.sam) + bool(settings.ema)


def micro_batch(
    model: PreTrainedModel, settings: Training, conditions: Conditions, free: float | None
) -> int:
    """Sequences a forward pass: as the recipe asks, by default what fits the device.

    `free` are the bytes that training may add to the weights; None where that is not known.
    """
    if settings.micro_batch:
        return min(settings.batch_size, settings.micro_batch)
    budget = LOGITS_BUDGET.get(conditions.device.type, 1 << 26)
    fits = budget // (_vocabulary(model) * conditions.positions)
    if free is None:
        fits = min(fits, int(ACTIVATIONS_BUDGET // _activation_bytes(model, conditions)))
    else:
        taken = (TRAINED + BF16_COPY + WEIGHT * conditions.copies) * parameter_count(model)
        taken += _logits_bytes(model, conditions, settings.batch_size)
        left = USABLE * free - taken
        fits = min(fits, _power_of_two(int(left // _activation_bytes(model, conditions))))
    return max(1, min(settings.batch_size, fits))


def _power_of_two(number: int) -> int:
    """The largest one up to a number: a few bytes more or less then change nothing."""
    return 1 << (number.bit_length() - 1) if number > 0 else 0


def resumed_micro_batch(begun: int, now: int, *, asked: bool, forced: bool, name: str) -> int:
    """That of the checkpoint, which dropout's masks depend on; less only where it has to be.

    `now` is what the training would take if it began today, `asked` whether the recipe says so,
    `forced` whether memory ran out, or there are more processes than micro-batches.
    """
    key = f"models.{name}.training.micro_batch"
    if forced and now < begun:
        warnings.warn(
            f"{key}: {now} sequences a forward pass from here on, {begun} before; if the model has"
            " dropout, it draws other masks than it would have",
            stacklevel=2,
        )
        return now
    if asked and now != begun:
        message = f"{key} has no effect: the training began with {begun} and goes on with it"
        warnings.warn(message, IgnoredSettingWarning, stacklevel=2)
    return begun


def out_of_memory(name: str, sequences: int) -> BabyllamaError:
    """What to tell of a model whose training ran out of memory."""
    key = f"models.{name}.training.micro_batch"
    remedy = (
        f"set {key} below that (gradients are then accumulated over more passes, the batch stays"
        " what it is), and run the same command again"
    )
    if sequences == 1:
        remedy = f"{key} is at its least, so take a smaller model or a shorter tokens.chunk_length"
    return BabyllamaError(
        f"{name}: out of memory at {sequences} sequences a forward pass: {remedy}"
    )


def free_memory(device: torch.device) -> int | None:
    """Bytes that torch can take on a GPU; None where it cannot tell."""
    if device.type != "cuda":
        return None
    free, _ = torch.cuda.mem_get_info(device)
    # What torch keeps of models that are gone is free to it.
    return int(free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device))


def training_bytes(model: PreTrainedModel, conditions: Conditions, sequences: int) -> float:
    """Weights, gradients, optimiser, activations, and logits with those of the teachers."""
    copy = BF16_COPY if conditions.precision == "bf16" else 0
    return (
        (WEIGHT * (1 + conditions.copies) + TRAINED + copy) * parameter_count(model)
        + sequences * _activation_bytes(model, conditions)
        + _logits_bytes(model, conditions, sequences)
    )


def _vocabulary(model: PreTrainedModel) -> int:
    return int(model.get_output_embeddings().weight.shape[0])


def _activation_bytes(model: PreTrainedModel, conditions: Conditions) -> float:
    """Of one sequence."""
    return activation_bytes(
        model,
        conditions.positions,
        precision=conditions.precision,
        plain_attention=conditions.plain_attention,
    )


def _logits_bytes(model: PreTrainedModel, conditions: Conditions, sequences: int) -> int:
    """Of a chunk and of a block of products, in float32 (see `models.readout`)."""
    rows = sequences * conditions.positions
    chunk = min(rows * _vocabulary(model), chunk_logits(conditions.device.type))
    block = max(chunk, min(rows, PRODUCT_ROWS) * _vocabulary(model))
    return 4 * (chunk * LOGITS_AT_ONCE + block * (PRODUCTS_AT_ONCE + conditions.teachers))
