"""Where to cut a region map: Dice on test images by the offset of its logits and the plan of tiled inference.

    python tools/measure_offsets.py --data DATA --data-open DATA_OPEN --out RUNS [--only wagons,plates] [--seeds 0,1]
        [--shots 8] [--steps 200] [--images 24]

Writes results/offsets.json. The map is that of the candidate `tailor` of the contest of `auto`, fitted on images that
are drawn with the seed; other images are the test images. Fits are kept in RUNS.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

import results
from results import Cell, Column, Figure, Table
from samtailor import artefact
from samtailor.bases import Base, load_base
from samtailor.cache.embeddings import EmbeddingCache
from samtailor.data.dataset import open_dataset
from samtailor.data.split import Split
from samtailor.fitting.contest.candidates.tailor import SETTINGS
from samtailor.fitting.contest.region_variant import ALL, OFFSETS, RegionVariant, threshold
from samtailor.fitting.contest.scoring import region_scores
from samtailor.fitting.run import Run
from samtailor.fitting.select_inference import PLANS
from samtailor.segmenter import Segmenter
from samtailor.structures import Sample
from samtailor.train.config import FitConfig, resolve

SETS: dict[str, tuple[str, tuple[str, ...] | None]] = {
    "wagons": ("Wires and sacks on wagons (thin, small)", None),
    "plates": ("Licence plates", None),
    "facades": ("Signboards", ("signboard",)),
    "lesions": ("Skin lesions", None),
    "humans": ("People", None),
    "nuclei": ("Cell nuclei", None),
}
DEFAULT = ("wagons", "plates", "facades", "lesions")


def main() -> None:
    options = parser_of("offsets", __doc__).parse_args()
    base, store = load_base(), EmbeddingCache()
    tables = {name: _table(name, base, store, options) for name in options.only or DEFAULT}
    results.save(
        "offsets",
        tables,
        title="Where to cut a region map: Dice on test images",
        units="percent, mean over seeds; columns: probability of the map above which a pixel belongs to the object",
        notes=[f"{options.shots} images to fit, {options.steps} steps, {options.images} test images per seed."],
        base=base,
        seeds=options.seeds,
        file=options.results,
    )


def _table(name: str, base: Base, store: EmbeddingCache, options: argparse.Namespace) -> Table:
    by_seed = [_scores(name, seed, base, store, options) for seed in options.seeds]
    columns = [Column(key="plan", label="Plan")]
    columns += [Column(key=f"offset-{offset}", label=f"{threshold(offset):.2f}") for offset in OFFSETS]
    rows: dict[str, dict[str, Cell]] = {}
    for number, plan in enumerate(PLANS):
        cells: dict[str, Cell] = {"plan": str(plan)}
        for one in (one for one in ALL if one.plan == number):
            values = tuple(scores[one] for scores in by_seed)
            cells[f"offset-{one.offset:g}"] = Figure(value=float(np.mean(values)), seeds=values)
        rows[f"plan-{number}"] = cells
    print(name, {key: row for key, row in rows.items()}, flush=True)
    return Table(title=SETS[name][0], columns=tuple(columns), rows=rows)


def _scores(
    name: str, seed: int, base: Base, store: EmbeddingCache, options: argparse.Namespace
) -> Mapping[RegionVariant, float]:
    """Mean Dice of each variant in percent."""
    segmenter, tests, classes = fitted(name, seed, base, store, options)
    scores = region_scores(segmenter, tests, classes, store)
    return {one: results.percent(scores.mean(one.name)) for one in ALL}


def fitted(
    name: str, seed: int, base: Base, store: EmbeddingCache, options: argparse.Namespace
) -> tuple[Segmenter, list[Sample], tuple[str, ...]]:
    """The map fitted on images drawn with a seed, the test images, and the classes."""
    classes, settings = SETS[name][1], {**SETTINGS, "steps": options.steps}
    _, tests, segmenter, classes = drawn_fit(
        name, classes, seed, base, store, options, settings, f"{name}-{seed}-{options.shots}-{options.steps}"
    )
    return segmenter, tests, classes


def drawn_fit(
    name: str,
    classes: tuple[str, ...] | None,
    seed: int,
    base: Base,
    store: EmbeddingCache,
    options: argparse.Namespace,
    settings: Mapping[str, Any],
    kept: str,
) -> tuple[list[Sample], list[Sample], Segmenter, tuple[str, ...]]:
    """A map fitted on images drawn with a seed.

    Args:
        name: of the data set.
        classes: None for all.
        seed: of the images and of the fit.
        base, store: loaded base and its cached embeddings.
        options: of `parser_of`.
        settings: of the fit, with its steps.
        kept: name of its folder, which is used again.

    Returns:
        training images, test images, the map, and the classes.
    """
    folder, usable, classes = drawn_images(name, classes, seed, options)
    train, tests = usable[: options.shots], usable[options.shots : options.shots + options.images]
    segmenter = fit_of(folder, train, classes, seed, base, store, settings, options.out / kept)
    return train, tests, segmenter, classes


def drawn_images(
    name: str, classes: tuple[str, ...] | None, seed: int, options: argparse.Namespace
) -> tuple[Path, list[Sample], tuple[str, ...]]:
    """Folder of a data set, its images with an object in the order of a seed, and the classes; as of `drawn_fit`."""
    folder = next(one for one in (options.data / name, options.data_open / name) if one.is_dir())
    samples = open_dataset(folder)
    classes = classes or tuple(sorted({one.label for sample in samples for one in sample.annotations}))
    usable = [sample for sample in samples if sample.of(classes)]
    order = np.random.default_rng(seed).permutation(len(usable))
    return folder, [usable[index] for index in order], classes


def fit_of(
    folder: Path,
    train: list[Sample],
    classes: tuple[str, ...],
    seed: int,
    base: Base,
    store: EmbeddingCache,
    settings: Mapping[str, Any],
    out: Path,
) -> Segmenter:
    """A map fitted on images, in a folder that is used again; arguments as of `drawn_fit`."""
    if not (out / artefact.METADATA).is_file():
        steps = settings["steps"]
        given: dict[str, Any] = {
            **settings, "data": str(folder), "classes": classes, "out": out, "seed": seed, "warmup": 20,
            "schedule": "cosine", "val": 0, "selection": "last", "fallback": False, "trackers": (), "views": 8,
            "checkpoint_every": steps, "eval_every": steps,
        }  # fmt: skip
        split = Split(train=tuple(sample.id for sample in train))
        config = resolve(FitConfig(method="tailor", **given))
        Run(config, out, train, classes, base, split, store, False, None, None).result()
    return artefact.load(out, base).segmenter


def parser_of(name: str, about: str | None) -> argparse.ArgumentParser:
    """The options of a tool that measures fits of this map; `name` is that of its results."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--data-open", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", type=lambda text: text.split(","), help="sets to measure")
    parser.add_argument("--seeds", type=lambda text: [int(one) for one in text.split(",")], default=[0, 1])
    parser.add_argument("--shots", type=int, default=8)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--images", type=int, default=24, help="test images")
    results.add_option(parser, name)
    return parser


if __name__ == "__main__":
    main()
