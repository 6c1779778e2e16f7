"""Train proposals on cached embeddings: images with objects and images without.

The targets and the loss are in `targets.py`.
Calibration is cross-fitted: the images are dealt into folds, whole groups together; each fold is scored by heads
that were trained on the others, and slope, offset and threshold come from those scores alone. One more head is
trained on all images; what is kept is the mean of it and of one head a fold. The mean of two heads scores each fold:
one alone has higher peaks, on its own errors too, and its thresholds are not those of a mean.
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
"""Updates of each head. With a third of them heads of 54 images find half as much (docs/guides/many-objects.md)."""
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
    progress: Callable[[int, int], None] | None = None,
) -> Proposals:
    """Train proposals for some classes.

    Args:
        base: the frozen base.
        samples: images to train on; those without an object of a class are its negatives, so every object of the
            classes must be marked in every image.
        classes: names.
        store: embeddings.
        seed: of start, order and folds.
        steps: updates of each head, None: `STEPS`; 2 `folds` + 1 heads are trained and `folds` + 1 kept.
        batch_size: images a step.
        lr: largest learning rate, warmed up and lowered on a cosine.
        width: channels of the head's trunk.
        folds: parts of the cross-fitted calibration; 0 goes without (scores are then the raw heat).
        augment: views to draw from; the default is none.
        tiles: tiles a side in which it will look (`data.tile_views`): scores are calibrated on such views too. The
            head is trained on `augment`'s views, whose crops should then be as small.
        give: "points" or "boxes", what the adapter is asked with; calibration counts a proposal as right when its
            point lies on an object, or its box has an IoU of at least 0.5.
        progress: called with (steps done, steps in all).

    Raises:
        DataError: no image, or none with an object of a class. InputError: a number that makes no sense.
    """
    steps = STEPS if steps is None else steps
    if steps < 1 or batch_size < 1 or folds < 0 or folds == 1:
        raise InputError(
            f"steps and batch_size must be 1 or more, folds 0, 2 or more; got {steps}, {batch_size}, {folds}."
        )
    for name in classes:
        if not any(sample.of([name]) for sample in samples):
            raise DataError(f"None of the {len(samples)} images has an object of the class {name!r}.")
    scenes = _Scenes(base, samples, tuple(classes), store, augment or Augment())
    dealt = assign_folds(samples, folds, seed)
    ticks = count(1)
    total = steps * (2 * len(dealt) + 1)

    def told() -> None:
        done = next(ticks)
        if progress is not None:
            progress(done, total)

    def train(rows: Sequence[int], part: int) -> Head:
        return _train(scenes, rows, seed + 1000 * part, steps, batch_size, lr, width, told)

    seen: list[Scene] = []
    heads: list[Head] = []
    for part, held_out in enumerate(dealt, 1):
        rows = [i for i in range(len(samples)) if i not in set(held_out)]
        pair = [train(rows, part), train(rows, len(dealt) + part)]
        heads.append(pair[0])
        two = Proposals(Heads(pair), classes, base.fingerprint)
        seen += [scene for i in held_out for scene in scenes.looked(i, two, tiles)]
    head = Heads([train(range(len(samples)), 0), *heads]) if heads else train(range(len(samples)), 0)
    if not seen:
        _log.warning("Scores of the proposals are not calibrated: that needs at least two images (of two groups).")
        return Proposals(head, classes, base.fingerprint, base_name=base.name, give=give, tiles=tiles)
    calibration, thresholds = calibrate(seen, classes, give)
    found = Proposals(
        head, classes, base.fingerprint, base_name=base.name, calibration=calibration, thresholds=thresholds, give=give,
        tiles=tiles, figures={"images": len(samples), "seed": seed, "steps": steps},
    )  # fmt: skip
    found.figures["cross_fitted"] = measure(seen, found)
    return found


def plan_tiles(
    samples: Sequence[Sample], classes: Sequence[str], base: Base, *, views: int, tiles: int | None = None
) -> tuple[int, Augment]:
    """Tiles a side that suit the objects (see `data.tile_views.fitting`), and views to train on that show as much.

    Args:
        samples: training images.
        classes: to propose.
        base: frozen base.
        views: of each image, the untouched one included.
        tiles: where they are given.
    """
    pairs = flip_pairs(classes)
    tiles = tiles or fitting(samples, classes, base.low_res)
    return tiles, Augment(views, pairs is not None, pairs or (), crop=0.7 if tiles == 1 else 0.8 * side(tiles))


def evaluate_proposals(
    proposals: Proposals, base: Base, samples: Sequence[Sample], store: EmbeddingCache
) -> dict[str, Any]:
    """Recall, precision and false positives by class on images it was not trained on; see `calibration.measure`.

    With tiles each of them counts as an image, beside the whole one.
    """
    scenes = _Scenes(base, samples, proposals.classes, store, Augment())
    seen = [scene for i in range(len(samples)) for scene in scenes.looked(i, proposals, proposals.tiles)]
    return measure(seen, proposals)


def parts(
    samples: Sequence[Sample], classes: Sequence[str], adapter: Path, data: Path, negatives: int
) -> tuple[list[Sample], list[Sample]]:
    """Images to train an adapter's proposals on, and images to judge them on.

    Where the adapter was fitted on this data set: its own training images, judged on its own held-out ones; and of
    the images without an object two thirds, judged on the rest. On other data: all of them, judged on none.

    Args:
        samples: of the data set.
        classes: names.
        adapter: folder; config.yaml tells its data set, split.json its images.
        data: folder of the data set.
        negatives: at most so many images without an object are trained on, and half as many judged on.
    """
    config, file = adapter / "config.yaml", adapter / "split.json"
    known = load(config).data if config.is_file() and file.is_file() else None
    empty = sorted((s for s in samples if not s.of(classes)), key=lambda s: sha256(s.id.encode()).hexdigest())
    if known is None or known.resolve() != data.resolve():
        return [*(s for s in samples if s.of(classes)), *empty[:negatives]], []
    split = Split.read(file)
    train, judged = (set(split.train), {*split.val, *split.test})
    free = [s for s in empty if s.id not in train | judged]
    return (
        [*(s for s in samples if s.id in train), *[s for i, s in enumerate(free) if i % 3][:negatives]],
        [*(s for s in samples if s.id in judged), *free[::3][: negatives // 2]],
    )


def assign_folds(samples: Sequence[Sample], folds: int, seed: int) -> list[list[int]]:
    """Indices of the samples in folds of whole groups; no fold when there are fewer than two groups."""
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
    """Images with their embeddings and targets, made when first asked for."""

    def __init__(
        self, base: Base, samples: Sequence[Sample], classes: tuple[str, ...], store: EmbeddingCache, augment: Augment
    ) -> None:
        self.base, self.samples, self.classes, self.store, self.augment = base, samples, classes, store, augment
        self._features: dict[tuple[int, int], Features] = {}
        self._targets: dict[tuple[int, int], Target] = {}
        self._bytes = 0

    def features(self, i: int, index: int = 0) -> Features:
        key = (i, index)
        if key in self._features:
            return self._features[key]
        row = self.store.features(self.base, [self.samples[i]], [self._view(i, index)])
        self._bytes += sum(t.numel() * t.element_size() for t in (row.main, *row.skips))
        if self._bytes < _MEMORY:
            self._features[key] = row
        return row

    def target(self, i: int, index: int, cells: int) -> Target:
        if (i, index) not in self._targets:
            view, sample = self._view(i, index), self.samples[i]
            size = self.samples[i].size if view.untouched else view.size(*self.samples[i].size)
            frame = Frame.of(self.base, *size)
            seen = [view.annotation(a) for a in sample.annotations if a.label in self.classes or view.labels]
            self._targets[i, index] = target(seen, self.classes, frame, cells)
        return self._targets[i, index]

    def has_object(self, i: int) -> bool:
        return bool(self.samples[i].of(self.classes))

    def looked(self, i: int, proposals: Proposals, tiles: int) -> Iterator[Scene]:
        """Candidates and truths of an image and of its tiles, for calibration and figures."""
        sample = self.samples[i]
        for view in views(tiles):
            features = self.features(i) if view.untouched else self.store.features(self.base, [sample], [view])
            seen = view.sample(sample)
            raw = proposals.raw(features, Frame.of(self.base, *view.size(*sample.size)))
            yield Scene(sample.id, raw, seen.of(self.classes))

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
    told: Callable[[], None],
) -> Head:
    """One head on some of the images; those with objects make up at least half of each batch."""
    rng = np.random.default_rng([seed, 5])
    full, empty = ([i for i in rows if scenes.has_object(i) is has] for has in (True, False))
    share = 0 if not empty else min(batch_size // 2, max(1, round(batch_size * len(empty) / len(rows))))
    device = next(scenes.base.model.parameters()).device
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head = make_head(scenes.base, scenes.features(rows[0]), len(scenes.classes), width=width).to(device).train()
        optimizer = torch.optim.AdamW(head.parameters(), lr=lr, weight_decay=1e-2)
        total = max(steps, 2)
        warm = max(0.1, 1.5 / total)  # of a single step the schedule divides by zero
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
            told()
    return head.eval()


def _stream(rows: Sequence[int], rng: np.random.Generator) -> Any:
    """The rows for ever, each once an epoch, in an order of each epoch's own."""
    while rows:
        yield from (rows[i] for i in rng.permutation(len(rows)))


def _joined(targets: Sequence[Target], device: torch.device) -> Target:
    names = ("heat", "sides", "near", "ignored")
    return Target(*(torch.stack([getattr(t, name) for t in targets]).to(device) for name in names))


__all__ = ["STEPS", "assign_folds", "evaluate_proposals", "fit_proposals", "parts", "plan_tiles"]
