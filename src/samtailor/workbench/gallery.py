"""Before and after: what the base and an adapter answer to a click on held-out objects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from samtailor import artefact
from samtailor.data.regions import regions
from samtailor.labelling._answers import Windows
from samtailor.masks.metrics import iou
from samtailor.masks.rle import encode
from samtailor.masks.rle import to_json as rle_to_json
from samtailor.predict.predictor import Predictor
from samtailor.prompts.mask_center import center, clicks
from samtailor.structures import Prompts, Sample
from samtailor.workbench.masks import placed

if TYPE_CHECKING:
    from samtailor.bases import Base
    from samtailor.cache.embeddings import EmbeddingCache

FILE = "gallery.json"
"""In the adapter's folder."""
OBJECTS = 60
"""At most so many are shown; the same number of each image as far as there are enough."""


def gallery(
    base: Base, folder: Path, samples: Sequence[Sample], classes: Sequence[str], store: EmbeddingCache,
    names: Mapping[str, str],
) -> dict[str, Any]:  # fmt: skip
    """Held-out objects with the answers of the base and of the adapter in a folder to a click at the object's centre.

    An adapter that is asked without a prompt is asked without; the base is clicked all the same.

    Args:
        base: of the adapter.
        folder: of the adapter.
        samples: held-out images.
        classes: of the adapter.
        store: embeddings.
        names: of the images, by id.
    """
    loaded = artefact.load(folder, base)
    predictor = Predictor(base, {"it": loaded.segmenter}, store=store)
    seen = regions(samples, classes) if loaded.meta.inference.regions else samples
    each = max(1, OBJECTS // max(len(seen), 1))
    rows = []
    for sample in seen[:OBJECTS]:
        predictor.set_sample(sample)
        for index, one in enumerate(sample.of(classes)[:each]):
            row = _row(predictor, one.mask, empty=loaded.segmenter.inference.prompt == "none")
            head = {"id": sample.id, "name": names[sample.id], "class": one.label, "object": index}
            rows.append({**head, **row, "truth": rle_to_json(one.rle)})
    means = {
        f"{when}_miou": float(np.mean([row[f"{when}_iou"] for row in rows])) for when in ("before", "after") if rows
    }
    return {**means, "images": rows}


@torch.no_grad()
def _row(predictor: Predictor, truth: np.ndarray, *, empty: bool) -> dict[str, Any]:
    asked = clicks([center(truth)], truth.shape)
    before = _answer(predictor, None, asked)
    after = _answer(predictor, "it", Prompts(truth.shape) if empty else asked)
    return {
        "before_iou": round(float(iou(before, truth)), 4), "after_iou": round(float(iou(after, truth)), 4),
        "before": rle_to_json(encode(before)), "after": rle_to_json(encode(after)),
    }  # fmt: skip


def _answer(predictor: Predictor, adapter: str | None, prompts: Prompts) -> np.ndarray:
    output, frame = predictor.decode(prompts, adapter), predictor.frame
    best = int(output.candidate_iou()[0, 0].argmax())
    window = Windows().mask(output.candidate_logits()[0, 0, best].float().cpu(), frame)
    return placed(*window, (frame.height, frame.width)).astype(bool)


__all__ = ["FILE", "OBJECTS", "gallery"]
