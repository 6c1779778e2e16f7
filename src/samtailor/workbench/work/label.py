"""Label images with an adapter. Each image is sent when it is done, so that a stop loses nothing."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from samtailor.bases import load_on
from samtailor.cache.embeddings import EmbeddingCache
from samtailor.predict.predictor import Predictor
from samtailor.serve.adapters import Adapters, LoadedAdapter
from samtailor.serve.limits import Limits
from samtailor.serve.refusals import Refused
from samtailor.workbench import proposing
from samtailor.workbench.images import image_of_row
from samtailor.workbench.records import Object

if TYPE_CHECKING:
    from samtailor.workbench.worker import Channel


def run(job: Mapping[str, Any], channel: Channel) -> None:
    """Send one message per image: its objects, or why it cannot be read.

    Raises:
        Refused: the adapter has no proposals. Stop: on request.
    """
    total = len(job["samples"])
    channel.progress(stage="start", done=0, total=total)
    base = load_on(job["base"], job["device"])
    loaded = Adapters(base, 1).add(job["adapter"], job["folder"])
    loaded.sources(job["threshold"])  # refuses before an image is read
    store, limits, root = EmbeddingCache(job["cache"]), Limits(**job["limits"]), Path(job["images"])
    start = time.monotonic()
    with loaded.predictor() as predictor:
        for done, row in enumerate(job["samples"], 1):
            channel.check_stop()
            try:
                objects = _objects(image_of_row(root, row, limits), loaded, predictor, store, job["threshold"])
            except Refused as error:
                channel.send(failed=row["id"], error=str(error))
            else:
                dumped = [o.model_dump(mode="json", by_alias=True) for o in objects]
                channel.send(image=row["id"], objects=dumped, uncertainty=proposing.uncertainty(objects))
            speed = done / max(time.monotonic() - start, 1e-9)
            remaining = {"images_per_second": speed, "seconds_left": (total - done) / speed}
            channel.progress(stage="label", done=done, total=total, **remaining)
    channel.send(done={})


@torch.no_grad()
def _objects(
    image: np.ndarray, loaded: LoadedAdapter, predictor: Predictor, store: EmbeddingCache, threshold: float | None
) -> list[Object]:
    if loaded.own_encoder:  # the adapter changes the image encoder, so cached embeddings do not apply
        predictor.set_image(image)
    else:
        features = store.features(loaded.base, image, companions=loaded.companions)
        predictor.set_features(features, *image.shape[:2], image=lambda: image)
    return proposing.objects(loaded, predictor, threshold)


__all__ = ["run"]
