"""Detections on disk: each image is looked at once, whatever asks how often, with whichever threshold.

An entry is one JSON file of a `CacheFolder`, named by the SHA-256 of (pixels, the detector's fingerprint). One that is
gone or damaged is made again; a folder that cannot be written to costs time, not correctness.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path
from weakref import WeakKeyDictionary

import numpy as np

from samtailor.cache.digests import ImageLike, PixelDigests
from samtailor.cache.folder import CacheFolder
from samtailor.structures import Sample
from samtailor.structures.detections import Detections, Detector

_SCHEMA = "1"  # part of every key: raise it when the layout of an entry changes
_MAX_BYTES = 2**29
_log = logging.getLogger("samtailor.proposals.detectors")


class DetectionCache:
    """What one detector answers, made when first asked for.

    Args:
        detector: the frozen detector.
        root: folder; None for "detections" beside the embeddings' folder. Made when first written to.
    """

    def __init__(self, detector: Detector, root: str | Path | None = None) -> None:
        from samtailor.cache.embeddings import default_root

        self.detector = detector
        self.root = default_root().with_name("detections") if root is None else Path(root)
        self._folder = CacheFolder(self.root, _MAX_BYTES)
        self._digests = PixelDigests(self._folder)
        self._by_sample: WeakKeyDictionary[Sample, Detections] = WeakKeyDictionary()

    def __call__(self, image: ImageLike) -> Detections:
        """Detections of a sample, or of a uint8 RGB image (height, width, 3); scores from `FLOOR` on."""
        if isinstance(image, np.ndarray):
            return self._of(image)
        if image not in self._by_sample:
            self._by_sample[image] = self._of(image)
        return self._by_sample[image]

    def _of(self, image: ImageLike) -> Detections:
        key = f"detections-{_SCHEMA}\0{self._digests.of(image)}\0{self.detector.fingerprint}"
        path = self._folder.place(key, ".json")
        found = _read(path)
        if found is None:
            found = self.detector.detect(image if isinstance(image, np.ndarray) else image.image)
            entry = {"boxes": found.boxes.tolist(), "scores": found.scores.tolist(), "labels": list(found.labels)}
            self._folder.write(path, lambda temporary: temporary.write_text(json.dumps(entry), encoding="utf-8"))
        return found


def _read(path: Path) -> Detections | None:
    try:
        entry = json.loads(path.read_text(encoding="utf-8"))
        boxes = np.array(entry["boxes"], np.float32).reshape(-1, 4)
        return Detections(boxes, np.array(entry["scores"], np.float32), tuple(map(str, entry["labels"])))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        _log.warning("The cached detections %s are damaged (%s); they are made again.", path, error)
        return None


__all__ = ["DetectionCache"]
