"""Before and after a contest: the base model with clicks, and the adapter without a prompt on images new to it.

The masks of the adapter are the out-of-fold predictions of the contest, so no image has to be held out for them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from samtailor.data.regions import foreground
from samtailor.data.writing import write_json
from samtailor.fitting.folder import OUT_OF_FOLD
from samtailor.limits import parse_json, read_bytes
from samtailor.masks.metrics import iou
from samtailor.masks.rle import encode, from_json, to_json
from samtailor.predict.predictor import Predictor
from samtailor.prompts.mask_center import center
from samtailor.structures import Annotation
from samtailor.workbench.gallery import FILE, MAX_OBJECTS, means

if TYPE_CHECKING:
    from samtailor.bases import Base
    from samtailor.cache.embeddings import EmbeddingCache
    from samtailor.structures import Sample


def write_gallery(
    base: Base,
    out: Path,
    folders: Mapping[str, str],
    samples: Sequence[Sample],
    classes: Sequence[str],
    store: EmbeddingCache,
    names: Mapping[str, str],
    progress: Callable[[int, int], object],
) -> None:
    """Write OUT/gallery.json in the form of `gallery`: one row for the region of a class in an image.

    Args:
        base: base model.
        out: folder of the fit.
        folders: of its adapters, by name.
        samples: accepted images.
        classes: of the fit.
        store: embedding cache.
        names: image id to file name.
        progress: called with (rows done, number of rows).
    """
    known = {sample.id: sample for sample in samples}
    predicted = [row for folder in folders.values() for row in _predictions(Path(folder))]
    chosen = [(label, row) for label, row in predicted if label in classes and row["id"] in known]
    step = max(1, -(-len(chosen) // MAX_OBJECTS))
    rows, predictor = [], Predictor(base, store=store)
    for done, (label, row) in enumerate(chosen[::step], 1):
        rows.append(_row(predictor, known[row["id"]], label, row) | {"name": names[row["id"]]})
        progress(done, len(chosen[::step]))
    groups = [known[row["id"]].group or row["id"] for row in rows]
    write_json(out / FILE, {**means(rows, groups), "images": rows, "cross_validated": True})


def _predictions(folder: Path) -> list[tuple[str, dict[str, Any]]]:
    """Class and row of each out-of-fold prediction of an adapter; none of a fit that was ended before it had any."""
    file = folder / OUT_OF_FOLD
    if not file.is_file():
        return []
    content = parse_json(read_bytes(file, "annotation_bytes"), str(file), nested=True)
    return [(content["class"], row) for row in content["predictions"]]


@torch.no_grad()
def _row(predictor: Predictor, sample: Sample, label: str, row: Mapping[str, Any]) -> dict[str, Any]:
    (region,) = foreground([sample], (label,))
    truth = region.annotations[0].mask
    before = np.zeros_like(truth)
    predictor.set_sample(sample)
    for one in sample.of((label,)):
        masks, scores, _ = predictor.predict([list(center(one.mask))], [1])
        before |= masks[scores.argmax()].astype(bool)
    after = Annotation("", from_json(row["rle"])).mask
    return {
        "id": sample.id, "class": label, "object": 0, "truth": to_json(region.annotations[0].rle),
        "before_iou": round(float(iou(before, truth)), 4), "after_iou": round(float(iou(after, truth)), 4),
        "before": to_json(encode(before)), "after": to_json(encode(after)),
    }  # fmt: skip


__all__ = ["write_gallery"]
