"""The zoomed mask that the workbench offers for small objects: one click in the middle; results/closer-look.json.

    python tools/measure_closer.py DATA [--only nuclei,plates] [--base lite] [--adapter DIR] [--images 40] [--most 15]

DATA holds the data sets as folders. Images and, in each, objects are drawn with --seed. Reported are the clicks for
which a zoomed mask is offered (`workbench/zoom.py`), and their mIoU: of the best mask of the whole image, of the
zoomed mask, and of the better of the two. `--only` measures some of the sets again; they have to be of the same base.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as coco

import results
from results import Cell, Column, Table
from samtailor.bases import load_on
from samtailor.data.dataset import open_dataset
from samtailor.masks.interior import center
from samtailor.masks.metrics import iou
from samtailor.predict.prompt import ObjectPrompt
from samtailor.serve.adapters import Adapters
from samtailor.serve.embeddings import Embedding
from samtailor.workbench import masks
from samtailor.workbench.records import Runs
from samtailor.workbench.zoom import Zoom

SETS: dict[str, tuple[str, str, list[str] | None]] = {
    "nuclei": ("nuclei", "Nuclei", None),
    "facades": ("facades", "Signboards", ["signboard"]),
    "street_fashion": ("street_fashion", "Clothes (street fashion)", None),
    "plates": ("plates", "Licence plates", None),
    "humans": ("humans", "People", None),
}
COLUMNS = (
    Column(key="set", label=""),
    Column(key="clicks", label="Clicks", digits=0),
    Column(key="offered", label="Offered", digits=0),
    Column(key="whole", label="Whole image"),
    Column(key="zoom", label="Zoomed"),
    Column(key="better", label="The better of the two"),
)


def main() -> None:
    options = _options()
    base = load_on(options.base)
    rows = _known_rows(options.results, base) if options.only else {}
    for name in options.only or SETS:
        rows[name] = _measure(name, base, options)
        print(rows[name], flush=True)
    table = Table(title="Clicks for which a zoomed mask was offered", columns=COLUMNS, rows=rows)
    results.save(
        "closer-look",
        {"figures": table},
        title="A zoomed mask for small objects: one click in the middle",
        units="mIoU in percent over the clicks for which a zoomed mask was offered",
        notes=[f"{options.images} images per set, at most {options.most} objects each."],
        base=base,
        seeds=[options.seed],
        file=options.results,
    )


def _known_rows(file: Path, base: Any) -> dict[str, dict[str, Cell]]:
    """Rows that an earlier run measured, if they are of this base."""
    if not file.is_file():
        return {}
    known = results.Result.model_validate_json(file.read_text(encoding="utf-8"))
    if known.record("figures").base != results.BaseModelUsed(name=base.name, fingerprint=base.fingerprint):
        raise SystemExit(f"{file} is of another base model: measure all sets again, without --only.")
    return dict(known.tables["figures"].rows)


def _measure(name: str, base: Any, options: argparse.Namespace) -> dict[str, Cell]:
    folder, title, classes = SETS[name]
    rng = np.random.default_rng(options.seed)
    adapters = Adapters(base, 1)
    slot = adapters.add("adapter", options.adapter) if options.adapter else adapters.get(None)
    samples = [one for one in open_dataset(options.data / folder) if one.of(classes)]
    rows: list[tuple[float, float]] = []
    clicks = 0
    for index in rng.permutation(len(samples))[: options.images]:
        sample, near = samples[index], Zoom()
        truths = sample.of(classes)
        with slot.predictor() as predictor:
            predictor.set_image(sample.image)
            features, frame, image = predictor.features, predictor.frame, sample.image
            known = Embedding(sample.id, frame.height, frame.width, features, b"")
            for place in rng.permutation(len(truths))[: options.most]:
                truth = truths[place].mask
                x, y = center(truth)
                ask = ObjectPrompt(clicks=((float(x), float(y), 1),))
                predictor.set_features(features, frame.height, frame.width, image=lambda shown=image: shown)
                output = predictor.decode(ask.prompts(truth.shape), slot.name)
                (whole,) = masks.candidates(output, frame, every=False)
                closer = near.candidate(slot, predictor, known, ask, whole["box"])
                clicks += 1
                if closer is not None:
                    rows.append((iou(_mask(whole), truth), iou(_mask(closer), truth)))
    cells: dict[str, Cell] = {"set": title, "clicks": clicks, "offered": len(rows)}
    if rows:
        found = np.array(rows)
        means = found[:, 0].mean(), found[:, 1].mean(), found.max(axis=1).mean()
        cells |= {
            key: results.percent(float(mean)) for key, mean in zip(("whole", "zoom", "better"), means, strict=True)
        }
    return cells


def _mask(one: dict[str, Any]) -> np.ndarray:
    return coco.decode(Runs(**one["rle"]).packed).astype(bool)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--only", type=lambda text: text.split(","), help="data sets to measure")
    parser.add_argument("--base", default="lite")
    parser.add_argument("--adapter")
    parser.add_argument("--images", type=int, default=40)
    parser.add_argument("--most", type=int, default=15, help="objects per image")
    parser.add_argument("--seed", type=int, default=0)
    results.add_option(parser, "closer-look")
    return parser.parse_args()


if __name__ == "__main__":
    main()
