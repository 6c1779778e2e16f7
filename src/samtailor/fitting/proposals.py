"""Train proposals on cached embeddings of images with and without objects.

Targets and loss are in `proposals.targets`. Calibration is cross-fitted: groups of images are assigned to folds, each
fold is scored by heads that were trained on the other folds, and slope, offset and threshold are fitted to these scores
alone. One more head is trained on all images. The result is the mean of that head and of one head per fold. Each fold
is scored by the mean of two heads, because a single head has higher peaks, false ones too, and other thresholds than a
mean.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from hashlib import sha256
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from samtailor.bases import Base
from samtailor.bases.companions import Companion
from samtailor.cache.embeddings import EmbeddingCache
from samtailor.data.augment import Augment, flip_pairs
from samtailor.data.split import Split
from samtailor.data.tile_views import fitting, side
from samtailor.errors import DataError, InputError
from samtailor.fitting.proposal_training import Scenes, train_head
from samtailor.proposals import Proposals
from samtailor.proposals.calibration import Scene, calibrate, measure
from samtailor.proposals.head import Head, Heads
from samtailor.structures import Sample
from samtailor.train.config import load

BATCH, LR, WIDTH = 4, 4e-3, 96
"""Images per step, peak learning rate, and channels of the trunk of a head."""
STEPS = 600
"""Updates per head. With a third of them, heads trained on 54 images find half as much
(docs/guides/many-objects.md)."""
_log = logging.getLogger("samtailor.proposals")


def fit_proposals(
    base: Base,
    samples: Sequence[Sample],
    classes: Sequence[str],
    store: EmbeddingCache,
    *,
    seed: int = 0,
    steps: int | None = None,
    batch_size: int = BATCH,
    lr: float = LR,
    width: int = WIDTH,
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
    scenes = Scenes(base, samples, tuple(classes), store, augment or Augment(), companion)
    parts = assign_folds(samples, folds, seed)
    ticks = count(1)
    total = steps * (2 * len(parts) + 1)

    def report() -> None:
        done = next(ticks)
        if progress is not None:
            progress(done, total)

    def train(rows: Sequence[int], part: int) -> Head:
        return train_head(scenes, rows, seed + 1000 * part, steps, batch_size, lr, width, report)

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
    scenes = Scenes(base, samples, proposals.classes, store, Augment(), proposals.companion)
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


__all__ = [
    "BATCH",
    "LR",
    "STEPS",
    "WIDTH",
    "assign_folds",
    "evaluate_proposals",
    "fit_proposals",
    "parts",
    "plan_tiles",
]
