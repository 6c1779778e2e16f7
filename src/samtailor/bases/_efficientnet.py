"""Backbone of the bundled base: EfficientNet-Lite and a small fusion of its strides, as a transformers backbone.

`register()` makes transformers' Auto classes know it, so that `Sam2Model.from_pretrained` loads a model whose
`vision_config.backbone_config` has this `model_type`. Batch norm is folded into the convolutions. The fusion replaces
the top-down path of SAM 2's neck, whose 1x1 convolutions then stand alone (`fpn_top_down_levels=[]`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AutoConfig, AutoModel, PreTrainedConfig, PreTrainedModel
from transformers.utils import ModelOutput

from samtailor.bases import _efficientnet_inference

SITES = {
    "encoder.pointwise": r"vision_encoder\.backbone\.trunk\.blocks\.\d+\.(expand|project)",
    "encoder.block": r"vision_encoder\.backbone\.trunk\.blocks\.\d+",
}
"""Sites of adapters, see `Base.sites`: the 1x1 convolutions of the trunk, and its blocks."""
MEAN, STD = (127.0, 127.0, 127.0), (128.0, 128.0, 128.0)
"""Normalisation of RGB in 0..255 that the ImageNet weights of EfficientNet-Lite expect."""

LITE0 = [[3, 1, 1, 16, 1], [3, 2, 6, 24, 2], [5, 2, 6, 40, 2], [3, 2, 6, 80, 3], [5, 1, 6, 112, 3], [5, 2, 6, 192, 4]]
LITE0 += [[3, 1, 6, 320, 1]]
LITE2 = [[3, 1, 1, 16, 1], [3, 2, 6, 24, 3], [5, 2, 6, 48, 3], [3, 2, 6, 88, 4], [5, 1, 6, 120, 4], [5, 2, 6, 208, 5]]
LITE2 += [[3, 1, 6, 352, 1]]


class EfficientNetLiteConfig(PreTrainedConfig):
    """Configuration of the backbone.

    Args:
        image_size: side of the input, pixels; a multiple of 32.
        stem: channels after the first convolution.
        stages: per stage kernel size, stride, expansion, output channels and repeats.
        fused: channels of the outputs at strides 4, 8 and 16.
        fusion_blocks: residual blocks of the fusion at strides 4, 8 and 16.
    """

    model_type = "samtailor_efficientnet_lite"

    def __init__(
        self,
        image_size: int = 384,
        stem: int = 32,
        stages: list[list[int]] | None = None,
        fused: list[int] | None = None,
        fusion_blocks: list[int] | None = None,
        **kwargs: Any,
    ) -> None:
        self.image_size, self.stem = image_size, stem
        self.stages = stages or LITE2
        self.fused, self.fusion_blocks = fused or [32, 64, 160], fusion_blocks or [1, 1, 2]
        self.hidden_size = self.fused[0]
        super().__init__(**kwargs)


@dataclass
class BackboneOutput(ModelOutput):
    """Fused levels (B, h, w, C) at strides 4, 8 and 16, finest first, in the names of SAM 2."""

    last_hidden_state: Tensor | None = None
    intermediate_hidden_states: tuple[Tensor, ...] | None = None
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


class SameConv(nn.Conv2d):
    """Convolution with TensorFlow's "same" padding for inputs of even size.

    With stride 2 there is one row and column more of padding after the image than before it. Instead of padding the
    image, which copies it, the kernel gets a row and column of zeros in front, and the padding is symmetric.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__(inputs, outputs, kernel, stride, (kernel - 1) // 2, groups=groups)

    def kernel(self) -> tuple[Tensor, int]:
        """Weight (C', C / groups, k, k) for symmetric padding, and the padding, pixels."""
        weight = self.weight if self.stride[0] == 1 else F.pad(self.weight, (1, 0, 1, 0))
        return weight, (self.kernel_size[0] - 1) // 2

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) to (B, C', h / stride, w / stride)."""
        if self.stride[0] == 2 and torch.jit.is_tracing():  # the ONNX exporter takes no computed kernel
            before = (self.kernel_size[0] - 2) // 2
            padded = F.pad(x, (before, self.kernel_size[0] - 2 - before) * 2)
            return F.conv2d(padded, self.weight, self.bias, self.stride, 0, 1, self.groups)
        weight, padding = self.kernel()
        return F.conv2d(x, weight, self.bias, self.stride, padding, 1, self.groups)


class InvertedResidual(nn.Module):
    """Inverted bottleneck: 1x1 expansion, depthwise convolution, linear 1x1 projection."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = inputs * expansion
        self.expand = SameConv(inputs, inner, 1) if expansion > 1 else None
        self.depthwise = SameConv(inner, inner, kernel, stride, groups=inner)
        self.project = SameConv(inner, outputs, 1)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) to (B, C', h / stride, w / stride)."""
        # in place: new memory for activations of this size costs more than the activations
        inner = x if self.expand is None else F.relu6(self.expand(x), inplace=True)
        out = self.project(F.relu6(self.depthwise(inner), inplace=True))
        return out.add_(x) if self.residual else out


class EfficientNetLite(nn.Module):
    """EfficientNet-Lite without its classifier; returns the last map of strides 4, 8, 16 and 32."""

    def __init__(self, config: EfficientNetLiteConfig) -> None:
        super().__init__()
        self.stem = SameConv(3, config.stem, 3, 2)
        self.blocks = nn.ModuleList()
        self.ends: list[int] = []
        self.channels: list[int] = []
        """Channels at strides 4, 8, 16 and 32."""
        width, reach = config.stem, 2
        for kernel, stride, expansion, outputs, repeats in config.stages:
            if stride == 2:
                if reach > 2:
                    self.ends.append(len(self.blocks) - 1)
                    self.channels.append(width)
                reach *= 2
            for repeat in range(repeats):
                self.blocks.append(InvertedResidual(width, outputs, kernel, stride if repeat == 0 else 1, expansion))
                width = outputs
        self.ends.append(len(self.blocks) - 1)
        self.channels.append(width)

    def forward(self, pixels: Tensor) -> list[Tensor]:
        """(B, 3, s, s) to maps (B, C, h, w), finest first."""
        x, maps = F.relu6(self.stem(pixels), inplace=True), []
        for index, block in enumerate(self.blocks):
            x = block(x)
            maps += [x] if index in self.ends else []
        return maps


class FusionBlock(nn.Module):
    """Residual block: depthwise convolution, then a two-layer MLP per cell."""

    def __init__(self, width: int, kernel: int) -> None:
        super().__init__()
        self.depthwise = SameConv(width, width, kernel, groups=width)
        self.expand = nn.Linear(width, 2 * width)
        self.project = nn.Linear(2 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, h, w, C) to the same shape."""
        mixed = self.depthwise(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return x + self.project(F.relu(self.expand(mixed)))


class Fusion(nn.Module):
    """Top-down fusion of strides 4, 8, 16 and 32 to strides 4, 8 and 16."""

    def __init__(self, channels: list[int], fused: list[int], blocks: list[int]) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(nn.Linear(i, o) for i, o in zip(channels[:3], fused, strict=True))
        coarser = [*fused[1:], channels[3]]
        self.top_down = nn.ModuleList(nn.Linear(i, o, bias=False) for i, o in zip(coarser, fused, strict=True))
        kernels = (3, 3, 3)
        self.blocks = nn.ModuleList(
            nn.Sequential(*(FusionBlock(width, kernel) for _ in range(count)))
            for width, kernel, count in zip(fused, kernels, blocks, strict=True)
        )

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        """Maps (B, h, w, C) at strides 4, 8, 16 and 32 to fused maps at strides 4, 8 and 16."""
        x, fused = maps[3], list[Tensor]()
        for level in (2, 1, 0):
            x = self.lateral[level](maps[level]) + _double(self.top_down[level](x))
            x = self.blocks[level](x)
            fused.insert(0, x)
        return fused


def _double(x: Tensor) -> Tensor:
    """Nearest up-sampling by 2 of (B, h, w, C)."""
    rows, height, width, channels = x.shape
    x = x[:, :, None, :, None].expand(rows, height, 2, width, 2, channels)
    return x.reshape(rows, 2 * height, 2 * width, channels)


class EfficientNetLiteModel(PreTrainedModel):
    """The backbone that stands in `Sam2VisionModel.backbone`."""

    config_class = EfficientNetLiteConfig
    main_input_name = "pixel_values"

    def __init__(self, config: EfficientNetLiteConfig) -> None:
        super().__init__(config)
        self.trunk = EfficientNetLite(config)
        self.fusion = Fusion(self.trunk.channels, config.fused, config.fusion_blocks)
        self.post_init()

    def for_inference(self) -> nn.Module:
        """A cheaper module with the same forward pass, without gradients; see `_efficientnet_inference`."""
        return _efficientnet_inference.for_inference(self)

    def _init_weights(self, module: nn.Module) -> None:
        """Keep PyTorch's own initialisation."""

    def forward(self, pixel_values: Tensor, **_: Any) -> BackboneOutput:
        """Normalised images (B, 3, s, s) to levels (B, h, w, C) at strides 4, 8 and 16."""
        maps = self.trunk(pixel_values.contiguous(memory_format=torch.channels_last))
        levels = self.fusion([x.permute(0, 2, 3, 1) for x in maps])
        return BackboneOutput(last_hidden_state=levels[-1], intermediate_hidden_states=tuple(levels))


def register() -> None:
    """Make transformers' Auto classes know the backbone; may be called more than once."""
    AutoConfig.register(EfficientNetLiteConfig.model_type, EfficientNetLiteConfig, exist_ok=True)
    AutoModel.register(EfficientNetLiteConfig, EfficientNetLiteModel, exist_ok=True)


__all__ = ["MEAN", "SITES", "STD", "EfficientNetLiteConfig", "EfficientNetLiteModel", "register"]
