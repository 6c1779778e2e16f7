"""Greedy non-maximum suppression (NMS), for run-length encoded masks and for boxes.

Predictions are visited by falling rank; one that duplicates an already kept prediction is dropped. The defaults of
`mask_nms` are the one rule for duplicates and parts, wherever objects of automatic mode are put together: in predict,
label (also between adapters and tiles), evaluate, serve, the page and find.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

import numpy as np

NMS_IOU = 0.6
"""Default IoU above which two masks are duplicates."""
CONTAINMENT = 0.8
"""Default share of the smaller mask inside the larger one above which two masks are duplicates."""


class LabeledMask(Protocol):
    """What `mask_nms` reads of a prediction."""

    @property
    def rle(self) -> dict[str, Any]:
        """COCO run-length encoding of the mask, in the image frame."""

    @property
    def label(self) -> str | None:
        """Class name."""


Mask = TypeVar("Mask", bound=LabeledMask)
_Measured = tuple[dict[str, Any], int]  # a mask and its area


def mask_nms(
    masks: Sequence[Mask],
    *,
    rank: Callable[[Mask], float],
    iou: float = NMS_IOU,
    containment: float | None = CONTAINMENT,
    coverage: float | None = None,
    per_class: bool = True,
) -> list[Mask]:
    """Drop empty masks and duplicates; sort by falling rank (equal ranks in the order given).

    Args:
        masks: predictions of one image.
        rank: key function; of two duplicates, the one with the higher rank is kept.
        iou: masks with a higher IoU than this are duplicates, in [0, 1].
        containment: masks are also duplicates if the one of lower rank is no larger than the other and more than
            this share of it lies inside the other, in [0, 1]. None compares by IoU only.
        coverage: a mask is also a duplicate if those of higher rank together cover more than this share of it, in
            [0, 1], as they do where it joins several of them. None does not compare with several masks at once.
        per_class: compare masks of the same class only.
    """
    from pycocotools import mask as coco

    kept: list[Mask] = []
    rivals: dict[str | None, list[_Measured]] = {}
    for mask in sorted(masks, key=lambda mask: -rank(mask)):
        area = int(coco.area(mask.rle))
        others = rivals.setdefault(mask.label if per_class else None, [])
        if not area or (others and _is_duplicate((mask.rle, area), others, iou, containment)):
            continue
        if coverage is not None and _shared_area(mask.rle, others) > coverage * area:
            continue
        others.append((mask.rle, area))
        kept.append(mask)
    return kept


def duplicates(rle: dict[str, Any], others: Sequence[dict[str, Any]]) -> bool:
    """Whether a mask is a duplicate or a part of one of others that are kept in any case, by the rule of `mask_nms`."""
    from pycocotools import mask as coco

    measured = [(other, int(coco.area(other))) for other in others]
    return bool(measured) and _is_duplicate((rle, int(coco.area(rle))), measured, NMS_IOU, CONTAINMENT)


def _is_duplicate(mask: _Measured, others: Sequence[_Measured], iou: float, containment: float | None) -> bool:
    from pycocotools import mask as coco

    rle, area = mask
    rles = [other for other, _ in others]
    if float(np.max(coco.iou([rle], rles, [0] * len(rles)))) > iou:
        return True
    if containment is None:
        return False
    # for "crowd" masks pycocotools divides the intersection by the area of the first mask
    covered = coco.iou([rle], rles, [1] * len(rles))[0]
    larger = np.array([area <= other for _, other in others])
    return bool((covered[larger] > containment).any())


def _shared_area(rle: dict[str, Any], others: Sequence[_Measured]) -> int:
    """Area that a mask shares with the union of others."""
    from pycocotools import mask as coco

    if not others:
        return 0
    union = coco.merge([other for other, _ in others])
    return int(coco.area(coco.merge([rle, union], intersect=True)))


def box_nms(
    boxes: np.ndarray, labels: Sequence[str] | None = None, *, iou: float, containment: float | None = None
) -> list[int]:
    """Rows of boxes that remain after non-maximum suppression.

    Args:
        boxes: (N, 4), x0 y0 x1 y1, sorted by falling score.
        labels: N class names, to compare boxes of the same class only; None compares all boxes.
        iou: boxes with a higher IoU than this are duplicates, in [0, 1].
        containment: boxes are also duplicates if they share more than this part of the smaller one, in [0, 1]. None
            compares by IoU only.
    """
    kept: list[int] = []
    names = np.array([""] * len(boxes) if labels is None else labels, dtype=object)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    remaining = np.ones(len(boxes), bool)
    for i in range(len(boxes)):
        if not remaining[i]:
            continue
        kept.append(i)
        box, rest = boxes[i], boxes[i + 1 :]
        separate = box_iou(box, rest) <= iou
        if containment is not None:
            separate &= _shared(box, rest) <= containment * np.minimum(areas[i], areas[i + 1 :])
        remaining[i + 1 :] &= separate | (names[i + 1 :] != names[i])
    return kept


def box_iou(box: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """IoU of one box (4,) with each of (N, 4): float (N,).

    Boxes are x0 y0 x1 y1, edges rather than pixel indices: a box of one pixel is 1 wide.
    """
    common = _shared(box, boxes)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1) + (box[2:] - box[:2]).prod()
    return common / np.maximum(areas - common, 1e-9)


def _shared(box: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Area that one box (4,) shares with each of (N, 4)."""
    sides = np.minimum(box[2:], boxes[:, 2:]) - np.maximum(box[:2], boxes[:, :2])
    return sides.clip(0).prod(axis=1)


__all__ = ["CONTAINMENT", "NMS_IOU", "LabeledMask", "box_iou", "box_nms", "duplicates", "mask_nms"]
