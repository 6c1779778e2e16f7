"""Measure `samtailor find` on real images: one, three and five references; writes results/find.json.

    python tools/measure_find.py --data DATA --out RUNS [--only humans,lesions] [--seeds 0,1,2] [--images 16]

The references are the first training images of the split of each seed, as `measure_few_shot.py` splits the data, and
the test images are the first held-out ones that show the class, in an order given by a hash of their ids. Every pair
of a set and a seed is kept in RUNS and measured once. `click` is one click of the base model in the middle of the true
region. Somebody has to make it, and it shows where the object is, so that it is a bound and not a competitor.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch

import results
from results import Cell, Column, Figure, Table
from samtailor.bases import Base, load_base
from samtailor.bases.companions import load_companion
from samtailor.bases.encoder import fast_encoder
from samtailor.cache.embeddings import EmbeddingCache
from samtailor.compare.seed_split import few_shot_config, limit_shots, split_for_seed
from samtailor.data.dataset import open_dataset
from samtailor.data.regions import regions
from samtailor.masks import interior, metrics
from samtailor.masks.average_precision import ImageResult, Instance, match, mean_precision
from samtailor.matchers import MarkedImage, make
from samtailor.predict.find import Finder, FoundObject
from samtailor.predict.predictor import Predictor
from samtailor.structures import Annotation, Sample
from samtailor.train.config import FitConfig

SETS: dict[str, tuple[str, str, str | None]] = {
    "humans": ("People", "humans", None),
    "lesions": ("Skin lesions", "lesions", None),
    "plates": ("Licence plates", "plates", None),
    "nuclei": ("Cell nuclei", "nuclei", None),
    "facades": ("Signboards", "facades", "signboard"),
    "hair": ("Hair", "face_parts", "hair"),
    "nose": ("Noses", "face_parts", "nose"),
}
"""Title, folder and class of each measurement; None: all classes of the set."""
GROUPS = {"face_parts": r"regex:personne\d\d"}
SHOTS = (1, 3, 5)
INSTANCES = ("plates", "nuclei", "facades")
LOWEST = 0.02
"""Lowest score of an object that counts for average precision."""


def main() -> None:
    options = _options()
    torch.set_flush_denormal(True)
    base = load_base()
    runs: dict[str, dict[int, dict[str, Any]]] = {name: {} for name in options.only or SETS}
    for seed in options.seeds:  # the first seed of all sets first
        for name, by_seed in runs.items():
            by_seed[seed] = _run(name, seed, base, options)
    tables = {"dice": _dice_table(runs), "instances": _instance_table(runs), "cost": _cost_table(runs)}
    results.save(
        "find",
        {key: table for key, table in tables.items() if table.rows},
        title="One, three and five references, no fit",
        units="percent; seconds are CPU seconds of one thread",
        notes=[f"At most {options.images} held-out images of each seed."],
        base=base,
        seeds=options.seeds,
        file=options.results,
    )


# -- measuring


def _run(name: str, seed: int, base: Base, options: argparse.Namespace) -> dict[str, Any]:
    """Figures of one set and seed, from RUNS where they have been measured."""
    file = options.out / f"{name}-{seed}-{options.images}-{base.fingerprint}.json"
    if file.is_file():
        return json.loads(file.read_text(encoding="utf-8"))
    _, folder, label = SETS[name]
    samples = open_dataset(options.data / folder, group=GROUPS.get(folder))
    classes = (label,) if label else tuple(sorted({a.label for one in samples for a in one.annotations}))
    references, tested = _images(samples, folder, classes, seed, options.images)
    store = EmbeddingCache(options.out / "embeddings")
    measured = {"test": [one.id for one in tested], "click": _clicks(base, store, tested, classes)}
    for matcher in options.matchers:
        for count, shown in references.items():
            measured[f"{matcher}-{count}"] = _found(base, store, matcher, shown, tested, classes)
    measured["encode"] = _encode_seconds(base, tested)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(measured), encoding="utf-8")
    means = {key: round(100 * float(statistics.mean(one["dice"])), 1) for key, one in measured.items() if "-" in key}
    print(f"{file.stem}: Dice {means}", file=sys.stderr, flush=True)
    return measured


def _images(
    samples: Sequence[Sample], folder: str, classes: Sequence[str], seed: int, count: int
) -> tuple[dict[int, list[Sample]], list[Sample]]:
    """References by their number, and test images."""
    both = ("hair", "nose") if folder == "face_parts" else classes
    merged, by_id = regions(samples, both), {one.id: one for one in samples}
    split = split_for_seed(merged, few_shot_config(FitConfig(), max(SHOTS)), seed, both)
    references = {}
    for shots in SHOTS:
        limited = limit_shots(split, few_shot_config(FitConfig(), shots), classes)
        references[shots] = [by_id[id] for id in limited.split.train]
    held_out = [by_id[one.id] for one in split.held_out if by_id[one.id].of(classes)]
    order = sorted(held_out, key=lambda one: sha256(f"find{one.id}".encode()).hexdigest())
    return references, order[:count]


def _found(
    base: Base,
    store: EmbeddingCache,
    matcher: str,
    shown: Sequence[Sample],
    tested: Sequence[Sample],
    classes: Sequence[str],
) -> dict[str, Any]:
    """Dice of each image, AP50 of its objects, and CPU seconds."""
    start = time.process_time()
    read = make(matcher, base, [_marked(base, store, one, classes) for one in shown])
    reading = time.process_time() - start
    finder, predictor = Finder(read, threshold=min(LOWEST, read.threshold)), Predictor(base, store=store)
    dices, images, seconds = [], [], 0.0
    for sample in tested:
        predictor.set_sample(sample)
        predictor.with_companions(read.companions)
        start = time.process_time()
        with torch.no_grad():
            objects = finder.objects(predictor)
        seconds += time.process_time() - start
        accepted = [one.mask for one in objects if one.score >= read.threshold]
        dices.append(metrics.dice(_union(accepted, sample.size), _truth(sample, classes)))
        images.append(_image_result(sample, classes, objects, read.threshold))
    return {
        "dice": dices,
        "ap50": mean_precision(match(images, ["object"]))["ap50"],
        "threshold": read.threshold,
        "tiles": read.tiles,
        "reading": reading,
        "finding": seconds / len(tested),
    }


def _marked(base: Base, store: EmbeddingCache, sample: Sample, classes: Sequence[str]) -> MarkedImage:
    predictor = Predictor(base, store=store)
    predictor.set_sample(sample)
    masks = tuple(one.mask for one in sample.of(classes) if one.area)
    return MarkedImage(predictor.with_companions, predictor.frame, masks)


def _image_result(
    sample: Sample, classes: Sequence[str], objects: Sequence[FoundObject], threshold: float
) -> ImageResult:
    truths = tuple(Annotation("object", one.rle, one.crowd) for one in sample.of(classes))
    predictions = tuple(Instance("object", one.rle, one.score, one.score >= threshold) for one in objects)
    return ImageResult(sample.id, truths, predictions)


def _clicks(base: Base, store: EmbeddingCache, tested: Sequence[Sample], classes: Sequence[str]) -> dict[str, Any]:
    """Dice of one click in the middle of the true region."""
    predictor, dices = Predictor(base, store=store), []
    for sample in tested:
        truth = _truth(sample, classes)
        predictor.set_sample(sample)
        masks, scores, _ = predictor.predict([interior.center(truth)])
        dices.append(metrics.dice(masks[int(np.argmax(scores))], truth))
    return {"dice": dices}


def _encode_seconds(base: Base, tested: Sequence[Sample]) -> float:
    """CPU seconds of an image until its embedding and the maps of the companion are there, without a cache."""
    companion, encoder = load_companion(), Predictor(fast_encoder(base))
    pixels = [one.image for one in tested[:3]]
    encoder.set_image(pixels[0])
    start = time.process_time()
    for image in pixels:
        encoder.set_image(image)
        encoder.with_companions([companion] if companion else [])
    return (time.process_time() - start) / len(pixels)


def _truth(sample: Sample, classes: Sequence[str]) -> np.ndarray:
    return _union([one.mask for one in sample.of(classes)], sample.size)


def _union(masks: Sequence[np.ndarray], size: tuple[int, int]) -> np.ndarray:
    return np.logical_or.reduce(masks) if masks else np.zeros(size, bool)


# -- tables


Runs = Mapping[str, Mapping[int, Mapping[str, Any]]]


def _keys(runs: Runs) -> list[str]:
    """Every matcher with every number of references that all runs have."""
    one = next(iter(next(iter(runs.values())).values()))
    return [key for key in one if isinstance(one[key], dict) and "ap50" in one[key]]


def _columns(keys: Sequence[str], more: Sequence[Column] = ()) -> tuple[Column, ...]:
    labels = {key: f"{key.rpartition('-')[0]}, {key.rpartition('-')[2]}" for key in keys}
    return (Column(key="set", label="References:"), *(Column(key=key, label=labels[key]) for key in keys), *more)


def _dice_table(runs: Runs) -> Table:
    keys = [*_keys(runs), "click"]
    rows = {name: _row(SETS[name][0], by_seed, keys, _mean_dice) for name, by_seed in runs.items()}
    mean: dict[str, Cell] = {"set": "Mean"}
    for key in keys:
        mean[key] = round(statistics.mean(_value(row[key]) for row in rows.values()), 2)
    columns = _columns(keys[:-1], [Column(key="click", label="One click (a bound)")])
    title = "Dice of one region per image"
    return Table(title=title, columns=columns, rows={**rows, "mean": mean}, best=tuple(keys[:-1]))


def _instance_table(runs: Runs) -> Table:
    keys = _keys(runs)
    rows = {
        name: _row(SETS[name][0], by_seed, keys, lambda one: one["ap50"] or 0.0)
        for name, by_seed in runs.items()
        if name in INSTANCES
    }
    return Table(title="Mask AP50 of single objects", columns=_columns(keys), rows=rows, best=tuple(keys))


def _cost_table(runs: Runs) -> Table:
    every = [one for by_seed in runs.values() for one in by_seed.values()]
    encode = statistics.mean(one["encode"] for one in every)
    rows: dict[str, dict[str, Cell]] = {}
    for key in _keys(runs):
        finding = [one[key]["finding"] for one in every]
        rows[key] = {
            "matcher": key.rpartition("-")[0],
            "references": int(key.rpartition("-")[2]),
            "reading": round(statistics.mean(one[key]["reading"] for one in every), 2),
            "finding": round(statistics.mean(finding), 3),
            "slowest": round(max(finding), 3),
            "whole": round(statistics.mean(finding) + encode, 3),
        }
    columns = (
        Column(key="matcher", label="Matcher"),
        Column(key="references", label="References", digits=0),
        Column(key="reading", label="Read them, once", digits=1),
        Column(key="finding", label="Find, per image", digits=2),
        Column(key="slowest", label="in the slowest set", digits=2),
        Column(key="whole", label="Encode and find, per image", digits=2),
    )
    return Table(title="CPU seconds", columns=columns, rows=rows)


def _row(
    title: str, by_seed: Mapping[int, Mapping[str, Any]], keys: Sequence[str], of: Callable[[Mapping[str, Any]], float]
) -> dict[str, Cell]:
    row: dict[str, Cell] = {"set": title}
    for key in keys:
        seeds = tuple(results.percent(of(one[key])) or 0.0 for one in by_seed.values())
        row[key] = Figure(value=round(statistics.mean(seeds), 2), sd=_sd(seeds))
    return row


def _mean_dice(one: Mapping[str, Any]) -> float:
    return statistics.mean(one["dice"])


def _sd(seeds: Sequence[float]) -> float | None:
    return round(statistics.stdev(seeds), 2) if len(seeds) > 1 else None


def _value(cell: Cell) -> float:
    if not isinstance(cell, Figure) or cell.value is None:
        raise TypeError(f"expected a figure, got {cell!r}")
    return cell.value


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", type=lambda text: text.split(","), help="sets to measure")
    parser.add_argument("--matchers", type=lambda text: text.split(","), default=["multiscale", "persam"])
    parser.add_argument("--seeds", type=lambda text: [int(one) for one in text.split(",")], default=[0, 1, 2])
    parser.add_argument("--images", type=int, default=16, help="test images of a seed, at most")
    results.add_option(parser, "find")
    return parser.parse_args()


if __name__ == "__main__":
    main()
