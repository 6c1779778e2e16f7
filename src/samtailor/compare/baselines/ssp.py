"""`ssp`: self-support few-shot segmentation (Fan et al., arXiv 2207.11549).

Prototypes of object and background are averaged over the support's masks, compared with every place of the query by
cosine, and then replaced in part by prototypes of the query's own confident places. All that learns is the backbone
(ResNet to its third stage, dilated to stride 8, no last ReLU): 8,543,296 numbers with ResNet-50, of which 8,290,304 are
trained; stem, first stage and every batch normalisation stay frozen. One public version of the reference has a stem
of three convolutions instead (8,667,072 numbers); the ImageNet weights that transformers loads have the plain one.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from samtailor.compare.baselines import _resnet
from samtailor.compare.baselines._feed import Entry
from samtailor.compare.baselines._fewshot import FewShot
from samtailor.compare.baselines._loop import Training, thirds
from samtailor.compare.baselines._resnet import Backbone, ResNet
from samtailor.registry import refuse_unknown

TITLE = "SSP"
"""Name in tables."""
SCALE = 10.0
"""Of the cosine, before the softmax."""
FOREGROUND, BACKGROUND = 0.7, 0.6
"""Probabilities above which a place of the query counts as confident."""
LEAST = 12
"""Places taken where none is."""


def build(
    classes: int = 1,
    *,
    backbone: Backbone = "resnet50",
    weights: str | None = None,
    size: int = 473,
    refine: bool = False,
    lr: float = 1e-3,
    momentum: float = 0.9,
    weight_decay: float = 5e-4,
    batch: int = 4,
    steps: int = 200,
    augment: bool = True,
    seed: int = 0,
    **unknown: Any,
) -> FewShot:
    """SSP.

    Args:
        classes: number of classes, each asked for on its own.
        backbone: "resnet50", "resnet101", or fields of a ResNetConfig.
        weights: of the backbone: hub id, folder or "scratch"; None: its ImageNet weights on the hub. From scratch its
            features tell little, and frozen batch normalisation stays at its start.
        size: side of the square input, pixels.
        refine: a second round of self-support (the reference's option).
        lr, momentum, weight_decay: SGD; the rate is divided by ten after each third.
        batch: episodes an update.
        steps: updates by default, on episodes made of the shots; 0: none.
        augment: episodes of mirrored, cropped and recoloured views.
        seed: of the random start.
        **unknown: refused with an InputError.
    """
    refuse_unknown(build, unknown)
    options = {"classes": classes, "backbone": backbone, "size": size, "refine": refine, "lr": lr, "batch": batch}
    options |= {"momentum": momentum, "weight_decay": weight_decay, "steps": steps, "augment": augment, "seed": seed}
    model, origin = _resnet.load(backbone, weights, seed)
    optimizer = partial(torch.optim.SGD, lr=lr, momentum=momentum, weight_decay=weight_decay)
    return FewShot(
        SSP(ResNet(model, stages=3, output_stride=8, last_relu=False), refine=refine),
        Entry(size, _resnet.MEAN, _resnet.STD),
        Training(optimizer, thirds, batch, steps, augment),
        name="ssp",
        options=options,
        weights=origin,
    )


class SSP(nn.Module):
    """See `samtailor.compare.baselines._fewshot.Network`."""

    def __init__(self, backbone: ResNet, refine: bool = False) -> None:
        super().__init__()
        self.backbone, self.refine = backbone, refine
        backbone.stem.requires_grad_(False)
        backbone.stages[0].requires_grad_(False)
        for module in backbone.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.requires_grad_(False)

    def train(self, mode: bool = True) -> SSP:
        """Batch normalisation keeps its statistics whatever happens."""
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        return self

    def remember(self, images: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
        """Mean over the K shots of their prototypes: object (1, C) and background (1, C)."""
        found = [prototypes(self.backbone(i[None]), m[None]) for i, m in zip(images, masks, strict=True)]
        return tuple(torch.cat(part).mean(0, keepdim=True) for part in zip(*found, strict=True))

    def answer(self, image: Tensor, memory: tuple[Tensor, Tensor], resize: Callable[[Tensor], Tensor]) -> Tensor:
        """Logit of the object against the background."""
        logits = self._match(self.backbone(image), *memory)[-1]
        logits = resize(_up(logits, image))[0]
        return logits[1] - logits[0]

    def loss(self, queries: Tensor, targets: Tensor, images: Tensor, masks: Tensor) -> Tensor:
        """Cross entropy of the answer(s), of the query by its own prototypes, and 0.2 of the support by its own."""
        query, support = self.backbone(queries), self.backbone(images)
        found = [(logits, targets, 1.0) for logits in self._match(query, *prototypes(support, masks))]
        found.append((similarity(query, *prototypes(query, targets)), targets, 1.0))
        found.append((similarity(support, *prototypes(support, masks)), masks, 0.2))
        return sum(weight * F.cross_entropy(_up(logits, queries), true.long()) for logits, true, weight in found)

    def _match(self, query: Tensor, front: Tensor, back: Tensor) -> list[Tensor]:
        """Logits (B, 2, h, w) after self-support, and with `refine` those of the second round behind them."""
        front, back = front[..., None, None], back[..., None, None]
        own_front, own_back, local_back = self_support(query, similarity(query, front, back))
        front1, back1 = 0.5 * front + 0.5 * own_front, 0.3 * own_back + 0.7 * local_back
        first = similarity(query, front1, back1)
        if not self.refine:
            return [first]
        own_front, own_back, local_back = self_support(query, first)
        front2, back2 = 0.5 * front + 0.5 * own_front, 0.3 * own_back + 0.7 * local_back
        front2 = 0.5 * front + 0.2 * front1 + 0.3 * front2
        back2 = 0.5 * back + 0.2 * back1 + 0.3 * back2
        return [first, 0.7 * similarity(query, front2, back2) + 0.3 * first]


def prototypes(features: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
    """Masked average pooling: (B, C, h, w) features and bool (B, S, S) masks to object (B, C) and background (B, C).

    The mask is brought to the features' grid (bilinear, corners aligned), and sum(f m) / (sum(m) + 1e-5) is taken.
    """
    m = F.interpolate(masks[:, None].to(features.dtype), features.shape[-2:], mode="bilinear", align_corners=True)
    front, back = ((features * part).sum((2, 3)) / (part.sum((2, 3)) + 1e-5) for part in (m, 1 - m))
    return front, back


def similarity(features: Tensor, front: Tensor, back: Tensor) -> Tensor:
    """Cosine with both prototypes ((B, C), or one a place) times `SCALE`: (B, 2, h, w), background first."""
    front, back = (p if p.ndim == 4 else p[..., None, None] for p in (front, back))
    return SCALE * torch.stack([F.cosine_similarity(features, p, dim=1) for p in (back, front)], dim=1)


def self_support(features: Tensor, logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Prototypes of the query's own confident places (section 3.2).

    Returns:
        object (B, C, 1, 1) and background (B, C, 1, 1), means over the confident places; and the adaptive background
        (B, C, h, w): for each place the confident background places averaged by softmax of twice their cosine.
    """
    found = [_of_one(f.flatten(1), p.flatten(1)) for f, p in zip(features, logits.softmax(1), strict=True)]
    front, back, local = (torch.stack(part) for part in zip(*found, strict=True))
    return front[..., None, None], back[..., None, None], local.unflatten(2, features.shape[-2:])


def _of_one(features: Tensor, probabilities: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    front = features[:, _confident(probabilities[1], FOREGROUND)]
    back = features[:, _confident(probabilities[0], BACKGROUND)]
    weights = (2.0 * F.normalize(features, dim=0).T @ F.normalize(back, dim=0)).softmax(-1)
    return front.mean(1), back.mean(1), (weights @ back.T).T


def _confident(probabilities: Tensor, threshold: float) -> Tensor:
    sure = torch.nonzero(probabilities > threshold)[:, 0]
    return sure if len(sure) else probabilities.topk(min(LEAST, len(probabilities))).indices


def _up(logits: Tensor, images: Tensor) -> Tensor:
    return F.interpolate(logits, images.shape[-2:], mode="bilinear", align_corners=True)
