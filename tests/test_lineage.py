"""Who teaches whom: the order in which models are trained, and what is pooled."""

from hypothesis import given
from hypothesis import strategies as st

from babyllama.lineage import sort_models
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
