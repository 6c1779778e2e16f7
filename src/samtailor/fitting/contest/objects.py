"""How well the parts of an out-of-fold region are the single objects, where images have several."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from samtailor.fitting.contest.choice import Entry
from samtailor.masks.contours import connected
from samtailor.masks.rle import encode
from samtailor.structures import Annotation, Sample

_IOU = 0.5  # from which a part is the object


def objects_of_parts(
    entry: Entry, samples: Sequence[Sample], classes: tuple[str, ...], smallest: float
) -> dict[str, float] | None:
    """Agreement of the connected parts of a region with the annotated objects; None with one object per image.

    Args:
        entry: the chosen region, with its out-of-fold predictions.
        samples: training images.
        classes: of the objects.
        smallest: parts of a smaller share of the image are left out, as in use.

    Returns:
        "f1": mean over images, a part being an object from an IoU of 0.5 on; "count_error": mean absolute error of the
        number of objects; "objects": mean number of objects.
    """
    known = {sample.id: sample.of(classes) for sample in samples}
    if all(len(known[id]) <= 1 for id in entry.scores.images):
        return None
    rows = []
    for id, rle in zip(entry.scores.images, entry.scores.masks[entry.variant], strict=True):
        mask = Annotation("", rle).mask
        least = max(16, round(smallest * mask.size))
        parts = [encode(part) for part in connected(mask) if np.count_nonzero(part) >= least]
        truths = [one.rle for one in known[id]]
        rows.append((2 * _matched(parts, truths) / max(len(parts) + len(truths), 1), len(parts), len(truths)))
    f1, parts_found, objects = (np.array(column, float) for column in zip(*rows, strict=True))
    error = float(np.abs(parts_found - objects).mean())
    return {"f1": float(f1.mean()), "count_error": error, "objects": float(objects.mean())}


def _matched(parts: Sequence[Any], truths: Sequence[Any]) -> int:
    """Number of objects that a part covers; from an IoU above 0.5 on, no part covers two of them."""
    from pycocotools import mask as coco

    if not parts or not truths:
        return 0
    table = coco.iou(list(parts), list(truths), [0] * len(truths))
    return int((table > _IOU).any(axis=0).sum())


__all__ = ["objects_of_parts"]
