"""What the page's closer look at small objects gives for a click in the middle, on real images.

    python tools/measure_closer.py DATA [--classes signboard] [--base nano] [--adapter DIR] [--images 40] [--most 15]

Images and, in each, objects are drawn by --seed. Told are the clicks to which a closer look is offered
(`workbench/closer.py`), and their mIoU: of the whole image's best mask, of the closer look's, of the better one.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as coco

from samtailor.bases import load_on
from samtailor.data.dataset import open_dataset
from samtailor.masks.interior import centre
from samtailor.masks.metrics import iou
from samtailor.predict.prompt import ObjectPrompt
from samtailor.serve.adapters import Adapters
from samtailor.serve.embeddings import Embedding
from samtailor.workbench import masks
from samtailor.workbench.records import Runs
from samtailor.workbench.zoom import Closer


def main() -> None:
    options = _options()
    base, rng = load_on(options.base), np.random.default_rng(options.seed)
    adapters = Adapters(base, 1)
    slot = adapters.add("adapter", options.adapter) if options.adapter else adapters.slot(None)
    classes = options.classes.split(",") if options.classes else None
    samples = [one for one in open_dataset(options.data) if one.of(classes)]
    rows: list[tuple[float, float]] = []
    asked = 0
    for index in rng.permutation(len(samples))[: options.images]:
        sample, near = samples[index], Closer()
        truths = sample.of(classes)
        with slot.predictor() as predictor:
            predictor.set_image(sample.image)
            features, frame, image = predictor.features, predictor.frame, sample.image
            known = Embedding(sample.id, frame.height, frame.width, features, b"")
            for place in rng.permutation(len(truths))[: options.most]:
                truth = truths[place].mask
                x, y = centre(truth)
                ask = ObjectPrompt(clicks=((float(x), float(y), 1),))
                predictor.set_features(features, frame.height, frame.width, image=lambda shown=image: shown)
                output = predictor.decode(ask.prompts(truth.shape), slot.name)
                (whole,) = masks.candidates(output, frame, every=False)
                closer = near.candidate(slot, predictor, known, ask, whole["box"])
                asked += 1
                if closer is not None:
                    rows.append((iou(_mask(whole), truth), iou(_mask(closer), truth)))
    found = 100 * np.array(rows or [(np.nan, np.nan)])
    print(f"{options.data.name}: {asked} clicks, a closer look offered to {len(rows)}; mIoU of these")
    print(
        f"  whole {found[:, 0].mean():.1f}  closer {found[:, 1].mean():.1f}  the better {found.max(axis=1).mean():.1f}"
    )


def _mask(one: dict[str, Any]) -> np.ndarray:
    return coco.decode(Runs(**one["rle"]).packed).astype(bool)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--classes")
    parser.add_argument("--base", default="nano")
    parser.add_argument("--adapter")
    parser.add_argument("--images", type=int, default=40)
    parser.add_argument("--most", type=int, default=15, help="objects an image")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
