"""Bottleneck adapters in every block of the image encoder (Med-SA, Wu et al., arXiv 2304.12620): a linear layer to a
quarter of the width, GELU, and back. One follows the attention, with a skip connection; one is parallel to the MLP,
with weight 0.5. In a convolutional encoder, which has neither, one follows each block.

At SAM ViT-B these are 2 x 295,872 x 12 = 7,100,928 parameters. The depth adapter of the reference code is left out: it
has no effect in 2D.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from samtailor.adapters.lora import matching
from samtailor.bases import Base

PARALLEL_WEIGHT = 0.5


class Bottleneck(nn.Module):
    """Linear, GELU, linear. The last layer starts at zero, so the encoder starts as the base's.

    Args:
        dim: width of the block.
        ratio: hidden width as a fraction of it.
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
    """A pair of adapters for every block of the encoder, or one adapter for every convolutional block.

    Args:
        base: frozen base.
        ratio: see `Bottleneck`.
    """

    def __init__(self, base: Base, *, ratio: float = 0.25) -> None:
        super().__init__()
        self.after, self.beside = nn.ModuleList(), nn.ModuleList()
        self._convolutional = "encoder.block" in base.sites
        if self._convolutional:
            for name in matching(base, "encoder.block"):
                block: Any = base.model.get_submodule(name)
                self.after.append(_AfterBlock(block, Bottleneck(block.project.out_channels, ratio)))
            return
        for name in matching(base, "encoder.attention"):
            attention: Any = base.model.get_submodule(name)
            last = attention.proj if hasattr(attention, "proj") else attention.o_proj
            self.after.append(_After(attention, Bottleneck(last.out_features, ratio)))
        for name in matching(base, "encoder.mlp"):
            mlp = base.model.get_submodule(name)
            first = next(part for part in mlp.modules() if isinstance(part, nn.Linear))
            self.beside.append(_Beside(mlp, Bottleneck(first.in_features, ratio)))

    def modules_of(self, base: Base) -> Mapping[str, nn.Module]:
        """The adapted attentions and MLPs, or blocks, by the name of the frozen ones."""
        if self._convolutional:
            return dict(zip(matching(base, "encoder.block"), self.after, strict=True))
        places = matching(base, "encoder.attention"), matching(base, "encoder.mlp")
        return dict(zip(places[0] + places[1], [*self.after, *self.beside], strict=True))


class _After(nn.Module):
    """Attention, then the adapter with its skip connection. SAM 1's attention returns its weights too."""

    def __init__(self, attention: nn.Module, adapter: Bottleneck) -> None:
        super().__init__()
        self._frozen, self.adapter = (attention,), adapter

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        output = self._frozen[0](*args, **kwargs)
        x, *rest = output if isinstance(output, tuple) else (output,)
        x = x + self.adapter(x)
        return (x, *rest) if isinstance(output, tuple) else x


class _AfterBlock(nn.Module):
    """A convolutional block, then the adapter on the channels of each cell, with its skip connection."""

    def __init__(self, block: nn.Module, adapter: Bottleneck) -> None:
        super().__init__()
        self._frozen, self.adapter = (block,), adapter

    def forward(self, x: Tensor) -> Tensor:
        x = self._frozen[0](x)
        return x + self.adapter(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class _Beside(nn.Module):
    """The MLP plus half of the adapter's output, both of the same input."""

    def __init__(self, mlp: nn.Module, adapter: Bottleneck) -> None:
        super().__init__()
        self._frozen, self.adapter = (mlp,), adapter

    def forward(self, x: Tensor) -> Tensor:
        return self._frozen[0](x) + PARALLEL_WEIGHT * self.adapter(x)


__all__ = ["Bottleneck", "Bottlenecks"]
