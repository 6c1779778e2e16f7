"""What a contest knows about its data and its machine before anything is fitted."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from samtailor.fitting.select_inference import PLANS
from samtailor.masks.rle import is_box
from samtailor.structures import TilingPlan

if TYPE_CHECKING:
    from samtailor.bases import Base
    from samtailor.data.split import Split
    from samtailor.structures import Sample

_TIMED = 3  # passes of the encoder; the fastest counts

TOUCHING = 0.1
"""Share of the objects that touch or overlap another one, from which single objects need more than a region."""
SMALL = 0.25
"""Square root of the median area of the objects, as a share of that of the image, up to which they are small."""
CHEAP = 0.3
"""Seconds to encode an image, up to which tiles of small objects are used unless they are worse."""
TILED = PLANS.index(TilingPlan((1, 2)))
"""Number of the plan with the whole image and tiles."""


@dataclass(frozen=True)
class DataFingerprint:
    """Training data of a contest, and the speed of the encoder.

    Args:
        images, objects: number of training images with an object, and of objects.
        classes: class to number of objects.
        groups: groups of images that stay together, such as near duplicates.
        median_side: square root of the median area of the objects as a share of that of their image, in [0, 1].
        smallest_side, largest_side: the same of the smallest and of the largest object.
        touching: share of the objects that touch or overlap another one of their image.
        boxes: share of the masks that are exactly their box.
        most_objects: largest number of objects in an image.
        image_sizes: smallest and largest side of the images, pixels.
        encode_seconds: of one image, on this machine.
        cores: that the contest uses.
    """

    images: int
    objects: int
    classes: dict[str, int]
    groups: int
    median_side: float
    smallest_side: float
    largest_side: float
    touching: float
    boxes: float
    most_objects: int
    image_sizes: tuple[int, int]
    encode_seconds: float
    cores: int

    @property
    def small(self) -> bool:
        """Whether the objects are small."""
        return self.median_side <= SMALL

    @property
    def first_plan(self) -> int:
        """Number of the plan of tiled inference (`select_inference.PLANS`) that the others must beat: the whole image,
        or for small objects the whole image and tiles, if encoding is cheap.
        """
        return TILED if self.small and self.encode_seconds <= CHEAP else 0

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)


def fingerprint(
    samples: Sequence[Sample], classes: Sequence[str], split: Split, *, encode_seconds: float, cores: int
) -> DataFingerprint:
    """The fingerprint of the training images of a contest.

    Args:
        samples: training images.
        classes: to be segmented.
        split: whose groups of images stay together.
        encode_seconds: see `time_encoder`.
        cores: that the contest uses.
    """
    by_image = {sample.id: sample.of(tuple(classes)) for sample in samples}
    objects = [one for rows in by_image.values() for one in rows]
    sides = [(one.area / float(np.prod(one.rle["size"]))) ** 0.5 for one in objects]
    sizes = [side for rows in by_image.values() for one in rows[:1] for side in one.rle["size"]]
    group_of = {id: members[0] for members in split.groups for id in members}
    with_object = [id for id, rows in by_image.items() if rows]
    return DataFingerprint(
        images=len(with_object),
        objects=len(objects),
        classes=dict(Counter(one.label for one in objects)),
        groups=len({group_of.get(id, id) for id in with_object}),
        median_side=round(float(np.median(sides)), 4),
        smallest_side=round(min(sides), 4),
        largest_side=round(max(sides), 4),
        touching=round(sum(_touching(rows) for rows in by_image.values()) / len(objects), 4),
        boxes=round(sum(is_box(one.rle) for one in objects) / len(objects), 4),
        most_objects=max(len(rows) for rows in by_image.values()),
        image_sizes=(int(min(sizes)), int(max(sizes))),
        encode_seconds=encode_seconds,
        cores=cores,
    )


def time_encoder(base: Base) -> float:
    """Seconds that the base takes to encode an image on this machine."""
    import torch

    image = torch.zeros(1, 3, base.size, base.size, device=next(base.model.parameters()).device)
    fastest = float("inf")
    with torch.no_grad():
        for _ in range(_TIMED):
            start, cpu = time.perf_counter(), time.process_time()
            base.encode_image(image)
            # on a busy machine the processor time is less
            fastest = min(fastest, time.perf_counter() - start, max(time.process_time() - cpu, 1e-4))
    return round(fastest, 4)


def _touching(rows: Sequence[Any]) -> int:
    """Number of objects of an image that touch or overlap another one."""
    import cv2

    if len(rows) < 2:
        return 0
    count = np.zeros(rows[0].rle["size"], np.uint16)
    for one in rows:
        count += one.mask
    touching, kernel = 0, np.ones((3, 3), np.uint8)
    for one in rows:  # one at a time: an image may have hundreds
        x0, y0, x1, y1 = (int(v) for v in one.box)
        part = np.s_[max(y0 - 1, 0) : y1 + 1, max(x0 - 1, 0) : x1 + 1]
        mask = one.mask[part].astype(np.uint8)
        touching += bool(((cv2.dilate(mask, kernel) > 0) & (count[part] > mask)).any())
    return touching


__all__ = ["DataFingerprint", "fingerprint", "time_encoder"]
