"""One iteration of `fit --method am-sam` on cached embeddings against the same with the image encoder inside, ViT-B.

Both kinds take the same batches of D1 and D2 (images, masks, boxes) and the same bi-level step, alternately in one
process. The cached one reads its two embeddings from the store on disk, as a fit does; the other one resizes, pads and
encodes the two images without gradients, as the papers' code does. Weights are random. The ratio of medians is
printed for each size.

    python benchmarks/am_sam_step.py [--sizes 256 1024] [--repeats 15 3] [--batch 1]
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from dataclasses import replace

import torch
from accelerate import Accelerator

import bench
from random_sam import vit_b
from samtailor.bases import Base
from samtailor.cache.embeddings import EmbeddingCache
from samtailor.data.regions import regions
from samtailor.data.synth.samples import samples
from samtailor.registry import find
from samtailor.structures import Batch, Sample
from samtailor.train.feed import Feed


def main() -> None:
    options = _options()
    rows: dict[str, bench.Row] = {}
    for size, repeats in zip(options.sizes, options.repeats, strict=True):
        median = _medians(size, repeats, options.batch)
        for name, value in median.items():
            print(f"{size:5d} px  {name:15s} {value:8.3f} s an iteration (median of {repeats})")
        ratio = median["encoder inside"] / median["cached"]
        print(f"{size:5d} px  ratio           {ratio:8.1f} x", flush=True)
        what = f"AM-SAM iteration on cached embeddings, against the same with the image encoder; SAM ViT-B at {size} px"
        rows[str(size)] = (f"{what}, {bench.threads(torch.get_num_threads())}", round(ratio, 1), "times faster")
    base = bench.results.BaseModelUsed(name="SAM ViT-B, random weights", fingerprint=None)
    bench.record("am-sam-step", "AM-SAM iteration", rows, base, options.results, digits=0)


def _medians(size: int, repeats: int, batch: int) -> dict[str, float]:
    base = vit_b(size)
    segmenter, step_class = find("methods", "am-sam").build(base)
    optimizers = {name: torch.optim.AdamW(group, lr=1e-5) for name, group in segmenter.groups.items()}
    step = step_class(segmenter.train(), optimizers, Accelerator(cpu=True))
    image_files = [_in_memory(sample) for sample in regions(samples(4 * batch, 0, kind="banners", size=(480, 640)))]
    with tempfile.TemporaryDirectory() as place:
        store, box = EmbeddingCache(place), find("prompts", "mask-box").build()
        bilevel_split = image_files[: 2 * batch], image_files[2 * batch :]
        cached, bare = (
            [Feed(base, half, None, store, source=box, batch_size=batch, images=images) for half in bilevel_split]
            for images in (False, True)
        )
        for feed in cached:
            store.prepare(base, [sample for sample, _ in feed.images()])

        def from_disk(number: int) -> None:
            step(*(feed.batch(number) for feed in cached))

        def encoding(number: int) -> None:
            step(*(_encoded(base, feed.batch(number)) for feed in bare))

        return _alternately({"cached": from_disk, "encoder inside": encoding}, repeats)


def _in_memory(sample: Sample) -> Sample:
    """Drawn once, so that neither kind pays for drawing."""
    image = sample.image
    return replace(sample, read_image=lambda: image)


def _encoded(base: Base, batch: Batch) -> Batch:
    with torch.no_grad():
        return replace(batch, features=base.encode_image(batch.images), images=None)


def _alternately(kinds, repeats: int) -> dict[str, float]:
    times: dict[str, list[float]] = {name: [] for name in kinds}
    for number in range(-1, repeats):
        for name, iteration in kinds.items():
            start = time.perf_counter()
            iteration(max(number, 0))
            if number >= 0:  # the first of each warms up
                times[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in times.items()}


def _options() -> argparse.Namespace:
    parser = bench.parser(__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=(256, 1024), help="side of the model frame, px")
    parser.add_argument("--repeats", type=int, nargs="+", default=(15, 3), help="of each size")
    parser.add_argument("--batch", type=int, default=1, help="images a level; the method's own is 1")
    return parser.parse_args()


if __name__ == "__main__":
    main()
