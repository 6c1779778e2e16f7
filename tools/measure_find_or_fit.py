"""`find` with the masks of a fit as references, against the fit: regions and single objects on the same test images.

    python tools/measure_find_or_fit.py --data DATA --fits AUTO [--only plates,nuclei] [--seeds 0,1] [--images 24]

AUTO is the folder of tools/measure_auto.py, whose adapters with eight masks are used. Writes results/find-or-fit.json.
Finished sets and seeds are kept in AUTO/find-or-fit.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import results
from measure_few_shot import SETS
from results import Cell, Column, Table
from samtailor import artefact
from samtailor.bases import Base, load_base
from samtailor.cache.embeddings import EmbeddingCache
from samtailor.data.dataset import open_dataset
from samtailor.data.split import Split
from samtailor.evaluation.instances import LOWEST, evaluate_instances
from samtailor.masks import metrics
from samtailor.predict.find import Finder
from samtailor.predict.predictor import Predictor
from samtailor.predict.references import Reference
from samtailor.predict.source import AdapterSource
from samtailor.structures import Annotation, Sample

SHOTS = 8
WAYS = {"auto": "Fit (auto)", "find": "find"}
FIGURES = {"dice": "Dice", "ap50": "Mask AP50", "f1": "F1", "count_error": "Count error"}


def main() -> None:
    options = _options()
    base, store = load_base(), EmbeddingCache()
    rows = [
        row
        for name in options.only or SETS
        for seed in options.seeds
        for folder in sorted((options.fits / name / "fits" / str(seed)).glob(f"*/auto-{SHOTS}shots"))
        if (row := _row(name, seed, folder, base, store, options))
    ]
    results.save(
        "find-or-fit",
        {"all": _table(rows)},
        title="`find` with the masks of a fit as references, against the fit",
        units="percent, mean over seeds and classes; count error in objects per image",
        notes=[
            f"{SHOTS} images with masks, at most {options.images} test images. Dice is that of the union of objects. "
            "F1 and count error are those at the threshold that each has by default."
        ],
        base=base,
        seeds=options.seeds,
        file=options.results,
    )


def _table(rows: Sequence[Mapping[str, Any]]) -> Table:
    columns = [Column(key="set", label="")]
    columns += [
        Column(key=f"{figure}-{way}", label=f"{label}, {title}")
        for figure, label in FIGURES.items() for way, title in WAYS.items()
    ]  # fmt: skip
    made: dict[str, dict[str, Cell]] = {}
    for name in dict.fromkeys(row["set"] for row in rows):
        cells: dict[str, Cell] = {"set": SETS[name][0]}
        for figure in FIGURES:
            for way in WAYS:
                values = [row[way][figure] for row in rows if row["set"] == name]
                scale = 1.0 if figure == "count_error" else 100.0
                each = tuple(scale * value for value in values)
                cells[f"{figure}-{way}"] = results.over_seeds(each)
        made[name] = cells
    return Table(title="Fit or find", columns=tuple(columns), rows=made)


def _row(
    name: str, seed: int, folder: Path, base: Base, store: EmbeddingCache, options: argparse.Namespace
) -> dict[str, Any]:
    """Figures of both on the test images of one fit."""
    file: Path = options.fits / "find-or-fit" / f"{name}-{seed}-{folder.parent.name}.json"
    if not file.is_file():
        file.parent.mkdir(parents=True, exist_ok=True)
        measured = _measure(open_dataset(options.data / name), folder, base, store, options.images)
        file.write_text(json.dumps({"set": name, "seed": seed, **measured}), encoding="utf-8")
    row: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    print(file.name, {way: row[way] for way in WAYS}, flush=True)
    return row


def _measure(
    samples: Sequence[Sample], folder: Path, base: Base, store: EmbeddingCache, images: int
) -> dict[str, dict[str, float]]:
    loaded, split = artefact.load(folder, base), Split.read(folder / artefact.SPLIT)
    classes = loaded.meta.classes
    shown = [sample for sample in samples if sample.id in set(split.train) and sample.of(classes)]
    tests = [sample for sample in samples if sample.id in set(split.test) and sample.of(classes)][:images]
    predictor = Predictor(base, {"adapter": loaded.segmenter}, store=store)
    finder = Finder.of(
        lambda: Predictor(base, store=store), [_reference(one, classes) for one in shown], label=classes[0]
    )
    accepted, finder.threshold = finder.threshold, 0.0  # all of them count for the ranking
    sources = {
        "auto": AdapterSource.of(predictor, "adapter", folder, lowest=LOWEST),
        "find": AdapterSource(
            None, finder.propose, classes[0], tiles=finder.matcher.tiles, threshold=lambda _: accepted
        ),
    }
    found = {}
    for way, one in evaluate_instances(predictor, sources, tests, classes, store=store).items():
        summary = one.summary(draws=2)
        dice = [
            metrics.dice(
                _union([p.rle for p in image.predictions if p.accepted], sample),
                _union([truth.rle for truth in image.truths], sample),
            )
            for image, sample in zip(one.images, tests, strict=True)
        ]
        found[way] = {"dice": float(np.mean(dice)), **{key: summary[key] for key in FIGURES if key != "dice"}}
    return found


def _reference(sample: Sample, classes: Sequence[str]) -> Reference:
    """An image as a reference, with a number for each object."""
    numbers = np.zeros(sample.size, np.int32)
    for number, one in enumerate(sample.of(classes), 1):
        numbers[one.mask] = number
    return Reference(sample.image, numbers)


def _union(rles: Sequence[dict[str, Any]], sample: Sample) -> np.ndarray:
    union = np.zeros(sample.size, bool)
    for rle in rles:
        union |= Annotation("", rle).mask
    return union


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--fits", type=Path, required=True, help="folder of tools/measure_auto.py")
    parser.add_argument("--only", type=lambda text: text.split(","), help="sets to measure")
    parser.add_argument("--seeds", type=lambda text: [int(one) for one in text.split(",")], default=[0, 1])
    parser.add_argument("--images", type=int, default=24, help="test images")
    results.add_option(parser, "find-or-fit")
    return parser.parse_args()


if __name__ == "__main__":
    main()
