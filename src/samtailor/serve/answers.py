"""Convert masks for JSON: COCO run lengths, PNG, polygons."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
from PIL import Image

from samtailor.masks.polygons import outlines
from samtailor.masks.rle import encode, to_json
from samtailor.registry import choose

FORMS = ("rle", "png", "polygons")


def shape(mask: np.ndarray, form: str, tolerance: float = 1.0) -> Any:
    """A boolean mask (height, width) in one of `FORMS`.

    Args:
        mask: image frame.
        form: "rle": COCO's compressed run lengths, {"size": [height, width], "counts": text}. "png": base64 of an
            8-bit grey PNG, 255 on the object. "polygons": see `masks.polygons.outlines`, as lists.
        tolerance: of polygons, pixels.
    """
    choose("format", form, FORMS)
    if form == "rle":
        return to_json(encode(mask))
    if form == "png":
        return base64.b64encode(png(mask)).decode("ascii")
    return [
        {"outer": outer.tolist(), "holes": [hole.tolist() for hole in holes]}
        for outer, holes in outlines(mask, tolerance)
    ]


def png(mask: np.ndarray) -> bytes:
    """An 8-bit grey PNG, 255 on the object."""
    stream = io.BytesIO()
    Image.fromarray(mask.astype(np.uint8) * 255).save(stream, format="PNG")
    return stream.getvalue()


__all__ = ["FORMS", "png", "shape"]
