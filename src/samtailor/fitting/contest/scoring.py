"""Scores of one segmenter on images that it has not learnt from, for each way of use and each variant of the answer.

Variants of clicks and boxes are strengths between base model (0) and adapter (1), and what is combined with them
(`prompt_variant`); those of regions are plans of tiled inference and offsets of the map (`region_variant`). Rows are
the same objects for every segmenter, so that differences are paired.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from samtailor.adapters.tiled import tiled_logits
from samtailor.data.augment import View
from samtailor.data.regions import foreground
from samtailor.data.transform import Frame
from samtailor.errors import InputError
from samtailor.fitting.contest import region_variant
from samtailor.fitting.contest.prompt_variant import PromptVariant, applied
from samtailor.fitting.interpolate import MASKS
from samtailor.fitting.select_inference import MAX_IMAGES, PLANS
from samtailor.masks import metrics
from samtailor.masks.contours import part_means
from samtailor.masks.rle import encode
from samtailor.prompts import Source
from samtailor.registry import find
from samtailor.segmenter import Segmenter
from samtailor.structures import Features, Output, Prompts, Sample, TilingPlan
from samtailor.train.feed import Feed
from samtailor.train.multitask import member_map
from samtailor.train.validate import mask_ious

if TYPE_CHECKING:
    from samtailor.cache.embeddings import EmbeddingCache

SOURCES = {"click": "mask-center", "box": "mask-box"}
STRENGTHS = (1.0, 0.5, 0.25)
BASE = "0"
"""Variant of the base model."""
_BATCH = 8


@dataclass
class Scores:
    """Scores of one way of use.

    Args:
        images: image of each row.
        labels: class of each row.
        values: variant to the score of each row, in [0, 1].
        objects: number of annotated objects.
        masks: variant to the predicted mask of each row, run-length encoded; regions only.
        parts: variant to the mean probability of the pixels of each connected part of each row, in the order of
            `contours.connected`; regions only.
        empty_images: images without an object; regions only.
        empty: variant to what is predicted in each of these, as in `masks` and `parts`.
    """

    images: list[str] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    values: dict[str, list[float]] = field(default_factory=dict)
    objects: int = 0
    masks: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    parts: dict[str, list[list[float]]] = field(default_factory=dict)
    empty_images: list[str] = field(default_factory=list)
    empty: dict[str, list[tuple[dict[str, Any], list[float]]]] = field(default_factory=dict)

    def extend(self, other: Scores) -> None:
        """Append the rows of another fold, with the variants that both have."""
        first = not self.images
        self.images += other.images
        self.labels += other.labels
        self.objects += other.objects
        known = list(other.values) if first else [name for name in self.values if name in other.values]
        self.values = {name: [*self.values.get(name, []), *other.values[name]] for name in known}
        self.masks = {name: [*self.masks.get(name, []), *other.masks[name]] for name in known if name in other.masks}
        self.empty_images += other.empty_images
        self.empty = {name: [*self.empty.get(name, []), *other.empty[name]] for name in known if name in other.empty}
        self.parts = {name: [*self.parts.get(name, []), *other.parts[name]] for name in known if name in other.parts}

    def mean(self, variant: str) -> float:
        """Unweighted mean over classes of the mean score of a variant."""
        values, labels = np.asarray(self.values[variant]), np.asarray(self.labels)
        return float(np.mean([values[labels == label].mean() for label in dict.fromkeys(self.labels)]))

    @property
    def best(self) -> str:
        """The variant of the highest mean; the first of those that are equal."""
        return max(self.values, key=self.mean)


@torch.no_grad()
def prompted_scores(
    segmenter: Segmenter,
    samples: Sequence[Sample],
    classes: tuple[str, ...],
    store: EmbeddingCache,
    way: str,
    *,
    variants: Sequence[PromptVariant],
    seed: int,
    source: Source | None = None,
) -> Scores:
    """IoU for clicks or boxes on at most `interpolate.MASKS` objects, for each variant.

    Args:
        segmenter: fitted; it is in evaluation mode afterwards, and its inference settings are changed.
        samples: images that it has not learnt from.
        classes: of the objects.
        store: cached embeddings.
        way: "click" or "box".
        variants: to compare.
        seed: of the choice of objects.
        source: of the prompts; None: that of `SOURCES`.
    """
    segmenter.eval()
    base, source = segmenter.base, source or find("prompts", SOURCES[way]).build()
    feed = Feed(
        base, samples, classes, store, source=source, batch_size=_BATCH, seed=seed, companions=segmenter.companions
    )
    device = next(base.model.parameters()).device
    scores = Scores(values={one.name: [] for one in variants})
    for part in feed.held_out(MASKS):
        batch, features = part.batch.to(device), part.batch.features
        if features is None:
            raise InputError("Clicks and boxes are scored on the embeddings of images, and a batch has none.")
        features = features.to(device)
        region = member_map(segmenter).logits(features) if segmenter.maps else None
        strengths = dict.fromkeys(one.strength for one in variants)
        decoded = {strength: _decoded(segmenter, way, strength, features, batch.prompts) for strength in strengths}
        for one in variants:
            segmenter.inference = applied(segmenter.inference, {way: one})
            output = segmenter.finished(decoded[one.strength], features, batch.prompts, region=region)
            scores.values[one.name] += [best for best, _ in mask_ious(output, part)]
        scores.images += part.batch.ids
        scores.labels += part.batch.labels
    scores.objects = len(scores.images)
    return scores


def _decoded(segmenter: Segmenter, way: str, strength: float, features: Features, prompts: Prompts) -> Output:
    """The decoder's best candidate of each prompt: the map does not change which one is chosen."""
    segmenter.inference = applied(segmenter.inference, {way: PromptVariant(strength)})
    output = segmenter.model.decode(features, segmenter.prompted(features, prompts, fast=True), fast=True)
    scores, logits = output.best_masks()
    return replace(output, logits=logits[:, :, None], iou=scores[:, :, None], candidates=(0,))


def region_scores(
    segmenter: Segmenter,
    samples: Sequence[Sample],
    classes: tuple[str, ...],
    store: EmbeddingCache,
    negatives: Sequence[Sample] = (),
) -> Scores:
    """Dice of the region of the classes on at most `MAX_IMAGES` images, for each variant (`region_variant.ALL`).

    Args:
        segmenter: with a region map.
        samples: images that it has not learnt from.
        classes: of the region.
        store: cached embeddings.
        negatives: images without an object of the classes, in which it predicts too.
    """
    by_id = {sample.id: sample for sample in samples}
    judged = [sample for sample in foreground(samples, classes) if sample.of(None)][:MAX_IMAGES]
    names = [one.name for one in region_variant.ALL]
    scores = Scores(
        values={name: [] for name in names}, masks={name: [] for name in names}, parts={name: [] for name in names},
        empty_images=[sample.id for sample in negatives], empty={name: [] for name in names},
    )  # fmt: skip
    for sample in judged:
        truth = sample.annotations[0].mask
        for name, logits in _logits(segmenter, sample, store):
            rle, means = _kept(logits)
            scores.values[name].append(float(metrics.dice(logits > 0, truth)))
            scores.masks[name].append(rle)
            scores.parts[name].append(means)
        scores.images.append(sample.id)
        scores.labels.append("region")
        scores.objects += len(by_id[sample.id].of(classes))
    for sample in negatives:
        for name, logits in _logits(segmenter, sample, store):
            scores.empty[name].append(_kept(logits))
    return scores


def _kept(logits: np.ndarray) -> tuple[dict[str, Any], list[float]]:
    """The mask of a region, and the mean probability of each of its parts."""
    mask = logits > 0
    return encode(mask), part_means(mask, 1 / (1 + np.exp(-logits)))


@torch.no_grad()
def _logits(segmenter: Segmenter, sample: Sample, store: EmbeddingCache) -> Iterator[tuple[str, np.ndarray]]:
    """Logits of the region in one image by each variant, with the name of the variant."""
    base, encoded = segmenter.base, {}
    device, frame = next(base.model.parameters()).device, Frame.of(base, *sample.size)

    def see(view: View) -> Features:
        if view.key not in encoded:
            encoded[view.key] = store.features(base, [sample], [view], segmenter.companions).to(device)
        return encoded[view.key]

    region_map, known = member_map(segmenter), dict[int, torch.Tensor]()

    def map_logits(features: Features) -> torch.Tensor:
        """Of a view, once for all variants; `encoded` keeps the features alive."""
        if id(features) not in known:
            known[id(features)] = region_map.logits(features)
        return known[id(features)]

    by_offset: dict[float, dict[tuple[str, float], torch.Tensor]] = {}

    def logits(plan: TilingPlan, offset: float) -> torch.Tensor:
        known = by_offset.setdefault(offset, {})
        tiled = tiled_logits(plan, lambda features: map_logits(features) + offset, base, frame, see, known=known)
        return frame.logits(tiled)[0, 0]

    for number, plan in enumerate(PLANS):
        plain = logits(plan, 0.0)
        for one in (one for one in region_variant.ALL if one.plan == number):
            decoded = plan.boxes and one.offset
            moved = logits(plan, one.offset) if decoded else plain + one.offset
            yield one.name, moved.cpu().numpy()


__all__ = ["BASE", "SOURCES", "STRENGTHS", "Scores", "prompted_scores", "region_scores"]
