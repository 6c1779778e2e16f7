"""Batches for the training loop, made by background processes."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from nano.images import Photographs, stream, vary
from nano.prompting import JOBS, prompts


class Batches(IterableDataset):
    """Endless batches: tensors with the image as first axis.

    One kind of second prompt a batch, so that all have as many points.
    """

    def __init__(
        self,
        *,
        size: int,
        batch: int,
        clicks: int,
        others: int,
        seed: int,
        photographs: Path | None,
        share: float,
        streets: float,
        reuse: int,
    ):
        self.size, self.batch, self.clicks, self.others = size, batch, clicks, others
        self.seed, self.folder, self.share, self.streets, self.reuse = seed, photographs, share, streets, reuse

    def __iter__(self):
        """Yield batches for ever; every worker has its own seed."""
        cv2.setNumThreads(1)
        worker = get_worker_info()
        if worker is not None:
            os.nice(5)
        seed = self.seed * 1000 + (worker.id if worker else 0)
        photographs = Photographs(self.folder) if self.folder else None
        images = stream(seed, photographs, self.share, self.streets, self.reuse)
        dice = np.random.default_rng(seed + 1)
        while True:
            job, rows = str(dice.choice(JOBS, p=[0.65, 0.2, 0.15])), []
            while len(rows) < self.batch:
                rng, image = next(images)
                row = prompts(rng, vary(rng, image, self.size), self.clicks, self.others, job)
                if row is not None:
                    rows.append(row)
            yield {key: torch.from_numpy(np.stack([row[key] for row in rows])) for key in rows[0]}


def feed(batches: Batches, workers: int) -> DataLoader:
    """A loader over ``batches`` with ``workers`` background processes (0: in this one)."""
    extra = {"prefetch_factor": 6, "persistent_workers": True, "multiprocessing_context": "spawn"} if workers else {}
    return DataLoader(batches, batch_size=None, num_workers=workers, **extra)
