"""Pooled models as scorers: batches of tokens in, log-probabilities in nats out."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from torch.nn import functional
from transformers import PreTrainedModel

from babyllama.distillation.loss import Pool
from babyllama.distillation.teachers import Teachers
from babyllama.evaluation.trees import Batch, as_trees, by_length
from babyllama.models.attention import use_default_library
from babyllama.models.readout import Readout, has_linear_head, read_out, row_blocks


@dataclass(frozen=True)
class Scorer:
    """What gives the log-probabilities, in nats, that a batch asks for [N]."""

    nats: Callable[[Batch], Tensor]
    trees: bool = False
    """Whether it takes rows as trees."""


def model_scorer(model: PreTrainedModel, precision: str = "fp32") -> Scorer:
    """One model as a scorer: an ensemble of one."""
    return ensemble_scorer(Teachers({"model": model}), "logits", precision)


def ensemble_scorer(teachers: Teachers, pool: Pool, precision: str = "fp32") -> Scorer:
    """Pooled teachers as a scorer, at temperature 1.

    With `bf16` the layers and the products with the head are in it; the sum over the vocabulary
    and the logit of the token itself, whose rounding would move a sentence's score by tenths of a
    nat, are in float32. A model that scales or caps its logits is not taken apart, so all of it is
    in float32.
    """
    members = [_Member(model, precision == "bf16") for model in teachers.models.values()]
    total = sum(teachers.weights)
    shares = [weight / total for weight in teachers.weights]
    pooled = _pooled_logits if pool == "logits" else _pooled_probabilities

    @torch.inference_mode()
    def nats(batch: Batch) -> Tensor:
        if not len(batch.reads):  # rows of one token
            return torch.zeros(0)
        nodes, which = batch.reads.unique(return_inverse=True)
        return pooled([_Read(member, batch, nodes, which) for member in members], shares)

    return Scorer(nats, trees=all(reads_trees(member.model) for member in members))


class _Member:
    """A model, and its head as it is multiplied."""

    def __init__(self, model: PreTrainedModel, narrow: bool) -> None:
        self.model = model
        self.narrow = narrow and has_linear_head(model)
        if not self.narrow:
            use_default_library(model)
        head = model.get_output_embeddings() if self.narrow else None
        self.head = None if head is None else head.weight.to(torch.bfloat16)

    def read(self, batch: Batch) -> Readout:
        """Features and head in float32 on all tokens of a batch."""
        with torch.autocast(batch.ids.device.type, torch.bfloat16, enabled=self.narrow):
            readout = read_out(
                self.model, batch.ids, positions=batch.positions, ancestors=batch.ancestors
            )
        return readout.to(torch.float32)


class _Read:
    """What a model makes of the predictions that are wanted."""

    def __init__(self, member: _Member, batch: Batch, nodes: Tensor, which: Tensor) -> None:
        whole = member.read(batch)
        self.readout = whole._replace(features=whole.features[nodes])
        self.head = member.head
        self.which, self.follows = which, batch.follows

    def logits(self, rows: slice) -> Tensor:
        """Logits [n, V] of some nodes."""
        if self.head is None:
            return self.readout.logits(rows)
        features = self.readout.features[rows].to(torch.bfloat16)
        narrow = functional.linear(features, self.head).float()
        return narrow if self.readout.bias is None else narrow + self.readout.bias

    def targets(self) -> Tensor:
        """The logit of the token that follows [N], in float32."""
        features, weight, bias = self.readout
        if weight is None:
            return features[self.which, self.follows]
        found: Tensor = torch.linalg.vecdot(features[self.which], weight[self.follows])
        return found if bias is None else found + bias[self.follows]


def _pooled_logits(reads: Sequence[_Read], shares: Sequence[float]) -> Tensor:
    """The softmax of the weighted mean of the logits."""
    normaliser = torch.cat(
        [
            _log_sum_exp(_weighted([read.logits(rows) for read in reads], shares))
            for rows in row_blocks(reads[0].readout)
        ]
    )
    return _weighted([read.targets() for read in reads], shares) - normaliser[reads[0].which]


def _pooled_probabilities(reads: Sequence[_Read], shares: Sequence[float]) -> Tensor:
    """The weighted mean of the softmaxes."""
    logs = [
        _pooled_logits([read], [1.0]) + math.log(share)
        for read, share in zip(reads, shares, strict=True)
    ]
    return torch.stack(logs).logsumexp(0)


def _weighted(values: Sequence[Tensor], shares: Sequence[float]) -> Tensor:
    if len(values) == 1:
        return values[0]
    return sum((x * share for x, share in zip(values, shares, strict=True)), torch.tensor(0.0))


def _log_sum_exp(logits: Tensor) -> Tensor:
    """[n, V] -> [n], through the one kernel of torch that goes over the logits only once."""
    return logits[:, 0] - logits.log_softmax(-1)[:, 0]


_READS_TREES: WeakKeyDictionary[PreTrainedModel, bool] = WeakKeyDictionary()


def reads_trees(model: PreTrainedModel) -> bool:
    """Whether a model takes positions and a mask from outside as a tree of rows needs them.

    One small tree, read as a tree and row by row, tells; the answer is kept with the model. A
    model that looks only so far back is not asked: its window counts places, not positions. Nor is
    one whose experts take only so many tokens of a batch: which ones depends on the others in it.
    """
    if model not in _READS_TREES:
        asked = not _has_window(model) and not _drops_tokens(model)
        _READS_TREES[model] = asked and _try_tree(model)
    return _READS_TREES[model]


def _drops_tokens(model: PreTrainedModel) -> bool:
    return getattr(model.config, "eval_capacity_factor", None) is not None


def _has_window(model: PreTrainedModel) -> bool:
    text = model.config.get_text_config()
    windows = ("sliding_window", "attention_chunk_size", "window_size")
    return any(getattr(text, name, None) for name in windows)


@torch.inference_mode()
def _try_tree(model: PreTrainedModel) -> bool:
    rows = [(1, 2, 3, 4, 5), (1, 2, 4, 3), (1, 3, 2, 4), (2, 1, 3)]
    member = _Member(model, narrow=False)
    found = []
    for parts in (by_length(rows, 4), as_trees(rows, 4)):
        nats: dict[tuple[int, ...], Tensor] = {}
        for part in parts:
            batch = part.batch.to(model.device)
            nodes, which = batch.reads.unique(return_inverse=True)
            try:
                logs = _pooled_logits([_Read(member, batch, nodes, which)], [1.0])
            except (TypeError, ValueError, RuntimeError, IndexError):
                return False
            nats |= {row: logs[list(at)] for row, at in zip(part.rows, part.steps, strict=True)}
        found.append(torch.cat([nats[row] for row in rows]))
    alone, together = found
    return torch.allclose(alone, together, rtol=1e-4, atol=1e-4)
