"""Low-rank adaptation (Hu et al., arXiv 2106.09685) of layers inside the frozen base: y = W x + b + s B A x.

A starts from kaiming_uniform(sqrt 5), B from zero, s = alpha / rank; there is no dropout. Tensors are named as in peft,
below the name of the module (`...q_proj.lora_A.weight`), see `to_peft`. On the q and v projections of SAM's decoder
(width 256) at rank 4 these are 23,552 parameters, the count of BLO-SAM and AM-SAM.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from samtailor.bases import Base
from samtailor.errors import InputError

_PEFT = "base_model.model."


class LoRALinear(nn.Module):
    """A frozen linear layer and its low-rank change.

    Args:
        linear: frozen layer; not a submodule.
        rank: r.
        scale: s; 1 in the reference codes of BLO-SAM and SAMed, which have alpha = r.
    """

    def __init__(self, linear: nn.Linear, rank: int, scale: float = 1.0) -> None:
        super().__init__()
        self._linear, self.scale = (linear,), scale
        self.lora_A, self.lora_B = _pair(linear.in_features, rank, linear.out_features)

    @property
    def weight(self) -> Tensor:
        """W + s B A, which the fast decoder multiplies with directly."""
        return torch.addmm(self._linear[0].weight, self.lora_B.weight, self.lora_A.weight, alpha=self.scale)

    @property
    def bias(self) -> Tensor | None:
        """b of the frozen layer."""
        return self._linear[0].bias

    def forward(self, x: Tensor) -> Tensor:
        """Same shapes as the linear layer."""
        change = self.lora_B(self.lora_A(x))
        return self._linear[0](x) + (change if self.scale == 1 else change * self.scale)


class LoRAQueryValue(nn.Module):
    """LoRA on the q and v thirds of a frozen fused q-k-v layer, with separate A and B (SAMed).

    LoRA of peft on the fused layer has as many parameters at this rank, but it shares A between q and v and changes k
    too: a different model.

    Args:
        linear: (dim -> 3 * width), q, k and v concatenated.
        rank: r.
        scale: as in `LoRALinear`.
    """

    def __init__(self, linear: nn.Linear, rank: int, scale: float = 1.0) -> None:
        super().__init__()
        self._linear, self.scale = (linear,), scale
        width = linear.out_features // 3
        self.q_lora_A, self.q_lora_B = _pair(linear.in_features, rank, width)
        self.v_lora_A, self.v_lora_B = _pair(linear.in_features, rank, width)

    def forward(self, x: Tensor) -> Tensor:
        """Same shapes as the linear layer."""
        q, v = self.q_lora_B(self.q_lora_A(x)), self.v_lora_B(self.v_lora_A(x))
        return self._linear[0](x) + torch.cat([q, torch.zeros_like(q), v], dim=-1) * self.scale


class LoRAPointwise(nn.Module):
    """A frozen 1x1 convolution and its low-rank change, which is a pair of 1x1 convolutions, as in peft.

    Args:
        conv: frozen layer of kernel size and stride 1; not a submodule.
        rank: r.
        scale: as in `LoRALinear`.
    """

    def __init__(self, conv: nn.Conv2d, rank: int, scale: float = 1.0) -> None:
        super().__init__()
        self._conv, self.scale = (conv,), scale
        self.lora_A = nn.Conv2d(conv.in_channels, rank, 1, bias=False)
        self.lora_B = nn.Conv2d(rank, conv.out_channels, 1, bias=False)
        _initialize(self.lora_A, self.lora_B)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) to (B, C', h, w)."""
        return self._conv[0](x) + self.lora_B(self.lora_A(x)) * self.scale


class LoRA(nn.Module):
    """LoRA on every linear layer, or every 1x1 convolution, of a site of the base.

    Args:
        base: frozen base.
        site: name in `base.sites`: "decoder.qv" or "encoder.qv" (separate layers), "encoder.qkv" (fused layers: q and v
            are adapted) or "encoder.pointwise" (1x1 convolutions).
        rank: r, at least 1.
        alpha: s = alpha / rank; None: alpha = rank.

    Raises:
        InputError: a rank below 1, or a base without that site.
    """

    def __init__(self, base: Base, site: str = "decoder.qv", *, rank: int = 4, alpha: float | None = None) -> None:
        super().__init__()
        if rank < 1:
            raise InputError(f"rank must be at least 1, got {rank}.")
        scale = 1.0 if alpha is None else alpha / rank
        self._names = tuple(matching(base, site))
        for name in self._names:
            layer: Any = base.model.get_submodule(name)
            fused = LoRAQueryValue if site.endswith(".qkv") else LoRALinear
            _put(self, name, (LoRAPointwise if isinstance(layer, nn.Conv2d) else fused)(layer, rank, scale))

    def modules_of(self, base: Base) -> Mapping[str, nn.Module]:
        """The adapted layers, by the name of the frozen ones."""
        return {name: self.get_submodule(name) for name in self._names}

    def to_peft(self) -> dict[str, Tensor]:
        """Tensors under the names of peft's files (`adapter_model.safetensors`); for separate layers only."""
        return {_PEFT + name: tensor.detach().clone() for name, tensor in self.state_dict().items()}

    def from_peft(self, tensors: Mapping[str, Tensor]) -> None:
        """The inverse of `to_peft`, strict."""
        self.load_state_dict({name.removeprefix(_PEFT): tensor for name, tensor in tensors.items()})


def matching(base: Base, site: str) -> list[str]:
    """Names of the modules of a site, in the model's order.

    Raises:
        InputError: the base has no such site.
    """
    if site not in base.sites:
        raise InputError(f"The base {base.name!r} has no site {site!r}; it has {', '.join(base.sites)}.")
    return [name for name, _ in base.model.named_modules() if re.fullmatch(base.sites[site], name)]


def _put(home: nn.Module, name: str, module: nn.Module) -> None:
    """Register a module below nested containers, so that its tensors are named as in the model."""
    *path, last = name.split(".")
    for part in path:
        if part not in home._modules:
            home.add_module(part, nn.Module())
        home = home.get_submodule(part)
    home.add_module(last, module)


def _pair(width: int, rank: int, outputs: int) -> tuple[nn.Linear, nn.Linear]:
    """A and B at their initial values."""
    down, up = nn.Linear(width, rank, bias=False), nn.Linear(rank, outputs, bias=False)
    _initialize(down, up)
    return down, up


def _initialize(down: Any, up: Any) -> None:
    nn.init.kaiming_uniform_(down.weight, a=math.sqrt(5))
    nn.init.zeros_(up.weight)


__all__ = ["LoRA", "LoRALinear", "LoRAPointwise", "LoRAQueryValue", "matching"]
