"""Frozen detectors, one file each: `build(**options) -> Detector`. The only package that imports a detector library.

A detector looks at an image as stored (never at a resized one: an anisotropic squash would turn its boxes) and
answers with boxes in image pixels. It is never trained here, so its answer is kept on disk by `store.py`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from samtailor.errors import InputError
from samtailor.masks.nms import box_nms
from samtailor.structures.detections import FLOOR, Detections, Detector


def ordered(
    boxes: np.ndarray, scores: np.ndarray, labels: Sequence[str], size: tuple[int, int], *, nms: float | None = None
) -> Detections:
    """Detections from raw rows: clipped to the image, empty and low ones dropped, by falling score.

    Args:
        boxes: (N, 4) edges in image pixels.
        scores: (N,).
        labels: N names.
        size: (height, width) of the image.
        nms: among boxes of one class that overlap by more than this IoU only the best stays; None keeps all.
    """
    height, width = size
    boxes = np.clip(np.asarray(boxes, np.float32).reshape(-1, 4), 0, np.array([width, height] * 2, np.float32))
    scores = np.asarray(scores, np.float32).reshape(-1)
    good = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1]) & (scores >= FLOOR)
    rows = np.flatnonzero(good)
    rows = rows[np.argsort(-scores[rows], kind="stable")]
    found = Detections(boxes, np.minimum(scores, 1), tuple(labels)).pick(rows)
    return found if nms is None else found.pick(box_nms(found.boxes, found.labels, iou=nms))


def fingerprint(*parts: object, file: Path | None = None) -> str:
    """Short digest of settings and, where there is one, of a file of weights."""
    digest = hashlib.sha256("\0".join(repr(part) for part in parts).encode())
    if file is not None:
        with file.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()[:32]


def weights_file(weights: str | Path | None, what: str) -> Path:
    """The file of weights, which must be there."""
    if weights is None:
        raise InputError(f"A detector of this kind needs its weights: weights=FILE ({what}).")
    path = Path(weights).expanduser()
    if not path.is_file():
        raise InputError(f"There is no file {path}; expected {what}.")
    return path


__all__ = ["FLOOR", "Detections", "Detector", "fingerprint", "ordered", "weights_file"]
