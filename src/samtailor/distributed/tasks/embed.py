"""One vector for each image: the mean of its embedding over all positions, for search and for finding duplicates."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from samtailor.distributed import results
from samtailor.distributed.fetch import Decoded
from samtailor.distributed.results import Result
from samtailor.distributed.tasks import Task

TABLE, READS = "vectors", True
COLUMNS = {"image": "string", "vector": "list<float>", "base": "string"}


def open_task(options: dict[str, Any]) -> Task:
    """Load the base model; options: "base" and "device"."""
    import torch

    from samtailor.bases import load_on
    from samtailor.bases.encoder import fast_encoder
    from samtailor.predict.predictor import Predictor
    from samtailor.registry import BUNDLED_BASE

    base = load_on(options.get("base") or BUNDLED_BASE, options.get("device"))
    predictor = Predictor(fast_encoder(base))

    def predict(images: Sequence[Decoded]) -> Iterator[Result]:
        return map(_result, images)

    @torch.inference_mode()
    def _result(image: Decoded) -> Result:
        predictor.set_image(np.asarray(image.pixels))
        vector = predictor.features.main[0].float().mean(dim=(1, 2)).cpu().tolist()
        height, width = predictor.frame.height, predictor.frame.width
        row = {"image": image.item.id, "vector": vector, "base": base.fingerprint}
        return results.done(image.item, (row,), height=height, width=width)

    return Task(predict, {"task": "embed", "base": base.fingerprint})


__all__ = ["COLUMNS", "READS", "TABLE", "open_task"]
