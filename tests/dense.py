"""Teachers as transformers runs them: whole logits, the reference for read-outs."""

import torch
from torch import Tensor

from babyllama.distillation.loss import Pool, pooled_log_probabilities
from babyllama.distillation.teachers import Teachers


@torch.no_grad()
def teacher_logits(teachers: Teachers, input_ids: Tensor) -> list[Tensor]:
    """Logits [B, T, V] of every teacher, in float32."""
    outputs = [model(input_ids=input_ids, use_cache=False) for model in teachers.models.values()]
    return [output.logits.float() for output in outputs]


def ensemble_log_probabilities(teachers: Teachers, input_ids: Tensor, pool: Pool) -> Tensor:
    """Log-probabilities [B, T, V] of the ensemble at temperature 1."""
    logits = teacher_logits(teachers, input_ids)
    return pooled_log_probabilities(logits, pool=pool, weights=teachers.weights)
