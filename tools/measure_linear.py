"""The two parts of the map of `auto`, and their mean: Dice on test images.

    python tools/measure_linear.py --data DATA --data-open DATA_OPEN --out RUNS [--only wagons,plates] [--seeds 0,1]
        [--shots 8] [--steps 300] [--images 24]

Writes results/linear.json. The map is that of the candidate `tailor` of the contest: the mean of networks and of a
linear discriminant in closed form. Both are measured alone too, from one fit. Images as in tools/measure_offsets.py.
"""

from __future__ import annotations

import argparse
from unittest.mock import patch

from torch import nn

import results
from measure_offsets import SETS, fitted, parser_of
from results import Cell, Column, Table
from samtailor.bases import Base, load_base
from samtailor.cache.embeddings import EmbeddingCache
from samtailor.fitting.contest.region_variant import RegionVariant, threshold
from samtailor.fitting.contest.scoring import region_scores

PARTS = {"networks": "Networks", "linear": "Linear", "both": "Mean of both"}
VARIANTS = tuple(RegionVariant(plan, offset) for plan in (0, 2) for offset in (0, 1, 2))
PLAN = {0: "whole image", 2: "with tiles"}


def main() -> None:
    parser = parser_of("linear", __doc__)
    parser.set_defaults(steps=300)
    options = parser.parse_args()
    base, store = load_base(), EmbeddingCache()
    rows: dict[str, dict[str, Cell]] = {}
    for name in options.only or SETS:
        rows |= _rows(name, base, store, options)
        results.save(
            "linear",
            {"all": Table(title="The map of auto and its parts", columns=_columns(), rows=rows)},
            title="Networks, a linear discriminant, and their mean: Dice on test images",
            units="percent, mean over seeds; columns: probability above which a pixel belongs to the object",
            notes=[f"{options.shots} images to fit, {options.steps} steps, {options.images} test images per seed."],
            base=base,
            seeds=options.seeds,
            file=options.results,
        )


def _columns() -> tuple[Column, ...]:
    return (
        Column(key="set", label=""), Column(key="part", label="Map"),
        *(Column(key=one.name, label=f"{PLAN[one.plan]}, {threshold(one.offset):.2f}") for one in VARIANTS),
    )  # fmt: skip


def _rows(name: str, base: Base, store: EmbeddingCache, options: argparse.Namespace) -> dict[str, dict[str, Cell]]:
    """A row of each part of the map on one set."""
    by_part: dict[str, list[dict[str, float]]] = {part: [] for part in PARTS}
    for seed in options.seeds:
        segmenter, tests, classes = fitted(name, seed, base, store, options)
        region_map = segmenter.adapter("map")
        whole = region_map.members, region_map.linear
        for part, found in by_part.items():
            region_map.members = nn.ModuleList() if part == "linear" else whole[0]
            region_map.linear = None if part == "networks" else whole[1]
            with patch("samtailor.fitting.contest.region_variant.ALL", VARIANTS):
                scores = region_scores(segmenter, tests, classes, store)
            found.append({one.name: results.percent(scores.mean(one.name)) for one in VARIANTS})
    rows: dict[str, dict[str, Cell]] = {}
    for part, found in by_part.items():
        cells: dict[str, Cell] = {"set": SETS[name][0], "part": PARTS[part]}
        for one in VARIANTS:
            values = tuple(scores[one.name] for scores in found)
            cells[one.name] = results.over_seeds(values)
        rows[f"{name}-{part}"] = cells
        print(name, part, found, flush=True)
    return rows


if __name__ == "__main__":
    main()
