"""An exponential moving average of the weights, beside the weights that are trained.

After step t the average is sum_i d^(t - i) w_i / sum_i d^(t - i), over the weights w_1 ... w_t
behind each step, with the decay d: the zero start with the bias correction of Adam (Kingma & Ba
2015, section 3), here as the running mean a_t = a_(t-1) + (w_t - a_(t-1)) (1 - d) / (1 - d^t).
So nothing of the random start is in it, and a training of fewer than 1 / (1 - d) steps gives about
a plain mean. Training itself never sees it.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from babyllama.training.checkpoints import load_weight_tensors, weight_tensors


class Average:
    """The average of a module's parameters, tied ones once, in float32."""

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.module = module
        self.decay = decay
        self.tensors = {
            name: torch.zeros_like(parameter, dtype=torch.float32, requires_grad=False)
            for name, parameter in module.named_parameters()
        }

    @torch.no_grad()
    def update(self, steps: int) -> None:
        """Take in the weights after so many steps, of which it has had all but the last."""
        share = (1 - self.decay) / (1 - self.decay**steps)
        for name, parameter in self.module.named_parameters():
            self.tensors[name].lerp_(parameter.float(), share)

    @torch.no_grad()
    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Put back the `tensors` of a checkpoint."""
        for name, tensor in self.tensors.items():
            tensor.copy_(tensors[name])

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Let the module have the average for its weights meanwhile."""
        trained = {name: tensor.clone() for name, tensor in weight_tensors(self.module).items()}
        load_weight_tensors(self.module, trained | self.tensors)
        try:
            yield
        finally:
            load_weight_tensors(self.module, trained)
