"""Batches for the training loop: cached views with fresh prompts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from bundled_base.cache import LEVELS, Shard
from bundled_base.prompting import JOBS, prompts

JOB_SHARES = (0.65, 0.2, 0.15)


class CachedBatches:
    """Endless batches from the shards of a cache folder; new shards are taken up as they appear.

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
        self.shards: dict[str, Shard] = {}

    def refresh(self) -> int:
        """Look for new shards; returns the number of views."""
        for path in sorted(self.folder.iterdir()):
            if path.name not in self.shards and not path.name.startswith("."):
                self.shards[path.name] = Shard(path)
        return sum(len(shard) for shard in self.shards.values())

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        """Yield batches for ever."""
        count = 0
        while True:
            if count % 200 == 0:
                self.refresh()
                shards = list(self.shards.values())
            count += 1
            job, rows = str(self.rng.choice(JOBS, p=JOB_SHARES)), []
            while len(rows) < self.batch:
                shard = shards[self.rng.integers(len(shards))]
                index = int(self.rng.integers(len(shard)))
                row = prompts(self.rng, shard.labelled(index), self.clicks, self.others, job)
                if row is not None:
                    rows.append(row | shard.features(index))
            yield {key: torch.from_numpy(np.stack([row[key] for row in rows])) for key in rows[0]}


def maps(batch: dict[str, Tensor]) -> list[Tensor]:
    """Features of the trunk (B, h, w, C), read back from int8."""
    return [batch[level].float() * batch[f"{level}_scale"][:, None, None] for level in LEVELS]
