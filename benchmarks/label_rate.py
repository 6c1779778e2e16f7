"""Rate of `label` with three adapters against encoding alone, in one run, from image files to label files.

python benchmarks/label_rate.py [--base lite] [--images 24] [--objects 1 2] [--heads 0 1 4] [--rounds 5]
    [--adapters 3]

Every combination of --objects and --heads is measured, and written to results/label-rate.json. Each adapter runs its
proposal heads (untrained: only their cost matters) and segments the same number of objects per image. `propose-fit`
trains 4 heads per adapter. The bare rates read, resize and encode the same files:

* in a loop, one after the other, with torch's threads as they are: what a user would write;
* in the threads of `label` and with its encoder: what `label` would reach if masks cost nothing.

The masks of a base of random weights are noise, and their outlines would take longer than everything else: each of
these masks, once computed, is replaced by a disc.

Rounds are interleaved, and ratios are the medians over rounds. Wall-time ratios depend on the free cores, CPU-time
ratios on the work alone. Stages are of one more run of the last combination, in CPU time of their own threads.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from pathlib import Path
from typing import Any

import numpy as np
import torch

import bench
from bench import Column, Table, results
from random_sam import vit_b
from samtailor.bases import load_base
from samtailor.bases.encoder import fast_encoder
from samtailor.bench.labels import encode_files, proposer, write_images
from samtailor.data.transform import Frame
from samtailor.data.writers import coco
from samtailor.labelling import AdapterSource, Journal, _pipeline, label
from samtailor.predict import batched, windows
from samtailor.predict.files import find_images
from samtailor.predict.predictor import Predictor
from samtailor.proposals import Proposals
from samtailor.registry import find


def main() -> None:
    options = arguments()
    base = vit_b() if options.base == "vit-b" else load_base(options.base)
    if options.base == "vit-b":
        batched.BatchedDecoder.predict = with_discs(batched.BatchedDecoder.predict)
    shares: dict[str, dict[str, results.Cell]] = {}
    own: dict[str, dict[str, results.Cell]] = {}
    for heads in options.heads:
        for objects in options.objects:
            times, spent = measure(base, objects, heads, options)
            found = {name: share(times, name) for name in list(times)[:-1]}
            counts = {"heads": heads, "objects": objects}
            shares[f"{heads}-{objects}"] = counts | found["encode, in a loop"]
            own[f"{heads}-{objects}"] = counts | found["encode, label's threads"]
    save(shares, own, spent, base, options)


def measure(
    base: Any, objects: int, heads: int, options: argparse.Namespace
) -> tuple[dict[str, list[tuple[float, float]]], dict[str, float]]:
    """Seconds of each round by kind of run (wall, CPU), and milliseconds of CPU time per image by stage."""
    print(f"{heads} heads and {objects} objects per adapter")
    names = [f"adapter {number}" for number in range(options.adapters)]
    predictor = Predictor(base, {name: find("methods", "plm").build(base)[0] for name in names})
    sources = [AdapterSource(name, proposer(base, objects, heads), label=name) for name in names]
    with tempfile.TemporaryDirectory() as home:
        folder = Path(home)
        images = find_images([write_images(folder / "in", options.images)])
        runs = {
            "encode, in a loop": lambda turn: encode_files(predictor, list(images.values())),
            "encode, label's threads": lambda turn: encode_ahead(base, images),
            "label": lambda turn: label(predictor, sources, images, folder / f"out{turn}", put="none"),
        }
        times = {name: [] for name in runs}
        for turn in range(-1, options.rounds):  # the first is to warm up
            for name, run in runs.items():
                times[name].append(timed(run, turn))
        times = {name: rows[1:] for name, rows in times.items()}
        tell(times, options.images)
        return times, stages(lambda: runs["label"]("stages"), base, options.images)


def share(times: dict[str, list[tuple[float, float]]], name: str) -> dict[str, float]:
    """Rate of `label` as a share of another run's: medians over the rounds."""
    pairs = list(zip(times[name], times["label"], strict=True))
    wall, work = (statistics.median(bare[i] / whole[i] for bare, whole in pairs) for i in (0, 1))
    return {"wall": round(wall, 3), "processor": round(work, 3)}


def save(
    shares: dict[str, dict[str, results.Cell]],
    own: dict[str, dict[str, results.Cell]],
    spent: dict[str, float],
    base: Any,
    options: argparse.Namespace,
) -> None:
    """Write the tables of this base."""
    columns = [Column(key="heads", label="Proposal heads per adapter", digits=0)]
    columns.append(Column(key="objects", label="Objects per adapter", digits=0))
    columns += [Column(key="wall", label="Wall time", digits=2), Column(key="processor", label="CPU time", digits=2)]
    threads = bench.threads(torch.get_num_threads())
    if options.base == "vit-b":
        known = results.BaseModelUsed(name="SAM ViT-B, random weights", fingerprint=None)
        note = "Masks of random weights are noise; they are replaced by discs after they are computed."
        title = "SAM ViT-B at 1024 px, random weights"
        tables = {"vit-b": Table(title=title, columns=tuple(columns), rows=shares, note=note)}
    else:
        known = base
        rows = {
            stage.replace(" ", "-"): {"stage": stage.capitalize(), "ms": round(ms, 1)} for stage, ms in spent.items()
        }
        kinds = (Column(key="stage", label="Stage"), Column(key="ms", label="ms", digits=0))
        what = f"CPU time per image: {options.heads[-1]} heads and {options.objects[-1]} objects per adapter"
        tables = {
            "shares": Table(title="Bundled base", columns=tuple(columns), rows=shares),
            "own-threads": Table(
                title="Against encoding alone with the threads and encoder of `label`", columns=tuple(columns), rows=own
            ),
            "stages": Table(title=what, columns=kinds, rows=rows),
        }
    results.save(
        "label-rate",
        tables,
        title="Rate of `samtailor label` with three adapters, as a share of the rate of reading and encoding alone",
        units="share of the rate of a plain loop that reads and encodes (1 = as fast)",
        notes=[f"{options.adapters} PLM adapters, images of 640 x 480 px, {threads}. `propose-fit` trains four heads."],
        base=known,
        seeds=[0],
        file=options.results,
    )


def arguments() -> argparse.Namespace:
    parser = bench.parser(__doc__)
    parser.set_defaults(results=results.FOLDER / "label-rate.json")
    parser.add_argument("--base", default="lite", help="a base, or vit-b: SAM ViT-B with random weights, same cost")
    parser.add_argument("--images", type=int, default=24)
    parser.add_argument("--objects", type=int, nargs="+", default=(1, 2), help="per adapter and image")
    parser.add_argument("--adapters", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--heads", type=int, nargs="+", default=(0, 1, 4), help="proposal heads per adapter; 0: proposals without cost"
    )
    return parser.parse_args()


def tell(times: dict[str, list[tuple[float, float]]], images: int) -> None:
    print(f"{torch.get_num_threads()} threads of torch; an image:")
    for name, rows in times.items():
        wall, work = (1e3 * statistics.median(column) / images for column in zip(*rows, strict=True))
        print(f"  {name:26s} {wall:7.1f} ms wall {work:7.1f} ms processor")
    print("rate of label as a share of the bare encode rate:")
    for name in list(times)[:-1]:
        found = share(times, name)
        print(f"  {name:26s} {found['wall']:7.2f} wall time {found['processor']:4.2f} CPU time")


def stages(run: Callable[[], Any], base: Any, images: int) -> dict[str, float]:
    """Milliseconds of CPU time per image of the stages of one run; a nested stage is not counted twice."""
    spent: Counter[str] = Counter()
    places = [
        (_pipeline, "read_image", "read"), (Frame, "image", "resize"), (type(base), "encode_image", "encode"),
        (Proposals, "propose", "proposals"), (batched.BatchedDecoder, "_tokens", "prompts and their adapters"),
        (batched.BatchedDecoder, "predict", "decode"), (windows.Windows, "mask", "logits to masks"),
        (Journal, "add", "journal"), (coco, "write", "polygons and file"),
    ]  # fmt: skip
    before = [getattr(owner, name) for owner, name, _ in places]
    for (owner, name, stage), call in zip(places, before, strict=True):
        setattr(owner, name, counting(call, spent, stage))
    start = time.process_time()
    run()
    whole = time.process_time() - start
    for (owner, name, _), call in zip(places, before, strict=True):
        setattr(owner, name, call)
    spent["decode"] -= spent["prompts and their adapters"]
    spent["the rest"] = whole - spent.total()
    print("stages, processor time an image:")
    for stage, seconds in spent.items():
        print(f"  {stage:26s} {1e3 * seconds / images:7.1f} ms")
    return {stage: 1e3 * seconds / images for stage, seconds in spent.items()}


def counting(call: Callable[..., Any], spent: Counter[str], stage: str) -> Callable[..., Any]:
    @wraps(call)
    def counted(*given: Any, **named: Any) -> Any:
        start = time.thread_time()
        try:
            return call(*given, **named)
        finally:
            spent[stage] += time.thread_time() - start

    return counted


def encode_ahead(base: Any, images: Any) -> None:
    workers = _pipeline.Workers.for_base(base)
    cut = _pipeline.Cut(None, 0.0, base.mean)
    own = fast_encoder(base)
    for _ in _pipeline.predict_ahead(images.items(), cut, lambda view: Predictor(own).set_image(view.pixels), workers):
        pass


def with_discs(answers: Callable[..., Any]) -> Callable[..., Any]:
    rng = np.random.default_rng(0)

    def answered(*given: Any) -> Any:
        found = []
        for best in answers(*given):
            side = torch.linspace(0, 1, best.logits.shape[-1])
            x, y = (torch.from_numpy(rng.uniform(0.2, 0.6, len(best.logits))).float()[:, None, None] for _ in range(2))
            away = (side - x) ** 2 + (side[:, None] - y) ** 2
            found.append(replace(best, logits=100 * (0.15**2 - away)))
        return found

    return answered


def timed(run: Callable[[Any], Any], turn: Any) -> tuple[float, float]:
    """Seconds on the wall and of the processor, all threads."""
    start = time.perf_counter(), time.process_time()
    run(turn)
    return time.perf_counter() - start[0], time.process_time() - start[1]


if __name__ == "__main__":
    main()
