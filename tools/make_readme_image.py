"""Write docs/assets/before_after.png: held-out images, one click each, base model and adapter.

    samtailor fit data_open/coffee_leaf --shots 8 --test 10 --steps 60 --out leaf
    python tools/make_readme_image.py data_open/coffee_leaf leaf

Rows are chosen by rank, not by hand: of the adapter's test images those on which the base model has its lowest IoU,
the lower quartile and the median.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from samtailor import artefact
from samtailor.data.dataset import open_dataset
from samtailor.data.image import replacing
from samtailor.data.split import Split
from samtailor.evaluation.masks import evaluate_many
from samtailor.masks import overlay
from samtailor.masks.interior import center
from samtailor.predict.predictor import BASE, Predictor
from samtailor.structures import Sample

PAGE = Path(__file__).resolve().parents[1] / "docs" / "assets" / "before_after.png"
SIDE = 420


def main(data: Path, folder: Path) -> None:
    """Evaluate both, choose the rows, draw them."""
    predictor = Predictor.from_pretrained(folder)
    (name,) = predictor.adapters
    samples = Split.read(folder / artefact.SPLIT).pick(open_dataset(data), "test")
    scores = evaluate_many({"base": predictor.base, "adapter": predictor.segmenter(name)}, samples)
    ranked = sorted(scores["base"].rows, key=lambda row: row.iou)
    chosen = [ranked[int(share * (len(ranked) - 1))] for share in (0.0, 0.25, 0.5)]
    by_id = {sample.id: sample for sample in samples}
    strips = [_strip(predictor, by_id[row.id], row.index, name) for row in chosen]
    with replacing(PAGE) as temporary:
        Image.fromarray(np.vstack(strips)).save(temporary, optimize=True)


def _strip(predictor: Predictor, sample: Sample, index: int, name: str) -> np.ndarray:
    image, truth = sample.image, sample.of(None)[index].mask
    point = center(truth)
    predictor.set_image(image)
    panels = [("true mask and click", truth)]
    for title, adapter in (("base model", BASE), ("with the adapter", name)):
        masks, scores, _ = predictor.predict(point_coords=[point], point_labels=[1], adapter=adapter)
        mask = masks[int(np.argmax(scores))]
        iou = (mask & truth).sum() / max(1, (mask | truth).sum())
        panels.append((f"{title}: IoU {100 * iou:.0f} %", mask))
    return np.hstack([_panel(image, mask, point, title) for title, mask in panels])


def _panel(image: np.ndarray, mask: np.ndarray, point: tuple[int, int], title: str) -> np.ndarray:
    drawn = overlay.fit(overlay.overlay(image, [mask], points=[(*point, 1)]), SIDE)
    canvas = Image.new("RGB", (drawn.shape[1] + 6, drawn.shape[0] + 30), "white")
    canvas.paste(Image.fromarray(drawn), (3, 26))
    ImageDraw.Draw(canvas).text((4, 4), title, fill="black", font=ImageFont.load_default(16))
    return np.asarray(canvas)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
