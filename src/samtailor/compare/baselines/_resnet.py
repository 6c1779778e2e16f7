"""A ResNet (He et al., arXiv 1512.03385) over transformers' ResNetModel, cut and dilated as a network needs it.

transformers' layers are used one by one and no code of theirs is copied. Strides sit in the 3x3 convolutions, as in
the ImageNet weights that everybody uses ("v1.5").
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
"""Of ImageNet, on the scale 0 to 255, RGB."""
DEPTHS = {"resnet50": (3, 4, 6, 3), "resnet101": (3, 4, 23, 3)}
HUB = {"resnet50": "microsoft/resnet-50", "resnet101": "microsoft/resnet-101"}

Backbone = str | Mapping[str, Any]
"""A name of `DEPTHS`, or fields of transformers' ResNetConfig for another size."""


class ResNet(nn.Module):
    """Stem and stages of a ResNet.

    Args:
        model: transformers' ResNetModel; taken over, its unused stages are dropped.
        stages: how many of the four to keep.
        output_stride: 8, 16 or 32; strides beyond become dilations.
        last_relu: whether the last kept block ends in its ReLU (metric learning leaves it out).
    """

    def __init__(self, model: nn.Module, *, stages: int = 4, output_stride: int = 32, last_relu: bool = True) -> None:
        super().__init__()
        self.stem = model.embedder
        self.stages = nn.ModuleList(model.encoder.stages[:stages])
        self.channels = tuple(model.config.hidden_sizes[:stages])
        self.depths = tuple(model.config.depths[:stages])
        _dilate(self.stages, output_stride)
        if not last_relu:
            self.stages[-1].layers[-1].activation = nn.Identity()

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, S, S) normalised images to the last map (B, channels[-1], s, s)."""
        x = self.stem(images)
        for stage in self.stages:
            x = stage(x)
        return x

    def sums(self, images: Tensor) -> list[list[Tensor]]:
        """Per stage the map of every block after its residual sum, before its ReLU."""
        x, found = self.stem(images), []
        for stage in self.stages:
            found.append([])
            for block in stage.layers:
                total = block.layer(x) + block.shortcut(x)
                found[-1].append(total)
                x = F.relu(total)
        return found


def load(backbone: Backbone, weights: str | None, seed: int) -> tuple[nn.Module, str]:
    """transformers' ResNetModel, and where its weights are from.

    Args:
        backbone: which size.
        weights: hub id or folder; "scratch": random by `seed`; None: the ImageNet weights of that size on the hub.
        seed: of random weights.

    Raises:
        BaseUnavailableError: the weights cannot be had. InputError: an unknown backbone, or weights of another size.
    """
    from transformers import ResNetConfig, ResNetModel

    config = ResNetConfig(**_fields(backbone))
    if weights == SCRATCH:
        with seeded(seed):
            return ResNetModel(config), SCRATCH
    if weights is None and not isinstance(backbone, str):
        raise InputError(f"A backbone of another size has no weights on the hub: give weights, e.g. {SCRATCH!r}.")
    source = weights or HUB[backbone]
    model = pretrained(ResNetModel, source)
    if list(model.config.depths) != list(config.depths):
        raise InputError(
            f"The weights {source!r} have {list(model.config.depths)} blocks, the backbone {backbone!r} has "
            f"{list(config.depths)}. Give the backbone that they belong to."
        )
    return model, source


def _fields(backbone: Backbone) -> dict[str, Any]:
    if isinstance(backbone, str):
        return {"depths": list(DEPTHS[choose("backbone", backbone, DEPTHS)])}
    return dict(backbone)


def _dilate(stages: nn.ModuleList, output_stride: int) -> None:
    """Replace strides beyond `output_stride` by dilation: 3x3 convolutions see the same field on a finer grid.

    The first block of a stage keeps the dilation before it, since its input still has that spacing.
    """
    if output_stride not in (8, 16, 32):
        raise InputError(f"output_stride must be 8, 16 or 32, got {output_stride}.")
    stride, dilation = 4, 1
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
