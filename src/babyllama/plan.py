"""A recipe as stages: what each is made from, and what decides whether it is up to date."""

from functools import partial
from pathlib import Path
from typing import Any

from babyllama import builders, milestones, orders, signals
from babyllama.corpus.inputs import raw_digest
from babyllama.evaluation.baselines import CAUSAL_ALONE
from babyllama.evaluation.minimal_pairs import suite_digest
from babyllama.evaluation.suites import suite_folder
from babyllama.lineage import Ensemble, active_teachers, ensembles, pool_weights, training_order
from babyllama.models.folders import folder_digest
from babyllama.models.kinds import kind_of_model
from babyllama.pool_stages import PoolStages
from babyllama.recipe import Model, Recipe
from babyllama.recipe_distillation import Distillation
from babyllama.stages import Stage, Stages
from babyllama.starts import Origin
from babyllama.store import Store
from babyllama.training.health import StopRequest

BUILTIN_SUITE = "builtin:paradigms"
VALIDATION = "_validation"
"""Beside the suites of a model's checkpoints, none of which can have this name."""

Suite = tuple[Path, dict[str, str], builders.Check]
"""Where the pairs are, their fingerprint by its name, and whether it is theirs still."""


def plan(recipe: Recipe, store: Store, stop: StopRequest) -> list[Stage]:
    """All stages in an order in which every input comes first."""
    planner = _Planner(recipe, store, stop)
    planner.add_data()
    for name in training_order(recipe.models):
        planner.add_model(name)
    planner.add_scores()
    if recipe.evaluation.checkpoints:
        planner.add_milestones()
    planner.add_samples()
    return [*planner.stages.values()]


def outside_suites(recipe: Recipe) -> dict[str, Path]:
    """Name -> folder of the suites that are not written from the corpus's words.

    Raises:
        RecipeError: one is not there.
    """
    suites = recipe.evaluation.suites.items()
    return {name: suite_folder(place) for name, place in suites if place != BUILTIN_SUITE}


def corpus_stage(recipe: Recipe, store: Store) -> Stage:
    """The first stage alone: nothing of the models is looked at."""
    planner = _Planner(recipe, store, StopRequest())
    planner.add_corpus()
    return planner.stages["corpus"]


class _Planner(Stages):
    """Adds what a recipe asks for, inputs first."""

    def __init__(self, recipe: Recipe, store: Store, stop: StopRequest) -> None:
        super().__init__(recipe, store, stop)
        self.pools = PoolStages(self)

    def add_corpus(self) -> None:
        recipe = self.recipe
        suites = self._avoided_suites()
        inputs = self._corpus_inputs()
        check = builders.unchanged(
            f"text of corpus.path {recipe.corpus.path}", self._corpus_inputs, inputs
        )

        def build(out: Path, _: Path) -> None:
            builders.make_corpus(recipe, suites.values(), out)
            check()

        self.add(
            "corpus",
            "corpus",
            recipe.corpus.effective(),
            inputs,
            build,
        )

    def _corpus_inputs(self) -> dict[str, str]:
        """Digests of the text, and of the suites whose sentences it may not hold."""
        corpus = self.recipe.corpus
        suites = self._avoided_suites().items()
        digests = {f"suites/{name}": suite_digest(folder) for name, folder in suites}
        return {"text": raw_digest(corpus.path, corpus.dev_path)} | digests

    def add_data(self) -> None:
        self.add_corpus()
        recipe, corpus = self.recipe, self.path("corpus")
        self.add(
            "tokenizer",
            "tokenizer",
            recipe.tokenizer.effective(),
            self.inputs("corpus"),
            lambda out, _: builders.make_tokenizer(recipe, corpus, out),
        )
        tokenizer = self.path("tokenizer")
        self.add(
            "tokens",
            "tokens",
            {"separators": recipe.tokens.separators},
            self.inputs("corpus", "tokenizer"),
            lambda out, _: builders.make_tokens(recipe, corpus, tokenizer, out),
        )
        if any(map(orders.reads_table, recipe.models.values())):
            self.add(
                "readability",
                "readability",
                {"seed": recipe.corpus.seed},
                self.inputs("corpus"),
                lambda out, _: orders.make_readability(recipe, corpus, out),
            )
        for name, folder in recipe.evaluation.suites.items():
            if folder == BUILTIN_SUITE:
                self.add(
                    f"suites/{name}",
                    "suite",
                    {"seed": recipe.corpus.seed},
                    self.inputs("corpus"),
                    lambda out, _: builders.make_suite(recipe, corpus, out),
                )

    def _avoided_suites(self) -> dict[str, Path]:
        """Suites whose sentences the training text may not hold: not those written from it."""
        if not self.recipe.corpus.drop_overlap:
            return {}
        return outside_suites(self.recipe)

    def add_model(self, name: str) -> None:
        model = self.recipe.models[name]
        teachers = active_teachers(model)
        self.pools.add_weights(name)
        kept = self._add_signal(name, model) if signals.reads_cache(model) else None
        if kept:
            fingerprint = self.stages[kept].identity.fingerprint
            inputs = self.inputs("tokens", "tokenizer") | {"signal": fingerprint}
            signal = signals.Kept(self.path(kept), self.stages[kept].identity.inputs)
        else:
            taught = (f"models/{teacher}" for teacher in teachers)
            inputs, signal = self.inputs("tokens", "tokenizer", *taught), None
            inputs |= self.pools.inputs(name)
        table = self.path("readability") if orders.reads_table(model) else None
        inputs |= self.inputs("readability") if table else {}
        check: builders.Check = builders.nothing_to_check
        if model.checkpoint:
            digest = partial(folder_digest, Path(model.checkpoint))
            inputs["checkpoint"] = digest()
            check = builders.unchanged(
                f"checkpoint {model.checkpoint}", digest, inputs["checkpoint"]
            )
        origin = self._origin(model)
        inputs |= self.inputs(f"models/{origin.name}") if origin else {}
        settings = self._model_settings(name, model, teachers)
        tokens, tokenizer = self.path("tokens"), self.path("tokenizer")
        folders = self.model_folders(teachers)

        def build(out: Path, work: Path) -> None:
            recipe, weighing = self.pools.settled(name)
            builders.make_model(
                recipe,
                name,
                tokens=tokens,
                tokenizer=tokenizer,
                table=table,
                teachers=folders,
                signal=signal,
                weighing_flops=weighing,
                origin=origin,
                out=out,
                work=work,
                stop=self.stop,
                check_unchanged=check,
            )

        self.add(f"models/{name}", "model", settings, inputs, build)

    def _origin(self, model: Model) -> Origin | None:
        if not model.start:
            return None
        name, weights = model.start.model, model.start.weights
        return Origin(name, self.path(f"models/{name}"), weights)

    def _add_signal(self, name: str, model: Model) -> str:
        """The stage of the cache that a student reads: its own, or that of one before it."""
        taught = (f"models/{teacher}" for teacher in sorted(model.teachers))
        inputs = self.inputs("corpus", "tokenizer", "tokens", *taught) | self.pools.inputs(name)
        tokens, folders = self.path("tokens"), self.model_folders(model.teachers)
        stage = f"signal/{name}"
        self.add(
            stage,
            "signal",
            signals.signal_settings(self.recipe, model),
            inputs,
            lambda out, work: signals.make_signal(
                self.pools.settled(name)[0],
                name,
                tokens=tokens,
                teachers=folders,
                made_from=inputs,
                out=out,
                work=work,
            ),
        )
        return self.first_alike(stage)

    def _model_settings(self, name: str, model: Model, teachers: list[str]) -> dict[str, Any]:
        settings = model.effective() | self.validation_settings()
        settings |= {"name": name, "seed": self.recipe.seed_of(model)}
        settings |= {"teachers": teachers, "distillation": None}
        if teachers and model.distillation:
            weights = pool_weights(teachers, model.distillation)
            settings["distillation"] = model.distillation.of_loss() | {"teacher_weights": weights}
        return settings

    def add_scores(self) -> None:
        alone = [Ensemble(name, (name,), Distillation()) for name in self.recipe.models]
        pooled = ensembles(self.recipe)
        for each in pooled:
            self.pools.add_ensemble(each)
        for suite in self.recipe.evaluation.suites:
            place = self._suite(suite)
            for scored in [*alone, *pooled]:
                self._add_scores(scored, suite, place)

    def _add_scores(self, scored: Ensemble, suite: str, place: Suite) -> None:
        folder, inputs, check = place
        settings = self._score_settings(scored.name, suite)
        if len(scored.teachers) > 1:
            settings |= self.pools.settings(scored)
        models = (f"models/{name}" for name in scored.teachers)
        made_of = self.inputs("tokenizer", *models) | self.pools.inputs(scored.student)

        def build(out: Path, _: Path) -> None:
            members, distillation = self.pools.members(scored)
            builders.make_scores(
                self.recipe,
                scored.name,
                suite,
                members=members,
                distillation=distillation,
                suite=folder,
                tokenizer=self.path("tokenizer"),
                out=out,
                check_unchanged=check,
            )

        self.add(f"scores/{scored.name}/{suite}", "scores", settings, made_of | inputs, build)

    def _score_settings(self, model: str, suite: str) -> dict[str, Any]:
        rules = self.recipe.evaluation.effective()
        del rules["checkpoints"]  # they have stages of their own
        models = self.recipe.models
        if model in models and kind_of_model(models, model) != "causal":
            for setting in CAUSAL_ALONE:
                del rules[setting]
        return {**rules, "model": model, "suite": suite}

    def add_milestones(self) -> None:
        """Of every model that is saved by words seen: one validation, and scores on each suite."""
        for name, model in self.recipe.models.items():
            if model.training and model.training.save_at_words:
                self._add_milestone_validation(name, model.training.precision)
                for suite in self.recipe.evaluation.suites:
                    self._add_milestone_scores(name, suite, self._suite(suite))

    def _add_milestone_validation(self, name: str, precision: str) -> None:
        paths = (f"models/{name}", "tokens", "tokenizer")
        model, tokens, tokenizer = map(self.path, paths)
        self.add(
            f"checkpoints/{name}/{VALIDATION}",
            "validation",
            {**self.validation_settings(), "precision": precision},
            self.inputs(*paths),
            lambda out, _: milestones.validate_milestones(
                self.recipe, name, model=model, tokens=tokens, tokenizer=tokenizer, out=out
            ),
        )

    def _add_milestone_scores(self, name: str, suite: str, place: Suite) -> None:
        folder, inputs, check = place
        paths = (f"models/{name}", "tokenizer")
        model, tokenizer = map(self.path, paths)
        self.add(
            f"checkpoints/{name}/{suite}",
            "scores",
            {**self._score_settings(name, suite), "checkpoints": True},
            self.inputs(*paths) | inputs,
            lambda out, work: milestones.score_milestones(
                self.recipe,
                name,
                suite,
                model=model,
                suite=folder,
                tokenizer=tokenizer,
                out=out,
                work=work,
                check_unchanged=check,
            ),
        )

    def _suite(self, suite: str) -> Suite:
        name, folder = f"suites/{suite}", outside_suites(self.recipe).get(suite)
        if folder is None:
            return self.path(name), self.inputs(name), builders.nothing_to_check
        digest = partial(suite_digest, folder)
        taken = digest()
        return folder, {name: taken}, builders.unchanged(f"suite {folder}", digest, taken)

    def add_samples(self) -> None:
        models = self.recipe.models
        causal = [name for name in models if kind_of_model(models, name) == "causal"]
        names = [name for name in causal if models[name].teachers] or causal[-1:]
        folders = self.model_folders(names)
        tokenizer = self.path("tokenizer")
        self.add(
            "samples",
            "samples",
            {**self.recipe.report.effective(), "models": names, "seed": self.recipe.seed},
            self.inputs("tokenizer", *(f"models/{name}" for name in names)),
            lambda out, _: builders.make_samples(self.recipe, folders, tokenizer, out),
        )
