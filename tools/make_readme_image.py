"""Write docs/assets/before_after.png: photographs of the demo, the base model with a click, the adapters without.

    samtailor demo --only leaves --out demo
    python tools/make_readme_image.py demo

Rows are chosen by rank, not by hand: of the test images with lesions those on which the adapters' lesions have their
lowest, median and highest IoU.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image

from samtailor import artefact
from samtailor.cache.embeddings import EmbeddingCache
from samtailor.cli import demo_leaves
from samtailor.data.dataset import open_dataset
from samtailor.data.image import replacing
from samtailor.data.split import Split
from samtailor.masks import metrics
from samtailor.predict.predictor import Predictor
from samtailor.report import contact_sheet

PAGE = Path(__file__).resolve().parents[1] / "docs" / "assets" / "before_after.png"
RANKS = (0.0, 0.5, 1.0)
SIDE = 1280  # width of the image in pixels


def main(demo: Path) -> None:
    """Predict the test images, choose the rows, draw them."""
    folders = {name: demo / "adapters" / name for name in demo_leaves.CLASSES}
    store = EmbeddingCache(demo / "embeddings")
    predictor = Predictor.from_pretrained(folders["leaf"], {"lesion": folders["lesion"]}, store=store)
    test = Split.read(folders["lesion"] / artefact.SPLIT).pick(open_dataset(demo / "leaves"), "test")
    samples = {sample.id: sample for sample in test if sample.of(["lesion"])}
    masks = demo_leaves.predict(predictor, list(samples.values()))
    rows = [demo_leaves.panels(samples[id], masks) for id in ranked(masks, samples)]
    sheet = Image.fromarray(contact_sheet(demo_leaves.HEAD, rows))
    sheet.thumbnail((SIDE, SIDE))
    with replacing(PAGE) as temporary:
        sheet.quantize(256, dither=Image.Dither.FLOYDSTEINBERG).save(temporary, optimize=True)


def ranked(masks: demo_leaves.Masks, samples: dict) -> list[str]:
    """Ids at the ranks of the IoU of the adapter's lesions."""
    predicted = masks[demo_leaves.ADAPTER]["lesion"]
    ious = {
        id: metrics.iou(predicted[id], np.logical_or.reduce([one.mask for one in sample.of(["lesion"])]))
        for id, sample in samples.items()
    }
    order = sorted(ious, key=lambda id: ious[id])
    return [order[round(rank * (len(order) - 1))] for rank in RANKS]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
