import numpy as np
import pytest
import torch
from torch import nn
from transformers import PreTrainedModel

from babyllama.distillation.teachers import Teachers
from babyllama.models.architectures import build_model, model_config
from babyllama.recipe import Architecture
from babyllama.tokens.batches import make_batch
from dense import teacher_logits

IDS = torch.arange(24).reshape(2, 12)
BATCH = make_batch(np.arange(24, dtype=np.uint16), np.array([0, 12]), 12, "train")


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
    first, second = teachers.signal(BATCH), teachers.signal(BATCH)
    assert all(torch.equal(a.features, b.features) for a, b in zip(first, second, strict=True))


def test_the_signal_reads_out_every_teachers_logits_without_gradient(
    models: dict[str, PreTrainedModel],
) -> None:
    teachers = Teachers(models)
    signal = teachers.signal(BATCH)
    for readout, logits in zip(signal, teacher_logits(teachers, IDS), strict=True):
        assert not readout.features.requires_grad
        found = readout.logits(slice(None)).view(2, 12, 300)
        torch.testing.assert_close(found, logits, rtol=1e-5, atol=1e-5)


def test_weights_go_by_name_and_are_one_where_left_out(models: dict[str, PreTrainedModel]) -> None:
    assert Teachers(models).weights == [1.0, 1.0]
    assert Teachers(models, {"gpt2": 3.0}).weights == [1.0, 3.0]


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
