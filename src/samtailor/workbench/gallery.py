"""Before and after a fit: masks of the base model and of the adapter for held-out objects."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from samtailor import artefact
from samtailor.data.regions import regions
from samtailor.evaluation.scores import interval
from samtailor.fitting.gate import MIN_OBJECTS
from samtailor.masks.metrics import iou
from samtailor.masks.rle import encode
from samtailor.masks.rle import to_json as rle_to_json
from samtailor.predict.postprocessing import window_of
from samtailor.predict.predictor import BASE, Predictor
from samtailor.predict.windows import Windows
from samtailor.prompts.mask_center import center, clicks
from samtailor.structures import Prompts, Sample
from samtailor.workbench.masks import paste

if TYPE_CHECKING:
    from samtailor.bases import Base
    from samtailor.cache.embeddings import EmbeddingCache

FILE = "gallery.json"
"""Name of the file in the adapter's folder."""
MAX_OBJECTS = 60
"""Largest number of objects in a gallery, spread evenly over the images."""
_ADAPTER = "adapter"


def gallery(
    base: Base, folder: Path, samples: Sequence[Sample], classes: Sequence[str], store: EmbeddingCache,
    names: Mapping[str, str], progress: Callable[[int, int], object] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Masks of held-out objects for one click at the object's center, by the base model and by an adapter.

    An adapter that was fitted without prompts predicts without a prompt; the base model always gets the click.

    Args:
        base: base model of the adapter.
        folder: folder of the adapter.
        samples: held-out images.
        classes: classes of the adapter.
        store: embedding cache.
        names: image id to file name.
        progress: called with (images done, number of images).

    Returns:
        "before_miou" and "after_miou" in [0, 1] (left out with fewer than 5 objects), each with "..._interval", their
        paired "difference" and "difference_interval"; the counts "objects", "n_images" and "groups"; and "images", a
        list with the class, the true mask, both predicted masks and their IoU of each object.
    """
    loaded = artefact.load(folder, base)
    predictor = Predictor(base, {_ADAPTER: loaded.segmenter}, store=store)
    targets = list(regions(samples, classes) if loaded.meta.inference.regions else samples)[:MAX_OBJECTS]
    per_image = max(1, MAX_OBJECTS // max(len(targets), 1))
    rows = []
    for done, sample in enumerate(targets, 1):
        predictor.set_sample(sample)
        for index, annotation in enumerate(sample.of(classes)[:per_image]):
            row = _row(predictor, annotation.mask, promptless=loaded.segmenter.inference.prompt == "none")
            head = {"id": sample.id, "name": names[sample.id], "class": annotation.label, "object": index}
            rows.append({**head, **row, "truth": rle_to_json(annotation.rle)})
        if progress is not None:
            progress(done, len(targets))
    groups = {sample.id: sample.group or sample.id for sample in targets}
    return {**means(rows, [groups[row["id"]] for row in rows]), "images": rows}


def means(rows: Sequence[Mapping[str, Any]], groups: Sequence[str]) -> dict[str, Any]:
    """Means with 95 % intervals, and the counts they are based on; counts alone with too few objects."""
    counts = {"objects": len(rows), "n_images": len({row["id"] for row in rows}), "groups": len(set(groups))}
    if len(rows) < MIN_OBJECTS:
        return counts
    before, after = ([row[f"{when}_iou"] for row in rows] for when in ("before", "after"))
    change = np.subtract(after, before).tolist()
    means: dict[str, Any] = {}
    for name, values in (("before_miou", before), ("after_miou", after), ("difference", change)):
        mean, bounds = interval(np.array(values), groups, 0)
        means |= {name: mean, f"{name.removesuffix('_miou')}_interval": bounds}
    return means | counts


@torch.no_grad()
def _row(predictor: Predictor, truth: np.ndarray, *, promptless: bool) -> dict[str, Any]:
    size = (truth.shape[0], truth.shape[1])
    click = clicks([center(truth)], size)
    before = _mask(predictor, None, click)
    after = _mask(predictor, _ADAPTER, Prompts(size) if promptless else click)
    return {
        "before_iou": round(float(iou(before, truth)), 4), "after_iou": round(float(iou(after, truth)), 4),
        "before": rle_to_json(encode(before)), "after": rle_to_json(encode(after)),
    }  # fmt: skip


def _mask(predictor: Predictor, adapter: str | None, prompts: Prompts) -> np.ndarray:
    """Mask with the highest predicted IoU, bool (height, width)."""
    output, frame = predictor.decode(prompts, adapter or BASE), predictor.frame
    _, logits = output.best_masks()
    window = window_of(predictor, Windows().mask(logits[0, 0].float().cpu(), frame), prompts, adapter or BASE)
    return paste(*window, (frame.height, frame.width)).astype(bool)


__all__ = ["FILE", "MAX_OBJECTS", "gallery", "means"]
