"""Blocked against plain shuffling when the cache holds a fifth of the embeddings; results/resident-order.json.

    python tools/measure_resident_order.py --data DATA --out RUNS [--only humans,lesions] [--seeds 0,1,2]
        [--images 40] [--steps 160] [--share 0.2]

Two tables. `fits` is measured: the same images are fitted with room for all embeddings, with room for a share of them
in plain and in blocked order, and tested on the same images. The encoder is simulated: the embedding of an image is
computed once and kept in memory, and every further pass is counted. `orders` simulates 21,000 images (CelebAMask-HQ,
one mask each) and a cache that removes the least recently used embedding.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch

import measure_few_shot
import results
from results import Cell, Column, Figure, Table
from samtailor import artefact
from samtailor.bases import Base, load_base
from samtailor.cache import embeddings, encoders, entries
from samtailor.cache.embeddings import EmbeddingCache
from samtailor.compare.seed_split import split_for_seed
from samtailor.data.dataset import class_names, open_dataset
from samtailor.data.image import write_json
from samtailor.evaluation.masks import evaluate_many
from samtailor.fitting import fit
from samtailor.fitting.plan import PASSES
from samtailor.train.config import load
from samtailor.train.order import Blocked, Order, Shuffled

METHOD = "plm"
FACES, MASKS = 21_000, 200_000
"""Images of CelebAMask-HQ in the split of Kim et al., and masks of one of their fits: 20,000 steps of 10."""


def main() -> None:
    options = _options()
    seeds = [int(seed) for seed in options.seeds.split(",")]
    base = load_base()
    results.save(
        "resident-order",
        {"fits": _fits(options, base, seeds), "orders": _orders()},
        title="Blocked shuffling in a cache that holds a fifth of the set",
        units="mIoU in percent on test images, mean and values of the seeds; encoder passes as counted",
        base=base,
        seeds=seeds,
        notes=[
            f"`{METHOD}`, {options.images} training images, {options.steps} steps of 4 masks.",
        ],
        file=options.results,
    )


# -- measured


def _fits(options: argparse.Namespace, base: Base, seeds: Sequence[int]) -> Table:
    room = f"{100 * options.share:.0f} % of the set"
    columns = [
        Column(key="set", label=""),
        Column(key="order", label="Order"),
        Column(key="room", label="Cache holds"),
        Column(key="round", label="Encoder passes per image and round"),
        Column(key="epoch", label="per image and epoch", digits=2),
        Column(key="miou", label="mIoU"),
    ]
    rows: dict[str, dict[str, Cell]] = {}
    for name in options.only.split(","):
        for passes, share in ((0, 1.0), (0, options.share), (PASSES, options.share), (2, options.share)):
            measured = [_measured(options, base, name, seed, passes, share) for seed in seeds]
            encoded = statistics.mean(count for count, _ in measured)
            epochs = options.steps * 4 / options.images
            scores = tuple(results.percent(score) or 0.0 for _, score in measured)
            rows[f"{name}-{passes}-{'all' if share == 1 else 'part'}"] = {
                "set": measure_few_shot.SETS[name][0],
                "order": f"blocked, {passes} passes" if passes else "plain",
                "room": "all" if share == 1 else room,
                "round": encoded / (epochs / passes) if passes else None,
                "epoch": encoded / epochs,
                "miou": Figure(value=statistics.mean(scores), seeds=scores),
            }
    return Table(
        title="Measured",
        columns=tuple(columns),
        rows=rows,
        note="A round is as many epochs as passes: every image is resident once. With room for all, each image is "
        "encoded once in the whole fit.",
    )


def _measured(
    options: argparse.Namespace, base: Base, name: str, seed: int, passes: int, share: float
) -> tuple[float, float]:
    """Encoder passes per training image, and test mIoU; kept in RUNS.

    Args:
        options: of the command line.
        base: frozen base.
        name: of the set.
        seed: of split and fit.
        passes: over each part; 0 for plain shuffling.
        share: of the training images that the cache has room for.
    """
    out = options.out / f"{name}-{passes}-{share}-{seed}"
    file = out / "measured.json"
    if not file.exists():
        write_json(file, _fit(options, base, name, seed, passes, share, out))
    kept = json.loads(file.read_text(encoding="utf-8"))
    print(f"{out.name}: {kept['passes']:.2f} passes per image, mIoU {100 * kept['miou']:.2f}", flush=True)
    return kept["passes"], kept["miou"]


def _fit(
    options: argparse.Namespace, base: Base, name: str, seed: int, passes: int, share: float, out: Path
) -> dict[str, float]:
    samples = open_dataset(options.data / name)
    config = load(None, {"method": METHOD, "seed": seed, "val": 0, "views": 1, "batch_size": 4,
                         "steps": options.steps, "trackers": (), "device": "cpu", "warmup": 20})  # fmt: skip
    images = split_for_seed(samples, config, seed, class_names(samples), None)
    train = images.split.pick(images.samples, "train")[: options.images]
    test = list(images.held_out)[: options.images]
    limit = int(share * len(train) * (_entry(base) + 600))
    store = EmbeddingCache(out / "cache", max_bytes=10**12 if share == 1 else limit)
    order = {"resident_passes": passes} if passes else {"resident": len(train)}
    with _counted() as counted:
        fit(config.model_copy(update={"out": out / "fit", **order}), samples=train, base=base, store=store,
            overwrite=True)  # fmt: skip
    adapter = artefact.load(out / "fit", base)
    apart = EmbeddingCache(options.out / "test-embeddings")
    score = evaluate_many({"adapter": adapter.segmenter}, test, store=apart, seed=0)["adapter"].summary()["miou"]
    return {"passes": counted[0] / len(train), "miou": score}


def _entry(base: Base) -> int:
    return entries.size(encoders.BaseEncoder(base).shapes, "half")


_known: dict[tuple[str, int], list[torch.Tensor]] = {}


@contextmanager
def _counted() -> Iterator[list[int]]:
    """Count the passes of the encoder; an image that it has seen before costs no time."""
    real, counted = embeddings.encode, [0]

    def encode(encoder: encoders.Encoder, images: Sequence[np.ndarray], precision: str = "fp32") -> list[torch.Tensor]:
        rows = []
        for image in images:
            counted[0] += 1
            key = encoder.key, hash(image.tobytes())
            if key not in _known:
                _known[key] = [level[0] for level in real(encoder, [image], precision)]
            rows.append(_known[key])
        return [torch.stack(level) for level in zip(*rows, strict=True)]

    embeddings.encode = encode
    try:
        yield counted
    finally:
        embeddings.encode = real


# -- simulated


def _orders() -> Table:
    columns = [
        Column(key="order", label="Order"),
        *(
            Column(key=f"passes{percent}", label=f"Passes, cache holds {percent} %", digits=0)
            for percent in (20, 45, 90)
        ),
    ]
    rows: dict[str, dict[str, Cell]] = {"plain": {"order": "plain"}}
    rows["plain"] |= {f"passes{p}": _misses(Shuffled(FACES, 0), int(FACES * p / 100)) for p in (20, 45, 90)}
    for passes in (2, PASSES, 8):
        rows[f"blocked-{passes}"] = {"order": f"blocked, {passes} passes"}
        for percent in (20, 45, 90):
            room = int(FACES * percent / 100)
            order = Blocked(np.arange(FACES), 0, int(0.76 * room), passes)
            rows[f"blocked-{passes}"][f"passes{percent}"] = _misses(order, room)
    return Table(
        title="Simulated: CelebAMask-HQ",
        columns=tuple(columns),
        rows=rows,
        note=f"Encoder passes of one fit on {FACES:,} images and {MASKS:,} masks; the embeddings of a SAM take "
        f"{FACES * entries.size([(256, 64, 64)], 'half') / 1e9:.0f} GB.",
    )


def _misses(order: Order, room: int) -> int:
    """Embeddings that are computed, in a cache that removes the least recently used one."""
    held: OrderedDict[int, None] = OrderedDict()
    count = 0
    for position in range(MASKS):
        image = order.row(position)
        if image in held:
            held.move_to_end(image)
            continue
        count += 1
        held[image] = None
        if len(held) > room:
            held.popitem(last=False)
    return count


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", default="humans,lesions", metavar="SET,...")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--images", type=int, default=40)
    parser.add_argument("--steps", type=int, default=160)
    parser.add_argument("--share", type=float, default=0.2)
    results.add_option(parser, "resident-order")
    return parser.parse_args()


if __name__ == "__main__":
    main()
