"""The region map in the masks of clicks and boxes: mIoU on test images by the weight of the map.

    python tools/measure_map_weights.py --data DATA --data-open DATA_OPEN --out RUNS [--only wagons,plates]
        [--seeds 0,1] [--shots 8] [--steps 300] [--images 24]

Writes results/map-weights.json. The map is that of the candidate `tailor` of the contest, added to the masks of the
base model with several weights, and boxes with and without their limit (`fitting/contest/prompt_variant.py`). Boxes are
those of the true masks, and the same with inexact corners. RUNS may be that of tools/measure_linear.py, whose fits are
then used. Images as in tools/measure_offsets.py.
"""

from __future__ import annotations

import argparse

import results
from measure_offsets import SETS, fitted, parser_of
from results import Cell, Column, Table
from samtailor.bases import Base, load_base
from samtailor.cache.embeddings import EmbeddingCache
from samtailor.fitting.contest.prompt_comparison import variants_of
from samtailor.fitting.contest.scoring import prompted_scores
from samtailor.prompts import Source
from samtailor.registry import find

JITTER = 0.06
"""Standard deviation of the corners of inexact boxes, as a share of the sides."""
PROMPTS: dict[str, tuple[str, Source | None]] = {
    "click": ("click", None),
    "box": ("box", None),
    "inexact": ("box", find("prompts", "mask-box").build(jitter=JITTER, reach=1024.0)),
}
"""Table to the way of use and the source of its prompts."""
TITLES = {"click": "One click", "box": "A box", "inexact": "A box with inexact corners"}
VARIANTS = {table: variants_of(way, (0.0,), True) for table, (way, _) in PROMPTS.items()}


def main() -> None:
    parser = parser_of("map-weights", __doc__)
    parser.set_defaults(steps=300)
    options = parser.parse_args()
    base, store = load_base(), EmbeddingCache()
    rows: dict[str, dict[str, dict[str, Cell]]] = {way: {} for way in VARIANTS}
    for name in options.only or SETS:
        for way, cells in _cells(name, base, store, options).items():
            rows[way][name] = cells
        tables = {way: Table(title=TITLES[way], columns=_columns(way), rows=made) for way, made in rows.items()}
        results.save(
            "map-weights",
            tables,
            title="The region map in the masks of clicks and boxes: mIoU on test images",
            units="percent, mean over seeds; columns: weight of the map, 0 is the base model",
            notes=[
                f"{options.shots} images to fit, {options.steps} steps, {options.images} test images per seed.",
                f"Inexact corners: moved by {100 * JITTER:.0f} % of the side of the box (standard deviation).",
            ],
            base=base,
            seeds=options.seeds,
            file=options.results,
        )


def _columns(way: str) -> tuple[Column, ...]:
    return (
        Column(key="set", label=""),
        *(
            Column(key=one.name, label=f"{one.weight:g}" if one.margin is None else f"{one.weight:g}, limited")
            for one in VARIANTS[way]
        ),
    )


def _cells(name: str, base: Base, store: EmbeddingCache, options: argparse.Namespace) -> dict[str, dict[str, Cell]]:
    """The row of a set for clicks and boxes."""
    by_way: dict[str, list[dict[str, float]]] = {way: [] for way in VARIANTS}
    for seed in options.seeds:
        segmenter, tests, classes = fitted(name, seed, base, store, options)
        for table, (way, source) in PROMPTS.items():
            scores = prompted_scores(
                segmenter, tests, classes, store, way, variants=VARIANTS[table], seed=seed, source=source
            )
            by_way[table].append({one.name: results.percent(scores.mean(one.name)) for one in VARIANTS[table]})
    rows: dict[str, dict[str, Cell]] = {}
    for way, of_seeds in by_way.items():
        rows[way] = {"set": SETS[name][0]}
        for one in VARIANTS[way]:
            values = tuple(scores[one.name] for scores in of_seeds)
            rows[way][one.name] = results.over_seeds(values)
        print(name, way, of_seeds, flush=True)
    return rows


if __name__ == "__main__":
    main()
