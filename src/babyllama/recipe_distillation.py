"""How a model learns from its teachers: the recipe's section `distillation`."""

from typing import Annotated, Any, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from babyllama.section import Section, Share, WithoutEffectAt


class Distillation(Section):
    """The loss of a model that has teachers: see `babyllama.distillation.loss`."""

    temperature: PositiveFloat = 2.0
    """What the logits of teachers and student are divided by in the KL."""
    ce_weight: Share = 0.5
    """Weight of the cross-entropy; the rest is the weight of the KL."""
    ce_weight_schedule: Annotated[
        Literal["constant", "linear", "wsd"], WithoutEffectAt(("constant",))
    ] = "constant"
    """How that weight changes: not, from the first step to the last, or from 1 to `ce_weight` in
    the first tenth of the training and to the end in the last one (warm-up, stable, decay)."""
    ce_weight_end: Annotated[Share, WithoutEffectAt((1.0,))] = 1.0
    """Where a schedule of that weight ends, at the last step."""
    divergence: Annotated[Literal["forward", "reverse"], WithoutEffectAt(("forward",))] = "forward"
    """KL(teachers || student), or with `reverse` KL(student || teachers)."""
    pool: Literal["logits", "probabilities"] = "logits"
    """What is averaged over the teachers: logits before the softmax, or probabilities."""
    kl_reduction: Literal["token", "sequence"] = "token"
    """Mean of the KL over predicted tokens, or its sum over all positions a sequence."""
    teacher_weights: dict[str, PositiveFloat] = {}
    """Teacher -> weight, normalised to sum to one; a teacher left out weighs 1."""
    learned_weights: Annotated[bool, WithoutEffectAt((False,))] = False
    """Learn these weights instead, from held-out text: those with which the pool predicts best."""
    best_teachers: Annotated[PositiveInt | None, WithoutEffectAt((None,))] = None
    """Learn from so many of the teachers alone: those whose pool predicts held-out text best,
    chosen one by one."""
    mask_inputs: Annotated[float, Field(ge=0, lt=1), WithoutEffectAt((0.0,))] = 0.0
    """The part of the ids that the student reads in training which is blanked; the teachers read
    all of them, and the labels stay."""
    signal: Literal["online", "hidden-fp16", "hidden-int8", "low-rank"] = "online"
    """Whether the teachers are run in every step, or once, and what is kept of them then."""
    cache_angle: PositiveFloat = 2.0
    """Degrees between exact and cached gradient above which a kept signal is refused."""
    cache_rank: PositiveInt | None = None
    """Numbers a token of `low-rank`; by default as few as the angle allows."""
    cache_offsets: PositiveInt = 2
    """With a kept signal and `training.random_offsets`: so many offsets, which come in turn."""

    @property
    def cross_entropy_alone(self) -> bool:
        """Whether the KL weighs nothing from the first step to the last."""
        constant = self.ce_weight_schedule == "constant"
        return self.ce_weight == 1 and (constant or self.ce_weight_end == 1)

    def of_loss(self) -> dict[str, Any]:
        """The settings that a student's loss depends on, wherever its signal comes from."""
        kept = {"signal", "cache_angle", "cache_rank", "cache_offsets"}
        return {key: value for key, value in self.effective().items() if key not in kept}
