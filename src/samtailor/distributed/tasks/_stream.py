"""Predict the images of a worker one group after the other, with threads that stay."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from queue import Queue
from typing import TYPE_CHECKING, Any

import numpy as np

from samtailor.distributed import results
from samtailor.distributed.fetch import Decoded
from samtailor.distributed.results import Result
from samtailor.errors import DataError
from samtailor.labelling import Tiling, Unreadable, predict_images
from samtailor.masks.rle import to_json

if TYPE_CHECKING:
    from samtailor.data.writers import LabelledImage
    from samtailor.labelling.api import Prepared

COLUMNS = {
    "image": "string",
    "number": "int32",
    "class": "string",
    "score": "double",
    "height": "int32",
    "width": "int32",
    "rle": "string",
    "x0": "int32",
    "y0": "int32",
    "x1": "int32",
    "y1": "int32",
    "area": "int64",
    "adapter": "string",
    "adapter_sha256": "string",
    "base": "string",
}
"""Of the table of objects: `rle` are COCO's compressed run lengths in an image of `height` and `width`, the box is
(x0, y0, x1, y1) in pixels, x1 and y1 exclusive, `base` is the fingerprint of the base model."""


class ObjectStream:
    """Predict the objects of images.

    Args:
        ready: models and prompt sources.
        tiling: for large images.
    """

    def __init__(self, ready: Prepared, tiling: Tiling | None) -> None:
        self._ready, self._tiling = ready, tiling
        self._waiting: Queue[tuple[str, Path] | None] = Queue()
        self._pixels: dict[Path, np.ndarray] = {}
        self._predicted: Generator[LabelledImage | Unreadable, None, None] | None = None
        adapters: dict[str, list[str]] = ready.settings.get("adapters") or {}
        self._sha = {name: digests[0] for name, digests in adapters.items()}
        self._base = ready.predictor.base.fingerprint

    def __call__(self, images: Sequence[Decoded]) -> Iterator[Result]:
        """The results of images, in their order."""
        if self._predicted is None:
            self._predicted = self._start()
        by_path = {Path(str(number)): one for number, one in enumerate(images)}
        self._pixels |= {path: one.pixels for path, one in by_path.items() if one.pixels is not None}
        for path, one in by_path.items():
            self._waiting.put((one.item.id, path))
        try:
            for path in by_path:
                yield self._result(by_path[path], next(self._predicted))
        except BaseException:
            self._predicted, self._waiting, self._pixels = None, Queue(), {}
            raise

    def close(self) -> None:
        """End the threads."""
        self._waiting.put(None)
        if self._predicted is not None:
            for _ in self._predicted:
                pass
        self._predicted = None

    def _start(self) -> Generator[LabelledImage | Unreadable, None, None]:
        waiting, pixels = self._waiting, self._pixels
        queued: Iterator[tuple[str, Path]] = iter(waiting.get, None)
        return predict_images(
            self._ready.predictor, self._ready.sources, queued, self._tiling, read_file=lambda path: pixels.pop(path)
        )

    def _result(self, image: Decoded, predicted: LabelledImage | Unreadable) -> Result:
        if isinstance(predicted, Unreadable):
            raise DataError(str(predicted.reason))
        rows = tuple(self._row(image.item.id, number, one) for number, one in enumerate(predicted.objects))
        size: dict[str, Any] = {"height": predicted.height, "width": predicted.width}
        return results.done(image.item, rows, empty=predicted.empty, **size)

    def _row(self, image: str, number: int, one: Any) -> dict[str, Any]:
        x0, y0, x1, y1 = (int(value) for value in one.box)
        plain = to_json(one.rle)
        return {
            "image": image,
            "number": number,
            "class": one.label,
            "score": float(one.score),
            "height": int(plain["size"][0]),
            "width": int(plain["size"][1]),
            "rle": plain["counts"],
            "x0": x0,
            "y0": y0,
            "x1": x1,
            "y1": y1,
            "area": one.area,
            "adapter": one.adapter,
            "adapter_sha256": None if one.adapter is None else self._sha.get(one.adapter),
            "base": self._base,
        }


def tiling_of(options: dict[str, Any]) -> Tiling | None:
    """Tiling from the options `tile` and `overlap`."""
    return None if options.get("tile") is None else Tiling(options["tile"], options.get("overlap", 0.25))


__all__ = ["COLUMNS", "ObjectStream", "tiling_of"]
