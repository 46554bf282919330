"""A step waits for its device once: Python asks for no value of a tensor but at its end."""

import traceback
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from test_cached import cached
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from babyllama.training.job import Job
from babyllama.training.trainer import Trainer
from tiny_jobs import new_job, new_model, new_teachers

ASKED = ("item", "tolist", "cpu", "__bool__", "__int__", "__float__", "__index__")
# They read a batch before it is on the device: its labels, and where its chunks start.
ON_THE_HOST = {"counts", "chunks_of", "_corrupted"}


class Waits(TorchDispatchMode):
    """Functions of ours, or of a library, in which Python took a value from a tensor."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        super().__init__()
        self.functions: list[str] = []
        self.inside = False
        for name in ASKED:
            patch.setattr(Tensor, name, self._noting(getattr(Tensor, name)))

    def _noting(self, method: Any) -> Any:
        def noting(tensor: Tensor, *given: Any, **settings: Any) -> Any:
            self._note()
            before, self.inside = self.inside, True
            try:
                return method(tensor, *given, **settings)
            finally:
                self.inside = before

        return noting

    def _note(self) -> None:
        if not self.inside:
            frames = [f for f in traceback.extract_stack() if f.filename != __file__]
            names = [f.name for f in frames if "torch" not in Path(f.filename).parts]
            self.functions += names[-1:]

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is torch.ops.aten._local_scalar_dense.default:
            self._note()
        return func(*args, **kwargs or {})


def job(kind: str, root: Path) -> Job:
    if kind == "plain":
        return new_job(micro_batch=2)
    if kind in ("roberta", "t5"):
        return new_job(model=new_model(kind), micro_batch=2)
    if kind == "climbing":
        return new_job(micro_batch=2, sam={"adaptive": True}, optimizer="muon")
    source = new_teachers() if kind == "online" else cached(root, kind)
    return new_job(teachers=source, micro_batch=2)


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize(
    "kind", ["plain", "roberta", "t5", "climbing", "online", "hidden-int8", "low-rank"]
)
def test_a_step_waits_for_its_device_once(
    kind: str, attention: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = Trainer(job(kind, tmp_path), tmp_path)
    trainer.step()
    for network in trainer.job.networks:
        network.set_attn_implementation(attention)
    with monkeypatch.context() as patch, Waits(patch) as waits:
        trainer.step()
    waited = Counter(name for name in waits.functions if name not in ON_THE_HOST)
    assert waited == {"_summed": 1}
