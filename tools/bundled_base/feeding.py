"""Batches for the training loop: cached views with fresh prompts, or fresh views."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from bundled_base.cache import LEVELS, Shard, usable
from bundled_base.prompting import JOBS, prompts
from bundled_base.sources import Sources

JOB_SHARES = (0.65, 0.2, 0.15)


class CachedBatches:
    """Endless batches from the shards of a cache folder; new shards are read as they appear.

    Args:
        folder: the cache.
        batch: views a batch.
        clicks: single clicks a view.
        others: boxes or point groups a view; one kind a batch, so that all have as many points.
        seed: of prompts and order.
    """

    def __init__(self, folder: Path, batch: int, clicks: int, others: int, seed: int) -> None:
        self.folder, self.batch, self.clicks, self.others = folder, batch, clicks, others
        self.rng = np.random.default_rng(seed)
        self.shards: set[str] = set()
        self.views: list[tuple[Shard, int]] = []

    def refresh(self) -> int:
        """Look for new shards; returns the number of views."""
        for path in sorted(self.folder.iterdir()):
            if path.name not in self.shards and not path.name.startswith("."):
                self.shards.add(path.name)
                shard = Shard(path)
                self.views += [(shard, index) for index in range(len(shard))]
        return len(self.views)

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        """Yield batches endlessly."""
        count = 0
        while True:
            if count % 200 == 0:
                self.refresh()
            count += 1
            job, rows = str(self.rng.choice(JOBS, p=JOB_SHARES)), []
            while len(rows) < self.batch:
                shard, index = self.views[self.rng.integers(len(self.views))]
                row = prompts(self.rng, shard.labelled(index), self.clicks, self.others, job)
                if row is not None:
                    rows.append(row | shard.features(index))
            yield {key: torch.from_numpy(np.stack([row[key] for row in rows])) for key in rows[0]}


class LiveBatches(IterableDataset):
    """Endless batches of fresh views with their images, for training the trunk too.

    Args:
        folders: arguments of `Sources`.
        size: side of the images.
        batch, clicks, others, seed: as of `CachedBatches`.
    """

    def __init__(
        self, folders: tuple[Path, Path, Path], size: int, batch: int, clicks: int, others: int, seed: int
    ) -> None:
        self.folders, self.size, self.batch = folders, size, batch
        self.clicks, self.others, self.seed = clicks, others, seed

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        """Yield batches endlessly; every worker has its own seed."""
        cv2.setNumThreads(1)
        worker = get_worker_info()
        seed = self.seed * 1000 + (worker.id if worker else 0)
        stream, choice = Sources(*self.folders).stream(seed), np.random.default_rng([seed, 1])
        while True:
            job, rows = str(choice.choice(JOBS, p=JOB_SHARES)), []
            while len(rows) < self.batch:
                rng, labelled = next(stream)
                seen = usable(rng, labelled, self.size)
                row = None if seen is None else prompts(rng, seen, self.clicks, self.others, job)
                if row is not None:
                    rows.append(row | {"image": seen.image.transpose(2, 0, 1)})
            yield {key: torch.from_numpy(np.stack([row[key] for row in rows])) for key in rows[0]}


def load(batches: LiveBatches, workers: int) -> DataLoader:
    """A loader over `batches` with this many background processes; 0 makes batches in this one."""
    extra = {"prefetch_factor": 4, "persistent_workers": True, "multiprocessing_context": "spawn"} if workers else {}
    return DataLoader(batches, batch_size=None, num_workers=workers, **extra)


def maps(batch: dict[str, Tensor]) -> list[Tensor]:
    """Features of the trunk (B, h, w, C), read back from int8."""
    return [batch[level].float() * batch[f"{level}_scale"][:, None, None] for level in LEVELS]
