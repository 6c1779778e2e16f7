"""`ultralytics`: YOLOv8 through its makers' package, the detector of AM-SAM. AGPL-3.0: not installed by default.

`pip install 'samtailor[yolo]'` brings ultralytics, which is licensed under the AGPL-3.0 (or a paid licence of its
makers): whoever distributes or offers over a network a program that uses it has to follow that licence. Its weights
are under the same terms. `onnx` and `transformers` do without.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from samtailor.errors import MissingExtraError
from samtailor.proposals.detectors import FLOOR, Detections, fingerprint, ordered, weights_file
from samtailor.registry import refuse_unknown


def build(*, weights: str | Path | None = None, nms: float = 0.7, size: int = 640, **unknown: Any) -> Ultralytics:
    """The detector.

    Args:
        weights: a local .pt file; nothing is downloaded.
        nms: largest IoU of two boxes of one class.
        size: side that images are resized to, pixels.
        **unknown: refused with an InputError.

    Raises:
        MissingExtraError: ultralytics is not installed.
        InputError: there is no such file.
    """
    refuse_unknown(build, unknown)
    path = weights_file(weights, "YOLO weights of ultralytics, such as yolov8n.pt")
    try:
        from ultralytics import YOLO
    except ImportError as error:
        raise MissingExtraError(
            "This detector needs ultralytics, which is under the AGPL-3.0 licence: read it, then "
            "pip install 'samtailor[yolo]'. Detectors under permissive licences: onnx, transformers."
        ) from error
    return Ultralytics(YOLO(str(path)), path, nms, size)


class Ultralytics:
    """ultralytics' YOLO behind `Detector`."""

    def __init__(self, model: Any, path: Path, nms: float, size: int) -> None:
        self._model, self._nms, self._side = model, nms, size
        self.names = tuple(model.names[key] for key in sorted(model.names))
        self.fingerprint = fingerprint("ultralytics-1", nms, size, file=path)

    def detect(self, image: np.ndarray) -> Detections:
        """As `Detector` has it. ultralytics takes arrays as BGR, as OpenCV reads them."""
        bgr = np.ascontiguousarray(image[..., ::-1])
        found = self._model.predict(bgr, conf=FLOOR, iou=self._nms, imgsz=self._side, verbose=False)[0].boxes
        boxes, scores, classes = (np.asarray(v.cpu()) for v in (found.xyxy, found.conf, found.cls))
        return ordered(boxes, scores, [self._model.names[int(c)] for c in classes], image.shape[:2])


__all__ = ["Ultralytics", "build"]
