"""The backbone of the bundled base for inference: the same sums, with fewer passes over large activations.

On a CPU in full precision, oneDNN computes each convolution with its activation or residual in one pass, and the
up-sampled level is added where it is stored. Elsewhere the backbone runs as it is. The results agree to rounding.
Gradients are not supported.
"""

from __future__ import annotations

from functools import cached_property
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from samtailor.bases import _trunk_memo

_OPERATORS = ("_convolution_pointwise", "_reorder_convolution_weight")
"""What TorchInductor calls for CPUs too."""
_Activation = tuple[str, list[float]]
_NONE: _Activation = ("none", [])
_RELU: _Activation = ("relu", [])
_RELU6: _Activation = ("hardtanh", [0.0, 6.0])


def for_inference(backbone: Any) -> nn.Module:
    """A cheaper module with the forward pass of the backbone, or the backbone itself where there is none.

    Args:
        backbone: an `EfficientNetLiteModel`, on its final device.
    """
    weight = backbone.trunk.stem.weight
    full = weight.device.type == "cpu" and weight.dtype == torch.float32
    known = torch.backends.mkldnn.is_available() and all(hasattr(torch.ops.mkldnn, name) for name in _OPERATORS)
    return _Backbone(backbone) if full and known else backbone


class _Backbone(nn.Module):
    """Stands in for the backbone.

    Args:
        backbone: an `EfficientNetLiteModel`.
    """

    def __init__(self, backbone: Any) -> None:
        super().__init__()
        trunk = backbone.trunk
        self._stem, self._ends = _Convolution(trunk.stem, _RELU6), frozenset(trunk.ends)
        self._blocks = [_Block(block) for block in trunk.blocks]
        self._fusion = _Fusion(backbone.fusion)
        self._trunk = (trunk,)

    @cached_property
    def weights_key(self) -> str:
        """See `_trunk_memo.weights_key`."""
        return _trunk_memo.weights_key(self._trunk[0])

    def forward(self, pixel_values: Tensor, **_: Any) -> SimpleNamespace:
        """Normalized images (B, 3, s, s) to levels (B, h, w, C) at strides 4, 8 and 16."""
        x = self._stem(pixel_values.contiguous(memory_format=torch.channels_last))
        maps = []
        for index, block in enumerate(self._blocks):
            x = block(x)
            maps += [x] if index in self._ends else []
        _trunk_memo.keep(self, pixel_values, maps)
        levels = tuple(level.permute(0, 2, 3, 1) for level in self._fusion(maps))
        return SimpleNamespace(
            last_hidden_state=levels[-1], intermediate_hidden_states=levels, hidden_states=None, attentions=None
        )


class _Convolution:
    """A convolution with an activation, or with the sum with another map.

    Args:
        layer: `SameConv`, other convolution, or linear layer, which is a 1x1 convolution of channels-last maps.
        activation: of the result.
    """

    def __init__(self, layer: Any, activation: _Activation = _NONE) -> None:
        self._activation = activation
        self._bias = None if layer.bias is None else layer.bias.detach()
        if isinstance(layer, nn.Linear):
            self._weight, self._geometry = layer.weight.detach()[..., None, None], ([0, 0], [1, 1], [1, 1], 1)
        else:
            weight, padding = layer.kernel()
            self._weight = weight.detach()
            self._geometry = ([padding] * 2, list(layer.stride), [1, 1], layer.groups)
        self._packed: Tensor | None = None

    def __call__(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        """(B, C, h, w) to (B, C', h', w'), channels last; the activation is not applied to a sum."""
        convolve = torch.ops.mkldnn._convolution_pointwise
        if self._packed is None:  # in the layout that oneDNN prefers for this size; it accepts other sizes too
            self._packed = torch.ops.mkldnn._reorder_convolution_weight(self._weight, *self._geometry, list(x.shape))
        if residual is None:
            return convolve(x, self._packed, self._bias, *self._geometry, *self._activation, "")
        return convolve(x, residual, self._packed, self._bias, *self._geometry, "add", 1.0, None, [], None)


class _Block:
    """An `InvertedResidual`."""

    def __init__(self, block: Any) -> None:
        self._expand = None if block.expand is None else _Convolution(block.expand, _RELU6)
        self._depthwise, self._project = _Convolution(block.depthwise, _RELU6), _Convolution(block.project)
        self._residual = block.residual

    def __call__(self, x: Tensor) -> Tensor:
        """(B, C, h, w) to (B, C', h / stride, w / stride)."""
        inner = self._depthwise(x if self._expand is None else self._expand(x))
        return self._project(inner, x if self._residual else None)


class _Fusion:
    """The `Fusion` on channels-last maps."""

    def __init__(self, fusion: Any) -> None:
        self._lateral = [_Convolution(layer) for layer in fusion.lateral]
        self._top_down = [_Convolution(layer) for layer in fusion.top_down]
        self._blocks = [
            [(_Convolution(b.depthwise), _Convolution(b.expand, _RELU), _Convolution(b.project)) for b in level]
            for level in fusion.blocks
        ]

    def __call__(self, maps: list[Tensor]) -> list[Tensor]:
        """Maps (B, C, h, w) at strides 4, 8, 16 and 32 to fused maps at strides 4, 8 and 16."""
        x, fused = maps[3], list[Tensor]()
        for level in (2, 1, 0):
            x = _add_doubled(self._lateral[level](maps[level]), self._top_down[level](x))
            for depthwise, expand, project in self._blocks[level]:
                x = project(expand(depthwise(x)), x)
            fused.insert(0, x)
        return fused


def _add_doubled(fine: Tensor, coarse: Tensor) -> Tensor:
    """Add a map (B, C, h, w), nearest up-sampled by 2, to (B, C, 2 h, 2 w) in place."""
    cells = fine.unflatten(3, (-1, 2)).unflatten(2, (-1, 2))
    cells += coarse[:, :, :, None, :, None]
    return fine


__all__ = ["for_inference"]
