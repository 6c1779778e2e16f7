"""`onnx`: ONNX files in a YOLO layout (YOLOv8 and later, v5, YOLOX, FastestDet) through onnxruntime on the CPU.

    build(weights="yolox_nano.onnx")

The head is recognized by the shape of the output, see `_heads.py`. It determines the input that its networks are
trained with: YOLOX BGR 0..255, letterboxed at the top left; FastestDet BGR/255, stretched; the others RGB/255,
letterboxed in the middle (gray 114). Needs the extra `samtailor[onnx]`.
"""

from __future__ import annotations

import ast
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from samtailor.errors import InputError, MissingExtraError
from samtailor.proposals.detectors import Detections, _heads, class_list, fingerprint, ordered, weights_file
from samtailor.proposals.detectors._names import COCO
from samtailor.registry import choose, number, refuse_unknown

SAFE = True
"""Its weights run no code."""
_FILL = 114.0
_ROWS = 3000  # rows of the highest scores that enter non-maximum suppression
# color order, divisor, placement of the image in the square
_INPUT = {
    "yolox": ("bgr", 1.0, "top-left"),
    "fastestdet": ("bgr", 255.0, "stretch"),
    "yolov8": ("rgb", 255.0, "middle"),
    "yolov5": ("rgb", 255.0, "middle"),
    "end2end": ("rgb", 255.0, "middle"),
}


def matches(source: str) -> bool:
    """Whether `source` is an .onnx file."""
    return Path(source).suffix.lower() == ".onnx"


def build(
    *,
    weights: str | Path | None = None,
    layout: str = "auto",
    names: Sequence[str] | None = None,
    color: str = "auto",
    scale: float | None = None,
    placing: str = "auto",
    size: int | None = None,
    nms: float = 0.6,
    **unknown: Any,
) -> Onnx:
    """The detector.

    Args:
        weights: the ONNX file.
        layout: head; "auto" recognizes it by the shape of the output.
        names: class names in the order of the network; None takes the metadata of the file, else COCO's if C is 80.
        color: "rgb", "bgr", or "auto": as the head needs.
        scale: divisor of the pixel values; None: as the head needs, 1 or 255.
        placing: "top-left" or "middle" (letterboxed), "stretch", or "auto": as the head needs.
        size: side of the input in pixels, for files with a dynamic size (default 640).
        nms: largest IoU of two boxes of one class, in [0, 1].
        **unknown: refused with an InputError.

    Raises:
        MissingExtraError: onnxruntime is not installed.
        InputError: no such file, not an ONNX network with one image input, an unknown head, or an invalid value.
    """
    refuse_unknown(build, unknown)
    choose("layout", layout, ("auto", *_heads.HEADS))
    choose("color", color, ("auto", "rgb", "bgr"))
    choose("placing", placing, ("auto", "top-left", "middle", "stretch"))
    number("nms", nms, at_least=0, at_most=1)
    if scale is not None and number("scale", scale, at_least=0) == 0:
        raise InputError("scale must not be 0.")
    if size is not None:
        number("size", size, at_least=1, integer=True)
    if names is not None:
        names = class_list("names", names)
    path = weights_file(weights, "an ONNX network in a YOLO layout")
    session = _session(path)
    shape = session.get_inputs()[0].shape
    if len(session.get_inputs()) != 1 or len(shape) != 4 or shape[1] != 3:
        raise InputError(f"{path}: expected one input of shape (1, 3, height, width), got {shape}.")
    return Onnx(session, path, layout, names, (color, scale, placing), size, nms)


class Onnx:
    """An ONNX network in onnxruntime.

    Attributes:
        head: name of the output layout.
    """

    def __init__(
        self,
        session: Any,
        path: Path,
        layout: str,
        names: Sequence[str] | None,
        given: tuple[str, float | None, str],
        size: int | None,
        nms: float,
    ) -> None:
        self._session, self._path, self._nms = session, path, nms
        shape = session.get_inputs()[0].shape
        height, width = (side if isinstance(side, int) else size or 640 for side in shape[2:])
        self._size = (height, width)
        known = names or _stored_names(session)
        self.head, classes = self._recognize(layout, known)
        self.names = _class_names(known, classes, path)
        color, scale, placing = given
        default = _INPUT[self.head]
        self._color = default[0] if color == "auto" else color
        self._scale = default[1] if scale is None else scale
        self._placing = default[2] if placing == "auto" else placing
        self.fingerprint = fingerprint(
            "onnx-1", self.head, self._size, self.names, self._color, self._scale, self._placing, nms, file=path
        )

    def detect(self, image: np.ndarray) -> Detections:
        """See `Detector.detect`."""
        blob, factors, shift = place(image, self._size, self._placing)
        if self._color == "bgr":
            blob = blob[..., ::-1]
        output = self._run((blob / self._scale).astype(np.float32).transpose(2, 0, 1)[None])
        boxes, scores = _heads.DECODE[self.head](output[0], self._size)
        best = scores.argmax(axis=1)
        top = scores[np.arange(len(scores)), best]
        rows = np.argsort(-top, kind="stable")[:_ROWS]
        boxes = (boxes[rows] - np.tile(shift, 2)) / np.tile(factors, 2)
        labels = [self.names[i] if i < len(self.names) else str(i) for i in best[rows]]
        nms = None if self.head == "end2end" else self._nms
        return ordered(boxes, top[rows], labels, image.shape[:2], nms=nms)

    def _run(self, blob: np.ndarray) -> np.ndarray:
        output = self._session.run(None, {self._session.get_inputs()[0].name: np.ascontiguousarray(blob)})[0]
        if not np.isfinite(output).all():
            raise InputError(f"{self._path}: the output of the network is infinite or NaN.")
        return output

    def _recognize(self, layout: str, known: Sequence[str] | None) -> tuple[str, int | None]:
        """Head and number of classes, from the output for a gray image (the file may have dynamic shapes)."""
        blob = np.full((1, 3, *self._size), 0.5, np.float32)
        shape = self._run(blob).shape
        head = _heads.head_of(shape, self._size, len(known) if known else None) if layout == "auto" else layout
        if head == "end2end":
            return head, None
        wide = shape[1] if head == "fastestdet" else min(shape[1:]) if head == "yolov8" else shape[2]
        return head, wide - (4 if head == "yolov8" else 5)


def place(
    image: np.ndarray, size: tuple[int, int], placing: str
) -> tuple[np.ndarray, tuple[float, float], tuple[float, float]]:
    """Place an image in the input of the network.

    Returns:
        float32 (height, width, 3) RGB in 0..255; factors (x, y) from image to input pixels; offset (x, y) of the
        image in the input.
    """
    import cv2

    height, width = image.shape[:2]
    factors = (size[1] / width, size[0] / height)
    if placing == "stretch":
        return cv2.resize(image, (size[1], size[0])).astype(np.float32), factors, (0.0, 0.0)
    factor = min(factors)
    inner = max(1, int(width * factor)), max(1, int(height * factor))
    left, top = (0, 0) if placing == "top-left" else ((size[1] - inner[0]) // 2, (size[0] - inner[1]) // 2)
    canvas = np.full((*size, 3), _FILL, np.float32)
    canvas[top : top + inner[1], left : left + inner[0]] = cv2.resize(image, inner)
    return canvas, (inner[0] / width, inner[1] / height), (float(left), float(top))


def _session(path: Path) -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingExtraError(
            "An ONNX detector needs onnxruntime. Install it by pip install 'samtailor[onnx]', or use another detector."
        ) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = int(os.environ.get("OMP_NUM_THREADS", "0") or 0)  # 0: all cores
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has its own exception for every kind of damage
        raise InputError(f"{path} cannot be loaded as an ONNX network: {str(error).splitlines()[0]}") from error


def _stored_names(session: Any) -> tuple[str, ...] | None:
    """Class names in the metadata of the file, as the export of ultralytics writes them."""
    text = session.get_modelmeta().custom_metadata_map.get("names")
    try:
        names = ast.literal_eval(text) if text else None
        if isinstance(names, Mapping):
            return tuple(str(names[key]) for key in sorted(names))
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):  # the last two: nested too deeply
        return None
    return tuple(map(str, names)) if isinstance(names, list | tuple) else None


def _class_names(known: Sequence[str] | None, classes: int | None, path: Path) -> tuple[str, ...]:
    if known is None:
        return COCO if classes is None or classes == 80 else tuple(str(i) for i in range(classes))
    if classes is not None and len(known) != classes:
        raise InputError(f"{path} has {classes} classes, but names has {len(known)}.")
    return tuple(known)


__all__ = ["Onnx", "build", "place"]
