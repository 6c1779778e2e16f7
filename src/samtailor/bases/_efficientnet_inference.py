"""The backbone of the bundled base for inference: the same sums, with fewer passes over large activations.

On a CPU, oneDNN computes each convolution with its activation or residual in one pass, and the up-sampled level is
added where it is stored. Elsewhere the backbone runs as it is. The results agree to rounding. Under autocast with
bfloat16 the whole backbone is computed in bfloat16. Gradients are not supported.
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
        self._backbone = (backbone,)
        self._network = _Network(backbone, torch.float32)

    @cached_property
    def weights_key(self) -> str:
        """See `_trunk_memo.weights_key`."""
        return _trunk_memo.weights_key(self._backbone[0].trunk)

    @cached_property
    def _mixed(self) -> _Network:
        return _Network(self._backbone[0], torch.bfloat16)

    def forward(self, pixel_values: Tensor, **_: Any) -> SimpleNamespace:
        """Normalized images (B, 3, s, s) to levels (B, h, w, C) at strides 4, 8 and 16."""
        if torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu") == torch.bfloat16:
            fused = self._mixed(pixel_values)[1]
        else:
            maps, fused = self._network(pixel_values)
            _trunk_memo.keep(self, pixel_values, maps)
        levels = tuple(level.permute(0, 2, 3, 1) for level in fused)
        return SimpleNamespace(
            last_hidden_state=levels[-1], intermediate_hidden_states=levels, hidden_states=None, attentions=None
        )


class _Network:
    """Trunk and fusion in one precision."""

    def __init__(self, backbone: Any, dtype: torch.dtype) -> None:
        trunk, self._dtype = backbone.trunk, dtype
        self._stem, self._ends = _Convolution(trunk.stem, _RELU6, dtype), frozenset(trunk.ends)
        self._blocks = [_Block(block, dtype) for block in trunk.blocks]
        self._fusion = _Fusion(backbone.fusion, dtype)

    def __call__(self, images: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Normalized images (B, 3, s, s) to maps of the trunk and fused maps, each (B, C, h, w)."""
        x = self._stem(images.to(self._dtype).contiguous(memory_format=torch.channels_last))
        maps = []
        for index, block in enumerate(self._blocks):
            x = block(x)
            maps += [x] if index in self._ends else []
        return maps, self._fusion(maps)


class _Convolution:
    """A convolution with an activation, or with the sum with another map.

    Args:
        layer: `SameConv`, other convolution, or linear layer, which is a 1x1 convolution of channels-last maps.
        activation: of the result.
        dtype: float32 or bfloat16.
    """

    def __init__(self, layer: Any, activation: _Activation = _NONE, dtype: torch.dtype = torch.float32) -> None:
        self._activation = activation
        self._bias = None if layer.bias is None else layer.bias.detach().to(dtype)
        if isinstance(layer, nn.Linear):
            self._weight, self._geometry = layer.weight.detach()[..., None, None], ([0, 0], [1, 1], [1, 1], 1)
        else:
            weight, padding = layer.kernel()
            self._weight = weight.detach()
            self._geometry = ([padding] * 2, list(layer.stride), [1, 1], layer.groups)
        self._weight = self._weight.to(dtype)
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

    def __init__(self, block: Any, dtype: torch.dtype) -> None:
        self._expand = None if block.expand is None else _Convolution(block.expand, _RELU6, dtype)
        self._depthwise = _Convolution(block.depthwise, _RELU6, dtype)
        self._project = _Convolution(block.project, dtype=dtype)
        self._residual = block.residual

    def __call__(self, x: Tensor) -> Tensor:
        """(B, C, h, w) to (B, C', h / stride, w / stride)."""
        inner = self._depthwise(x if self._expand is None else self._expand(x))
        return self._project(inner, x if self._residual else None)


class _Fusion:
    """The `Fusion` on channels-last maps."""

    def __init__(self, fusion: Any, dtype: torch.dtype) -> None:
        def made(layer: Any, activation: _Activation = _NONE) -> _Convolution:
            return _Convolution(layer, activation, dtype)

        self._lateral = [made(layer) for layer in fusion.lateral]
        self._top_down = [made(layer) for layer in fusion.top_down]
        self._blocks = [
            [(made(b.depthwise), made(b.expand, _RELU), made(b.project)) for b in level] for level in fusion.blocks
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
