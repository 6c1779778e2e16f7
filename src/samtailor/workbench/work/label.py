"""Label images with one adapter; each is told as soon as it is done, so that nothing is lost by a stop."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from samtailor.bases import load_on
from samtailor.cache.embeddings import EmbeddingCache
from samtailor.predict.predictor import Predictor
from samtailor.serve import images as reading
from samtailor.serve.adapters import Adapters, LoadedAdapter
from samtailor.serve.limits import Limits
from samtailor.serve.refusals import Refused, Unreadable
from samtailor.workbench import proposing

if TYPE_CHECKING:
    from samtailor.workbench.worker import Line


def run(job: Mapping[str, Any], line: Line) -> None:
    """One line an image: its objects, or why it cannot be read.

    Raises:
        Refused: the adapter cannot label by itself. Stop: on request.
    """
    line.progress(stage="start", done=0, total=len(job["samples"]))
    base = load_on(job["base"], job["device"])
    slot = Adapters(base, 1).add(job["adapter"], job["folder"])
    slot.proposer(job["threshold"])  # refuses before an image is read
    store, limits, root = EmbeddingCache(job["cache"]), Limits(**job["limits"]), Path(job["images"])
    start, total = time.monotonic(), len(job["samples"])
    with slot.predictor() as predictor:
        for done, one in enumerate(job["samples"], 1):
            line.check()
            try:
                found = _found(root / one["file"], one["file"], slot, predictor, store, limits, job["threshold"])
            except Refused as error:
                line.tell(failed=one["id"], error=str(error))
            else:
                rows = [o.model_dump(mode="json", by_alias=True) for o in found]
                line.tell(image=one["id"], objects=rows, uncertainty=proposing.uncertainty(found))
            speed = done / max(time.monotonic() - start, 1e-9)
            rest = {"images_per_second": speed, "seconds_left": (total - done) / speed}
            line.progress(stage="label", done=done, total=total, **rest)
    line.tell(done={})


@torch.no_grad()
def _found(
    path: Path, name: str, slot: LoadedAdapter, predictor: Predictor, store: EmbeddingCache, limits: Limits,
    threshold: float | None,
) -> list[Any]:  # fmt: skip
    try:
        data = path.read_bytes()
    except OSError as error:
        raise Unreadable(f"{name}: cannot be opened ({error.strerror}).") from error
    image = reading.read(data, limits, name)
    if slot.encoder:  # its base is a twin with an encoder of its own
        predictor.set_image(image)
    else:
        predictor.set_features(store.features(slot.base, image), *image.shape[:2], image=lambda: image)
    return proposing.objects(slot, predictor, threshold)


__all__ = ["run"]
