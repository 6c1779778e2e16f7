"""Confusion between the classes of a fit, from the out-of-fold predictions of the contest of each class."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from samtailor import artefact
from samtailor.data.writing import write_json
from samtailor.fitting.folder import OUT_OF_FOLD
from samtailor.limits import parse_json, read_bytes
from samtailor.masks.confusion import Confusion, region_confusion
from samtailor.masks.rle import from_json
from samtailor.structures import Annotation

FILE = "confusion.json"
"""In the folder of the fit."""
LEAST = 0.05
"""Share of the pixels of a class from which on the answers of another class are reported."""
_LISTED = 5


def write_confusion(out: Path) -> None:
    """Write OUT/confusion.json from the out-of-fold predictions of the classes; nothing with fewer than two of them.

    Args:
        out: folder with the adapter of each class in a folder of its own.
    """
    folders = artefact.members(out).values()
    known = [part for folder in folders if (part := _content(Path(folder))) is not None]
    if len(known) < 2:
        return
    classes = [part["class"] for part in known]
    metas = (artefact.read_meta(folder) for folder in folders)
    pairs = sorted({tuple(sorted(pair)) for meta in metas for pair in meta.inference.exclusive})
    confusion = region_confusion(_images(known), classes, classes)
    write_json(out / FILE, {**confusion.to_json(), "totals": confusion.totals.tolist(), "exclusive": pairs})


def confusion_words(out: Path) -> list[str]:
    """Sentences about OUT/confusion.json; none where there is no such file, or no two classes compete."""
    if not (out / FILE).is_file():
        return []
    content = parse_json(read_bytes(out / FILE, "annotation_bytes"), str(out / FILE), nested=True)
    pairs = {frozenset(pair) for pair in content["exclusive"]}
    if not pairs:
        return []
    classes = tuple(content["truths"][:-1])
    table = Confusion(classes, classes, np.array(content["counts"]), np.array(content["totals"]), content["unit"])
    wrong = [row for row in table.confused(LEAST) if frozenset(row[:2]) in pairs]
    if not wrong:
        return [f"Confusion, cross-validated: no class answers {100 * LEAST:.0f} % or more of the pixels of another."]
    named = [f"{100 * share:.0f} % of the pixels of {truth} as {answer}" for truth, answer, share in wrong]
    more = f" and {len(named) - _LISTED} other pairs" if len(named) > _LISTED else ""
    return [f"Confusion, cross-validated, before classes compete: {', '.join(named[:_LISTED])}{more}."]


def _content(folder: Path) -> dict[str, Any] | None:
    file = folder / OUT_OF_FOLD
    return parse_json(read_bytes(file, "annotation_bytes"), str(file), nested=True) if file.is_file() else None


def _images(
    parts: Sequence[Mapping[str, Any]],
) -> Iterable[tuple[dict[str, np.ndarray], dict[str, np.ndarray]]]:
    """True region and answer of each class, for each image."""
    rows = {part["class"]: {row["id"]: row for row in part["predictions"]} for part in parts}
    for id in sorted({id for by_image in rows.values() for id in by_image}):
        present = {name: by_image[id] for name, by_image in rows.items() if id in by_image}
        truths = {name: _mask(row["truth"]) for name, row in present.items()}
        yield truths, {name: _mask(row["rle"]) for name, row in present.items()}


def _mask(runs: Mapping[str, Any]) -> np.ndarray:
    return Annotation("", from_json(runs)).mask


__all__ = ["FILE", "LEAST", "confusion_words", "write_confusion"]
