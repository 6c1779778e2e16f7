"""`detector`: boxes of a frozen detector, one an image (the likeliest, as AM-SAM takes it) or one an object.

AM-SAM (see docs/methods.md) prompts with the box of highest confidence of a COCO detector. A detector knows its own
classes only: COCO has persons and no lesion, plate or banner; for those take `proposals`, which are learnt.
Where nothing is detected the full frame is asked for, and that is counted: it must not pass for a find.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from samtailor.cache.detections import DetectionCache
from samtailor.errors import InputError
from samtailor.masks import interior
from samtailor.masks.nms import box_iou
from samtailor.prompts._fallbacks import Fallbacks
from samtailor.proposals.detectors import Detections
from samtailor.registry import choose, find, refuse_unknown
from samtailor.structures import Prompts, Sample

PICKS = ("best", "all")
_log = logging.getLogger("samtailor.prompts")


def build(
    *,
    detector: str = "onnx",
    weights: str | Path | None = None,
    classes: Sequence[str] | None = None,
    threshold: float = 0.25,
    pick: str = "best",
    settings: Mapping[str, Any] | None = None,
    cache: str | Path | None = None,
    **unknown: Any,
) -> DetectorSource:
    """The source. Boxes are of the image frame, found on the image as stored, whatever frame the masks have.

    Args:
        detector: a file of `samtailor.proposals.detectors`: onnx, transformers, ultralytics, full-frame.
        weights: of the detector.
        classes: only detections of these of its classes; None takes any.
        threshold: lowest score of a detection, from 0.05.
        pick: "best": the box of highest score, for every mask of the image. "all": without masks every box; for
            given masks each gets the box of highest IoU with its own (training and evaluation of instances: the
            truth chooses among the boxes, it makes none).
        settings: further options of the detector.
        cache: folder of the detections; None: beside the embeddings.
        **unknown: refused with an InputError.
    """
    refuse_unknown(build, unknown)
    choose("pick", pick, PICKS)
    if isinstance(classes, str):
        classes = [name.strip() for name in classes.split(",")]
    given = {} if weights is None else {"weights": weights}
    made = find("detectors", detector).build(**given, **dict(settings or {}))
    strange = [name for name in classes or () if made.names and name not in made.names]
    if strange:
        raise InputError(f"The detector knows no class {strange[0]!r}; it knows {', '.join(made.names)}.")
    return DetectorSource(DetectionCache(made, cache), classes, threshold, pick)


class DetectorSource(Fallbacks):
    """See `build`."""

    def __init__(self, store: DetectionCache, classes: Sequence[str] | None, threshold: float, pick: str) -> None:
        super().__init__()
        self._store, self._classes, self._threshold, self._pick = store, classes, threshold, pick

    def __call__(
        self, sample: Sample, masks: Sequence[np.ndarray] = (), rng: np.random.Generator | None = None
    ) -> Prompts:
        """Prompts with boxes (1, P, 4): P masks, or all that was picked when there are none."""
        frame = sample.size
        found = self.detections(sample)
        if not len(found):
            boxes = np.tile(_whole(frame), (max(len(masks), 1), 1))
        elif self._pick == "best":
            boxes = np.repeat(found.boxes[:1], max(len(masks), 1), axis=0)
        elif len(masks):
            boxes = np.stack([_nearest(mask, found, frame, sample.id) for mask in masks])
        else:
            boxes = found.boxes
        return Prompts(frame, boxes=torch.tensor(boxes, dtype=torch.float32)[None])

    def detections(self, sample: Sample) -> Detections:
        """What counts as found in an image; nothing found is told and counted."""
        found = self._store(sample).kept(self._threshold, self._classes)
        if sample.id not in self._found:
            self._found[sample.id] = bool(len(found))
            if not len(found):
                level = logging.WARNING if self.fallbacks == 1 else logging.INFO
                _log.log(level, "Nothing is detected in %s: its full frame is asked for (and counted).", sample.id)
        return found


def _nearest(mask: np.ndarray, found: Detections, frame: tuple[int, int], name: str) -> np.ndarray:
    if mask.shape != frame:
        if len(found) == 1:
            return found.boxes[0]
        raise InputError(
            f"{name!r} has {len(found)} boxes; to choose among them the mask must be of the image's frame."
        )
    x0, y0, x1, y1 = interior.box(mask)
    return found.boxes[int(box_iou(np.array([x0, y0, x1 + 1, y1 + 1], np.float32), found.boxes).argmax())]


def _whole(frame: tuple[int, int]) -> np.ndarray:
    return np.array([[0, 0, frame[1], frame[0]]], np.float32)


__all__ = ["DetectorSource", "build"]
