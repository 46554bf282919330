"""Fine-tuning on one task: the loop, the selection of its best moment, early stopping.

As Hugging Face's Trainer with its defaults, which the BabyLM 2023 pipeline uses
(`finetune_classification.py`): AdamW without weight decay, the learning rate falling linearly from
the first step to zero, gradients clipped at norm 1, the last batch of an epoch as small as it is.
"""

import math
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from babyllama.errors import DivergedError
from babyllama.evaluation.finetuning.classifier import Classifier
from babyllama.evaluation.finetuning.encoding import Row
from babyllama.evaluation.finetuning.presets import Settings
from babyllama.evaluation.finetuning.tasks import Metric, metric_value, standard_error
from babyllama.seeds import derive, generator
from babyllama.training.progress import Progress

CLIP_NORM = 1.0


@lru_cache(maxsize=1)
def _order(seed: int, epoch: int, items: int) -> npt.NDArray[np.int64]:
    """The order of an epoch's items, drawn once for all of its steps."""
    return generator(seed, "fine-tuning order", epoch).permutation(items)


@dataclass(frozen=True)
class Items:
    """What is learned from or measured on."""

    rows: Sequence[Row]
    labels: Sequence[int]


@dataclass(frozen=True, kw_only=True)
class Moment:
    """One evaluation on the way, on the selection split."""

    step: int
    epoch: float
    training_loss: float
    """Mean of the steps since the evaluation before, in nats an item."""
    loss: float
    """Mean cross-entropy of the selection split, in nats an item."""
    score: float
    standard_error: float | None = None
    """Of the score; only of the moment that was selected."""

    @property
    def rank(self) -> tuple[float, float]:
        """What selection goes by: the score, and of equal ones the lower loss."""
        return self.score, -self.loss


@dataclass(frozen=True, kw_only=True)
class Fit:
    """A finished training; the weights of its best moment are in the model."""

    curve: Sequence[Moment]
    best: Moment
    seconds: float


def fit(
    classifier: Classifier,
    train: Items,
    selection: Items,
    settings: Settings,
    metric: Metric,
    *,
    label: str,
    pause: Callable[[], None],
) -> Fit:
    """Train in place, and put back the weights of the evaluation with the highest score.

    The selection split is scored every `eval_every_steps` and at the end of every epoch; of equal
    scores the one with the lower selection loss counts (a small model's MCC is 0 for long). After
    `patience` evaluations without a higher score training ends.
    `pause` is called between steps and batches, and may raise.

    Raises:
        DivergedError: a loss that is not finite.
    """
    started = time.monotonic()
    loop = _Loop(classifier, train, selection, settings, metric, label, pause)
    with torch.random.fork_rng(), closing(loop.progress()) as progress:
        for step in range(1, loop.total + 1):
            pause()
            loop.update(step)
            progress.update(step, loop.losses[-1])
            if step % settings.eval_every_steps == 0 or step % loop.per_epoch == 0:
                loop.evaluate(step)
                if loop.waited >= settings.patience:
                    break
    return Fit(
        curve=loop.curve,
        best=loop.restored(),
        seconds=round(time.monotonic() - started, 3),
    )


@dataclass
class _Loop:
    """A training on its way."""

    classifier: Classifier
    train: Items
    selection: Items
    settings: Settings
    metric: Metric
    label: str
    pause: Callable[[], None]
    curve: list[Moment] = field(default_factory=list)
    best: Moment | None = None
    weights: dict[str, Tensor] = field(default_factory=dict)
    predicted: list[int] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    """Since the last evaluation."""
    waited: int = 0
    """Evaluations without a higher score."""

    def __post_init__(self) -> None:
        self.per_epoch = math.ceil(len(self.train.rows) / self.settings.batch_size)
        self.total = self.per_epoch * self.settings.max_epochs
        self.optimizer = torch.optim.AdamW(
            self.classifier.model.parameters(),
            lr=self.settings.learning_rate,
            weight_decay=0.0,
            fused=True,
        )

    def progress(self) -> Progress:
        """The line that tells how it goes."""
        tokens = sum(map(len, self.train.rows)) // self.per_epoch
        return Progress(self.label, self.total, tokens)

    def update(self, step: int) -> None:
        """One step, counted from 1."""
        rate = self.settings.learning_rate * (1 - (step - 1) / self.total)
        self.optimizer.param_groups[0]["lr"] = rate
        self.classifier.model.train()
        torch.manual_seed(derive(self.settings.seed, "fine-tuning dropout", step))
        places = self._places(*divmod(step - 1, self.per_epoch))
        logits = self.classifier.logits([self.train.rows[at] for at in places])
        gold = torch.tensor([self.train.labels[at] for at in places], device=logits.device)
        loss = cross_entropy(logits, gold)
        self.losses.append(self._finite(loss.item(), step))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.classifier.model.parameters(), CLIP_NORM)
        self.optimizer.step()
        self.optimizer.zero_grad()

    def _places(self, epoch: int, within: int) -> Sequence[int]:
        """The items of a step: a function of the seed, the epoch and the place in it."""
        size = self.settings.batch_size
        order = _order(self.settings.seed, epoch, len(self.train.rows))
        return [int(at) for at in order[within * size : (within + 1) * size]]

    def _finite(self, loss: float, step: int) -> float:
        if not math.isfinite(loss):
            raise DivergedError(
                f"{self.label} diverged at step {step}: loss {loss}; check that the model's"
                " weights are finite, or let --tune try lower learning rates"
            )
        return loss

    def evaluate(self, step: int) -> None:
        """Score the selection split, and keep the weights if they are the best so far."""
        logits = torch.from_numpy(self.classifier.read(self.selection.rows, self.pause))
        loss = cross_entropy(logits, torch.tensor(self.selection.labels)).item()
        predicted = logits.argmax(1).tolist()
        moment = Moment(
            step=step,
            epoch=step / self.per_epoch,
            training_loss=float(np.mean(self.losses)),
            loss=self._finite(loss, step),
            score=metric_value(self.metric, self.selection.labels, predicted),
        )
        self.curve.append(moment)
        self.losses.clear()
        self.waited += 1
        if self.best is None or moment.score > self.best.score:
            self.waited = 0
        if self.best is None or moment.rank > self.best.rank:
            self.best, self.predicted = moment, predicted
            tensors = self.classifier.model.state_dict()
            self.weights = {name: part.to("cpu", copy=True) for name, part in tensors.items()}

    def restored(self) -> Moment:
        """Put the best weights back; their moment, with the standard error of its score."""
        assert self.best is not None
        self.classifier.model.load_state_dict(self.weights)
        error = standard_error(self.metric, self.selection.labels, self.predicted)
        return replace(self.best, standard_error=error)
