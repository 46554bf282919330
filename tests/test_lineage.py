"""Who teaches whom: the order in which models are trained, and what is pooled."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from babyllama.lineage import active_teachers, sort_models
from babyllama.recipe import Model
from tiny import LLAMA


@given(st.data())
def test_teachers_come_before_their_students(data: st.DataObject) -> None:
    names = data.draw(st.permutations(list("abcdef")))
    models = {}
    for index, name in enumerate(names):
        teachers = data.draw(st.lists(st.sampled_from(names[:index] or "-"), unique=True))
        raw = {"architecture": LLAMA, "training": {}, "teachers": teachers if index else []}
        models[name] = Model.model_validate(raw)
    shuffled = {name: models[name] for name in data.draw(st.permutations(names))}
    order = sort_models(shuffled)
    assert sorted(order) == sorted(names)
    for name, model in models.items():
        assert all(order.index(teacher) < order.index(name) for teacher in model.teachers)


@pytest.mark.parametrize(
    ("settings", "active"),
    [
        ({"ce_weight": 1}, False),
        ({"ce_weight": 1, "ce_weight_schedule": "wsd"}, False),
        ({"ce_weight": 1, "ce_weight_schedule": "linear", "ce_weight_end": 0.5}, True),
        ({"ce_weight": 0.5, "ce_weight_schedule": "linear"}, True),
        ({"ce_weight": 0.5}, True),
    ],
)
def test_teachers_are_left_out_where_cross_entropy_has_all_the_weight_in_every_step(
    settings: dict[str, Any], active: bool
) -> None:
    raw = {"architecture": LLAMA, "training": {}, "teachers": ["a"], "distillation": settings}
    assert active_teachers(Model.model_validate(raw)) == (["a"] if active else [])
