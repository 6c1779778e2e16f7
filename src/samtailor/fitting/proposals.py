"""Train proposals on cached embeddings of images with and without objects.

Targets and loss are in `proposals.targets`. Calibration is cross-fitted: groups of images are assigned to folds, each
fold is scored by heads that were trained on the other folds, and slope, offset and threshold are fitted to these scores
alone. One more head is trained on all images. The result is the mean of that head and of one head per fold. Each fold
is scored by the mean of two heads, because a single head has higher peaks, false ones too, and other thresholds than a
mean.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import torch

from samtailor.bases import Base
from samtailor.bases.companions import Companion
from samtailor.cache.embeddings import EmbeddingCache
from samtailor.data.augment import UNTOUCHED, Augment, View, flip_pairs
from samtailor.data.split import Split
from samtailor.data.tile_views import fitting, side, views
from samtailor.data.transform import Frame
from samtailor.errors import DataError, InputError
from samtailor.proposals import Proposals
from samtailor.proposals.calibration import Scene, calibrate, measure
from samtailor.proposals.head import Head, Heads, make_head
from samtailor.proposals.targets import Target, loss, target
from samtailor.structures import Features, Sample
from samtailor.train.config import load

STEPS = 600
"""Updates per head. With a third of them, heads trained on 54 images find half as much
(docs/guides/many-objects.md)."""
_MEMORY = 10**9  # bytes of embeddings kept in memory during training
_log = logging.getLogger("samtailor.proposals")


def fit_proposals(
    base: Base,
    samples: Sequence[Sample],
    classes: Sequence[str],
    store: EmbeddingCache,
    *,
    seed: int = 0,
    steps: int | None = None,
    batch_size: int = 4,
    lr: float = 4e-3,
    width: int = 96,
    folds: int = 3,
    augment: Augment | None = None,
    give: str = "points",
    tiles: int = 1,
    companion: Companion | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Proposals:
    """Train proposals for some classes.

    Args:
        base: the frozen base.
        samples: images to train on. Images without an object of a class are its negatives, so every object of the
            classes must be annotated in every image.
        classes: class names.
        store: cached embeddings.
        seed: seed of initialization, order and folds.
        steps: updates per head; None: `STEPS`. 2 `folds` + 1 heads are trained, and `folds` + 1 are kept.
        batch_size: images per step.
        lr: peak learning rate of the one-cycle schedule.
        width: channels of the trunk of a head.
        folds: folds of the cross-fitted calibration; 0: no calibration (scores are the raw heat).
        augment: views to draw from; default: no augmentation.
        give: prompt for the adapter, "points" or "boxes". Calibration counts a proposal as correct if its point lies on
            an object, or if its box has an IoU of at least 0.5.
        tiles: tiles per side at inference (`data.tile_views`). Scores are calibrated on such views too; the crops of
            `augment` should be as small.
        companion: frozen network whose features the heads read beside the embedding.
        progress: called with (steps done, all steps).

    Raises:
        DataError: no image, or no object of a class.
        InputError: a number out of range.
    """
    steps = STEPS if steps is None else steps
    if steps < 1 or batch_size < 1 or folds < 0 or folds == 1:
        raise InputError(
            f"steps and batch_size must be 1 or more, folds 0, 2 or more; got {steps}, {batch_size}, {folds}."
        )
    for name in classes:
        if not any(sample.of([name]) for sample in samples):
            raise DataError(f"None of the {len(samples)} images has an object of the class {name!r}.")
    scenes = _Scenes(base, samples, tuple(classes), store, augment or Augment(), companion)
    parts = assign_folds(samples, folds, seed)
    ticks = count(1)
    total = steps * (2 * len(parts) + 1)

    def report() -> None:
        done = next(ticks)
        if progress is not None:
            progress(done, total)

    def train(rows: Sequence[int], part: int) -> Head:
        return _train(scenes, rows, seed + 1000 * part, steps, batch_size, lr, width, report)

    scored: list[Scene] = []
    heads: list[Head] = []
    for part, held_out in enumerate(parts, 1):
        rows = [i for i in range(len(samples)) if i not in set(held_out)]
        pair = [train(rows, part), train(rows, len(parts) + part)]
        heads.append(pair[0])
        two = Proposals(Heads(pair), classes, base.fingerprint, companion=companion)
        scored += [scene for i in held_out for scene in scenes.candidates(i, two, tiles)]
    head = Heads([train(range(len(samples)), 0), *heads]) if heads else train(range(len(samples)), 0)
    if not scored:
        _log.warning("The scores of the proposals are not calibrated: this needs images of at least two groups.")
        return Proposals(
            head, classes, base.fingerprint, base_name=base.name, give=give, tiles=tiles, companion=companion
        )
    calibration, thresholds = calibrate(scored, classes, give)
    proposals = Proposals(
        head, classes, base.fingerprint, base_name=base.name, calibration=calibration, thresholds=thresholds, give=give,
        tiles=tiles, figures={"images": len(samples), "seed": seed, "steps": steps}, companion=companion,
    )  # fmt: skip
    proposals.figures["cross_fitted"] = measure(scored, proposals)
    return proposals


def plan_tiles(
    samples: Sequence[Sample], classes: Sequence[str], base: Base, *, views: int, tiles: int | None = None
) -> tuple[int, Augment]:
    """Tiles per side that fit the size of the objects (`data.tile_views.fitting`), and an augmentation of that scale.

    Args:
        samples: training images.
        classes: classes to propose.
        base: frozen base.
        views: views per image, the original included.
        tiles: tiles per side, if they are given.
    """
    pairs = flip_pairs(classes)
    tiles = tiles or fitting(samples, classes, base.low_res)
    return tiles, Augment(views, pairs is not None, pairs or (), crop=0.7 if tiles == 1 else 0.8 * side(tiles))


def evaluate_proposals(
    proposals: Proposals, base: Base, samples: Sequence[Sample], store: EmbeddingCache
) -> dict[str, Any]:
    """Recall, precision and false positives by class on other images; see `calibration.measure`.

    With tiles each tile counts as an image, in addition to the whole image.
    """
    scenes = _Scenes(base, samples, proposals.classes, store, Augment(), proposals.companion)
    scored = [scene for i in range(len(samples)) for scene in scenes.candidates(i, proposals, proposals.tiles)]
    return measure(scored, proposals)


def parts(
    samples: Sequence[Sample], classes: Sequence[str], adapter: Path, data: Path, negatives: int
) -> tuple[list[Sample], list[Sample]]:
    """Images to train the proposals of an adapter on, and images to evaluate them on.

    If the adapter was fitted on this data set, they are the training and the held-out images of its fit, with two
    thirds of the images without an object to train on and one third to evaluate on. With other data, all images are
    trained on and none is held out.

    Args:
        samples: images of the data set.
        classes: class names.
        adapter: folder of the adapter, with config.yaml and split.json of its fit.
        data: folder of the data set.
        negatives: largest number of images without an object to train on; half as many are evaluated on.
    """
    config, file = adapter / "config.yaml", adapter / "split.json"
    known = load(config, quiet=True).data if config.is_file() and file.is_file() else None
    empty = sorted((s for s in samples if not s.of(classes)), key=lambda s: sha256(s.id.encode()).hexdigest())
    if known is None or known.resolve() != data.resolve():
        return [*(s for s in samples if s.of(classes)), *empty[:negatives]], []
    split = Split.read(file)
    train, held_out = (set(split.train), {*split.val, *split.test})
    free = [s for s in empty if s.id not in train | held_out]
    return (
        [*(s for s in samples if s.id in train), *[s for i, s in enumerate(free) if i % 3][:negatives]],
        [*(s for s in samples if s.id in held_out), *free[::3][: negatives // 2]],
    )


def assign_folds(samples: Sequence[Sample], folds: int, seed: int) -> list[list[int]]:
    """Indices of the samples by fold, with whole groups in one fold; no folds with fewer than two groups."""
    groups: dict[str, list[int]] = {}
    for i, sample in enumerate(samples):
        groups.setdefault(sample.group or sample.id, []).append(i)
    count = min(folds, len(groups))
    if count < 2:
        return []
    order = np.random.default_rng([seed, 4]).permutation(len(groups))
    members = list(groups.values())
    parts: list[list[int]] = [[] for _ in range(count)]
    for turn, g in enumerate(order):
        parts[turn % count] += members[g]
    return parts


class _Scenes:
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
        if (i, index) not in self._targets:
            view, sample = self._view(i, index), self.samples[i]
            size = self.samples[i].size if view.untouched else view.size(*self.samples[i].size)
            frame = Frame.of(self.base, *size)
            shown = [view.annotation(a) for a in sample.annotations if a.label in self.classes or view.labels]
            self._targets[i, index] = target(shown, self.classes, frame, cells)
        return self._targets[i, index]

    def has_object(self, i: int) -> bool:
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


def _train(
    scenes: _Scenes,
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


__all__ = ["STEPS", "assign_folds", "evaluate_proposals", "fit_proposals", "parts", "plan_tiles"]
