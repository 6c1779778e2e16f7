"""`ssp`: self-support few-shot segmentation (Fan et al., arXiv 2207.11549).

Prototypes of object and background are averaged over the support masks, compared with every position of the query by
cosine similarity, and then partly replaced by prototypes of confident positions of the query. Only the backbone is
trained (ResNet up to its third stage, dilated to stride 8, no last ReLU): 8,543,296 parameters with ResNet-50, of
which 8,290,304 are trained; stem, first stage and all batch normalization stay frozen. One public version of the
reference has a stem of three convolutions (8,667,072 parameters); the ImageNet weights of transformers have the plain
stem.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from samtailor.compare.baselines import _resnet
from samtailor.compare.baselines._feed import InputFormat
from samtailor.compare.baselines._fewshot import FewShot, Network
from samtailor.compare.baselines._loop import Training
from samtailor.compare.baselines._resnet import Backbone, ResNet
from samtailor.registry import refuse_unknown
from samtailor.train.schedule import THIRDS

TITLE = "SSP"
"""Name in tables."""
SCALE = 10.0
"""Factor of the cosine before the softmax."""
FOREGROUND, BACKGROUND = 0.7, 0.6
"""Probabilities above which a position of the query is confident."""
MIN_POSITIONS = 12
"""Number of most probable positions that are used if none is confident."""


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
        classes: number of classes, each predicted separately.
        backbone: "resnet50", "resnet101", or fields of a ResNetConfig.
        weights: weights of the backbone: hub id, folder or "scratch"; None: its ImageNet weights on the hub. Random
            features are of little use, and the frozen batch normalization keeps its initial statistics.
        size: side of the square input, pixels.
        refine: a second round of self-support (an option of the reference).
        lr, momentum, weight_decay: settings of SGD; the learning rate is divided by ten after each third.
        batch: episodes per update.
        steps: default number of updates, on episodes made of the shots; 0: no training.
        augment: episodes of flipped, cropped and color-jittered views.
        seed: seed of the random initialization.
        **unknown: any other option is an InputError.
    """
    refuse_unknown(build, unknown)
    options: dict[str, Any] = {
        "classes": classes,
        "backbone": backbone,
        "size": size,
        "refine": refine,
        "lr": lr,
        "batch": batch,
    }
    options |= {"momentum": momentum, "weight_decay": weight_decay, "steps": steps, "augment": augment, "seed": seed}
    model, origin = _resnet.load(backbone, weights, seed)
    optimizer = partial(torch.optim.SGD, lr=lr, momentum=momentum, weight_decay=weight_decay)
    return FewShot(
        SSP(ResNet(model, stages=3, output_stride=8, last_relu=False), refine=refine),
        InputFormat(size, _resnet.MEAN, _resnet.STD),
        Training(optimizer, THIRDS, batch, steps, augment),
        name="ssp",
        options=options,
        weights=origin,
    )


class SSP(Network):
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
        """See `nn.Module`; batch normalization stays in evaluation mode."""
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        return self

    def encode_support(self, images: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
        """Mean prototypes over the K shots: object (1, C) and background (1, C)."""
        shots = [prototypes(self.backbone(i[None]), m[None]) for i, m in zip(images, masks, strict=True)]
        front, back = (torch.cat(part).mean(0, keepdim=True) for part in zip(*shots, strict=True))
        return front, back

    def predict(self, image: Tensor, support: tuple[Tensor, Tensor], resize: Callable[[Tensor], Tensor]) -> Tensor:
        """Logit of the object minus that of the background."""
        logits = self._match(self.backbone(image), *support)[-1]
        logits = resize(_up(logits, image))[0]
        return logits[1] - logits[0]

    def loss(self, queries: Tensor, targets: Tensor, images: Tensor, masks: Tensor) -> Tensor:
        """Cross entropy of the predictions, of the query by its own prototypes, and 0.2 of the support by its own."""
        query, support = self.backbone(queries), self.backbone(images)
        terms = [(logits, targets, 1.0) for logits in self._match(query, *prototypes(support, masks))]
        terms.append((similarity(query, *prototypes(query, targets)), targets, 1.0))
        terms.append((similarity(support, *prototypes(support, masks)), masks, 0.2))
        losses = [weight * F.cross_entropy(_up(logits, queries), true.long()) for logits, true, weight in terms]
        return torch.stack(losses).sum()

    def _match(self, query: Tensor, front: Tensor, back: Tensor) -> list[Tensor]:
        """Logits (B, 2, h, w) after self-support; with `refine` followed by those of the second round."""
        front, back = front[..., None, None], back[..., None, None]
        query_front, query_back, local_back = self_support(query, similarity(query, front, back))
        front1, back1 = 0.5 * front + 0.5 * query_front, 0.3 * query_back + 0.7 * local_back
        first = similarity(query, front1, back1)
        if not self.refine:
            return [first]
        query_front, query_back, local_back = self_support(query, first)
        front2, back2 = 0.5 * front + 0.5 * query_front, 0.3 * query_back + 0.7 * local_back
        front2 = 0.5 * front + 0.2 * front1 + 0.3 * front2
        back2 = 0.5 * back + 0.2 * back1 + 0.3 * back2
        return [first, 0.7 * similarity(query, front2, back2) + 0.3 * first]


def prototypes(features: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
    """Masked average pooling: (B, C, h, w) features and bool (B, S, S) masks to object (B, C) and background (B, C).

    The mask m is resized to the grid of the features f (bilinear, corners aligned): sum(f m) / (sum(m) + 1e-5).
    """
    m = F.interpolate(masks[:, None].to(features.dtype), features.shape[-2:], mode="bilinear", align_corners=True)
    front, back = ((features * part).sum((2, 3)) / (part.sum((2, 3)) + 1e-5) for part in (m, 1 - m))
    return front, back


def similarity(features: Tensor, front: Tensor, back: Tensor) -> Tensor:
    """Cosine with both prototypes ((B, C), or one per position) times `SCALE`: (B, 2, h, w), background first."""
    front, back = (p if p.ndim == 4 else p[..., None, None] for p in (front, back))
    return SCALE * torch.stack([F.cosine_similarity(features, p, dim=1) for p in (back, front)], dim=1)


def self_support(features: Tensor, logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Prototypes of the confident positions of the query (section 3.2).

    Returns:
        object (B, C, 1, 1) and background (B, C, 1, 1), means over the confident positions; and the adaptive background
        (B, C, h, w): at each position the confident background positions, weighted by the softmax of twice their
        cosine.
    """
    images = [_of_image(f.flatten(1), p.flatten(1)) for f, p in zip(features, logits.softmax(1), strict=True)]
    front, back, local = (torch.stack(part) for part in zip(*images, strict=True))
    return front[..., None, None], back[..., None, None], local.unflatten(2, features.shape[-2:])


def _of_image(features: Tensor, probabilities: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    front = features[:, _confident(probabilities[1], FOREGROUND)]
    back = features[:, _confident(probabilities[0], BACKGROUND)]
    weights = (2.0 * F.normalize(features, dim=0).T @ F.normalize(back, dim=0)).softmax(-1)
    return front.mean(1), back.mean(1), (weights @ back.T).T


def _confident(probabilities: Tensor, threshold: float) -> Tensor:
    sure = torch.nonzero(probabilities > threshold)[:, 0]
    return sure if len(sure) else probabilities.topk(min(MIN_POSITIONS, len(probabilities))).indices


def _up(logits: Tensor, images: Tensor) -> Tensor:
    return F.interpolate(logits, images.shape[-2:], mode="bilinear", align_corners=True)
