"""Bottleneck adapters in every block of the image encoder (Med-SA, Wu et al., arXiv 2304.12620): a Linear to a quarter
of the width, GELU, and back; one after the attention with a skip, one beside the MLP, halved.

At SAM ViT-B 2 x 295,872 x 12 = 7,100,928 parameters; the depth adapter of the reference code, idle in 2D, is left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from samtailor.adapters.lora import matching
from samtailor.bases import Base

BESIDE = 0.5


class Bottleneck(nn.Module):
    """down, GELU, up; `up` starts at zero, so that the encoder starts as the base's.

    Args:
        dim: width of the block.
        ratio: hidden width as a share of it.
    """

    def __init__(self, dim: int, ratio: float = 0.25) -> None:
        super().__init__()
        self.down, self.act, self.up = nn.Linear(dim, int(dim * ratio)), nn.GELU(), nn.Linear(int(dim * ratio), dim)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(..., dim) to (..., dim), without a skip."""
        return self.up(self.act(self.down(x)))


class Bottlenecks(nn.Module):
    """A pair of adapters for every block of the encoder.

    Args:
        base: frozen base.
        ratio: see `Bottleneck`.
    """

    def __init__(self, base: Base, *, ratio: float = 0.25) -> None:
        super().__init__()
        self.after, self.beside = nn.ModuleList(), nn.ModuleList()
        for name in matching(base, "encoder.attention"):
            attention = base.model.get_submodule(name)
            self.after.append(_After(attention, Bottleneck(attention.proj.out_features, ratio)))
        for name in matching(base, "encoder.mlp"):
            mlp = base.model.get_submodule(name)
            first = next(part for part in mlp.modules() if isinstance(part, nn.Linear))
            self.beside.append(_Beside(mlp, Bottleneck(first.in_features, ratio)))

    def modules_of(self, base: Base) -> Mapping[str, nn.Module]:
        """The adapted attentions and MLPs, by the name of the frozen ones."""
        places = matching(base, "encoder.attention"), matching(base, "encoder.mlp")
        return dict(zip(places[0] + places[1], [*self.after, *self.beside], strict=True))


class _After(nn.Module):
    """Attention, then the adapter with its skip; SAM 1's attention gives its weights beside the answer."""

    def __init__(self, attention: nn.Module, adapter: Bottleneck) -> None:
        super().__init__()
        self._frozen, self.adapter = (attention,), adapter

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        found = self._frozen[0](*args, **kwargs)
        x, *rest = found if isinstance(found, tuple) else (found,)
        x = x + self.adapter(x)
        return (x, *rest) if isinstance(found, tuple) else x


class _Beside(nn.Module):
    """The MLP plus half of the adapter, on the same input."""

    def __init__(self, mlp: nn.Module, adapter: Bottleneck) -> None:
        super().__init__()
        self._frozen, self.adapter = (mlp,), adapter

    def forward(self, x: Tensor) -> Tensor:
        return self._frozen[0](x) + BESIDE * self.adapter(x)


__all__ = ["Bottleneck", "Bottlenecks"]
