"""`hsnet`: Hypercorrelation Squeeze for few-shot segmentation (Min et al., arXiv 2104.01538).

This is not the polyp network of the same name (Zhang et al., 2022), which AM-SAM cites in its few-shot row.

Cosine similarities between all positions of query and masked support, at every block of the last three stages of a
frozen ResNet, are squeezed by 4D convolutions with a center-pivot kernel. The learner has 2,573,794 parameters with
ResNet-50 and 2,587,394 with ResNet-101.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from samtailor.compare.baselines import _resnet
from samtailor.compare.baselines._feed import InputFormat
from samtailor.compare.baselines._fewshot import FewShot, Network
from samtailor.compare.baselines._loop import Training
from samtailor.compare.baselines._resnet import Backbone, ResNet
from samtailor.compare.baselines._weights import seeded
from samtailor.registry import refuse_unknown
from samtailor.train.schedule import CONSTANT

TITLE = "HSNet"
"""Name in tables."""
WIDTHS = (16, 64, 128)
"""Channels of the three squeezing convolutions."""
SQUEEZE = (((5, 4), (5, 4), (3, 2)), ((5, 4), (3, 2), (3, 2)), ((3, 2), (3, 2), (3, 2)))
"""(kernel, stride over the two dimensions of the support) of each, for the second, third and fourth stage."""


def build(
    classes: int = 1,
    *,
    backbone: Backbone = "resnet50",
    weights: str | None = None,
    size: int = 400,
    widths: Sequence[int] = WIDTHS,
    lr: float = 1e-3,
    batch: int = 20,
    steps: int = 200,
    augment: bool = True,
    seed: int = 0,
    **unknown: Any,
) -> FewShot:
    """HSNet of Min et al.

    Args:
        classes: number of classes, each predicted separately.
        backbone: "resnet50", "resnet101", or fields of a ResNetConfig; frozen.
        weights: weights of the backbone: hub id, folder or "scratch"; None: its ImageNet weights on the hub. Random
            features are of little use.
        size: side of the square input, pixels. The cost grows with its fourth power: use about 128 on a CPU.
        widths: channels of the three squeezing convolutions, multiples of 4.
        lr: constant learning rate of Adam.
        batch: episodes per update; the 20 of the reference need a GPU at 400 px.
        steps: default number of updates, on episodes made of the shots; 0 leaves the learner random.
        augment: episodes of flipped, cropped and color-jittered views; the reference has none.
        seed: seed of the random initialization.
        **unknown: any other option is an InputError.
    """
    refuse_unknown(build, unknown)
    options: dict[str, Any] = {
        "classes": classes,
        "backbone": backbone,
        "size": size,
        "lr": lr,
        "batch": batch,
        "steps": steps,
    }
    options["widths"] = list(widths)
    model, origin = _resnet.load(backbone, weights, seed)
    with seeded(seed):
        network = HSNet(ResNet(model), widths)
    return FewShot(
        network,
        InputFormat(size, _resnet.MEAN, _resnet.STD),
        Training(partial(torch.optim.Adam, lr=lr), CONSTANT, batch, steps, augment),
        name="hsnet",
        options=options | {"augment": augment, "seed": seed},
        weights=origin,
    )


class HSNet(Network):
    """See `samtailor.compare.baselines._fewshot.Network`."""

    def __init__(self, backbone: ResNet, widths: Sequence[int] = WIDTHS) -> None:
        super().__init__()
        self.backbone = backbone.requires_grad_(False)
        self.learner = Learner(backbone.depths[1:], widths)

    def train(self, mode: bool = True) -> HSNet:
        """See `nn.Module`; the backbone stays in evaluation mode."""
        super().train(mode)
        self.backbone.eval()
        return self

    def encode_support(self, images: Tensor, masks: Tensor) -> list[list[list[Tensor]]]:
        """Masked features of each shot."""
        return [self._masked(i[None], m[None]) for i, m in zip(images, masks, strict=True)]

    def predict(self, image: Tensor, support: Sequence[Any], resize: Callable[[Tensor], Tensor]) -> Tensor:
        """Vote over the masks predicted with each shot (section 4.4); see `agreed`."""
        query = self._features(image)
        logits = (resize(self._up(self.learner(hypercorrelation(query, shot)), image))[0] for shot in support)
        return agreed(torch.stack([(values[1] > values[0]).int() for values in logits]).sum(dim=0))

    def loss(self, queries: Tensor, targets: Tensor, images: Tensor, masks: Tensor) -> Tensor:
        """Cross entropy of one-shot episodes."""
        logits = self.learner(hypercorrelation(self._features(queries), self._masked(images, masks)))
        return F.cross_entropy(self._up(logits, queries), targets.long())

    @torch.no_grad()
    def _features(self, images: Tensor) -> list[list[Tensor]]:
        return self.backbone.sums(images)[1:]

    def _masked(self, images: Tensor, masks: Tensor) -> list[list[Tensor]]:
        stages = self._features(images)
        return [[feature * self._down(masks, feature) for feature in stage] for stage in stages]

    @staticmethod
    def _down(masks: Tensor, feature: Tensor) -> Tensor:
        m = masks[:, None].to(feature.dtype)
        return F.interpolate(m, feature.shape[-2:], mode="bilinear", align_corners=True)

    @staticmethod
    def _up(logits: Tensor, images: Tensor) -> Tensor:
        return F.interpolate(logits, images.shape[-2:], mode="bilinear", align_corners=True)


def agreed(votes: Tensor) -> Tensor:
    """Map votes (height, width) to values above 0 where a pixel has at least half of the largest number of votes.

    The value is (2 votes - most + 1/2) / most; without votes all values are below 0.
    """
    most = votes.max().clamp(min=1)
    return (2 * votes - most + 0.5) / most


def hypercorrelation(query: Sequence[Sequence[Tensor]], support: Sequence[Sequence[Tensor]]) -> list[Tensor]:
    """Per stage (B, blocks, h, w, h', w'): cosines of all positions of query and support, clipped at 0 (Eq. 1)."""
    return [
        torch.stack([_cosines(q, s) for q, s in zip(*stages, strict=True)], dim=1)
        for stages in zip(query, support, strict=True)
    ]


def _cosines(query: Tensor, support: Tensor) -> Tensor:
    q, s = (f.flatten(2) / (f.flatten(2).norm(dim=1, keepdim=True) + 1e-5) for f in (query, support))
    return (q.transpose(1, 2) @ s).clamp(min=0).unflatten(2, support.shape[-2:]).unflatten(1, query.shape[-2:])


class Learner(nn.Module):
    """Squeeze a pyramid of hypercorrelations, mix it from coarse to fine, and decode it (sections 4.2 and 4.3).

    Args:
        blocks: channels of the hypercorrelations of the three stages, finest first.
        widths: channels of the squeezing convolutions.
    """

    def __init__(self, blocks: Sequence[int], widths: Sequence[int] = WIDTHS) -> None:
        super().__init__()
        middle, last = widths[-2:]
        self.squeeze = nn.ModuleList(_stack((count, *widths), s) for count, s in zip(blocks, SQUEEZE, strict=True))
        self.mix = nn.ModuleList(_stack((last,) * 4, ((3, 1),) * 3) for _ in range(2))
        self.decode = nn.Sequential(_conv(last, last), nn.ReLU(), _conv(last, middle), nn.ReLU())
        self.head = nn.Sequential(_conv(middle, middle), nn.ReLU(), _conv(middle, 2))

    def forward(self, pyramid: Sequence[Tensor]) -> Tensor:
        """(B, blocks, h, w, h', w') by stage, finest first, to logits (B, 2, 2h, 2w) of the finest; background first.

        After the strides all stages have the same support grid, ceil(S / 256) squared.
        """
        fine, middle, coarse = (squeeze(level) for squeeze, level in zip(self.squeeze, pyramid, strict=True))
        x = self.mix[0](_resize_query(coarse, middle) + middle)
        x = self.mix[1](_resize_query(x, fine) + fine)
        x = self.decode(x.mean((4, 5)))
        return self.head(F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True))


class CenterPivotConv4d(nn.Module):
    """4D convolution whose kernel is 0 unless its query or its support offset is the center (section 4.2, Eq. 3).

    It is the sum of two 2D convolutions: over the query dimensions at every support position that the stride keeps, and
    over the support dimensions at every query position.

    Args:
        channels, width: number of channels before and after.
        kernel: odd side of the kernel, in all four dimensions.
        stride: stride over the two dimensions of the support.
    """

    def __init__(self, channels: int, width: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.query = nn.Conv2d(channels, width, kernel, padding=kernel // 2)
        self.support = nn.Conv2d(channels, width, kernel, padding=kernel // 2, stride=stride)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w, h', w') to (B, width, h, w, ceil(h' / stride), ceil(w' / stride))."""
        kept = x[..., :: self.stride, :: self.stride]
        batch, _, h, w, h2, w2 = kept.shape
        over_query = self.query(kept.permute(0, 4, 5, 1, 2, 3).flatten(0, 2))
        over_support = self.support(x.permute(0, 2, 3, 1, 4, 5).flatten(0, 2))
        over_query = over_query.unflatten(0, (batch, h2, w2)).permute(0, 3, 4, 5, 1, 2)
        return over_query + over_support.unflatten(0, (batch, h, w)).permute(0, 3, 1, 2, 4, 5)


def _stack(widths: Sequence[int], shapes: Sequence[tuple[int, int]]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for (before, after), (kernel, stride) in zip(pairwise(widths), shapes, strict=True):
        layers += [CenterPivotConv4d(before, after, kernel, stride), nn.GroupNorm(4, after), nn.ReLU()]
    return nn.Sequential(*layers)


def _conv(channels: int, width: int) -> nn.Conv2d:
    return nn.Conv2d(channels, width, 3, padding=1)


def _resize_query(x: Tensor, like: Tensor) -> Tensor:
    """(B, C, h, w, h', w') to the query grid of `like`, bilinear, corners aligned."""
    batch, _, _, _, h2, w2 = x.shape
    flat = x.permute(0, 4, 5, 1, 2, 3).flatten(0, 2)
    flat = F.interpolate(flat, like.shape[2:4], mode="bilinear", align_corners=True)
    return flat.unflatten(0, (batch, h2, w2)).permute(0, 3, 4, 5, 1, 2)
