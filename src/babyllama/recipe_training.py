"""How one model is trained: the recipe's section `training`."""

from typing import Annotated, Literal, Self

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from babyllama.errors import RecipeError
from babyllama.section import Section, Share, WithoutEffect, WithoutEffectAt

Bucket = Annotated[list[str], Field(min_length=1)]


class Curriculum(Section):
    """Easy text first: see `babyllama.tokens.curriculum`. `training.epochs` is that of a phase."""

    buckets: Annotated[list[Bucket], Field(min_length=1)] | PositiveInt
    """Names of sources, the easiest first, or how many buckets are made by readability."""
    mixed: bool = False
    """The curriculum's control: as many steps, but on all of the text from the first one on."""


class Sam(Section):
    """Sharpness-aware minimisation: see `babyllama.training.sharpness`."""

    rho: PositiveFloat = 0.05
    """How far from the weights the gradient is taken, uphill."""
    adaptive: bool = False
    """Go further in large weights than in small ones; the authors then take a `rho` of 0.5."""
    last_epochs: PositiveInt | None = None
    """So many epochs at the end; by default all of them."""


class Muon(Section):
    """How the matrices are trained: see `babyllama.training.muon`."""

    learning_rate: PositiveFloat | None = None
    """Of the matrices; by default that of AdamW, whose size an update has."""
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.95
    """How long gradients are remembered."""


class DecayByRatio(Section):
    """Weight decay that grows with parameters per token: see `babyllama.training.decay`."""

    by_ratio: PositiveFloat
    """Weight decay of a model with as many parameters as the training split has tokens."""


class Training(Section):
    """How one model is trained. The defaults are the paper's where it gives them."""

    epochs: PositiveInt = 6
    """Times through the training split."""
    steps: Annotated[PositiveInt | None, WithoutEffectAt((None,))] = None
    """Steps of the whole training, in the place of `epochs`, which then are those of a curriculum's
    phases alone."""
    batch_size: PositiveInt = 32
    """Sequences a step, over all micro-batches."""
    learning_rate: PositiveFloat = 3e-4
    """Of AdamW, at the end of the warm-up."""
    schedule: Literal["cosine", "cyclic", "constant"] = "cosine"
    """What the learning rate does after the warm-up; `cyclic` is a cosine that starts again."""
    cycles: Annotated[PositiveInt, WithoutEffectAt((1,))] = 1
    """Of a cyclic schedule: parts of one length, each of which ends with a saved model."""
    warmup_steps: Annotated[int, Field(ge=0)] = 200
    """Steps in which the learning rate rises from zero."""
    final_learning_rate: Share = 0.0
    """Where the cosine ends, as a share of the learning rate."""
    weight_decay: Annotated[float, Field(ge=0)] | DecayByRatio = 0.0
    """Decoupled, on matrices alone; a number, or so many times the parameters per token."""
    optimizer: Annotated[Literal["adamw", "muon"], WithoutEffectAt(("adamw",))] = "adamw"
    """`muon`: Muon for the matrices between embedding and head, AdamW for the rest."""
    muon: Annotated[Muon | None, WithoutEffectAt((None,))] = None
    """Of Muon, where it is the optimiser."""
    sam: Annotated[Sam | None, WithoutEffectAt((None,))] = None
    """Take the gradient where the loss is highest nearby: a step is two passes."""
    betas: tuple[Share, Share] = (0.9, 0.999)
    """How long AdamW remembers gradients and their squares; both below 1."""
    epsilon: PositiveFloat = 1e-8
    """What AdamW adds to its denominator."""
    clip_norm: PositiveFloat | None = 1.0
    """The norm that gradients are scaled down to; `null` leaves them alone."""
    spikes: Annotated[Literal["off", "warn", "skip"], WithoutEffectAt(("off", "warn"))] = "off"
    """What a step does whose gradient is far above those before it: nothing, tell, or leave the
    weights as they are (what a spike is: docs/runs.md)."""
    curriculum: Annotated[Curriculum | None, WithoutEffectAt((None,))] = None
    """What is seen when, where it is not all of the text from the first step on."""
    random_offsets: bool = False
    """Shift the chunk grid by a random number of tokens every epoch."""
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    """`auto`: bf16 autocast where the hardware has it, otherwise fp32."""
    keep: Literal["last", "best"] = "last"
    """Which weights become the model: the last, or the best at the end of an epoch."""
    select_by: Literal["cross_entropy", "objective"] = "cross_entropy"
    """What `keep: best` compares at the end of every epoch."""
    ema: Annotated[Annotated[float, Field(gt=0, lt=1)] | None, WithoutEffectAt((None,))] = None
    """Decay a step of an exponential moving average of the weights, saved beside them."""
    ascent: Annotated[bool, WithoutEffectAt((False,))] = False
    """Turn the sign of the objective: every step makes it worse."""
    save_at_words: Literal["babylm"] | list[PositiveInt] = []
    """Save the model when it has seen so many words; `babylm` is 1M to 9M, 10M to 100M."""
    micro_batch: Annotated[PositiveInt | None, WithoutEffect] = None
    """Sequences a forward pass; by default what fits the device. A training that was begun keeps
    its own. With dropout or experts another micro-batch is another run of the same kind."""
    checkpoint_minutes: Annotated[PositiveFloat, WithoutEffect] = 5.0
    """How often the state of a training is saved, beside the end of every epoch."""

    def idle(self) -> set[str]:
        """`epochs`, where `steps` end the training and no phases are counted in epochs."""
        phases = self.curriculum is not None and not self.curriculum.mixed
        return {"epochs"} if self.steps and not phases else set()

    @model_validator(mode="after")
    def _betas_below_one(self) -> Self:
        if max(self.betas) >= 1:
            raise ValueError(f"betas must lie below 1, not {list(self.betas)}")
        return self

    def check_sharp_epochs(self, begun: int) -> None:
        """Refuse more epochs with SAM than a training begins."""
        last = self.sam.last_epochs if self.sam else None
        if last and last > begun:
            raise RecipeError(
                f"training.sam.last_epochs is {last} in a training of {begun}: leave it out for all"
            )
