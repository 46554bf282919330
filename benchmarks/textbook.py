"""The textbook way to distil, as the reference: the paper's formula, its logits written out.

loss = a CE + (1 - a) T^2 KL(softmax(mean_k z_k / T) || softmax(s / T)), with transformers' models
as they come (eager mode, their default attention), teachers run in every step, torch's AdamW.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

import torch
from torch import Tensor
from torch.nn import functional
from transformers import PreTrainedModel

CLIP_NORM = 1.0


def textbook_loss(
    logits: Tensor, teachers: Sequence[Tensor], labels: Tensor, *, temperature: float, alpha: float
) -> Tensor:
    """The loss of logits [B, T, V], one such tensor a teacher, on the ids that are read [B, T]."""
    student = logits[:, :-1].float()
    pooled = torch.stack([teacher[:, :-1].float() for teacher in teachers]).mean(0)
    cross_entropy = functional.cross_entropy(student.flatten(0, 1), labels[:, 1:].flatten())
    divergence = functional.kl_div(
        functional.log_softmax(student / temperature, dim=-1).flatten(0, 1),
        functional.softmax(pooled / temperature, dim=-1).flatten(0, 1),
        reduction="batchmean",
    )
    return alpha * cross_entropy + (1 - alpha) * temperature**2 * divergence


def textbook_step(
    student: PreTrainedModel,
    teachers: Sequence[PreTrainedModel],
    ids: Callable[[], Tensor],
    *,
    bf16: bool,
    temperature: float = 2.0,
    alpha: float = 0.5,
) -> Callable[[], None]:
    """A step as a function: float32 with torch's default AdamW, or bf16 autocast with the fused."""
    optimizer = torch.optim.AdamW(student.parameters(), lr=1e-4, fused=bf16 or None)

    def autocast() -> AbstractContextManager[None]:
        return torch.autocast(student.device.type, torch.bfloat16, enabled=bf16)  # type: ignore[return-value]

    def step() -> None:
        batch = ids()
        with autocast():
            with torch.no_grad():
                taught = [teacher(input_ids=batch).logits for teacher in teachers]
            logits = student(input_ids=batch).logits
            loss = textbook_loss(logits, taught, batch, temperature=temperature, alpha=alpha)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(student.parameters(), CLIP_NORM)
        optimizer.step()
        optimizer.zero_grad()
        loss.item()

    return step
