"""`ultralytics`: YOLOv8 through the ultralytics package, the detector of AM-SAM. AGPL-3.0: not installed by default.

`pip install 'samtailor[yolo]'` installs ultralytics, which is licensed under the AGPL-3.0 or a paid license. Programs
that use it and are distributed or offered over a network must comply with that license. The weights are under the
same terms. `onnx` and `transformers` do not need it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from samtailor.errors import InputError, MissingExtraError
from samtailor.proposals.detectors import FLOOR, Detections, fingerprint, ordered, weights_file
from samtailor.registry import number, refuse_unknown


def matches(source: str) -> bool:
    """Whether `source` is a .pt file."""
    return Path(source).suffix.lower() == ".pt"


def build(*, weights: str | Path | None = None, nms: float = 0.7, size: int = 640, **unknown: Any) -> Ultralytics:
    """The detector.

    Args:
        weights: a local .pt file; nothing is downloaded.
        nms: largest IoU of two boxes of one class, in (0, 1].
        size: side to which images are resized, pixels.
        **unknown: refused with an InputError.

    Raises:
        MissingExtraError: ultralytics is not installed.
        InputError: there is no such file, it is not a YOLO network, or an invalid value.
    """
    refuse_unknown(build, unknown)
    number("nms", nms, at_least=0, at_most=1)
    number("size", size, at_least=1, integer=True)
    path = weights_file(weights, "YOLO weights of ultralytics, such as yolov8n.pt")
    try:
        from ultralytics import YOLO
    except ImportError as error:
        raise MissingExtraError(
            "This detector needs ultralytics, which is under the AGPL-3.0 license. If you accept it: "
            "pip install 'samtailor[yolo]'. Detectors under permissive licenses: onnx, transformers."
        ) from error
    try:
        model = YOLO(str(path))
    except Exception as error:  # damaged files raise errors of many types
        raise InputError(f"{path} cannot be loaded by ultralytics: {type(error).__name__}: {error}") from error
    return Ultralytics(model, path, nms, size)


class Ultralytics:
    """A YOLO network of ultralytics."""

    def __init__(self, model: Any, path: Path, nms: float, size: int) -> None:
        self._model, self._nms, self._side = model, nms, size
        self.names = tuple(model.names[key] for key in sorted(model.names))
        self.fingerprint = fingerprint("ultralytics-1", nms, size, file=path)

    def detect(self, image: np.ndarray) -> Detections:
        """See `Detector.detect`. ultralytics expects BGR arrays, as OpenCV reads images."""
        bgr = np.ascontiguousarray(image[..., ::-1])
        result = self._model.predict(bgr, conf=FLOOR, iou=self._nms, imgsz=self._side, verbose=False)[0].boxes
        boxes, scores, classes = (np.asarray(v.cpu()) for v in (result.xyxy, result.conf, result.cls))
        return ordered(boxes, scores, [self._model.names[int(c)] for c in classes], image.shape[:2])


__all__ = ["Ultralytics", "build"]
