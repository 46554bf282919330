"""The Switch Transformer as a causal model (Fedus, Zoph & Shazeer 2021, arXiv 2101.03961).

GPT-2 of transformers in all but its feed-forward layers: each of them is several, the experts, and
a router sends every token to one. With one expert it is GPT-2. Importing this module makes the type
known to `AutoConfig` and `AutoModelForCausalLM`.
"""

import math
from typing import ClassVar

import torch
from huggingface_hub.dataclasses import strict
from torch import Tensor, nn
from torch.nn import functional
from transformers import AutoConfig, AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel, GPT2Model
from transformers import initialization as init
from transformers.activations import ACT2FN
from transformers.models.gpt2.modeling_gpt2 import GPT2PreTrainedModel


@strict
class SwitchConfig(GPT2Config):
    """GPT-2's configuration, and what concerns the experts."""

    model_type = "switch"
    attribute_map: ClassVar[dict[str, str]] = {**GPT2Config.attribute_map, "num_experts": "experts"}

    experts: int = 8
    """Feed-forward layers in the place of each one."""
    capacity_factor: float | int = 1.25
    """Tokens that an expert takes in a forward pass of training, as a multiple of its even share;
    those above it pass through the residual alone, the last ones first."""
    eval_capacity_factor: float | int | None = None
    """The same in evaluation; by default an expert takes all that it is sent."""
    jitter: float | int = 0.01
    """In training the router reads x times a number between 1 - jitter and 1 + jitter."""
    load_balance: float | int = 0.01
    """Weight of the load-balancing loss."""

    def validate_experts(self) -> None:
        """Refuse what no router can do.

        Raises:
            ValueError: a number that is out of its range.
        """
        if self.experts < 1:
            raise ValueError(f"experts must be at least 1, not {self.experts}")
        for name in ("capacity_factor", "eval_capacity_factor"):
            factor = getattr(self, name)
            if factor is not None and not 0 < factor < math.inf:
                raise ValueError(f"{name} must be above 0 and finite, not {factor}")
        if not 0 <= self.jitter < 1:
            raise ValueError(f"jitter must be at least 0 and below 1, not {self.jitter}")
        if not 0 <= self.load_balance < math.inf:
            raise ValueError(f"load_balance must be 0 or above, not {self.load_balance}")


def capacity(factor: float, tokens: int, experts: int) -> int:
    """Tokens that an expert takes of so many (equation 3 of the paper), rounded up: at least one.

    >>> capacity(1.25, 10, 4), capacity(1.1, 100, 10), capacity(8.0, 10, 4)
    (4, 11, 10)
    """
    # 1.1 x 100 / 10 is a little more than 11 in floating point.
    return min(tokens, max(1, math.ceil(round(factor * tokens / experts, 6))))


def load_balancing(probabilities: Tensor, chosen: Tensor) -> Tensor:
    """E times the sum of f x P over the experts (equations 4 to 6, without the coefficient).

    f is the part of the tokens that choose an expert, P the mean of its probabilities [N, E]:
    1 where both are even, E where all tokens go to one.
    """
    experts = probabilities.shape[-1]
    sent = functional.one_hot(chosen, experts).to(probabilities.dtype).mean(0)
    return experts * (sent * probabilities.mean(0)).sum()


class Router(nn.Module):
    """Probabilities of the experts, in float32 whatever the rest of the model is in."""

    def __init__(self, config: SwitchConfig) -> None:
        super().__init__()
        self.jitter = config.jitter
        self.weight = nn.Parameter(torch.empty(config.experts, config.hidden_size))

    def forward(self, x: Tensor) -> Tensor:
        """Tokens [N, D] -> probabilities [N, E]."""
        wide = torch.promote_types(x.dtype, torch.float32)
        with torch.autocast(x.device.type, enabled=False):
            x = x.to(wide)
            if self.training and self.jitter:
                x = x * torch.empty_like(x).uniform_(1 - self.jitter, 1 + self.jitter)
            return functional.linear(x, self.weight.to(wide)).softmax(-1)


class Experts(nn.Module):
    """E feed-forward layers as GPT-2 has them, each for its own tokens."""

    def __init__(self, config: SwitchConfig) -> None:
        super().__init__()
        width, inner = config.hidden_size, config.n_inner or 4 * config.hidden_size
        self.c_fc = nn.Parameter(torch.empty(config.experts, width, inner))
        self.c_proj = nn.Parameter(torch.empty(config.experts, inner, width))
        # One vector each: a bias is told from a matrix by its shape (weight decay, operations).
        self.c_fc_bias = nn.Parameter(torch.empty(config.experts * inner))
        self.c_proj_bias = nn.Parameter(torch.empty(config.experts * width))
        self.act = ACT2FN[config.activation_function]

    def forward(self, x: Tensor) -> Tensor:
        """Tokens of each expert [E, C, D] -> the same shape."""
        experts = len(self.c_fc)
        inner = torch.baddbmm(self.c_fc_bias.view(experts, 1, -1), x, self.c_fc)
        return torch.baddbmm(self.c_proj_bias.view(experts, 1, -1), self.act(inner), self.c_proj)


class SwitchFeedForward(nn.Module):
    """The feed-forward layer of a block: router, experts, and what the router's choice is worth."""

    def __init__(self, config: SwitchConfig) -> None:
        super().__init__()
        self.config = config
        self.router = Router(config)
        self.experts = Experts(config)
        self.dropout = nn.Dropout(config.resid_pdrop)
        self.balance: Tensor | None = None
        """`load_balancing` of the last forward pass in training, until it is taken."""

    # In evaluation the experts' room differs from pass to pass: it would be compiled every time.
    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def forward(self, x: Tensor) -> Tensor:
        """Hidden states [B, T, D] -> the same shape; zero for a token above the capacity.

        Tokens come in the order of their places in the batch, so that the last ones are dropped.
        """
        tokens = x.flatten(0, 1)
        probabilities = self.router(tokens)
        gate, chosen = probabilities.max(-1)
        if self.training:
            self.balance = load_balancing(probabilities, chosen)
        number = self.config.experts
        before = functional.one_hot(chosen, number).cumsum(0)
        place = before.gather(1, chosen[:, None])[:, 0] - 1
        most = self._capacity(before)
        # One row behind all experts is for the tokens that none of them takes.
        slot = torch.where(place < most, chosen * most + place, number * most)
        sent = tokens.new_zeros(number * most + 1, x.shape[-1]).index_add(0, slot, tokens)
        made = self.experts(sent[:-1].view(number, most, -1)).flatten(0, 1)
        back = functional.pad(made, (0, 0, 0, 1)).index_select(0, slot)
        worth: Tensor = self.dropout(back * gate[:, None].to(back.dtype))
        return worth.view_as(x)

    def _capacity(self, before: Tensor) -> int:
        """Tokens that each expert takes, where so many have chosen it up to each token [N, E]."""
        config = self.config
        factor = config.capacity_factor if self.training else config.eval_capacity_factor
        if factor is None:
            return int(before[-1].max())
        return capacity(factor, len(before), config.experts)


class SwitchPreTrainedModel(GPT2PreTrainedModel):
    """How weights begin: those of the experts as GPT-2's, the router's as its matrices."""

    config: SwitchConfig
    config_class = SwitchConfig
    # The load-balancing loss of a layer that is run twice would be that of the second time.
    supports_gradient_checkpointing = False

    def _initialize_weights(self, module: nn.Module, is_custom_code: bool = False) -> None:
        """As for a model of transformers itself."""
        # Of others it leaves out layers without weights of their own, and so what GPT-2's attention
        # does to the weights of its output.
        del is_custom_code
        super()._initialize_weights(module)

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        narrow = self.config.initializer_range
        if isinstance(module, Router):
            init.normal_(module.weight, std=narrow)
        if isinstance(module, Experts):
            init.normal_(module.c_fc, std=narrow)
            init.normal_(module.c_proj, std=narrow / math.sqrt(2 * self.config.n_layer))
            init.zeros_(module.c_fc_bias)
            init.zeros_(module.c_proj_bias)


class SwitchModel(SwitchPreTrainedModel, GPT2Model):
    """Hidden states without a head."""

    def __init__(self, config: SwitchConfig) -> None:
        super().__init__(config)
        for block in self.h:
            block.mlp = SwitchFeedForward(config)
        self.post_init()


class SwitchForCausalLM(SwitchPreTrainedModel, GPT2LMHeadModel):
    """The language model: a linear head on `SwitchModel`, by default its embedding."""

    def __init__(self, config: SwitchConfig) -> None:
        super(GPT2LMHeadModel, self).__init__(config)  # not GPT-2's own layers
        self.transformer = SwitchModel(config)
        self.lm_head = nn.Linear(config.n_embd, config.vocab_size, bias=False)
        self.post_init()

    def auxiliary_loss(self) -> Tensor | None:
        """What training adds to the loss for the last forward pass, once: load balancing.

        `load_balance` times the sum of `load_balancing` over the layers. `None` if there was no
        forward pass in training mode since the last call. The `loss` that the model gives for
        `labels` is without it.
        """
        layers = [m for m in self.modules() if isinstance(m, SwitchFeedForward)]
        found = [layer.balance for layer in layers if layer.balance is not None]
        for layer in layers:
            layer.balance = None
        return self.config.load_balance * torch.stack(found).sum() if found else None


AutoConfig.register(SwitchConfig.model_type, SwitchConfig)
AutoModelForCausalLM.register(SwitchConfig, SwitchForCausalLM)
