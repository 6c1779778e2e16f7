"""`detector`: boxes of a frozen detector, the one with the highest score per image (as in AM-SAM) or one per object.

AM-SAM (docs/methods/index.md) prompts with the box of the highest confidence of a COCO detector. A detector has a fixed
set of classes: COCO has persons but no lesions, plates or banners. For those use `proposals`, which are trained.
Where nothing is detected, the prompt is the full frame; this is counted and reported (`fallbacks`).
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
from samtailor.proposals.detectors import Detections, Detector, check_classes, class_list, make
from samtailor.registry import choose, find, number, options, refuse_unknown
from samtailor.structures import Prompts, Sample

TYPE = "boxes"
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
    """The source. The boxes are of the image frame and detected on the image as stored, whatever frame the masks have.

    Args:
        detector: name of a detector: onnx, transformers, ultralytics, full-frame, or a plug-in.
        weights: of the detector.
        classes: keep only detections of these classes of the detector; None keeps all. A string is split at commas.
        threshold: lowest score of a detection, in [0, 1]; scores below 0.05 are never kept.
        pick: "best": the box of the highest score, for every mask of the image. "all": without masks every box; with
            masks, each gets the box of the highest IoU with its own box (for training and evaluation of instances: the
            true mask selects a box, but does not make one).
        settings: further options of the detector.
        cache: folder for the detections; None: beside the embeddings.
        **unknown: refused with an InputError.

    Raises:
        InputError: an invalid value, an unknown detector, or a class that the detector does not have.
        MissingExtraError: the library of the detector is not installed.
    """
    refuse_unknown(build, unknown)
    choose("pick", pick, PICKS)
    number("threshold", threshold, at_least=0, at_most=1)
    classes = None if classes is None else class_list("classes", classes)
    if not isinstance(cache, Path | str | None):
        raise InputError(f"cache must be a folder, got {cache!r}.")
    frozen = _made(detector, weights, settings)
    check_classes(frozen, classes)
    return DetectorSource(DetectionCache(frozen, cache), classes, threshold, pick)


def _made(detector: str, weights: str | Path | None, settings: Mapping[str, Any] | None) -> Detector:
    """`make`, which also says how to go on where no detector is given at all."""
    try:
        return make(detector, weights, settings)
    except InputError as error:
        given = weights is not None or settings or not isinstance(detector, str)
        if given or "weights" not in options(find("detectors", detector).build):
            raise
        raise InputError(
            f"No detector is given for the box of each image. {error} Either name one: --detector FILE, an .onnx file "
            "or a hub id of transformers (in settings: prompt_options.detector and prompt_options.weights). Or work "
            "without one: --detector full-frame (prompt_options.detector=full-frame); the box of every image is then "
            "its full frame, which says nothing about the place of the object."
        ) from error


class DetectorSource(Fallbacks):
    """See `build`."""

    def __init__(self, store: DetectionCache, classes: Sequence[str] | None, threshold: float, pick: str) -> None:
        super().__init__()
        self._store, self._classes, self._threshold, self._pick = store, classes, threshold, pick

    def __call__(
        self, sample: Sample, masks: Sequence[np.ndarray] = (), rng: np.random.Generator | None = None
    ) -> Prompts:
        """Prompts with boxes (1, P, 4), one for each mask, or all picked boxes without masks."""
        frame = sample.size
        detections = self.detections(sample)
        if not len(detections):
            boxes = np.tile(_full_frame(frame), (max(len(masks), 1), 1))
        elif self._pick == "best":
            boxes = np.repeat(detections.boxes[:1], max(len(masks), 1), axis=0)
        elif len(masks):
            boxes = np.stack([_nearest(mask, detections, frame, sample.id) for mask in masks])
        else:
            boxes = detections.boxes
        return Prompts(frame, boxes=torch.tensor(boxes, dtype=torch.float32)[None])

    def detections(self, sample: Sample) -> Detections:
        """Detections in an image above the threshold; an empty result is logged and counted."""
        detections = self._store(sample).kept(self._threshold, self._classes)
        if sample.id not in self._nonempty:
            self._nonempty[sample.id] = bool(len(detections))
            if not len(detections):
                level = logging.WARNING if self.fallbacks == 1 else logging.INFO
                _log.log(level, "Nothing is detected in %s. Its full frame is the prompt; this is counted.", sample.id)
        return detections


def _nearest(mask: np.ndarray, detections: Detections, frame: tuple[int, int], name: str) -> np.ndarray:
    if mask.shape != frame:
        if len(detections) == 1:
            return detections.boxes[0]
        raise InputError(
            f"{name!r} has {len(detections)} boxes; to select one of them, the mask must be of the image frame."
        )
    x0, y0, x1, y1 = interior.box(mask)
    box = np.array([x0, y0, x1 + 1, y1 + 1], np.float32)
    return detections.boxes[int(box_iou(box, detections.boxes).argmax())]


def _full_frame(frame: tuple[int, int]) -> np.ndarray:
    return np.array([[0, 0, frame[1], frame[0]]], np.float32)


__all__ = ["TYPE", "DetectorSource", "build"]
