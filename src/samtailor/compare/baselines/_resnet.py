"""A ResNet (He et al., arXiv 1512.03385) on the ResNetModel of transformers, truncated and dilated.

Layers of transformers are called one by one; no code is copied. Strides are in the 3x3 convolutions, as in the usual
ImageNet weights ("v1.5").
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from samtailor.compare.baselines import SCRATCH
from samtailor.compare.baselines._weights import pretrained, seeded
from samtailor.errors import InputError
from samtailor.registry import choose

MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
"""Statistics of ImageNet on the scale 0 to 255, RGB."""
DEPTHS = {"resnet50": (3, 4, 6, 3), "resnet101": (3, 4, 23, 3)}
HUB = {"resnet50": "microsoft/resnet-50", "resnet101": "microsoft/resnet-101"}

Backbone = str | Mapping[str, Any]
"""A name of `DEPTHS`, or fields of a ResNetConfig of transformers."""


class ResNet(nn.Module):
    """Stem and stages of a ResNet.

    Args:
        model: a ResNetModel of transformers; its layers are used in place.
        stages: number of stages to keep, up to four.
        output_stride: 8, 16 or 32; larger strides become dilations.
        last_relu: whether the last block ends with its ReLU (metric learning omits it).
    """

    def __init__(self, model: Any, *, stages: int = 4, output_stride: int = 32, last_relu: bool = True) -> None:
        super().__init__()
        self.stem = model.embedder
        self.stages = nn.ModuleList(model.encoder.stages[:stages])
        self.channels = tuple(model.config.hidden_sizes[:stages])
        self.depths = tuple(model.config.depths[:stages])
        _dilate(self.stages, output_stride)
        if not last_relu:
            last: Any = self.stages[-1]
            last.layers[-1].activation = nn.Identity()

    def forward(self, images: Tensor) -> Tensor:
        """Normalized images (B, 3, S, S) to the features of the last stage (B, channels[-1], s, s)."""
        x = self.stem(images)
        for stage in self.stages:
            x = stage(x)
        return x

    def sums(self, images: Tensor) -> list[list[Tensor]]:
        """By stage the features of every block after its residual sum, before its ReLU."""
        x = self.stem(images)
        sums: list[list[Tensor]] = []
        stage: Any
        for stage in self.stages:
            sums.append([])
            for block in stage.layers:
                total = block.layer(x) + block.shortcut(x)
                sums[-1].append(total)
                x = F.relu(total)
        return sums


def load(backbone: Backbone, weights: str | None, seed: int) -> tuple[Any, str]:
    """Load a ResNetModel of transformers; returns it with the source of its weights.

    Args:
        backbone: size of the network.
        weights: hub id or folder; "scratch": random by `seed`; None: the ImageNet weights of that size on the hub.
        seed: seed of random weights.

    Raises:
        BaseUnavailableError: the weights cannot be loaded.
        InputError: an unknown backbone, or weights of another size.
    """
    from transformers import ResNetConfig, ResNetModel

    config = ResNetConfig(**_fields(backbone))
    if weights == SCRATCH:
        with seeded(seed):
            return ResNetModel(config), SCRATCH
    if not weights and not isinstance(backbone, str):
        raise InputError(f"A backbone of another size has no weights on the hub. Set weights, e.g. to {SCRATCH!r}.")
    source = weights or HUB[str(backbone)]
    model: Any = pretrained(ResNetModel, source)
    if list(model.config.depths) != list(config.depths):
        raise InputError(
            f"The weights {source!r} have {list(model.config.depths)} blocks, the backbone {backbone!r} has "
            f"{list(config.depths)}. Use the backbone that they belong to."
        )
    return model, source


def _fields(backbone: Backbone) -> dict[str, Any]:
    if isinstance(backbone, str):
        return {"depths": list(DEPTHS[choose("backbone", backbone, DEPTHS)])}
    return dict(backbone)


def _dilate(stages: nn.ModuleList, output_stride: int) -> None:
    """Replace strides beyond `output_stride` by dilations: 3x3 convolutions keep their receptive field on a finer grid.

    The first block of a stage keeps the previous dilation, since its input still has that spacing.
    """
    if output_stride not in (8, 16, 32):
        raise InputError(f"output_stride must be 8, 16 or 32, got {output_stride}.")
    stride, dilation = 4, 1
    stage: Any
    for stage in list(stages)[1:]:
        stride *= 2
        before = dilation
        if stride > output_stride:
            dilation *= 2
        for number, block in enumerate(stage.layers):
            for conv in (m for m in block.modules() if isinstance(m, nn.Conv2d)):
                if stride > output_stride:
                    conv.stride = (1, 1)
                if conv.kernel_size == (3, 3):
                    here = before if number == 0 else dilation
                    conv.dilation = conv.padding = (here, here)


__all__ = ["MEAN", "STD", "Backbone", "ResNet", "load"]
