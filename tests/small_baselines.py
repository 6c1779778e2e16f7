"""Baselines small enough to be fitted in a test, and images for them."""

from __future__ import annotations

import numpy as np

from samtailor.registry import find
from samtailor.structures import Annotation, Sample

RESNET = {"embedding_size": 16, "hidden_sizes": [16, 32, 64, 128], "depths": [1, 1, 2, 1]}
TINY = {
    "deeplabv3": {"backbone": RESNET, "size": 64, "output_stride": 8, "width": 32, "lr": 0.05},
    "swin-unet": {"size": 64, "window": 2, "embed_dim": 16, "heads": [1, 2, 4, 8], "drop_path": 0.0},
    "ssp": {"backbone": RESNET, "size": 64, "lr": 0.05, "batch": 2},
    "hsnet": {"backbone": RESNET, "size": 64, "widths": [4, 8, 16], "lr": 0.01, "batch": 4},
}
STEPS = {"deeplabv3": 80, "swin-unet": 30, "ssp": 40, "hsnet": 80}


def tiny(name, classes=1, **options):
    return find("baselines", name).build(classes, weights="scratch", **(TINY[name] | options))


def big_disc(index):
    """An image with one large bright disc, for networks that see a coarse grid."""
    rng = np.random.default_rng(index)
    image = rng.integers(60, 110, (64, 64, 3), dtype=np.uint8)
    y, x = np.mgrid[:64, :64]
    center = rng.uniform(22, 42, 2)
    disc = (y - center[0]) ** 2 + (x - center[1]) ** 2 <= 18**2
    image[disc] = (230, 200, 60)
    return Sample(f"d{index}", lambda: image, lambda: (Annotation.from_mask("disc", disc),))
