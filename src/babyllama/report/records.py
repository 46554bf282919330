"""What a run has kept of its trainings, and of its ensembles."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

LOSSES = {
    "cross_entropy": "nats/token",
    "masked_cross_entropy": "nats/masked token",
    "span_cross_entropy": "nats/token of spans",
}
"""What a model is trained and validated on, by its kind: never put side by side."""


@dataclass(frozen=True, kw_only=True)
class Validation:
    """How a model predicts the validation subset: nats per token, bits per byte.

    One that is not causal sees the rest of the text, and has a figure of its own.
    """

    cross_entropy: float | None = None
    bits_per_byte: float | None = None
    masked_cross_entropy: float | None = None
    span_cross_entropy: float | None = None

    @property
    def is_causal(self) -> bool:
        """Whether nothing says that the model sees the rest of the text."""
        return self.masked_cross_entropy is None and self.span_cross_entropy is None


@dataclass(frozen=True, kw_only=True)
class Member:
    """A model of an ensemble: its share of the pool, and its own nats per token."""

    weight: float
    cross_entropy: float


@dataclass(frozen=True, kw_only=True)
class Pooled:
    """What `ensemble.json` says."""

    pool: str
    members: Mapping[str, Member]
    validation: Validation
    teacher_flops: float = 0.0
    teacher_training_flops: float = 0.0

    @property
    def total_flops(self) -> float:
        """Operations of making all members and those tried beside them, and of the choice."""
        return self.teacher_flops + self.teacher_training_flops

    @property
    def mean_cross_entropy(self) -> float:
        """Of the members, each counted alike."""
        return sum(one.cross_entropy for one in self.members.values()) / len(self.members)

    def shares(self) -> str:
        """The members' weights in words."""
        return in_words({name: member.weight for name, member in self.members.items()})


@dataclass(frozen=True, kw_only=True)
class Taught:
    """What `training.json` says of how a student's teachers were pooled."""

    teacher_weights: Mapping[str, float] = field(default_factory=dict)
    learned_weights: bool = False
    best_teachers: int | None = None

    def shares(self, teachers: Sequence[str]) -> str:
        """The teachers' weights in words, and how they were found."""
        given = {name: self.teacher_weights.get(name, 1.0) for name in teachers}
        how = ["learned"] if self.learned_weights else []
        how += [f"best {self.best_teachers}"] if self.best_teachers else []
        return in_words(given) + (f" ({', '.join(how)})" if how else "")


@dataclass(frozen=True, kw_only=True)
class Training:
    """What `training.json` says of one model; a figure that it lacks is `None`."""

    architecture: str | None = None
    parameters: int | None = None
    teachers: tuple[str, ...] = ()
    steps: int | None = None
    epochs: float | None = None
    tokens_seen: float | None = None
    words_seen: float | None = None
    teacher_words_seen: float | None = None
    flops: float | None = None
    teacher_flops: float | None = None
    teacher_training_flops: float | None = None
    seconds: float | None = None
    tokens_per_second: float | None = None
    precision: str | None = None
    kept: str | None = None
    validation: Validation = field(default_factory=Validation)
    distillation: Taught | None = None

    @property
    def total_flops(self) -> float | None:
        """Operations of the model, and of training and running its teachers."""
        if self.flops is None:
            return None
        return self.flops + (self.teacher_flops or 0.0) + (self.teacher_training_flops or 0.0)


def in_words(weights: Mapping[str, float]) -> str:
    """Weights as shares of one.

    >>> in_words({"llama": 3, "gpt2": 1}), in_words({"a": 2, "b": 2})
    ('llama 0.750, gpt2 0.250', 'a, b')
    """
    total, equal = sum(weights.values()), len({*weights.values()}) < 2
    return ", ".join(n if equal else f"{n} {w / total:.3f}" for n, w in weights.items())
