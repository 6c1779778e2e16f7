"""Tiled inference of small objects: Dice on test images by plan, with the linear map alone; results/tiles.json.

    python tools/measure_tiles.py --data DATA --data-open DATA_OPEN --out RUNS [--only plates,nose] [--seeds 1,2]
        [--shots 8] [--images 20]

The linear map is the candidate `linear` of the contest of `auto`. It is fitted in a second, so that many kinds of
objects can be measured; images are drawn with the seed.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from unittest.mock import patch

import numpy as np

import results
from results import Cell, Column, Figure, Table
from samtailor import artefact
from samtailor.bases import Base, load_base
from samtailor.cache.embeddings import EmbeddingCache
from samtailor.data.dataset import open_dataset
from samtailor.data.split import Split
from samtailor.fitting.contest.candidates.tailor import OPTIONS, SETTINGS
from samtailor.fitting.contest.fingerprint import SMALL
from samtailor.fitting.contest.region_variant import RegionVariant
from samtailor.fitting.contest.scoring import region_scores
from samtailor.fitting.run import Run
from samtailor.structures import Sample
from samtailor.train.config import FitConfig, resolve

SETS = {
    "plates": ("plates", "licence"),
    "signboards": ("facades", "signboard"),
    "windows": ("facades", "window"),
    "nuclei": ("nuclei", "object"),
    "nose": ("face_parts", "nose"),
    "eyes": ("face_parts", "eyes"),
    "bag": ("street_fashion", "bag"),
    "shoes": ("street_fashion", "shoes"),
    "sunglasses": ("street_fashion", "sunglasses"),
    "qr": ("qr_photos", "object"),
    "breadboard": ("breadboard", "object"),
    "granular": ("granular", "object"),
    "micrographs": ("nasa_micrographs", "object"),
    "wagons": ("wagons", "object"),
}
"""Key to the folder of the data and the class."""
SHOWN = (0, 2, 3)
"""Numbers of the plans."""
TITLES = {0: "whole image", 2: "and tiles", 3: "and tiles, with the decoder"}


def main() -> None:
    options = _options()
    base, store = load_base(), EmbeddingCache()
    rows: dict[str, dict[str, Cell]] = {}
    for key in options.only or SETS:
        rows[key] = _row(key, base, store, options)
        print(key, rows[key], flush=True)
    columns = [Column(key="set", label=""), Column(key="side", label="Side of the median object, %")]
    columns += [Column(key=f"plan-{plan}", label=TITLES[plan]) for plan in SHOWN]
    columns += [Column(key="gain", label="Tiles minus whole image", signed=True)]
    means = {
        name: float(np.mean([row[name].value for row in rows.values()]))  # type: ignore[union-attr]
        for name in (*(f"plan-{plan}" for plan in SHOWN), "gain")
    }
    rows["mean"] = {"set": "Mean", **means}
    results.save(
        "tiles",
        {"all": Table(title="Tiles of small objects", columns=tuple(columns), rows=rows)},
        title="Tiled inference of small objects: Dice on test images",
        units=f"percent, mean over seeds; side: of a square of the area of the object, small up to {100 * SMALL:g}",
        notes=[f"{options.shots} images to fit, at most {options.images} test images per seed."],
        base=base,
        seeds=options.seeds,
        file=options.results,
    )


def _row(key: str, base: Base, store: EmbeddingCache, options: argparse.Namespace) -> dict[str, Cell]:
    name, label = SETS[key]
    folder = next(one for one in (options.data / name, options.data_open / name) if one.is_dir())
    usable = [sample for sample in open_dataset(folder) if sample.of((label,))]
    found: list[dict[str, float]] = []
    for seed in options.seeds:
        order = np.random.default_rng(seed).permutation(len(usable))
        train = [usable[index] for index in order[: options.shots]]
        tests = [usable[index] for index in order[options.shots : options.shots + options.images]]
        out = options.out / f"{key}-{seed}-{options.shots}"
        if not (out / artefact.METADATA).is_file():
            _fit(out, folder, train, label, seed, base, store)
        with patch("samtailor.fitting.contest.region_variant.ALL", tuple(map(RegionVariant, SHOWN))):
            scores = region_scores(artefact.load(out, base).segmenter, tests, (label,), store)
        found.append({f"plan-{plan}": results.percent(scores.mean(str(plan))) for plan in SHOWN})
        found[-1]["gain"] = found[-1]["plan-2"] - found[-1]["plan-0"]
        found[-1]["side"] = 100 * _side(train, label)
    title = name if label == "object" else f"{name}, {label}"
    cells: dict[str, Cell] = {"set": title}
    for column in found[0]:
        values = tuple(one[column] for one in found)
        cells[column] = Figure(value=float(np.mean(values)), seeds=values if len(values) > 1 else ())
    return cells


def _side(samples: list[Sample], label: str) -> float:
    objects = [one for sample in samples for one in sample.of((label,))]
    return float(np.median([(one.area / np.prod(one.rle["size"])) ** 0.5 for one in objects]))


def _fit(
    out: Path, folder: Path, train: list[Sample], label: str, seed: int, base: Base, store: EmbeddingCache
) -> None:
    settings = {
        **SETTINGS, "options": {**OPTIONS, "members": 0}, "data": str(folder), "classes": (label,), "out": out,
        "seed": seed, "steps": 1, "val": 0, "selection": "last", "fallback": False, "trackers": (),
    }  # fmt: skip
    config = resolve(FitConfig(method="tailor", **settings))
    split = Split(train=tuple(sample.id for sample in train))
    Run(config, out, train, (label,), base, split, store, False, None, None).result()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--data-open", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", type=lambda text: text.split(","), help="rows to measure")
    parser.add_argument("--seeds", type=lambda text: [int(one) for one in text.split(",")], default=[1, 2])
    parser.add_argument("--shots", type=int, default=8)
    parser.add_argument("--images", type=int, default=20, help="test images")
    results.add_option(parser, "tiles")
    return parser.parse_args()


if __name__ == "__main__":
    main()
