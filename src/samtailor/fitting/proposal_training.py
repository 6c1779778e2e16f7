"""Train one head of proposals on cached embeddings."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch

from samtailor.bases import Base
from samtailor.bases.companions import Companion
from samtailor.cache.embeddings import EmbeddingCache
from samtailor.data.augment import UNTOUCHED, Augment, View
from samtailor.data.tile_views import views
from samtailor.data.transform import Frame
from samtailor.proposals import Proposals
from samtailor.proposals.calibration import Scene
from samtailor.proposals.head import Head, make_head
from samtailor.proposals.targets import Target, loss, target
from samtailor.structures import Features, Sample

_MEMORY = 10**9  # bytes of embeddings kept in memory during training


class Scenes:
    """Embeddings and targets of images, computed on first use."""

    def __init__(
        self,
        base: Base,
        samples: Sequence[Sample],
        classes: tuple[str, ...],
        store: EmbeddingCache,
        augment: Augment,
        companion: Companion | None,
    ) -> None:
        self.base, self.samples, self.classes, self.store, self.augment = base, samples, classes, store, augment
        self.companion = companion
        self._features: dict[tuple[int, int], Features] = {}
        self._targets: dict[tuple[int, int], Target] = {}
        self._bytes = 0

    def features(self, i: int, index: int = 0) -> Features:
        """Embedding of an image, or of an augmented view of it."""
        key = (i, index)
        if key in self._features:
            return self._features[key]
        row = self.encode(i, self._view(i, index))
        self._bytes += sum(t.numel() * t.element_size() for t in row.tensors())
        if self._bytes < _MEMORY:
            self._features[key] = row
        return row

    def encode(self, i: int, view: View) -> Features:
        """Embedding of a view of an image, not kept in memory."""
        companions = () if self.companion is None else (self.companion,)
        return self.store.features(self.base, [self.samples[i]], [view], companions)

    def target(self, i: int, index: int, cells: int) -> Target:
        """Target of a view, with so many cells per side."""
        if (i, index) not in self._targets:
            view, sample = self._view(i, index), self.samples[i]
            size = self.samples[i].size if view.untouched else view.size(*self.samples[i].size)
            frame = Frame.of(self.base, *size)
            shown = [view.annotation(a) for a in sample.annotations if a.label in self.classes or view.labels]
            self._targets[i, index] = target(shown, self.classes, frame, cells)
        return self._targets[i, index]

    def has_object(self, i: int) -> bool:
        """Whether an image has an object of the classes."""
        return bool(self.samples[i].of(self.classes))

    def candidates(self, i: int, proposals: Proposals, tiles: int) -> Iterator[Scene]:
        """Candidates and true objects of an image and of its tiles."""
        sample = self.samples[i]
        for view in views(tiles):
            features = self.features(i) if view.untouched else self.encode(i, view)
            shown = view.sample(sample)
            raw = proposals.raw(features, Frame.of(self.base, *view.size(*sample.size)))
            yield Scene(sample.id, raw, shown.of(self.classes))

    def _view(self, i: int, index: int) -> View:
        return UNTOUCHED if index == 0 else self.augment.draw(self.samples[i], index)


def train_head(
    scenes: Scenes,
    rows: Sequence[int],
    seed: int,
    steps: int,
    batch_size: int,
    lr: float,
    width: int,
    report: Callable[[], None],
) -> Head:
    """Train one head on some of the images; at least half of each batch are images with objects."""
    rng = np.random.default_rng([seed, 5])
    full, empty = ([i for i in rows if scenes.has_object(i) is has] for has in (True, False))
    share = 0 if not empty else min(batch_size // 2, max(1, round(batch_size * len(empty) / len(rows))))
    device = next(scenes.base.model.parameters()).device
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        first, companion = scenes.features(rows[0]), scenes.companion
        head = make_head(scenes.base, first, len(scenes.classes), width=width, companion=companion).to(device).train()
        optimizer = torch.optim.AdamW(head.parameters(), lr=lr, weight_decay=1e-2)
        total = max(steps, 2)
        warm = max(0.1, 1.5 / total)  # with a single step the schedule would divide by zero
        # not `train.schedule`: it also cycles beta_1 of AdamW
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=total, pct_start=warm)
        streams = _stream(full, rng), _stream(empty, rng)
        for _ in range(steps):
            picked = [next(streams[k < share]) for k in range(batch_size)]
            views = [(i, int(rng.integers(scenes.augment.views))) for i in picked]
            features = Features.cat([scenes.features(*v) for v in views]).to(device)
            heat, sides = head(features)
            targets = [scenes.target(*v, heat.shape[-1]) for v in views]
            value = loss(heat, sides, _joined(targets, device))
            optimizer.zero_grad(set_to_none=True)
            value.backward()
            torch.nn.utils.clip_grad_norm_(head.parameters(), 5.0)
            optimizer.step()
            schedule.step()
            report()
    return head.eval()


def _stream(rows: Sequence[int], rng: np.random.Generator) -> Iterator[int]:
    """An endless stream of rows, reshuffled every epoch."""
    while rows:
        yield from (rows[i] for i in rng.permutation(len(rows)))


def _joined(targets: Sequence[Target], device: torch.device) -> Target:
    names = ("heat", "sides", "near", "ignored")
    return Target(*(torch.stack([getattr(t, name) for t in targets]).to(device) for name in names))


__all__ = ["Scenes", "train_head"]
