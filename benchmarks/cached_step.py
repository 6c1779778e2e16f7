"""A fit step on cached embeddings against the same step with the image encoder inside, SAM ViT-B at 1024 px.

The encoder-inside step is what the papers and the public fine-tuning notebooks do: encode the batch without
gradients, decode, back-propagate into the PLM. Weights are random, of the size that trained ones have. Both kinds of
step run alternately in one process, and the ratio of medians is printed.

    python benchmarks/cached_step.py [--batch 2] [--repeats 5] [--size 1024]
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch

import bench
from random_sam import vit_b
from samtailor.bases.sam import Sam
from samtailor.registry import find
from samtailor.structures import Batch, Features, Prompts
from samtailor.train.losses import segmentation_loss


def main() -> None:
    options = _options()
    torch.manual_seed(0)
    base = vit_b(options.size)
    segmenter, _ = find("methods", options.method).build(base)
    optimizer = torch.optim.AdamW([p for group in segmenter.groups.values() for p in group], lr=1e-5)
    images = torch.randn(options.batch, 3, base.size, base.size)
    with torch.inference_mode():
        cached = base.encode_image(images)
    cached = Features(cached.main.clone())

    def cached_step() -> None:
        _learn(segmenter, optimizer, _batch(base, cached))

    def full_step() -> None:
        with torch.no_grad():
            features = base.encode_image(images)
        _learn(segmenter, optimizer, _batch(base, features))

    cached_step()  # warm up allocators
    times: dict[str, list[float]] = {"cached": [], "encoder inside": []}
    for _ in range(options.repeats):
        for name, step in (("cached", cached_step), ("encoder inside", full_step)):
            start = time.perf_counter()
            step()
            times[name].append(time.perf_counter() - start)
    median = {name: statistics.median(values) for name, values in times.items()}
    for name, value in median.items():
        print(f"{name:15s} {value:8.3f} s a step of {options.batch} (median of {options.repeats})")
    ratio = median["encoder inside"] / median["cached"]
    print(f"ratio           {ratio:8.1f} x")
    what = "Training step on cached embeddings, against the same step with the image encoder"
    what += f"; SAM ViT-B at {options.size} px, batch of {options.batch}, {bench.threads(torch.get_num_threads())}"
    known = bench.results.BaseModelUsed(name="SAM ViT-B, random weights", fingerprint=None)
    rows = {"ratio": (what, round(ratio, 1), "times faster")}
    bench.record("cached-step", "Training step on cached embeddings", rows, known, options.results, digits=0)


def _learn(segmenter, optimizer, batch: Batch) -> None:
    loss = segmentation_loss(segmenter(batch, fast=True), batch)["loss"]
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def _batch(base: Sam, features: Features) -> Batch:
    count, side = len(features), base.low_res
    targets = torch.zeros(count, 1, side, side)
    targets[..., side // 4 : side // 2, side // 4 : side // 2] = 1
    points = torch.full((count, 1, 1, 2), 0.375 * base.size)
    prompts = Prompts((base.size, base.size), points=points, labels=torch.ones(count, 1, 1, dtype=torch.int64))
    return Batch(features, prompts, targets, torch.ones(count, 1, side, side, dtype=torch.bool))


def _options() -> argparse.Namespace:
    parser = bench.parser(__doc__)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--size", type=int, default=1024)
    parser.add_argument("--method", default="plm")
    return parser.parse_args()


if __name__ == "__main__":
    main()
