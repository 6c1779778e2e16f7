"""What 8-bit embeddings and a half-precision encoder change: logits and mIoU; results/embedding-precision.json.

    python tools/measure_embedding_precision.py --data DATA [--only humans,lesions,nuclei] [--images 30] [--base lite]

Every image is encoded by the base in each way. The logits are those of all candidates for one click at the center of
each mask (at most 20 of an image); their difference to full precision is in units of a logit, in which masks are cut
at 0. mIoU is that of the candidate with the highest predicted IoU.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

import measure_few_shot
import results
from results import Cell, Column, Table
from samtailor.bases import Base, load_base
from samtailor.cache.embeddings import EmbeddingCache
from samtailor.data.dataset import open_dataset
from samtailor.data.transform import Frame
from samtailor.evaluation.masks import evaluate_many
from samtailor.prompts import mask_center
from samtailor.structures import Features, Prompts, Sample

WAYS = {
    "half": ("half precision, encoder fp32", {}),
    "8bit": ("8 bits, encoder fp32", {"precision": "8bit"}),
    "bf16": ("half precision, encoder bf16", {"encoder_precision": "bf16"}),
    "fp16": ("half precision, encoder fp16", {"encoder_precision": "fp16"}),
}
_MASKS = 20


@dataclass
class Differences:
    """Differences of logits to full precision, over all images."""

    largest: float = 0.0
    total: float = 0.0
    count: int = 0
    changed: int = 0

    def add(self, exact: torch.Tensor, other: torch.Tensor) -> None:
        difference = (exact - other).abs()
        self.largest = max(self.largest, float(difference.max()))
        self.total += float(difference.sum())
        self.count += difference.numel()
        self.changed += int(((exact > 0) != (other > 0)).sum())


def main() -> None:
    options = _options()
    base = load_base(options.base)
    tables = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in options.only.split(","):
            samples = [s for s in open_dataset(options.data / name) if s.of(None)][: options.images]
            tables[name] = _table(measure_few_shot.SETS[name][0], base, samples, Path(folder))
    results.save(
        "embedding-precision",
        tables,
        title="Precision of embeddings and encoder",
        units="logits; share of cells whose side of 0 changes in percent; mIoU in percent",
        base=base,
        seeds=[0],
        file=options.results,
    )


def _table(title: str, base: Base, samples: list[Sample], folder: Path) -> Table:
    columns = (
        Column(key="way", label="Embeddings"),
        Column(key="mean", label="Mean difference of logits", digits=4),
        Column(key="max", label="Largest", digits=3),
        Column(key="cells", label="Cells that change", digits=3),
        Column(key="miou", label="mIoU", digits=2),
        Column(key="change", label="Change", digits=2, signed=True),
        Column(key="bytes", label="MB per image", digits=2),
    )
    differences = {key: Differences() for key in WAYS}
    stores = {key: EmbeddingCache(folder / key, **how) for key, (_, how) in WAYS.items()}
    for sample in samples:
        exact = _logits(base, _exact(base, sample), sample)
        for key, store in stores.items():
            differences[key].add(exact, _logits(base, store.features(base, sample), sample))
    rows: dict[str, dict[str, Cell]] = {}
    for key, (label, _) in WAYS.items():
        found, store = differences[key], stores[key]
        score = evaluate_many({"base": base}, samples, store=store, seed=0)["base"].summary()["miou"]
        rows[key] = {
            "way": label,
            "mean": found.total / found.count,
            "max": found.largest,
            "cells": 100 * found.changed / found.count,
            "miou": results.percent(score),
            "bytes": store.room(base, 1).each / 1e6,
        }
        rows[key]["change"] = rows[key]["miou"] - rows["half"]["miou"] if key != "half" else None
        print(title, key, rows[key], flush=True)
    return Table(title=title, columns=columns, rows=rows, note=f"{len(samples)} images.")


def _exact(base: Base, sample: Sample) -> Features:
    image = sample.image
    with torch.inference_mode():
        made = base.encode_image(Frame.of(base, *image.shape[:2]).image(image, base)[None])
    return made.apply(torch.clone)


def _prompts(base: Base, sample: Sample) -> Prompts:
    source, rng = mask_center.build(), np.random.default_rng(0)
    made = [source(sample, [one.mask], rng) for one in sample.of(None)[:_MASKS]]
    return Frame.of(base, *sample.size).prompts(Prompts.cat(made, axis=1))


@torch.no_grad()
def _logits(base: Base, features: Features, sample: Sample) -> torch.Tensor:
    return base.decode(features, base.encode_prompts(_prompts(base, sample))).candidate_logits()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--only", default="humans,lesions,nuclei", metavar="SET,...")
    parser.add_argument("--images", type=int, default=30)
    parser.add_argument("--base", default="lite")
    results.add_option(parser, "embedding-precision")
    return parser.parse_args()


if __name__ == "__main__":
    main()
