"""Seconds of a fit on 16 images, from the images to the saved adapter."""

from __future__ import annotations

import tempfile
from pathlib import Path

from samtailor.bases import Base
from samtailor.bench.timing import Row, Times, rows, timed
from samtailor.cache.embeddings import EmbeddingCache
from samtailor.cache.encoders import device_of
from samtailor.data.synth.samples import samples
from samtailor.fitting import fit
from samtailor.train.config import FitConfig

IMAGES = 16


def measure(base: Base) -> list[Row]:
    """One fit with the default method and an empty cache of embeddings, on synthetic banners."""
    with tempfile.TemporaryDirectory() as home:
        out = Path(home, "fit")
        config = FitConfig(data=Path(home), out=out, base=base.name, device=str(device_of(base)), trackers=())
        store = EmbeddingCache(Path(home, "cache"))
        wall, cpu = timed(lambda: fit(config, samples=samples(IMAGES, 0), base=base, store=store))
    return rows(f"fit on {IMAGES} images of 640 x 480 px", {f"method {config.method}": Times((wall,), (cpu,))})


__all__ = ["IMAGES", "measure"]
