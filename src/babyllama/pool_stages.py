"""The stages of pools: weights that are found out before a student is trained, and ensembles."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from babyllama import pools
from babyllama.lineage import Ensemble, learns_pool, pool_weights, settled
from babyllama.recipe import Recipe
from babyllama.recipe_distillation import Distillation
from babyllama.stages import Stages


@dataclass(frozen=True)
class PoolStages:
    """Adds the stages of pools to those of a recipe, and reads what they found."""

    stages: Stages
    weights: dict[str, str] = field(default_factory=dict)
    """Student -> the stage of its weights: its own, or that of one before it."""

    def add_weights(self, name: str) -> None:
        """Add the weights of a student, where they are learned or its teachers are chosen."""
        stages, model = self.stages, self.stages.recipe.models[name]
        if not learns_pool(model):
            return
        assert model.distillation
        assert model.training
        stage = f"weights/{name}"
        tokens, folders = stages.path("tokens"), stages.model_folders(model.teachers)
        stages.add(
            stage,
            "weights",
            {
                **stages.validation_settings(),
                "pool": model.distillation.pool,
                "teacher_weights": pool_weights(model.teachers, model.distillation),
                "learned": model.distillation.learned_weights,
                "best": model.distillation.best_teachers,
                "teachers": model.teachers,
                "precision": model.training.precision,
                "seed": stages.recipe.corpus.seed,
            },
            stages.inputs("tokens", *(f"models/{teacher}" for teacher in model.teachers)),
            lambda out, _: pools.make_weights(
                stages.recipe, name, tokens=tokens, teachers=folders, out=out
            ),
        )
        self.weights[name] = stages.first_alike(stage)

    def inputs(self, student: str | None) -> dict[str, str]:
        """The fingerprint of a student's weights, where they have a stage."""
        stage = self.weights.get(student or "")
        return {"weights": self.stages.fingerprint(stage)} if stage else {}

    def settled(self, name: str) -> tuple[Recipe, float]:
        """The recipe with the teachers and weights that a student has, and what they cost.

        To be called when its weights are there, if they have a stage.
        """
        if name not in self.weights:
            return self.stages.recipe, 0.0
        found = pools.read_weights(self.stages.path(self.weights[name]))
        return settled(self.stages.recipe, name, found["weights"]), float(found["flops"])

    def members(self, pooled: Ensemble) -> tuple[Mapping[str, Path], Distillation]:
        """Who is pooled, and how; to be called when the weights are there."""
        if not pooled.student:
            return self.stages.model_folders(pooled.teachers), pooled.distillation
        model = self.settled(pooled.student)[0].models[pooled.student]
        assert model.distillation
        return self.stages.model_folders(model.teachers), model.distillation

    def settings(self, pooled: Ensemble) -> dict[str, Any]:
        """What decides how an ensemble's members are pooled, beside these and learned weights."""
        weights = pool_weights(pooled.teachers, pooled.distillation)
        return {"pool": pooled.distillation.pool, "teacher_weights": weights}

    def add_ensemble(self, pooled: Ensemble) -> None:
        """Add the validation of an ensemble."""
        stages = self.stages
        tokens, tokenizer = stages.path("tokens"), stages.path("tokenizer")
        taught = (f"models/{member}" for member in pooled.teachers)
        stages.add(
            f"ensembles/{pooled.name}",
            "ensemble",
            {**stages.validation_settings(), **self.settings(pooled), "ensemble": pooled.name},
            stages.inputs("tokens", "tokenizer", *taught) | self.inputs(pooled.student),
            lambda out, _: self._make_ensemble(pooled, tokens, tokenizer, out),
        )

    def _make_ensemble(self, pooled: Ensemble, tokens: Path, tokenizer: Path, out: Path) -> None:
        members, distillation = self.members(pooled)
        weighing = self.settled(pooled.student)[1] if pooled.student else 0.0
        pools.make_ensemble(
            self.stages.recipe,
            pooled.name,
            members=members,
            candidates=self.stages.model_folders(pooled.teachers),
            distillation=distillation,
            weighing_flops=weighing,
            tokens=tokens,
            tokenizer=tokenizer,
            out=out,
        )
