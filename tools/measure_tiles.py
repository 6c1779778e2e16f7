"""Tiled inference of small objects: Dice on test images by plan, with the linear map alone; results/tiles.json.

    python tools/measure_tiles.py --data DATA --data-open DATA_OPEN --out RUNS [--only plates,nose] [--seeds 1,2]
        [--shots 8] [--images 20]

The linear map is the candidate `linear` of the contest of `auto`. It is fitted in a second, so that many kinds of
objects can be measured; images are drawn with the seed.
"""

from __future__ import annotations

import argparse
from unittest.mock import patch

import numpy as np

import results
from measure_offsets import drawn_fit, parser_of
from results import Cell, Column, Table
from samtailor.bases import Base, load_base
from samtailor.cache.embeddings import EmbeddingCache
from samtailor.data.split import Split
from samtailor.fitting.contest.candidates.linear import SETTINGS
from samtailor.fitting.contest.fingerprint import SMALL, fingerprint
from samtailor.fitting.contest.region_variant import RegionVariant
from samtailor.fitting.contest.scoring import region_scores

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
    parser = parser_of("tiles", __doc__)
    parser.set_defaults(seeds=[1, 2], images=20)
    options = parser.parse_args()
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
    settings = {**SETTINGS, "steps": 1}
    found: list[dict[str, float]] = []
    for seed in options.seeds:
        train, tests, segmenter, classes = drawn_fit(
            name, (label,), seed, base, store, options, settings, f"{key}-{seed}-{options.shots}"
        )
        with patch("samtailor.fitting.contest.region_variant.ALL", tuple(map(RegionVariant, SHOWN))):
            scores = region_scores(segmenter, tests, classes, store)
        found.append({f"plan-{plan}": results.percent(scores.mean(str(plan))) for plan in SHOWN})
        found[-1]["gain"] = found[-1]["plan-2"] - found[-1]["plan-0"]
        split = Split(train=tuple(sample.id for sample in train))
        data = fingerprint(train, classes, split, encode_seconds=0.0, cores=1)
        found[-1]["side"] = 100 * data.median_side
    title = name if label == "object" else f"{name}, {label}"
    cells: dict[str, Cell] = {"set": title}
    for column in found[0]:
        values = tuple(one[column] for one in found)
        cells[column] = results.over_seeds(values)
    return cells


if __name__ == "__main__":
    main()
