"""The recipes that ship: which they are, and that they say what they are said to."""

import warnings
from pathlib import Path

import pytest

from babyllama.builders import outline
from babyllama.corpus.auditing.readability import PAPER_BUCKETS
from babyllama.estimate import model_cost
from babyllama.models.costs import parameter_count
from babyllama.recipe import Recipe
from babyllama.recipe_files import preset_names
from babyllama.resolve import load_recipe
from babyllama.rundir import recipe_yaml
from babyllama.schema import flatten

SWITCH = ["appendix-switch", "appendix-switch-micro"]
OPTIMISERS = ["appendix-sam", "appendix-sam-micro", "muon-micro", "weight-decay-micro"]
BASELINES = [
    f"baseline-{name}{size}" for name in ("opt", "roberta", "t5") for size in ("", "-micro")
]
WEIGHTS = ["appendix-gap", "appendix-gap-micro", "ema-micro", "snapshots-micro"]
POOLS = ["appendix-homogeneous", "appendix-homogeneous-micro", "appendix-mixed"]
POOLS += ["appendix-mixed-micro", "babyllama2", "babyllama2-micro"]
POOLS += ["chain-micro", "equal-cost-micro", "pool-micro"]
CURRICULA = ["appendix-curriculum", "appendix-curriculum-micro"]
LOSSES = ["loss-variants-micro", "masked-student-micro"]
EXPERIMENTS = [*CURRICULA, *SWITCH, *BASELINES, *OPTIMISERS, *WEIGHTS, *POOLS, *LOSSES]
PRESETS = sorted([*EXPERIMENTS, "demo", "micro", "mini", "paper", "paper-as-released"])
ABOUT_THE_FILE = {"name", "description"}
# What `recipes/paper-as-released.yaml` documents at its top; the control is the student's twin.
EVERY_MODEL = {"random_offsets": True, "keep": "best", "select_by": "objective"}
RELEASED = {
    "tokens.separators": False,
    "models.student.distillation.kl_reduction": "sequence",
    **{
        f"models.{model}.training.{key}": value
        for model, settings in {
            "gpt2": {"epochs": 4, "batch_size": 128, "warmup_steps": 300},
            "llama": {"warmup_steps": 300},
            "student": {"learning_rate": 2.5e-4, "weight_decay": 0.1},
            "control": {"learning_rate": 2.5e-4, "weight_decay": 0.1},
        }.items()
        for key, value in {**EVERY_MODEL, **settings}.items()
    },
}


def test_paper_as_released_differs_from_paper_in_the_documented_keys_alone() -> None:
    paper = flatten(load_recipe("paper").model_dump())
    released = flatten(load_recipe("paper-as-released").model_dump())
    assert paper.keys() == released.keys()
    different = {key: value for key, value in released.items() if value != paper[key]}
    assert {key: different[key] for key in different if key not in ABOUT_THE_FILE} == RELEASED


def test_paper_as_released_clips_at_one_and_warms_the_student_up_over_200_steps() -> None:
    models = load_recipe("paper-as-released").models
    assert {model.training and model.training.clip_norm for model in models.values()} == {1.0}
    assert models["student"].training
    assert models["student"].training.warmup_steps == 200


def test_these_recipes_ship() -> None:
    assert preset_names() == PRESETS


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_resolves_and_its_resolved_form_is_the_same_recipe(
    name: str, tmp_path: Path
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        resolved = load_recipe(name)
    assert resolved.name == name
    assert resolved.description
    if name not in EXPERIMENTS:
        assert {"student", "control", "llama", "gpt2"} == set(resolved.models)
    file = tmp_path / "recipe.yaml"
    file.write_text(recipe_yaml(resolved), "utf-8")
    assert load_recipe(str(file)) == resolved


@pytest.mark.parametrize("preset", SWITCH)
def test_the_switch_transformers_differ_from_the_dense_model_in_their_experts_alone(
    preset: str,
) -> None:
    models = {name: model.model_dump() for name, model in load_recipe(preset).models.items()}
    dense = models.pop("dense")
    options = [model["architecture"].pop("options") for model in models.values()]
    for model in models.values():
        sizes = {k: v for k, v in dense["architecture"].items() if k not in ("type", "options")}
        assert model == {**dense, "architecture": {"type": "switch", **sizes}}
    found = sorted((given["experts"], given["capacity_factor"]) for given in options)
    assert found == [(1, 1.25)] + [(n, room) for n in (2, 4, 8) for room in (1.25, 2.0)]


@pytest.mark.parametrize("preset", CURRICULA)
def test_the_control_of_a_curriculum_differs_in_the_order_of_its_text_alone(preset: str) -> None:
    curriculum, control = (
        load_recipe(preset).models[name].model_dump() for name in ("curriculum", "control")
    )
    assert control["training"]["curriculum"].pop("mixed") is True
    assert curriculum["training"]["curriculum"].pop("mixed") is False
    assert control == curriculum


def test_the_curriculum_has_the_buckets_of_the_paper() -> None:
    training = load_recipe("appendix-curriculum").models["curriculum"].training
    assert training
    assert training.epochs == 3
    assert training.curriculum
    assert training.curriculum.buckets == [[*bucket] for bucket in PAPER_BUCKETS]


@pytest.mark.parametrize("name", ["opt", "roberta", "t5"])
def test_a_baselines_micro_twin_has_the_text_and_the_training_of_micro(name: str) -> None:
    micro, found = load_recipe("micro"), load_recipe(f"baseline-{name}-micro")
    for section in ("seed", "corpus", "tokenizer", "tokens", "evaluation"):
        assert getattr(found, section) == getattr(micro, section)
    [model] = found.models.values()
    assert model.training == micro.models["llama"].training
    assert load_recipe(f"baseline-{name}").models.keys() == found.models.keys() == {name}


def test_paper_is_the_published_recipe() -> None:
    flat = flatten(load_recipe("paper").model_dump(mode="json"))
    published = {
        "tokenizer.vocabulary": 16_000,
        "tokens.chunk_length": 128,
        "models.gpt2.architecture.layers": 24,
        "models.gpt2.architecture.heads": 16,
        "models.gpt2.architecture.width": 1536,
        "models.gpt2.architecture.feed_forward": 6144,
        "models.gpt2.architecture.positions": 128,
        "models.gpt2.training.epochs": 6,
        "models.gpt2.training.batch_size": 256,
        "models.gpt2.training.learning_rate": 2.5e-4,
        "models.llama.architecture.layers": 24,
        "models.llama.architecture.heads": 8,
        "models.llama.architecture.width": 1024,
        "models.llama.architecture.feed_forward": 3072,
        "models.llama.architecture.positions": 256,
        "models.llama.training.epochs": 4,
        "models.llama.training.batch_size": 128,
        "models.llama.training.learning_rate": 3e-4,
        "models.student.architecture.layers": 16,
        "models.student.architecture.heads": 8,
        "models.student.architecture.width": 512,
        "models.student.architecture.feed_forward": 1024,
        "models.student.training.epochs": 6,
        "models.student.training.batch_size": 32,
        "models.student.training.learning_rate": 3e-4,
        "models.student.training.schedule": "cosine",
        "models.student.training.warmup_steps": 200,
        "models.student.distillation.temperature": 2.0,
        "models.student.distillation.ce_weight": 0.5,
        "models.student.distillation.kl_reduction": "token",
    }
    assert {key: flat[key] for key in published} == published


@pytest.mark.parametrize("preset", ["appendix-sam", "appendix-sam-micro"])
def test_the_control_of_sam_costs_as_many_passes(preset: str) -> None:
    models = load_recipe(preset).models
    plain, sam, longer = (models[name].training for name in ("plain", "sam", "longer"))
    assert plain
    assert sam
    assert sam.sam
    assert sam.sam.last_epochs == 1
    assert sam.model_copy(update={"sam": None}) == plain
    assert longer == plain.model_copy(update={"epochs": plain.epochs + 1})


def test_models_that_recipes_share_with_micro_are_its_own() -> None:
    micro, muon = load_recipe("micro"), load_recipe("muon-micro")
    assert load_recipe("appendix-sam-micro").models["plain"] == micro.models["gpt2"]
    for name in ("llama", "gpt2"):
        assert muon.models[name] == micro.models[name]
    for other in (muon, load_recipe("appendix-sam-micro")):
        assert (other.corpus, other.tokens) == (micro.corpus, micro.tokens)
        assert other.tokenizer == micro.tokenizer


@pytest.mark.parametrize("preset", ["appendix-gap", "appendix-gap-micro"])
def test_both_models_are_taken_uphill_by_15_to_100_steps_and_nothing_else_differs(
    preset: str,
) -> None:
    models = load_recipe(preset).models
    plain = load_recipe("micro" if preset.endswith("micro") else "paper").models
    assert all(models[name] == plain[name] for name in ("llama", "gpt2", "student"))
    settings = []
    for name in ("gpt2", "student"):
        for steps in (15, 30, 50, 100):
            model = models[f"{name}-gap{steps}"]
            assert model.start
            assert model.training
            assert (model.start.model, model.start.weights, model.teachers) == (name, "last", [])
            assert model.training.steps == steps
            settings.append(model.training.model_copy(update={"steps": None}))
    assert len({*map(repr, settings)}) == 1
    (training,) = settings[:1]
    assert training.ascent
    assert (training.batch_size, training.learning_rate) == (1, 5e-5)
    assert (training.schedule, training.warmup_steps, training.weight_decay) == ("constant", 0, 0)


def test_the_teachers_of_snapshots_micro_cost_as_much_in_both_ways() -> None:
    recipe, micro = load_recipe("snapshots-micro"), load_recipe("micro").models
    assert all(recipe.models[name] == micro[name] for name in micro)
    cost = {name: model_cost(recipe, name, 1_500_000) for name in recipe.models}
    assert cost["cyclic"].flops == cost["llama"].flops + cost["llama-2"].flops
    ours, theirs = (cost[f"student-of-{kind}"] for kind in ("snapshots", "seeds"))
    assert (ours.flops, ours.steps) == (theirs.flops, theirs.steps)
    shown = [recipe.models[name].start for name in recipe.models["student-of-snapshots"].teachers]
    weights = [(start.model, start.weights) for start in shown if start]
    assert weights == [("cyclic", "cycle-1"), ("cyclic", "cycle-2")]


def test_ema_micro_adds_nothing_but_averages_to_micros_student_and_control() -> None:
    models, micro = load_recipe("ema-micro").models, load_recipe("micro").models
    for name in ("student", "control"):
        training = models[name].training
        assert training
        same = training.model_copy(update={"ema": None})
        assert models[name].model_copy(update={"training": same}) == micro[name]
        average = models[f"{name}-ema"].start
        assert average
        assert (average.model, average.weights, training.ema) == (name, "ema", 0.99)


@pytest.mark.parametrize("preset", LOSSES)
def test_students_of_another_loss_are_micros_in_all_but_one_thing_each(preset: str) -> None:
    recipe, micro = load_recipe(preset), load_recipe("micro")
    assert all(recipe.models[name] == model for name, model in micro.models.items())
    assert (recipe.corpus, recipe.tokenizer, recipe.tokens) == (
        micro.corpus,
        micro.tokenizer,
        micro.tokens,
    )
    student, losses = micro.models["student"], []
    for name in recipe.models.keys() - micro.models.keys():
        model = recipe.models[name]
        same = {"distillation": student.distillation, "healthy": student.healthy}
        assert model.model_copy(update=same) == student
        assert model.distillation
        losses.append(repr(model.distillation.of_loss()))
    assert student.distillation
    losses.append(repr(student.distillation.of_loss()))
    assert len({*losses}) == len(losses) == {"loss": 7, "masked": 4}[preset.partition("-")[0]]


def test_babyllama2_is_the_recipe_of_its_public_code() -> None:
    models = load_recipe("babyllama2").models
    assert {parameter_count(outline(load_recipe("babyllama2"), m)) for m in models} == {345_355_200}
    published = {
        "epochs": 8,
        "batch_size": 128,
        "learning_rate": 7e-4,
        "schedule": "cosine",
        "warmup_steps": 600,
        "weight_decay": 5.0,
    }
    for model in models.values():
        assert model.training
        assert published.items() <= model.training.model_dump().items()
    assert models["student"].teachers == ["teacher1", "teacher2"]
    assert models["student"].distillation
    found = models["student"].distillation.model_dump()
    loss = {"temperature": 1.0, "ce_weight": 0.5, "pool": "logits", "kl_reduction": "sequence"}
    assert loss.items() <= found.items()


@pytest.mark.parametrize("preset", ["babyllama2", "babyllama2-micro"])
def test_teachers_and_student_of_babyllama2_differ_in_seed_and_teachers_alone(preset: str) -> None:
    models = load_recipe(preset).models
    assert len({model.seed for model in models.values()}) == 3
    assert models["control"].seed == models["student"].seed
    assert len({repr((m.architecture, m.training)) for m in models.values()}) == 1


@pytest.mark.parametrize(
    ("preset", "kinds"),
    [
        ("appendix-homogeneous", [{"llama"}]),
        ("appendix-homogeneous-micro", [{"llama"}]),
        ("appendix-mixed", [{"llama"}, {"gpt2"}]),
        ("appendix-mixed-micro", [{"llama"}, {"gpt2"}]),
    ],
)
def test_members_of_an_ensemble_differ_in_the_seed_alone(
    preset: str, kinds: list[set[str]]
) -> None:
    recipe = load_recipe(preset)
    members = {name for given in recipe.ensembles.values() for name in given.members}
    assert len(members) == 6
    made = [recipe.models[name] for name in members]
    for kind in kinds:
        alike = [m for m in made if m.architecture and m.architecture.type in kind]
        assert len({repr(m.model_copy(update={"seed": 0})) for m in alike}) == 1
        assert len({m.seed for m in alike}) == len(alike)
    pools = [(len(given.members), given.pool) for given in recipe.ensembles.values()]
    sizes = [2, 4, 6]
    assert sorted(pools) == sorted((n, p) for n in sizes for p in ("logits", "probabilities"))
    taught = {len(m.teachers) for n, m in recipe.models.items() if m.teachers and "large" not in n}
    assert taught == ({1, 2, 4, 6} if len(kinds) == 1 else {2, 4, 6})


@pytest.mark.parametrize("preset", ["appendix-homogeneous", "appendix-homogeneous-micro"])
def test_one_student_is_larger_than_its_teachers(preset: str) -> None:
    recipe = load_recipe(preset)
    size = {name: parameter_count(outline(recipe, name)) for name in recipe.models}
    teachers = recipe.models["student-large"].teachers
    assert all(size["student-large"] > size[teacher] for teacher in teachers)
    assert size["control-large"] == size["student-large"]


SHARED = {
    "appendix-homogeneous-micro": ["llama", "control"],
    "appendix-mixed-micro": ["llama", "gpt2", "student", "control"],
    "equal-cost-micro": ["llama", "gpt2", "student", "control"],
    "pool-micro": ["llama", "gpt2", "control"],
    "chain-micro": ["llama"],
}


@pytest.mark.parametrize("preset", SHARED)
def test_what_a_recipe_shares_with_micro_is_made_once(preset: str) -> None:
    micro, recipe = load_recipe("micro"), load_recipe(preset)
    for section in ("corpus", "tokenizer", "tokens"):
        assert getattr(recipe, section) == getattr(micro, section)
    for name in SHARED[preset]:
        assert recipe.models[name].effective() == micro.models[name].effective()


def spent(recipe: Recipe, name: str, tokens: int = 1_400_000) -> float:
    """Operations of a model, and of training those before it, each once."""
    needed, pending = {name}, [name]
    while pending:
        teachers = recipe.models[pending.pop()].teachers
        needed |= {*teachers}
        pending += teachers
    return sum(model_cost(recipe, each, tokens).flops for each in needed)


def test_controls_at_equal_cost_cost_about_the_same() -> None:
    recipe = load_recipe("equal-cost-micro")
    for control in ("control-longer", "control-larger"):
        assert 0.94 < spent(recipe, control) / spent(recipe, "student") <= 1.01


def test_the_longer_student_is_its_control_with_a_teacher_at_equal_tokens() -> None:
    models = load_recipe("equal-cost-micro").models
    student, control = models["student-longer"], models["control-longer"]
    assert student.architecture == control.architecture
    assert student.training == control.training
    assert (student.teachers, control.teachers) == (["control-larger"], [])
