"""Stage 1 from scratch on all data sources, or without one of them; `measure_base_sources.py` makes these runs."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import torch

from bundled_base.cache import Shard
from bundled_base.evaluation import held_out_sets
from bundled_base.feeding import CachedBatches
from bundled_base.sources import OPEN_SETS
from bundled_base.trainer import Trainer, rate

GROUPS = {
    "procedural": ("procedural scenes and streets", {"scenes", "streets"}),
    "fashion": ("street fashion", {"street_fashion"}),
    "drawings": ("drawings", {"drawings"}),
    "blobs": ("blobs", {"blobs"}),
    "open": ("open photographs", set(OPEN_SETS) - {"nuclei"}),
    "portraits": ("portraits", {"portraits"}),
    "nuclei": ("nuclei", {"nuclei"}),
    "facades": ("facades", {"facades"}),
}
"""Title and data sources of what is left out."""
COUNTS = {"scenes": 40, "humans": 60, "faces": 20, "lesions": 60, "nuclei": 12, "dev_fashion": 8, "dev_open": 2}
COUNTS |= {"facades": 8}
"""Held-out images of each set; of the open sets, images of each."""
CURVE = (0.25, 0.5)
"""Shares of the views after which a run on all sources is measured too."""
View = tuple[Shard, int]


def cached_views(cache: Path) -> list[View]:
    """All views of a cache.

    Raises:
        SystemExit: the cache does not state the sources of its views, or holds none of a source.
    """
    folders = [f for f in sorted(cache.iterdir()) if not f.name.startswith(".")] if cache.is_dir() else []
    shards = [Shard(folder) for folder in folders]
    if not shards:
        sys.exit(
            f"{cache} holds no views. Make them with python -m bundled_base.cache, see tools/bundled_base/README.md."
        )
    if any("sources" not in meta for shard in shards for meta in shard.meta):
        sys.exit(f"{cache} does not state the sources of its views: an earlier version made it. Make it again.")
    present = {name for shard in shards for meta in shard.meta for name in meta["sources"]}
    if absent := [title for title, sources in GROUPS.values() if not sources & present]:
        sys.exit(f"{cache} holds no view of: {', '.join(absent)}. Make it with all data sources.")
    return [(shard, index) for shard in shards for index in range(len(shard))]


def contains(view: View, group: str) -> bool:
    """Whether a view contains anything of a group of sources; of `all`, nothing does."""
    shard, index = view
    return group != "all" and not GROUPS[group][1].isdisjoint(shard.meta[index]["sources"])


def chosen(views: list[View], group: str, count: int, seed: int) -> list[View]:
    """`count` views without a group, in an order that depends on the seed alone.

    Raises:
        SystemExit: there are not as many.
    """
    order = np.random.default_rng(seed).permutation(len(views))
    kept = [views[i] for i in order if not contains(views[i], group)]
    if len(kept) < count:
        sys.exit(
            f"Without {GROUPS[group][0]} the cache has {len(kept)} views; --different {count} are needed. "
            "Make a larger cache or give a smaller number."
        )
    return kept[:count]


class Chosen(CachedBatches):
    """Batches of a fixed list of views."""

    def __init__(self, views: list[View], *arguments: int) -> None:
        super().__init__(Path(), *arguments)
        self.views = views

    def refresh(self) -> int:
        """The number of views; the list is fixed."""
        return len(self.views)


class Evaluation:
    """Held-out images with their maps of the frozen trunk, which are the same in every run.

    Args:
        data, data_open: as of `held_out_sets`.
        trainer: of any run.
    """

    def __init__(self, data: Path, data_open: Path, trainer: Trainer) -> None:
        self.sets = held_out_sets(data, data_open, counts=COUNTS)
        self.maps = {id(item): trainer.trunk_maps(item) for items in self.sets.values() for item in items}

    def __call__(self, trainer: Trainer) -> dict[str, dict[str, float]]:
        """Figures of the averaged weights."""
        return trainer.evaluate(self.sets, lambda item: self.maps[id(item)], kinds=("box", "center"), clicks=1)

    def sizes(self) -> dict[str, list[int]]:
        """Images and masks of each set."""
        return {name: [len(items), sum(len(item.masks) for item in items)] for name, items in self.sets.items()}


def train(arguments: argparse.Namespace, views: list[View], steps: int, at: set[int], evaluation: Evaluation) -> dict:
    """One run: processor time in seconds, and figures by views seen.

    Args:
        arguments: of the training tool.
        views: what is trained on.
        steps: batches.
        at: steps after which to measure, beside the last one.
        evaluation: what is measured.
    """
    trainer = Trainer(arguments)
    torch.manual_seed(arguments.seed + 1)
    batches = Chosen(views, arguments.batch, arguments.clicks, arguments.others, arguments.seed + 1)
    start, found = time.process_time(), dict[str, dict]()
    for step, batch in enumerate(batches, 1):
        losses = trainer.step(batch, rate(arguments, step - 1, (step - 1) / steps))
        if step % 50 == 0:
            print(step, {name: round(value, 3) for name, value in losses.items()}, file=sys.stderr, flush=True)
        if step in at or step == steps:
            found[str(step * arguments.batch)] = evaluation(trainer)
        if step == steps:
            break
    return {"cpu_seconds": round(time.process_time() - start), "held_out": found}
