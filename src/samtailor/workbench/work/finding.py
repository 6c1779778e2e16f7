"""Search images for objects like those of a few references. Each image is sent when it is done."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from samtailor.bases import load_on
from samtailor.cache.embeddings import EmbeddingCache
from samtailor.masks.rle import to_json as rle_to_json
from samtailor.matchers import DEFAULT, MarkedImage, make
from samtailor.predict.find import Finder, FoundObject
from samtailor.predict.predictor import Predictor
from samtailor.serve.limits import Limits
from samtailor.serve.refusals import Refused
from samtailor.structures import Sample
from samtailor.workbench.images import image_of_row
from samtailor.workbench.records import Object, Runs

if TYPE_CHECKING:
    from samtailor.workbench.worker import Channel


@torch.no_grad()
def run(job: Mapping[str, Any], channel: Channel) -> None:
    """Send one message per image: what was found, or why it cannot be read; at the end the lowest score.

    Raises:
        Refused: a reference cannot be read. Stop: on request.
    """
    references, rows = job["references"], job["samples"]
    channel.progress(stage="start", done=0, total=1)
    base, store = load_on(job["base"], job["device"]), EmbeddingCache(job["cache"])
    root, limits = Path(job["images"]), Limits(**job["limits"])

    def prepared(row: Mapping[str, Any]) -> Predictor:
        predictor, image = Predictor(base, store=store), image_of_row(root, row, limits)
        predictor.set_sample(Sample(row["id"], lambda: image, list))
        return predictor

    marked = []
    for done, row in enumerate(references, 1):
        channel.check_stop()
        marked.append(_marked(prepared(row), row))
        channel.progress(stage="references", done=done, total=len(references))
    finder = Finder(make(DEFAULT, base, marked), threshold=job["threshold"], label=job["class"])
    for done, row in enumerate(rows, 1):
        channel.check_stop()
        try:
            objects = finder.objects(prepared(row))
        except Refused as error:
            channel.send(failed=row["id"], error=str(error))
        else:
            dumped = [_object(one, f"f{i}").model_dump(mode="json", by_alias=True) for i, one in enumerate(objects, 1)]
            channel.send(image=row["id"], objects=dumped)
        channel.progress(stage="find", done=done, total=len(rows))
    channel.send(done={"threshold": finder.threshold})


def _marked(predictor: Predictor, row: Mapping[str, Any]) -> MarkedImage:
    """A reference; without masks it is the whole image."""
    frame = predictor.frame
    masks = [_decoded(rle) for rle in row["masks"]] or [np.ones((frame.height, frame.width), bool)]
    return MarkedImage(predictor.with_companions, frame, tuple(masks), row["alike"], row["complete"])


def _decoded(rle: Mapping[str, Any]) -> np.ndarray:
    from pycocotools import mask as coco

    return coco.decode(Runs.model_validate(rle).packed).astype(bool)


def _object(one: FoundObject, id: str) -> Object:
    score = min(max(one.score, 0.0), 1.0)
    return Object(
        id=id, class_=one.label or "object", rle=Runs(**rle_to_json(one.rle)), source="find", score=score,
        uncertainty=1 - score,
    )  # fmt: skip


__all__ = ["run"]
