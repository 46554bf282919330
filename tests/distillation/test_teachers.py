import pytest
import torch
from torch import nn
from transformers import PreTrainedModel

from babyllama.distillation.loss import pooled_log_probabilities
from babyllama.distillation.teachers import Teachers
from babyllama.models.architectures import build_model, model_config
from babyllama.recipe import Architecture

IDS = torch.arange(24).reshape(2, 12)


def new_model(kind: str, seed: int) -> PreTrainedModel:
    architecture = Architecture(
        type=kind, layers=1, heads=2, width=16, feed_forward=32, positions=12, dropout=0.3
    )
    return build_model(model_config(architecture, 300, (0, 1, 2)), seed).train()


@pytest.fixture
def models() -> dict[str, PreTrainedModel]:
    return {"llama": new_model("llama", 1), "gpt2": new_model("gpt2", 2)}


def test_teachers_are_frozen_and_in_evaluation_mode(models: dict[str, PreTrainedModel]) -> None:
    assert all(model.training for model in models.values())
    teachers = Teachers(models)
    for model in teachers.models.values():
        assert not any(module.training for module in model.modules())
        assert not any(parameter.requires_grad for parameter in model.parameters())
    first, second = teachers.logits(IDS), teachers.logits(IDS)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_logits_are_float32_without_gradient_one_tensor_a_teacher(
    models: dict[str, PreTrainedModel],
) -> None:
    models["gpt2"].to(torch.bfloat16)
    logits = Teachers(models).logits(IDS)
    assert [tuple(z.shape) for z in logits] == [(2, 12, 300)] * 2
    assert all(z.dtype == torch.float32 and not z.requires_grad for z in logits)
    alone = models["llama"](input_ids=IDS).logits
    torch.testing.assert_close(logits[0], alone)


def test_weights_go_by_name_and_are_one_where_left_out(models: dict[str, PreTrainedModel]) -> None:
    assert Teachers(models).weights == [1.0, 1.0]
    assert Teachers(models, {"gpt2": 3.0}).weights == [1.0, 3.0]


def test_the_ensembles_log_probabilities_are_the_weighted_pool(
    models: dict[str, PreTrainedModel],
) -> None:
    teachers = Teachers(models, {"gpt2": 3.0})
    first, second = (torch.softmax(z, dim=-1) for z in teachers.logits(IDS))
    mixed = teachers.log_probabilities(IDS, "probabilities").exp()
    torch.testing.assert_close(mixed, 0.25 * first + 0.75 * second)
    pooled = pooled_log_probabilities(teachers.logits(IDS), pool="logits", weights=[1.0, 3.0])
    assert torch.equal(teachers.log_probabilities(IDS, "logits"), pooled)


def test_no_module_that_holds_teachers_sees_them(models: dict[str, PreTrainedModel]) -> None:
    holder = nn.Module()
    holder.teachers = Teachers(models)
    holder.train()
    assert not [*holder.parameters()]
    assert not holder.state_dict()
    assert not any(model.training for model in models.values())


def test_to_moves_every_teacher(models: dict[str, PreTrainedModel]) -> None:
    teachers = Teachers(models).to(torch.device("meta"))
    devices = {p.device.type for model in teachers.models.values() for p in model.parameters()}
    assert devices == {"meta"}
