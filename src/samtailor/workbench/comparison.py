"""A new adapter against the one in use, on the same held-out objects.

The only place of the workbench that decides whether a new adapter is worse. It compares the masks for one click at the
center of each object, those of the gallery.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from samtailor import artefact
from samtailor.bases import Base
from samtailor.cache.embeddings import EmbeddingCache
from samtailor.errors import SamtailorError
from samtailor.fitting.verdict import MIN_OBJECTS
from samtailor.structures import Sample
from samtailor.workbench.gallery import gallery

FILE = "comparison.json"
"""Name of the file in the adapter's folder."""


def compare(
    base: Base, present: Mapping[str, str], new: Mapping[str, Any], samples: Sequence[Sample],
    classes: Sequence[str], store: EmbeddingCache, names: Mapping[str, str],
) -> dict[str, Any] | None:  # fmt: skip
    """Compare a new adapter with the one in use.

    Args:
        base: base model of both.
        present: name and folder of the adapter in use.
        new: gallery of the new adapter on the same samples.
        samples: held-out images of the new fit.
        classes: classes of the new adapter.
        store: embedding cache.
        names: image id to file name.

    Returns:
        "with" (the name), "classes" (of both), "objects", "images", "miou" and "with_miou" in [0, 1], "seen" (number of
        these images that the adapter in use was trained on), and "worse". None if the adapters share no class, no
        object is held out, or the adapter in use cannot be loaded. Below `MIN_OBJECTS` objects the new adapter never
        counts as worse.
    """
    folder = Path(present["folder"])
    try:
        common = [name for name in classes if name in artefact.read_meta(folder).classes]
        if not common:
            return None
        rows = gallery(base, folder, samples, classes, store, names)["images"]
    except SamtailorError:
        return None
    mine = {_key(row): row["after_iou"] for row in new["images"] if row["class"] in common}
    theirs = {_key(row): row["after_iou"] for row in rows if row["class"] in common}
    both = [key for key in mine if key in theirs]
    if not both:
        return None
    miou, other = (float(np.mean([ious[key] for key in both])) for ious in (mine, theirs))
    images = {key[0] for key in both}
    return {
        "with": present["name"], "classes": common, "objects": len(both), "images": len(images), "miou": round(miou, 4),
        "with_miou": round(other, 4), "seen": len(images & _trained_on(folder)),
        "worse": len(both) >= MIN_OBJECTS and miou < other,
    }  # fmt: skip


def _key(row: Mapping[str, Any]) -> tuple[str, str, int]:
    return row["id"], row["class"], row["object"]


def _trained_on(folder: Path) -> set[str]:
    from samtailor.data.split import Split

    try:
        return set(Split.read(folder / artefact.SPLIT).train)
    except (SamtailorError, OSError):
        return set()


__all__ = ["FILE", "compare"]
