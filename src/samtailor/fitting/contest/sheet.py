"""A sheet of the training images with the lowest out-of-fold scores: masks that the adapter does not agree with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from samtailor.data.regions import foreground
from samtailor.data.writing import write_png
from samtailor.fitting.contest.choice import Entry
from samtailor.masks.overlay import fit, overlay
from samtailor.structures import Annotation, Sample

IMAGES = 6
_SIDE, _COLUMNS, _TITLE = 320, 3, 22


def worst(entry: Entry) -> list[tuple[str, float]]:
    """Images of the lowest out-of-fold scores with their scores, the lowest first."""
    rows = zip(entry.scores.images, entry.scores.values[entry.variant], strict=True)
    return sorted(rows, key=lambda row: row[1])[:IMAGES]


def write_sheet(file: Path, entry: Entry, samples: Sequence[Sample], classes: tuple[str, ...]) -> None:
    """Write the images with their masks (green outline) and what the adapter predicts for them (filled).

    Args:
        file: PNG to write.
        entry: region candidate with its predictions.
        samples: training images.
        classes: of the region.
    """
    known, tiles = {sample.id: sample for sample in samples}, []
    predicted = dict(zip(entry.scores.images, entry.scores.masks[entry.variant], strict=True))
    for id, dice in worst(entry):
        (region,) = foreground([known[id]], classes)
        mask = Annotation("", predicted[id]).mask
        drawn = overlay(region.image, [mask], outlines=[region.annotations[0].mask])
        tiles.append(_tile(drawn, f"{id}  Dice {100 * dice:.0f}"))
    rows = [tiles[start : start + _COLUMNS] for start in range(0, len(tiles), _COLUMNS)]
    width = min(_COLUMNS, len(tiles))
    filled = [np.hstack([*row, *[np.full_like(tiles[0], 255)] * (width - len(row))]) for row in rows]
    write_png(file, np.vstack(filled))


def _tile(image: np.ndarray, title: str) -> np.ndarray:
    """An image on a white square, with its title above."""
    small = fit(image, _SIDE)
    tile = np.full((_SIDE + _TITLE + 8, _SIDE + 8, 3), 255, np.uint8)
    tile[_TITLE : _TITLE + small.shape[0], 4 : 4 + small.shape[1]] = small
    text = title.encode("ascii", "replace").decode("ascii")  # the font has no other letters
    shown = text if len(text) <= 44 else "..." + text[-41:]
    cv2.putText(tile, shown, (4, 15), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (0, 0, 0), 1, cv2.LINE_AA)
    return tile


__all__ = ["IMAGES", "worst", "write_sheet"]
