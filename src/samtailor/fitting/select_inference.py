"""Selection of tiled inference for an adapter with a map, on images that it has not learnt from.

Tiles and the decoder's masks for boxes (`adapters.tiled`) help with some objects and harm with others (see
docs/research/tailor.md), so each fit compares them.
Held-out images are used where there are any. Otherwise every member of the map leaves some of the training images out
(`assign_folds`) and is evaluated on those alone. A member learns from a part of the images, so the Dice scores
reported here are below those of the finished map; only the order of the plans is taken from them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from samtailor.adapters.tiled import tiled_logits
from samtailor.data.augment import View
from samtailor.data.regions import foreground
from samtailor.data.split import Split
from samtailor.data.transform import Frame
from samtailor.masks import metrics
from samtailor.masks.postprocess import postprocessed
from samtailor.segmenter import Segmenter
from samtailor.structures import NOTHING, Features, Postprocess, Sample, TilingPlan
from samtailor.train.multitask import member_map

if TYPE_CHECKING:
    from samtailor.cache.embeddings import EmbeddingCache

PLANS = (
    TilingPlan(),
    TilingPlan(boxes=2.0),
    TilingPlan((1, 2)),
    TilingPlan((1, 2), 2.0),
    TilingPlan((2,)),
    TilingPlan((2,), 2.0),
)
"""Plans to compare; the first is the default that the others must beat."""
MIN_GROUPS = 4
"""With fewer groups of training images members do not leave images out: each would learn from too few."""
MAX_IMAGES = 24
"""Largest number of images to compare plans on."""
_GAIN = 0.01  # Dice; a smaller gain does not justify more passes of the encoder

Predict = Callable[[Features], torch.Tensor]
"""Embedding to logits (B, 1, h, w)."""


@dataclass(frozen=True)
class SelectedInference:
    """The selected plan.

    Args:
        tiling: the plan.
        images: number of images that it was selected on.
        objects: number of annotated objects in them.
        dice: mean Dice of the plan on these images, in [0, 1].
        untiled: mean Dice of one pass over the whole image with the map alone.
        interval: 95 % interval of `dice` by a bootstrap over images.
        scores: Dice of the plan on each image.
        ids, groups: of the images.
    """

    tiling: TilingPlan
    images: int
    objects: int
    dice: float
    untiled: float
    interval: list[float] | None
    scores: tuple[float, ...] = ()
    ids: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()


def assign_folds(split: Split, members: int) -> dict[str, int]:
    """The member of the map that leaves out each training image; images of one group go together.

    Empty with fewer groups than `MIN_GROUPS`, with fewer than two members, and where images are held out.
    """
    group_of = {id: sorted(ids)[0] for ids in split.groups for id in ids}
    groups = list(dict.fromkeys(group_of.get(id, id) for id in split.train))
    if split.val or members < 2 or len(groups) < MIN_GROUPS:
        return {}
    return {id: groups.index(group_of.get(id, id)) % members for id in split.train}


def select_inference(
    segmenter: Segmenter,
    samples: Sequence[Sample],
    classes: Sequence[str],
    store: EmbeddingCache,
    *,
    left_out: Mapping[str, int] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> SelectedInference | None:
    """Compare all plans and set the segmenter's `tiling`; None, and no tiling, with fewer than two images.

    A plan must be better than the default by more than the standard error of the paired difference and by at least one
    point of Dice; among those plans the one of highest mean Dice is selected. This keeps noise from selecting a plan
    that costs more encoder passes.

    Args:
        segmenter: fitted, with a map.
        samples: images that the map has not learnt from, or (with `left_out`) that one member has not.
        classes: classes of the map.
        store: cached embeddings.
        left_out: sample id to the member that is evaluated on it; None: the whole map is.
        progress: called with (images done, all images).
    """
    by_id = {sample.id: sample for sample in samples}
    judging = [sample for sample in foreground(samples, classes) if sample.of(None)][:MAX_IMAGES]
    region_map = member_map(segmenter)
    rows = []
    for done, sample in enumerate(judging, 1):
        member = None if left_out is None else left_out.get(sample.id)
        predict: Predict = region_map.logits if member is None else region_map.members[member]
        rows.append(_dice(segmenter, predict, sample, store))
        if progress is not None:
            progress(done, len(judging))
    if len(rows) < 2:
        return None
    table = np.array(rows)
    best = _best(table)
    segmenter.inference = replace(segmenter.inference, tiling=PLANS[best])
    groups = [by_id[sample.id].group or sample.id for sample in judging]
    _, low, high = metrics.bootstrap(table[:, best].tolist(), groups)
    return SelectedInference(
        PLANS[best],
        images=len(rows),
        objects=sum(len(by_id[sample.id].of(classes)) for sample in judging),
        dice=float(table[:, best].mean()),
        untiled=float(table[:, 0].mean()),
        interval=None if math.isnan(low) else [low, high],
        scores=tuple(table[:, best].tolist()),
        ids=tuple(sample.id for sample in judging),
        groups=tuple(groups),
    )


def region_dice(segmenter: Segmenter, sample: Sample, classes: Sequence[str], store: EmbeddingCache) -> float:
    """Dice of the region of some classes in one image, by a segmenter with a map and its tiling plan."""
    (region,) = foreground([sample], classes)
    inference = segmenter.inference
    how = inference.postprocess_of("region")
    return _dice(segmenter, member_map(segmenter).logits, region, store, (inference.tiling,), how)[0]


@torch.no_grad()
def _dice(
    segmenter: Segmenter,
    predict: Predict,
    sample: Sample,
    store: EmbeddingCache,
    plans: Sequence[TilingPlan] | None = None,
    how: Postprocess = NOTHING,
) -> list[float]:
    """Dice of each plan on one image, after postprocessing; None: all plans."""
    base, truth = segmenter.base, sample.annotations[0].mask
    device, frame = next(base.model.parameters()).device, Frame.of(base, *truth.shape)
    encoded: dict[str, Features] = {}

    def encode(view: View) -> Features:
        if view.key not in encoded:
            encoded[view.key] = store.features(base, [sample], [view], segmenter.companions).to(device)
        return encoded[view.key]

    known: dict[tuple[str, float], torch.Tensor] = {}
    predictions = (
        frame.logits(tiled_logits(plan, predict, base, frame, encode, known=known))
        for plan in (PLANS if plans is None else plans)
    )
    masks = ((logits[0, 0] > 0).cpu().numpy() for logits in predictions)
    return [float(metrics.dice(postprocessed(mask, how), truth)) for mask in masks]


def _best(table: np.ndarray) -> int:
    """Column to select from a table of Dice, (images, plans)."""
    gains = table - table[:, :1]
    mean, error = gains.mean(axis=0), gains.std(axis=0, ddof=1) / len(gains) ** 0.5
    sound = (mean >= _GAIN) & (mean > error)
    return int(np.where(sound, mean, -1.0).argmax()) if sound.any() else 0


__all__ = ["MAX_IMAGES", "MIN_GROUPS", "PLANS", "SelectedInference", "assign_folds", "region_dice", "select_inference"]
