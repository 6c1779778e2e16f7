"""Write docs/assets/before_after.png: held-out banners of a demo, one click each, base model and adapter.

    python tools/make_readme_image.py demo

Rows are chosen by rank, not by hand: the quartiles of the adapter's IoU.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from samtailor import artefact
from samtailor.bases import load_on
from samtailor.data.dataset import open_dataset
from samtailor.data.image import replacing
from samtailor.evaluation.masks import evaluate_many
from samtailor.masks import overlay
from samtailor.masks.interior import center
from samtailor.predict.predictor import Predictor

PAGE = Path(__file__).resolve().parents[1] / "docs" / "assets" / "before_after.png"
SIDE = 360


def main(demo: Path) -> None:
    base = load_on("nano", None)
    folder = next(path.parent for path in sorted(demo.glob("fits/**/adapter.json")) if "plm-pmm" in str(path).lower())
    samples = open_dataset(demo / "test") if (demo / "test").exists() else open_dataset(demo / "data" / "test")
    predictor = Predictor(base, {"banner": artefact.load(folder, base).segmenter})
    found = evaluate_many({"base": base, "banner": predictor.segmenter("banner")}, samples, classes=["banner"])
    rows = sorted(found["banner"].rows, key=lambda row: row.iou)
    chosen = [rows[int(share * (len(rows) - 1))] for share in (0.25, 0.5, 0.75)]
    by_id = {sample.id: sample for sample in samples}
    strips = [_strip(predictor, by_id[row.id], row.index) for row in chosen]
    with replacing(PAGE) as temporary:
        Image.fromarray(np.vstack(strips)).save(temporary, optimize=True)


def _strip(predictor: Predictor, sample, index: int) -> np.ndarray:
    image, truth = sample.image, sample.of(["banner"])[index].mask
    point = center(truth)
    predictor.set_image(image)
    panels = [("truth and click", truth)]
    for title, adapter in (("SAM (nano)", None), ("with the adapter", "banner")):
        masks, scores, _ = predictor.predict(point_coords=[point], point_labels=[1], adapter=adapter)
        mask = masks[int(np.argmax(scores))]
        iou = (mask & truth).sum() / max(1, (mask | truth).sum())
        panels.append((f"{title}: IoU {100 * iou:.0f} %", mask))
    return np.hstack([_panel(image, mask, point, title) for title, mask in panels])


def _panel(image: np.ndarray, mask: np.ndarray, point, title: str) -> np.ndarray:
    drawn = overlay.fit(overlay.overlay(image, [mask], points=[(*point, 1)]), SIDE)
    canvas = Image.new("RGB", (drawn.shape[1] + 6, drawn.shape[0] + 24), "white")
    canvas.paste(Image.fromarray(drawn), (3, 20))
    ImageDraw.Draw(canvas).text((4, 4), title, fill="black")
    return np.asarray(canvas)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "demo"))
