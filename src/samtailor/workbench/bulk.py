"""Accepting many proposed images at once, after a look at their contact sheet; and taking that back."""

from __future__ import annotations

import io
import threading
from collections.abc import Sequence

import numpy as np
from PIL import Image

from samtailor.errors import SamtailorError
from samtailor.masks.overlay import overlay
from samtailor.workbench.project import Project
from samtailor.workbench.records import Record

TILE = 320
"""Longer side of an image of the contact sheet, pixels."""
_GRAY = "#8a8f98"


class BulkAccept:
    """Accepts proposed images of a project.

    Args:
        project: an open project.
    """

    def __init__(self, project: Project) -> None:
        self._project = project
        self._lock = threading.Lock()
        self._before: dict[str, Record] = {}

    def accept(self, ids: Sequence[str]) -> tuple[list[str], dict[str, str]]:
        """Accept images that are proposed; each is saved on its own.

        Returns:
            Ids of those that were accepted, and the reason for each of the others.
        """
        accepted, refused = [], {}
        with self._lock:
            self._before = {}
            for id in dict.fromkeys(ids):
                try:
                    before = self._project.read(id)
                    if before.state != "proposed":
                        refused[id] = f"The image is {before.state}, not proposed."
                        continue
                    self._project.put(id, before.revision, "accepted", before.objects)
                except SamtailorError as error:
                    refused[id] = str(error)
                    continue
                self._before[id] = before
                accepted.append(id)
        return accepted, refused

    def undo(self) -> list[str]:
        """Propose the images of the last `accept` again, except those that were changed since. Returns their ids."""
        with self._lock:
            undone = [id for id, before in self._before.items() if self._project.restore(id, before)]
            self._before = {}
        return undone

    def tile(self, id: str) -> bytes:
        """The image with its objects drawn on it, JPEG, at most `TILE` pixels per side."""
        pixels, record = self._project.images.pixels(id), self._project.read(id)
        colors = {one.name: one.color for one in self._project.settings.classes}
        scale = min(1.0, TILE / max(pixels.shape[:2]))
        size = (max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale)))
        small = np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BILINEAR))
        masks = [_small(one.rle.packed, size) for one in record.objects]
        if masks:
            small = overlay(small, masks, colors=[_rgb(colors.get(one.class_, _GRAY)) for one in record.objects])
        stream = io.BytesIO()
        Image.fromarray(small).save(stream, "JPEG", quality=85)
        return stream.getvalue()


def _small(packed: dict, size: tuple[int, int]) -> np.ndarray:
    """A mask at another size (width, height): a cell is in it if half of it is."""
    from pycocotools import mask as coco

    mask = Image.fromarray(coco.decode(packed) * 255)
    return np.asarray(mask.resize(size, Image.Resampling.BOX)) >= 128


def _rgb(color: str) -> tuple[int, int, int]:
    value = int(color[1:], 16)
    return value >> 16, (value >> 8) & 255, value & 255


__all__ = ["TILE", "BulkAccept"]
