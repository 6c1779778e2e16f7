"""Detections on disk: a detector runs once per image, whatever the threshold.

An entry is one JSON file of a `CacheFolder`, named by the SHA-256 of pixels and detector fingerprint. Missing or
damaged entries are recomputed. If the folder is not writable, detections are recomputed each time.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path
from weakref import WeakKeyDictionary

import numpy as np

from samtailor.cache.digests import ImageLike, PixelDigests
from samtailor.cache.folder import CacheFolder, default_root
from samtailor.data.writing import check_seal, sealed
from samtailor.limits import MALFORMED
from samtailor.structures import Sample
from samtailor.structures.detections import Detections, Detector

_SCHEMA = "1"  # part of every key: increase it when the content of entries changes
_MAX_BYTES = 2**29
_log = logging.getLogger("samtailor.proposals.detectors")


class DetectionCache:
    """Detections of one detector, computed on first use.

    Args:
        detector: the frozen detector.
        root: folder, created when first written to; None for `default_root("detections")`.
    """

    def __init__(self, detector: Detector, root: str | Path | None = None) -> None:
        self.detector = detector
        self.root = default_root("detections") if root is None else Path(root)
        self._folder = CacheFolder(self.root, _MAX_BYTES)
        self._digests = PixelDigests(self._folder)
        self._by_sample: WeakKeyDictionary[Sample, Detections] = WeakKeyDictionary()

    def __call__(self, image: ImageLike) -> Detections:
        """Detections of a sample or a uint8 RGB image (height, width, 3), with scores of at least `FLOOR`."""
        if isinstance(image, np.ndarray):
            return self._of(image)
        if image not in self._by_sample:
            self._by_sample[image] = self._of(image)
        return self._by_sample[image]

    def _of(self, image: ImageLike) -> Detections:
        key = f"detections-{_SCHEMA}\0{self._digests.of(image)}\0{self.detector.fingerprint}"
        path = self._folder.place(key, ".json")
        cached = _read(path)
        if cached is not None:
            return cached
        made = self.detector.detect(image if isinstance(image, np.ndarray) else image.image)
        entry = {"boxes": made.boxes.tolist(), "scores": made.scores.tolist(), "labels": list(made.labels)}
        self._folder.write(path, lambda temporary: temporary.write_text(json.dumps(sealed(entry)), encoding="utf-8"))
        return made


def _read(path: Path) -> Detections | None:
    try:
        entry = json.loads(path.read_text(encoding="utf-8"))
        check_seal(entry, path)
        boxes = np.array(entry["boxes"], np.float32).reshape(-1, 4)
        return Detections(boxes, np.array(entry["scores"], np.float32), tuple(map(str, entry["labels"])))
    except FileNotFoundError:
        return None
    except (OSError, *MALFORMED) as error:
        _log.warning("The cached detections %s are damaged (%s) and will be recomputed.", path, error)
        return None


__all__ = ["DetectionCache"]
