"""The region map of `tailor` with and without a companion: eight masks, no click; and what a companion costs.

    python tools/measure_companion.py --data DATA --out RUNS [--only humans,lesions] [--seeds 0,1] [--shots 8]
        [--companions none,bundled] [--steps 300] [--members 4] [--views 8] [--images 40]
    python tools/measure_companion.py --cost

Writes results/companion.json. The prompt module of `tailor` does not change the map, so that the map alone is trained,
on the batches and with the settings of `tailor`, and predicts the whole image, without tiles. Every fit is kept in
RUNS. `--cost` times the encoders on this machine, base and companion in turn, and compares their CPU seconds on one
thread.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

import measure_few_shot
import results
from results import Cell, Column, Figure, Table
from samtailor.bases import Base, load_base
from samtailor.bases.companions import Companion, companion_maps
from samtailor.bases.encoder import fast_encoder
from samtailor.cache.embeddings import EmbeddingCache
from samtailor.compare.seed_split import few_shot_config, limit_shots, split_for_seed
from samtailor.data.augment import Augment, flip_pairs
from samtailor.data.dataset import open_dataset
from samtailor.data.regions import foreground, regions
from samtailor.masks import metrics
from samtailor.methods import tailor
from samtailor.predict.predictor import Predictor
from samtailor.registry import find
from samtailor.segmenter import Segmenter
from samtailor.structures import Prompts, Sample
from samtailor.train.bilevel_split import second_seed
from samtailor.train.config import FitConfig
from samtailor.train.feed import Feed
from samtailor.train.joint import decay_groups
from samtailor.train.multitask import map_loss
from samtailor.train.schedule import Schedule

CLASSES = {"facades": ["signboard"], "face_parts": ["hair", "nose"]}
"""Classes that are measured, each by its own fit; the other sets have one class."""
GROUPS = {"face_parts": r"regex:personne\d\d"}


def main() -> None:
    options = _options()
    seeds = [] if options.cost else [int(seed) for seed in options.seeds.split(",")]
    for tables in costs(options) if options.cost else [quality(options)]:
        results.save(
            "companion",
            tables,
            title="A companion beside the base",
            units="Dice in percent for eight masks without a click; ratios of CPU seconds for the cost",
            base=load_base(options.base),
            seeds=seeds,
            file=options.results,
        )


def _protocol(options: argparse.Namespace) -> str:
    return (
        f"The map of `tailor` alone: {options.members} networks, {options.steps} steps, {options.views} views per "
        f"image, whole images without tiles; Dice is the mean over at most {options.images} held-out images of each "
        "seed."
    )


# -- quality


def quality(options: argparse.Namespace) -> dict[str, Table]:
    """Dice of every set and class with every companion."""
    companions = options.companions.split(",")
    columns = [Column(key="set", label=""), Column(key="images", label="Held-out images", digits=0)]
    columns += [Column(key=_key(name), label=_title(name)) for name in companions]
    columns += [Column(key="change", label="Difference", signed=True)] if len(companions) > 1 else []
    rows: dict[str, dict[str, Cell]] = {}
    for name in options.only or measure_few_shot.SETS:
        for label in CLASSES.get(name, [None]):
            title = measure_few_shot.SETS[name][0] if label is None else label.capitalize()
            rows[f"{name}-{label}" if label else name] = _row(name, label, title, companions, options)
    title = f"{options.shots} masks, no click"
    return {"quality": Table(title=title, columns=tuple(columns), rows=rows, note=_protocol(options))}


def _row(
    name: str, label: str | None, title: str, companions: Sequence[str], options: argparse.Namespace
) -> dict[str, Cell]:
    made = {
        one: [_fit(name, label, one, int(seed), options) for seed in options.seeds.split(",")] for one in companions
    }
    row: dict[str, Cell] = {"set": title, "images": sum(len(dices) for dices in made[companions[0]])}
    for companion, runs in made.items():
        means = tuple(results.percent(statistics.mean(run.values())) or 0.0 for run in runs)
        row[_key(companion)] = Figure(value=round(statistics.mean(means), 2), seeds=means)
    if len(companions) > 1:
        first, last = made[companions[0]], made[companions[-1]]
        pairs = [(id, b[id] - a[id]) for a, b in zip(first, last, strict=True) for id in a]
        _, low, high = metrics.bootstrap([gain for _, gain in pairs], [id for id, _ in pairs])
        row["change"] = results.interval(statistics.mean(gain for _, gain in pairs), (low, high))
    return row


def _fit(name: str, label: str | None, companion: str, seed: int, options: argparse.Namespace) -> dict[str, float]:
    """Dice by held-out image of one fit, from RUNS where it has been measured."""
    settings = f"{options.base}-{options.shots}-{options.steps}-{options.members}-{options.views}-{options.images}"
    file = options.out / f"{name}-{label or 'all'}-{_key(companion)}-{seed}-{settings}.json"
    if file.is_file():
        return json.loads(file.read_text(encoding="utf-8"))
    start = time.process_time()
    base, store = load_base(options.base), EmbeddingCache(options.out / "embeddings")
    samples = open_dataset(options.data / name, group=GROUPS.get(name))
    classes = (label,) if label else tuple(sorted({a.label for s in samples for a in s.annotations}))
    samples = regions(samples, classes)
    config = few_shot_config(FitConfig(), options.shots)
    images = limit_shots(split_for_seed(samples, config, seed, classes), config, classes)
    train = images.split.pick(images.samples, "train")
    segmenter = _trained(base, train, classes, companion, seed, store, options)
    held_out = [sample for sample in images.held_out if sample.of(classes)][: options.images]
    dices = dict(_dices(segmenter, held_out, classes, store))
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(dices), encoding="utf-8")
    mean, seconds = statistics.mean(dices.values()), time.process_time() - start
    print(f"{file.stem}: Dice {100 * mean:.1f}, {seconds:.0f} CPU seconds", file=sys.stderr, flush=True)
    return dices


def _trained(
    base: Base,
    train: Sequence[Sample],
    classes: tuple[str, ...],
    companion: str,
    seed: int,
    store: EmbeddingCache,
    options: argparse.Namespace,
) -> Segmenter:
    """A segmenter whose map has learnt from the regions of the images, with the settings of `tailor`."""
    settings = tailor.DEFAULTS
    torch.manual_seed(seed)
    segmenter, _ = tailor.build(base, companion=companion, members=options.members)
    pairs = flip_pairs(classes)
    feed = Feed(
        base,
        foreground(train, classes),
        None,
        store,
        source=find("prompts", "none").build(),
        augment=Augment(options.views, pairs is not None, pairs or ()),
        batch_size=settings["batch_size"],
        seed=second_seed(seed),
        companions=segmenter.companions,
    )
    schedule = Schedule(settings["schedule"], settings["warmup"])
    optimizer = torch.optim.AdamW(decay_groups(segmenter.groups["map"], settings["weight_decay"]), lr=1.0, fused=True)
    segmenter.train()
    for step in range(options.steps):
        for group in optimizer.param_groups:
            group["lr"] = schedule.rate(settings["lr"]["map"], step, options.steps)
        loss = map_loss(segmenter, feed.batch(step))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
    return segmenter.eval()


def _dices(
    segmenter: Segmenter, samples: Sequence[Sample], classes: tuple[str, ...], store: EmbeddingCache
) -> Iterator[tuple[str, float]]:
    predictor = Predictor(segmenter.base, {"map": segmenter}, store=store)
    for sample in samples:
        predictor.set_sample(sample)
        frame = predictor.frame
        output = predictor.decode(Prompts((frame.height, frame.width)), "map")
        mask = (frame.logits(output.candidate_logits()[0])[0, 0] > 0).numpy()
        truth = np.logical_or.reduce([annotation.mask for annotation in sample.of(classes)])
        yield sample.id, float(metrics.dice(mask, truth))


# -- cost


def costs(options: argparse.Namespace) -> Iterator[dict[str, Table]]:
    """CPU seconds of companions in relation to those of bases, after each base; weights do not matter: random ones."""
    torch.set_num_threads(1)
    columns = [
        Column(key="base", label=""),
        Column(key="size", label="Frame, px", digits=0),
        Column(key="seconds", label="Base, CPU seconds", digits=2),
        Column(key="bundled", label="bundled / base", digits=2),
        Column(key="dinov2", label="DINOv2 small / base", digits=2),
        Column(key="disk", label="Base on disk, kB", digits=0),
        Column(key="disk_bundled", label="bundled on disk, kB", digits=0),
    ]
    bundled, dino = find("companions", "bundled").build(), _dinov2_small()
    cells = sum(channels * side**2 for channels, side in zip(bundled.channels, bundled.sides, strict=True))
    rows = {}
    for key, title, base in _bases(options.base):
        image = torch.randn(1, 3, base.size, base.size)
        encoder = fast_encoder(base)
        times = _seconds(
            options.repeats,
            lambda encoder=encoder, image=image: encoder.encode_image(image),
            lambda base=base, image=image: companion_maps(bundled, base, image),
            lambda base=base, image=image: companion_maps(dino, base, image),
        )
        features = base.encode_image(image)
        rows[key] = {
            "base": title,
            "size": base.size,
            "seconds": round(times[0], 2),
            "bundled": round(times[1] / times[0], 3),
            "dinov2": round(times[2] / times[0], 3),
            "disk": round(2 * sum(t.numel() for t in features.tensors()) / 1000),
            "disk_bundled": round(2 * cells / 1000),
        }
        print(rows[key], file=sys.stderr, flush=True)
        yield {"cost": Table(title="Encoding an image", columns=tuple(columns), rows=dict(rows))}


def _bases(bundled: str) -> Iterator[tuple[str, str, Base]]:
    from transformers import Sam2Config, Sam2Model, SamConfig, SamModel

    from samtailor.bases.sam import Sam
    from samtailor.bases.sam2 import Sam2

    yield "bundled", f"{bundled} (bundled)", load_base(bundled)
    yield "sam2", "SAM 2.1 tiny, random", Sam2(Sam2Model(Sam2Config()).eval(), "random")
    yield "sam", "SAM ViT-B, random", Sam(SamModel(SamConfig()).eval(), "random")


def _dinov2_small() -> Companion:
    from transformers import Dinov2Config, Dinov2Model

    from samtailor.bases.companions._vit import VisionTransformer

    config = Dinov2Config(hidden_size=384, num_hidden_layers=12, num_attention_heads=6, image_size=518, patch_size=14)
    return VisionTransformer(Dinov2Model(config), "dinov2-small", size=448, prefix=1)


@torch.no_grad()
def _seconds(repeats: int, *functions: Callable[[], object]) -> list[float]:
    """Median CPU seconds of each function, called in turn after one call to warm up."""
    rows = []
    for _ in range(repeats + 1):
        row = []
        for function in functions:
            start = time.process_time()
            function()
            row.append(time.process_time() - start)
        rows.append(row)
    return np.median(rows[1:], axis=0).tolist()


def _key(companion: str) -> str:
    """A key of `results`: the last part of a hub id or folder."""
    return companion.rstrip("/").rpartition("/")[2].lower()


def _title(companion: str) -> str:
    return "Without" if companion == "none" else f"With {companion}"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--base", default="lite")
    parser.add_argument("--only", type=lambda text: text.split(","), help="data sets to measure")
    parser.add_argument("--companions", default="none,bundled", help="the first is what the last is compared with")
    parser.add_argument("--seeds", default="0,1")
    parser.add_argument("--shots", type=int, default=8)
    parser.add_argument("--steps", type=int, default=tailor.DEFAULTS["steps"])
    parser.add_argument("--members", type=int, default=4)
    parser.add_argument("--views", type=int, default=tailor.DEFAULTS["views"])
    parser.add_argument("--images", type=int, default=40, help="largest number of held-out images of each seed")
    parser.add_argument("--repeats", type=int, default=5, help="measurements of each encoder (--cost)")
    parser.add_argument("--cost", action="store_true", help="measure the time of the encoders instead")
    results.add_option(parser, "companion")
    options = parser.parse_args()
    if not options.cost and None in (options.data, options.out):
        parser.error("--data and --out are needed, or --cost")
    return options


if __name__ == "__main__":
    main()
