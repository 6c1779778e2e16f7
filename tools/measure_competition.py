"""Whether a multi-class adapter draws better masks if its classes compete for a pixel.

    python tools/measure_competition.py DATA ADAPTER [--group RULE] [--images 40]

ADAPTER is the folder of a fit of several classes by the method auto (one adapter for each class). Images that none of
them was fitted on, nor related ones, drawn with seed 0, are labelled with and without the competition; the Dice of the
region of each class goes to results/competition.json.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

import results
from results import Cell, Column, Figure, Table
from samtailor import artefact
from samtailor.data.dataset import open_dataset
from samtailor.data.shots import shuffle_key
from samtailor.data.split import Split
from samtailor.masks import metrics
from samtailor.predict.instances import predict_classes
from samtailor.predict.load import load_predictor
from samtailor.predict.source import AdapterSource
from samtailor.structures import Sample

COLUMNS = (
    Column(key="class", label="Class"),
    Column(key="overlap", label="Both keep the pixel", digits=1),
    Column(key="compete", label="Classes compete", digits=1),
    Column(key="difference", label="Difference", digits=2),
    Column(key="contested", label="Contested pixels, %", digits=1),
)


def main() -> None:
    """Measure and save."""
    options = _options()
    folders = artefact.members(options.adapter)
    metas = {name: artefact.read_meta(folder) for name, folder in folders.items()}
    classes = {name: meta.classes[0] for name, meta in metas.items()}
    learnt = {id for folder in folders.values() for id in Split.read(Path(folder) / artefact.SPLIT).train}
    every = open_dataset(options.data, group=options.group)
    groups = {one.group for one in every if one.id in learnt and one.group is not None}
    samples = [one for one in every if one.id not in learnt and one.group not in groups]
    chosen = sorted(samples, key=lambda one: shuffle_key(0, one.id))[: options.images]
    predictor = load_predictor(folders)
    sources = [AdapterSource.of(predictor, name, folder) for name, folder in folders.items()]
    free = [replace(source, exclusive=()) for source in sources]
    dice: dict[str, list[tuple[float, float, float]]] = {name: [] for name in classes.values()}
    for done, sample in enumerate(chosen, 1):
        predictor.set_sample(sample)
        before, after = (_regions(predictor, sample, one, tuple(dice)) for one in (free, sources))
        for name, rows in dice.items():
            truth = _union([one.mask for one in sample.of((name,))], sample)
            others = _union([before[other] for other in dice if other != name], sample)
            contested = np.count_nonzero(before[name] & others) / max(1, np.count_nonzero(before[name]))
            rows.append((float(metrics.dice(before[name], truth)), float(metrics.dice(after[name], truth)), contested))
        print(done, {name: tuple(round(value, 3) for value in rows[-1]) for name, rows in dice.items()}, flush=True)
    table = {name.replace(" ", "-").lower(): _row(name, np.array(rows), chosen) for name, rows in dice.items()}
    table["mean"] = _row("Mean of the classes", np.mean([np.array(rows) for rows in dice.values()], axis=0), chosen)
    seeds = sorted({meta.seed for meta in metas.values()})
    results.save(
        "competition",
        {options.table: Table(title=f"{len(classes)} classes of {options.data.name}", columns=COLUMNS, rows=table)},
        title="Classes that compete for a pixel",
        units="Dice of the region of a class without a prompt, in percent; difference with its 95 % interval",
        notes=[
            f"{len(chosen)} images that no adapter was fitted on, nor related ones. Contested: share of the pixels of "
            "a class that another class finds too, mean over the images."
        ],
        base=results.bundled(),
        seeds=seeds,
        file=options.results,
    )


def _regions(predictor, sample: Sample, sources: list[AdapterSource], names: tuple[str, ...]) -> dict[str, np.ndarray]:
    """The union of the objects of each class."""
    objects = predict_classes(predictor, sample, sources)
    return {name: _union([one.mask for one in objects if one.label == name], sample) for name in names}


def _union(masks: list[np.ndarray], sample: Sample) -> np.ndarray:
    return np.logical_or.reduce([np.zeros(sample.size, bool), *masks])


def _row(name: str, rows: np.ndarray, samples: list[Sample]) -> dict[str, Cell]:
    before, after, contested = 100 * rows.mean(axis=0)
    mean, low, high = metrics.bootstrap(rows[:, 1] - rows[:, 0], [one.id for one in samples])
    change = Figure(value=round(100 * mean, 3), low=round(100 * low, 3), high=round(100 * high, 3))
    return {"class": name, "overlap": round(before, 2), "compete": round(after, 2), "difference": change,
            "contested": round(contested, 2)}  # fmt: skip


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("adapter", type=Path, help="folder of the fit")
    parser.add_argument("--group", help="rule for related images, as of the fit")
    parser.add_argument("--images", type=int, default=40)
    parser.add_argument("--table", default="faces", help="name of the table in the result")
    results.add_option(parser, "competition")
    return parser.parse_args()


if __name__ == "__main__":
    main()
