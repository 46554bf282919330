"""Causal models by the names of transformers, of the sizes that a recipe asks for."""

import sys
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from transformers import PreTrainedModel

from babyllama.errors import IgnoredSettingWarning, RecipeError
from babyllama.models.architectures import (
    build_model,
    longest_input,
    longest_text,
    model_config,
)
from babyllama.models.costs import meta_model, parameter_count
from babyllama.recipe import Architecture
from babyllama.resolve import load_recipe

Tiny = Callable[..., Architecture]
Build = Callable[..., PreTrainedModel]
VOCABULARY, SPECIAL = 300, (0, 1, 2)
DECODERS = [
    "llama",
    "gpt2",
    "gptj",
    "opt",
    "gpt_neox",
    "mistral",
    "qwen2",
    "phi",
    "falcon",
    "switch",
]
# Encoders, and the decoders of encoder-decoders: causal only when told so, or sized apart.
OTHERS = ["bert", "camembert", "xlm", "bart"]


def config_of(architecture: Architecture) -> Any:
    return model_config(architecture, VOCABULARY, SPECIAL)


def build_quietly(build: Build, kind: str) -> PreTrainedModel:
    if kind == "xlm":
        with pytest.warns(IgnoredSettingWarning):
            return build(kind)
    return build(kind)


@pytest.mark.parametrize("kind", DECODERS + OTHERS)
def test_a_kind_by_name_gives_logits_over_the_vocabulary(build: Build, kind: str) -> None:
    model = build_quietly(build, kind)
    ids = torch.arange(3, 13).view(2, 5)
    assert model.config.model_type == kind
    assert model(input_ids=ids).logits.shape == (2, 5, VOCABULARY)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


@pytest.mark.parametrize("kind", DECODERS + OTHERS)
def test_no_position_sees_what_it_predicts(build: Build, kind: str) -> None:
    model = build_quietly(build, kind)
    ids = torch.arange(3, 13).view(1, 10)
    changed = ids.clone()
    changed[0, -1] = 99
    before, after = model(input_ids=ids).logits, model(input_ids=changed).logits
    assert torch.equal(before[:, :-1], after[:, :-1])
    assert not torch.equal(before[:, -1], after[:, -1])


@pytest.mark.parametrize("kind", ["llama", "gpt2", "gptj", "opt", "bart"])
def test_the_sizes_of_a_recipe_are_those_of_the_model(build: Build, kind: str) -> None:
    model = build(kind, layers=3, heads=4, width=32, feed_forward=56, positions=64)
    shapes = [tuple(parameter.shape) for parameter in model.parameters() if parameter.ndim == 2]
    assert sum(sorted(shape) == [32, 56] for shape in shapes) in {3 * 2, 3 * 3}
    assert (VOCABULARY, 32) in shapes
    assert model.config.max_position_embeddings == 64
    model.set_attn_implementation("eager")
    attentions = model(input_ids=torch.arange(3, 9).view(1, 6), output_attentions=True).attentions
    assert [tuple(a.shape) for a in attentions] == [(1, 4, 6, 6)] * 3


def test_a_model_takes_inputs_as_long_as_its_positions(build: Build) -> None:
    for kind in ("llama", "gpt2", "gptj", "opt", "bert", "bart"):
        model = build(kind, positions=16)
        assert longest_input(model) == 16
        assert model(input_ids=torch.full((1, 16), 5)).logits.shape[1] == 16


@pytest.mark.parametrize("kind", ["roberta", "xlm-roberta", "camembert", "data2vec-text"])
@pytest.mark.parametrize("pad", [0, 4])
def test_a_model_that_numbers_positions_behind_its_padding_id_takes_so_many_fewer(
    tiny: Tiny, kind: str, pad: int
) -> None:
    model = build_model(model_config(tiny(kind, positions=16), VOCABULARY, (pad, 1, 2)), 1)
    longest = longest_input(model)
    assert longest == 16 - pad - 1
    assert model(input_ids=torch.full((1, longest), 5)).logits.shape[1] == longest
    with pytest.raises((IndexError, RuntimeError)):
        model(input_ids=torch.full((1, longest + 1), 5))
    assert longest_input(meta_model(model.config)) == longest


def test_a_model_without_positions_takes_any_length(tiny: Tiny) -> None:
    with pytest.warns(IgnoredSettingWarning):
        config = config_of(tiny("bloom"))
    assert longest_input(meta_model(config)) > 1_000_000


@pytest.mark.parametrize(
    ("name", "parameters"), [("gpt2", 704_732_160), ("llama", 359_973_888), ("student", 58_343_936)]
)
def test_the_models_of_the_paper_have_the_published_numbers_of_parameters(
    name: str, parameters: int
) -> None:
    recipe = load_recipe("paper")
    architecture = recipe.models[name].architecture
    assert architecture
    config = model_config(architecture, recipe.tokenizer.vocabulary, SPECIAL)
    assert parameter_count(meta_model(config)) == parameters


BASELINES = {"opt": 98_918_400, "roberta": 98_348_417, "t5": 210_594_048}
# A mask is one word more; a hundred sentinels are so many.
WITHOUT_ADDED = {"opt": 98_918_400, "roberta": 98_347_648, "t5": 210_517_248}


@pytest.mark.parametrize("name", BASELINES)
def test_the_baselines_have_the_published_shapes(name: str) -> None:
    """125,239,296, 124,697,433 and 222,903,552 with the 50,272, 50,265 and 32,128 words of theirs.

    (OPT-125M, RoBERTa-base, T5-base; a word is a row of the tied embedding, and in RoBERTa a bias.)
    """
    recipe = load_recipe(f"baseline-{name}")
    architecture = recipe.models[name].architecture
    assert architecture
    model = meta_model(model_config(architecture, recipe.tokenizer.vocabulary, SPECIAL))
    assert parameter_count(model) == BASELINES[name]
    published = {
        "opt": 125_239_296 - (50_272 - 16_000) * 768,
        "roberta": 124_697_433 - (50_265 - 16_000) * 769,
        "t5": 222_903_552 - (32_128 - 16_000) * 768,
    }
    assert published[name] == WITHOUT_ADDED[name]
    added = {"opt": 0, "roberta": 769, "t5": 100 * 768}[name]
    assert BASELINES[name] == WITHOUT_ADDED[name] + added


@pytest.mark.parametrize(("name", "words"), [("roberta", 1), ("t5", 100)])
def test_a_type_that_is_not_causal_gets_its_own_class_and_tokens(
    tiny: Tiny, name: str, words: int
) -> None:
    positions = None if name == "t5" else 16
    model = build_model(config_of(tiny(name, positions=positions, dropout=0.25)), 1)
    assert type(model).__name__ in ("RobertaForMaskedLM", "T5ForConditionalGeneration")
    assert model.get_output_embeddings().weight.shape == (VOCABULARY + words, 16)
    found = {module.p for module in model.modules() if isinstance(module, torch.nn.Dropout)}
    assert found == {0.25}
    sizes = [tuple(p.shape) for p in model.parameters() if p.ndim == 2]
    assert sum(sorted(shape) == [16, 24] for shape in sizes) == (4 if name == "roberta" else 8)
    assert longest_input(model) == (15 if name == "roberta" else sys.maxsize)
    assert longest_text(model) == (13 if name == "roberta" else sys.maxsize)


def test_positions_may_be_left_out_where_there_is_no_table_of_them_alone(tiny: Tiny) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        config_of(tiny("t5", positions=None))
    with pytest.raises(RecipeError, match=r"architecture\.positions: a gpt2 model needs it"):
        config_of(tiny("gpt2", positions=None))


def weights(model: PreTrainedModel) -> torch.Tensor:
    return torch.cat([parameter.flatten() for parameter in model.parameters()])


@pytest.mark.parametrize("kind", ["llama", "gpt2", "gptj", "opt", "switch"])
def test_initialisation_depends_on_the_seed_alone(tiny: Tiny, kind: str) -> None:
    config = config_of(tiny(kind))
    torch.manual_seed(1)
    first = weights(build_model(config, 1))
    torch.manual_seed(2)
    torch.rand(5)
    assert torch.equal(first, weights(build_model(config, 1)))
    assert not torch.equal(first, weights(build_model(config, 2)))


def test_building_a_model_leaves_the_random_state_as_it_was(tiny: Tiny) -> None:
    before = torch.get_rng_state()
    build_model(config_of(tiny()), 1)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("kind", DECODERS[:4])
def test_special_ids_reach_the_configuration(tiny: Tiny, kind: str) -> None:
    config = model_config(tiny(kind), VOCABULARY, (7, 8, 9))
    assert (config.pad_token_id, config.bos_token_id, config.eos_token_id) == (7, 8, 9)


@pytest.mark.parametrize("kind", [*DECODERS[:4], "gpt_neox", "bert"])
def test_dropout_acts_in_training_mode_and_only_where_it_is_asked_for(
    build: Build, kind: str
) -> None:
    ids = torch.arange(3, 13).view(1, 10)
    for dropout, acts in ((0.0, False), (0.5, True)):
        model = build(kind, dropout=dropout).train()
        first, second = model(input_ids=ids).logits, model(input_ids=ids).logits
        assert torch.equal(first, second) is not acts


@pytest.mark.parametrize("kind", ["gpt2", "gptj", "gpt_neox", "bert"])
def test_dropout_is_the_same_everywhere_in_a_model(build: Build, kind: str) -> None:
    for dropout in (0.0, 0.25):
        modules = build(kind, dropout=dropout).modules()
        found = {module.p for module in modules if isinstance(module, torch.nn.Dropout)}
        assert found == {dropout}


def test_an_option_reaches_the_configuration(tiny: Tiny, build: Build) -> None:
    options = {"num_key_value_heads": 1, "tie_word_embeddings": True}
    config = config_of(tiny(options=options))
    assert (config.num_key_value_heads, config.tie_word_embeddings) == (1, True)
    assert parameter_count(build(options=options)) < parameter_count(build())


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("lama", r"architecture\.type: .* 'lama'; did you mean 'llama'\?"),
        ("gpt3", r"'gpt3'; did you mean 'gpt"),
        ("mt5", r"architecture\.type: transformers has no causal model 'mt5'; .*'t5'"),
        ("gemma3", r"architecture\.type: gemma3 takes no layers of its own: name .*gemma3_text"),
    ],
)
def test_an_unknown_kind_is_refused_with_the_nearest_name(
    tiny: Tiny, kind: str, message: str
) -> None:
    with pytest.raises(RecipeError, match=message):
        config_of(tiny(kind))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tie_word_embedings": True}, r"options\.tie_word_embedings .*'tie_word_embeddings'\?"),
        ({"vocab_size": 50}, r"options\.vocab_size: set tokenizer\.vocabulary instead"),
        ({"hidden_size": 50}, r"options\.hidden_size: set architecture\.width instead"),
        ({"num_key_value_heads": "two"}, r"llama refuses these settings: .*num_key_value_heads"),
    ],
)
def test_an_option_that_cannot_be_meant_is_refused(
    tiny: Tiny, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(RecipeError, match=message):
        config_of(tiny(options=options))


def test_heads_that_do_not_divide_the_width_are_refused(tiny: Tiny) -> None:
    with pytest.raises(RecipeError, match=r"architecture\.width: 16 .* 3 heads"):
        config_of(tiny(heads=3))


@pytest.mark.parametrize("make", [meta_model, lambda config: build_model(config, 1)])
def test_a_configuration_that_no_model_can_be_built_with_is_refused(
    tiny: Tiny, make: Callable[[Any], PreTrainedModel]
) -> None:
    config = config_of(tiny("gpt2", options={"activation_function": "wobble"}))
    with pytest.raises(RecipeError, match=r"architecture: gpt2: .*wobble[^\n]*$"):
        make(config)


@pytest.mark.parametrize(
    ("kind", "ignored"),
    [("bloom", "feed_forward"), ("bloom", "positions"), ("mamba", "heads"), ("mamba", "dropout")],
)
def test_a_setting_without_effect_is_named(tiny: Tiny, kind: str, ignored: str) -> None:
    with pytest.warns(IgnoredSettingWarning) as warned:
        config_of(tiny(kind, dropout=0.1))
    expected = f"architecture.{ignored} has no effect: a {kind} model has no such setting"
    assert expected in [str(warning.message) for warning in warned]
