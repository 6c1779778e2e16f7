"""The out-of-fold predictions of a contest as run lengths, and a sheet of the training images with the lowest scores:
masks that the adapter does not agree with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from samtailor.data.regions import foreground
from samtailor.data.writing import write_json, write_png
from samtailor.fitting.contest.choice import Entry
from samtailor.fitting.folder import OUT_OF_FOLD
from samtailor.masks.overlay import fit, overlay
from samtailor.masks.rle import to_json
from samtailor.structures import Annotation, Sample

IMAGES = 6
_SIDE, _COLUMNS, _TITLE = 320, 3, 22


def worst(entry: Entry) -> list[tuple[str, float]]:
    """Images of the lowest out-of-fold scores with their scores, the lowest first."""
    rows = zip(entry.scores.images, entry.scores.values[entry.variant], strict=True)
    return sorted(rows, key=lambda row: row[1])[:IMAGES]


def write_sheet(file: Path, entry: Entry, samples: Sequence[Sample], classes: tuple[str, ...]) -> None:
    """Write the images with their masks (green outline) and what the adapter predicts for them (filled).

    All predictions are written beside it, to `OUT_OF_FOLD`: the "class", and "predictions", a list of image "id",
    "dice", "rle" and "truth".

    Args:
        file: PNG to write.
        entry: region candidate with its predictions.
        samples: training images.
        classes: of the region.
    """
    known, drawings = {sample.id: sample for sample in samples}, []
    predicted = dict(zip(entry.scores.images, entry.scores.masks[entry.variant], strict=True))
    dice = dict(zip(entry.scores.images, entry.scores.values[entry.variant], strict=True))
    regions = {region.id: region.annotations[0] for region in foreground([known[id] for id in predicted], classes)}
    rows = [
        {"id": id, "dice": round(dice[id], 4), "rle": to_json(rle), "truth": to_json(regions[id].rle)}
        for id, rle in predicted.items()
    ]
    write_json(file.with_name(OUT_OF_FOLD), {"class": ", ".join(classes), "predictions": rows})
    for id, score in worst(entry):
        mask = Annotation("", predicted[id]).mask
        drawn = overlay(known[id].image, [mask], outlines=[regions[id].mask])
        drawings.append((fit(drawn, _SIDE), f"{id}  Dice {100 * score:.0f}"))
    height = max(image.shape[0] for image, _ in drawings)
    tiles = [_tile(image, title, height) for image, title in drawings]
    lines = [tiles[start : start + _COLUMNS] for start in range(0, len(tiles), _COLUMNS)]
    width = min(_COLUMNS, len(tiles))
    filled = [np.hstack([*row, *[np.full_like(tiles[0], 255)] * (width - len(row))]) for row in lines]
    write_png(file, np.vstack(filled))


def _tile(image: np.ndarray, title: str, height: int) -> np.ndarray:
    """An image on white, with its title above."""
    tile = np.full((height + _TITLE + 8, _SIDE + 8, 3), 255, np.uint8)
    tile[_TITLE : _TITLE + image.shape[0], 4 : 4 + image.shape[1]] = image
    text = title.encode("ascii", "replace").decode("ascii")  # the font has no other letters
    shown = text if len(text) <= 44 else "..." + text[-41:]
    cv2.putText(tile, shown, (4, 15), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (0, 0, 0), 1, cv2.LINE_AA)
    return tile


__all__ = ["IMAGES", "worst", "write_sheet"]
