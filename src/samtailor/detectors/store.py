"""Detections on disk: each picture is looked at once, whatever asks how often, with whichever threshold.

An entry is one JSON file named by the SHA-256 of (pixels, the detector's fingerprint). As in `embeddings.py` there are
no locks: a file takes its place by a rename, equal processes make equal content, and an entry that is gone or damaged
is made again. A folder that cannot be written to costs time, not correctness.
"""

from __future__ import annotations

import hashlib
import json
import logging
from pathlib import Path
from weakref import WeakKeyDictionary

import numpy as np

from samtailor.data.picture import write_json
from samtailor.detectors import Detections, Detector
from samtailor.errors import InputError
from samtailor.types import Sample

_SCHEMA = "1"  # part of every key: raise it when the layout of an entry changes
_log = logging.getLogger("samtailor.detectors")


class DetectionStore:
    """What one detector answers, made when first asked for.

    Args:
        detector: the frozen detector.
        root: folder; None for "detections" beside the embeddings' folder. Made when first written to.
    """

    def __init__(self, detector: Detector, root: str | Path | None = None) -> None:
        from samtailor.embeddings import default_root

        self.detector = detector
        self.root = default_root().with_name("detections") if root is None else Path(root)
        self._by_sample: WeakKeyDictionary[Sample, Detections] = WeakKeyDictionary()
        self._writable = True

    def __call__(self, picture: Sample | np.ndarray) -> Detections:
        """Detections of a sample, or of a uint8 RGB picture (height, width, 3); scores from `FLOOR` on."""
        if isinstance(picture, np.ndarray):
            return self._of(picture)
        if picture not in self._by_sample:
            self._by_sample[picture] = self._of(picture.image)
        return self._by_sample[picture]

    def _of(self, pixels: np.ndarray) -> Detections:
        if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
            raise InputError(
                f"A picture must be uint8 RGB of shape (height, width, 3), got {pixels.dtype} {pixels.shape}."
            )
        path = self._path(pixels)
        found = _read(path)
        if found is None:
            found = self.detector.detect(pixels)
            self._write(path, found)
        return found

    def _path(self, pixels: np.ndarray) -> Path:
        digest = hashlib.sha256(f"{_SCHEMA}\0{self.detector.fingerprint}\0{pixels.shape}\0".encode())
        digest.update(np.ascontiguousarray(pixels))
        name = digest.hexdigest()[:40]
        return self.root / name[:2] / f"{name}.json"

    def _write(self, path: Path, found: Detections) -> None:
        if not self._writable:
            return
        entry = {"boxes": found.boxes.tolist(), "scores": found.scores.tolist(), "labels": list(found.labels)}
        try:
            write_json(path, entry)
        except OSError as error:
            self._writable = False
            _log.warning("Detections cannot be kept in %s (%s); they are made anew each time.", self.root, error)


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


__all__ = ["DetectionStore"]
