"""CVAT serverless function (nuclio, type interactor) that runs encoder.onnx and decoder.onnx of a samtailor export.

Needs numpy, pillow and onnxruntime only. `samtailor export` copies this file to cvat/main.py. The two ONNX files and
export.json must be in the same folder or its parent.
"""

from __future__ import annotations

import base64
import io
import json
from collections import OrderedDict
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

KEPT = 8  # number of images whose embedding is kept


class Model:
    """The two ONNX files; `mask` predicts from a prompt in pixels of the image."""

    def __init__(self, home: Path) -> None:
        home = home if (home / "export.json").exists() else home.parent
        self.geometry = json.loads((home / "export.json").read_text(encoding="utf-8"))["geometry"]
        self.encoder, self.decoder = (
            onnxruntime.InferenceSession(str(home / name), providers=["CPUExecutionProvider"])
            for name in ("encoder.onnx", "decoder.onnx")
        )
        self.kept: OrderedDict[bytes, list[np.ndarray]] = OrderedDict()

    def mask(self, data: bytes, positive: list, negative: list, box: list | None) -> np.ndarray:
        """bool (height, width): mask of the image in `data` (content of a file)."""
        image = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")
        points = [*positive, *negative]
        labels = [1.0] * len(positive) + [0.0] * len(negative)
        if box:
            points, labels = [*points, *box], [*labels, 2.0, 3.0]
        logits = self._logits(image, self._embedding(data, image), np.array(points, np.float32), labels, bool(box))
        return logits > 0

    def _embedding(self, data: bytes, image: Image.Image) -> list[np.ndarray]:
        if data not in self.kept:
            self.kept[data] = self._encode(image)
            while len(self.kept) > KEPT:
                self.kept.popitem(last=False)
        self.kept.move_to_end(data)
        return self.kept[data]

    def _encode(self, image: Image.Image) -> list[np.ndarray]:
        resized = np.asarray(image.resize(self._inner(image), Image.Resampling.BILINEAR), np.float32)
        if not self.geometry["squash"]:
            return self.encoder.run(None, {"input_image": resized})
        mean, std = (np.array(self.geometry[key], np.float32) for key in ("mean", "std"))
        high0, high1, embed = self.encoder.run(None, {"image": ((resized - mean) / std).transpose(2, 0, 1)[None]})
        return [embed, high0, high1]

    def _inner(self, image: Image.Image) -> tuple[int, int]:
        """(width, height) of the image in the model frame."""
        size = self.geometry["size"]
        if self.geometry["squash"]:
            return size, size
        scale = size / max(image.size)
        return tuple(max(1, int(side * scale + 0.5)) for side in image.size)

    def _logits(
        self, image: Image.Image, embedding: list[np.ndarray], points: np.ndarray, labels: list, box: bool
    ) -> np.ndarray:
        width, height = image.size
        coords = points * (np.array(self._inner(image)) / np.array(image.size))
        if not self.geometry["squash"] and not box:
            coords, labels = np.concatenate([coords, np.zeros((1, 2))]), [*labels, -1.0]
        side = self.geometry["low_res"]
        fed = [*embedding, coords[None].astype(np.float32), np.array([labels], np.float32)]
        fed += [np.zeros((1, 1, side, side), np.float32), np.zeros(1, np.float32)]
        fed += [] if self.geometry["squash"] else [np.array([height, width], np.float32)]
        names = [one.name for one in self.decoder.get_inputs()]
        masks, scores = self.decoder.run(None, dict(zip(names, fed, strict=True)))[:2]
        best = masks[0, int(scores[0].argmax())]
        if best.shape == (height, width):
            return best
        return np.asarray(Image.fromarray(best).resize((width, height), Image.Resampling.BILINEAR))


def init_context(context: object) -> None:
    """Called by nuclio once per worker."""
    context.user_data.model = Model(Path(__file__).resolve().parent)


def handler(context: object, event: object) -> object:
    """Called by nuclio for every request of CVAT; returns the mask of the whole image as rows of 0 and 1."""
    request = event.body if isinstance(event.body, dict) else json.loads(event.body)
    mask = context.user_data.model.mask(
        base64.b64decode(request["image"]),
        request["pos_points"],
        request["neg_points"],
        request.get("obj_bbox") or None,
    )
    body = json.dumps({"mask": mask.astype(int).tolist(), "points": _rectangle(mask)})
    return context.Response(body=body, headers={}, content_type="application/json", status_code=200)


def _rectangle(mask: np.ndarray) -> list[list[int]]:
    """Corners of the mask's box: a polygon for versions of CVAT that do not support masks."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return []
    x0, x1, y0, y1 = int(columns[0]), int(columns[-1]) + 1, int(rows[0]), int(rows[-1]) + 1
    return [[x0, y0], [x1, y0], [x1, y1], [x0, y1]]
