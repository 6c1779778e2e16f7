"""`deeplabv3`: DeepLabV3 (Chen et al., arXiv 1706.05587): a dilated ResNet and atrous spatial pyramid pooling.

It has the size of the model in torchvision without the auxiliary head: 39,633,986 parameters with ResNet-50 and one
class, 58,626,114 with ResNet-101. The table of AM-SAM says "DeepLab" and cites an earlier article of the same group.
The multi-grid of the paper and its scales and flips at test are not implemented.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from samtailor.compare.baselines import _resnet
from samtailor.compare.baselines._feed import InputFormat
from samtailor.compare.baselines._loop import Training
from samtailor.compare.baselines._resnet import Backbone, ResNet
from samtailor.compare.baselines._supervised import Supervised, cross_entropy
from samtailor.compare.baselines._weights import seeded
from samtailor.registry import refuse_unknown
from samtailor.train.schedule import POLY

TITLE = "DeepLabV3"
"""Name in tables."""
RATES = {8: (12, 24, 36), 16: (6, 12, 18), 32: (3, 6, 9)}
"""Dilations of the three 3x3 branches by output stride (section 3.3: doubled at stride 8)."""


def build(
    classes: int = 1,
    *,
    backbone: Backbone = "resnet50",
    weights: str | None = None,
    size: int = 513,
    output_stride: int = 16,
    width: int = 256,
    lr: float = 0.007,
    momentum: float = 0.9,
    weight_decay: float = 1e-4,
    batch: int = 16,
    steps: int = 500,
    augment: bool = True,
    seed: int = 0,
    **unknown: Any,
) -> Supervised:
    """DeepLabV3.

    Args:
        classes: number of classes, the background not counted.
        backbone: "resnet50", "resnet101", or fields of a ResNetConfig.
        weights: weights of the backbone: hub id, folder or "scratch"; None: its ImageNet weights on the hub.
        size: side of the square input, pixels; the paper uses crops of 513.
        output_stride: 16 (as in the training of the paper) or 8 (finer, four times the work in the last stages).
        width: channels of the pyramid.
        lr, momentum, weight_decay: SGD; the rate falls as (1 - step / steps)^0.9 (section 4.1).
        batch: largest number of images per update.
        steps: default number of updates; the paper makes 30,000 for ten thousand images.
        augment: train on flipped, cropped and color-jittered views.
        seed: seed of the random initialization.
        **unknown: any other option is an InputError.
    """
    refuse_unknown(build, unknown)
    options: dict[str, Any] = {
        "classes": classes,
        "backbone": backbone,
        "size": size,
        "output_stride": output_stride,
        "width": width,
    }
    options |= {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "batch": batch, "steps": steps}
    model, origin = _resnet.load(backbone, weights, seed)
    with seeded(seed):
        network = DeepLabV3(ResNet(model, output_stride=output_stride), 1 + classes, RATES[output_stride], width)
    optimizer = partial(torch.optim.SGD, lr=lr, momentum=momentum, weight_decay=weight_decay)
    return Supervised(
        network,
        cross_entropy,
        InputFormat(size, _resnet.MEAN, _resnet.STD),
        Training(optimizer, POLY, batch, steps, augment),
        name="deeplabv3",
        options=options | {"augment": augment, "seed": seed},
        weights=origin,
    )


class DeepLabV3(nn.Module):
    """Backbone, pyramid, a 3x3 convolution and the classifier; logits have the size of the input."""

    def __init__(self, backbone: ResNet, outputs: int, rates: tuple[int, ...], width: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.pyramid = Pyramid(backbone.channels[-1], width, rates)
        self.head = nn.Sequential(_conv(width, width, 3), nn.Conv2d(width, outputs, 1))

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, S, S) to (B, outputs, S, S)."""
        logits = self.head(self.pyramid(self.backbone(images)))
        return F.interpolate(logits, images.shape[-2:], mode="bilinear", align_corners=False)


class Pyramid(nn.Module):
    """Atrous spatial pyramid pooling with the image-level branch (section 3.3): 1x1, 3x3 at each rate, global mean."""

    def __init__(self, channels: int, width: int, rates: tuple[int, ...]) -> None:
        super().__init__()
        self.branches = nn.ModuleList([_conv(channels, width, 1), *(_conv(channels, width, 3, r) for r in rates)])
        self.image = _conv(channels, width, 1)
        self.project = nn.Sequential(_conv((2 + len(rates)) * width, width, 1), nn.Dropout(0.5))

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, h, w) to (B, width, h, w)."""
        image = self.image(x.mean((2, 3), keepdim=True)).expand(-1, -1, *x.shape[-2:])
        return self.project(torch.cat([*(branch(x) for branch in self.branches), image], dim=1))


def _conv(channels: int, width: int, kernel: int, rate: int = 1) -> nn.Sequential:
    padding = rate * (kernel // 2)
    conv = nn.Conv2d(channels, width, kernel, padding=padding, dilation=rate, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(width), nn.ReLU())
