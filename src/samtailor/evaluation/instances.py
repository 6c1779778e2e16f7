"""Automatic instances against the truth: mask AP, what a user would be given, alarms on images without the object.

Answers are ranked by the score of their proposal times their predicted IoU. For AP all of them count, however unlikely,
since AP is about the ranking; precision, recall and the false-positive rate are of those that `predict --prompt auto`
would give: the proposal's score reaches the threshold of its class.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from samtailor.errors import InputError
from samtailor.masks import average_precision as precision
from samtailor.masks.average_precision import ImageResult, Instance
from samtailor.predict.auto import GROWN, proposer, thresholds, tiles_of
from samtailor.predict.instances import InstanceMask, objects
from samtailor.structures import Sample

if TYPE_CHECKING:
    from samtailor.cache.embeddings import EmbeddingCache
    from samtailor.predict.instances import Proposer
    from samtailor.predict.predictor import Predictor

LOWEST = 0.02
"""Score of a proposal below which it is not asked for at all: it could not change AP by a thousandth."""
_EVERY = 10**6  # answers an image: no limit


@dataclass(frozen=True)
class Asked:
    """Who answers, and who says where to look.

    Args:
        adapter: name in the predictor; None is the base.
        propose: with a threshold of `LOWEST`.
        least: class to the score from which on something counts as found.
        tiles: see `instances.objects`.
    """

    adapter: str | None
    propose: Proposer
    least: Callable[[str | None], float]
    tiles: int = 1

    @classmethod
    def of(
        cls,
        predictor: Predictor,
        adapter: str | None,
        folder: str | Path | None,
        *,
        detector: str | None = None,
        classes: Sequence[str] | None = None,
        threshold: float | None = None,
        give: str | None = None,
    ) -> Asked:
        """As `predict --prompt auto` asks, but with every proposal that could change AP; see `automatic.proposer`.

        Args:
            predictor: with the adapter.
            adapter: its name; None is the base.
            folder: with the proposals, also for the base.
            detector, classes, give: who proposes instead, and how.
            threshold: lowest score that counts as found; None takes each class's own.

        Raises:
            InputError: nothing is there that could ask.
        """
        how = {"detector": detector, "classes": classes, "threshold": LOWEST, "give": give, "sizes": GROWN}
        propose = proposer(predictor, adapter, folder, **how)
        least = thresholds(predictor, adapter, folder, detector=detector, threshold=threshold)
        return cls(adapter, propose, least, 1 if detector else tiles_of(folder))


@dataclass(frozen=True)
class InstanceEvaluation:
    """What was found in every image.

    Args:
        images: with their true objects of the classes.
        classes: that were asked for.
        seed: of the bootstrap.
    """

    images: tuple[ImageResult, ...]
    classes: tuple[str, ...]
    seed: int = 0

    def summary(self, draws: int = 1000) -> dict[str, Any]:
        """Figures in 0..1, 95 % intervals by bootstrap over groups of images.

        Returns:
            `ap`, `ap50`, `ap75` as COCO has them (at most 100 answers a class and image), each with `..._interval`;
            `without_limit`: the same three when every answer counts; of what a user would be given `precision`,
            `recall`, `f1` (IoU at least 0.5, all classes together) and `false_positive_rate`: the share of the images
            without an object of the classes in which anything is found, None without such images; counts `images`,
            `empty_images`, `objects`, `found`; and `classes`: the same by class, `empty_images` being those without
            an object of that class.
        """
        groups = [image.group or image.id for image in self.images]
        limited = precision.match(self.images, self.classes)
        every = precision.match(self.images, self.classes, _EVERY)
        given = self._given()
        judged = precision.match(given, self.classes, _EVERY)
        return {
            **precision.with_intervals(limited, groups, self.seed, draws),
            "without_limit": precision.mean_precision(every),
            **_given_figures(given, self.classes, judged),
            "classes": {
                label: {**precision.mean_precision({label: one}), **_given_figures(given, [label], judged)}
                for label, one in limited.items()
            },
        }

    def given_f1(self) -> float:
        """F1 of what a user would be given, IoU at least 0.5, in [0, 1]."""
        given = self._given()
        judged = precision.match(given, self.classes, _EVERY)
        return _given_figures(given, self.classes, judged)["f1"] or 0.0

    def _given(self) -> list[ImageResult]:
        """Only what a user would be given."""
        return [
            ImageResult(one.id, one.truths, tuple(f for f in one.predictions if f.accepted), one.group)
            for one in self.images
        ]


def evaluate_instances(
    predictor: Predictor,
    asked: dict[str, Asked],
    samples: Sequence[Sample],
    classes: Sequence[str],
    *,
    store: EmbeddingCache | None = None,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, InstanceEvaluation]:
    """Look for all objects of some classes in every image, with one or several adapters on the same embeddings.

    Args:
        predictor: with the adapters.
        asked: name of the result to who answers.
        samples: images, those without an object among them: they tell the false-positive rate.
        classes: names; answers of other classes do not count.
        store: embeddings on disk.
        seed: of the bootstrap.
        progress: called with (images done, images in all).

    Raises:
        InputError: there is no object of the classes to find.
    """
    if not any(sample.of(classes) for sample in samples):
        raise InputError(f"There is no object to find: none of {len(samples)} images has one of {', '.join(classes)}.")
    rows: dict[str, list[ImageResult]] = {name: [] for name in asked}
    for done, sample in enumerate(samples, 1):
        truths = tuple(a for a in sample.annotations if a.label in classes and a.area)
        for name, who in asked.items():
            found = objects(predictor, sample, who.propose, who.adapter, tiles=who.tiles, store=store)
            seen = tuple(_instance(one, who) for one in found if one.ask.label in classes)
            rows[name].append(ImageResult(sample.id, truths, seen, sample.group or sample.id))
        if progress:
            progress(done, len(samples))
    return {name: InstanceEvaluation(tuple(own), tuple(classes), seed) for name, own in rows.items()}


def _instance(one: InstanceMask, who: Asked) -> Instance:
    label = one.ask.label
    return Instance(label, one.rle, one.rank, one.score >= who.least(label))


def _given_figures(
    given: Sequence[ImageResult], classes: Sequence[str], judged: dict[str, precision.Matched]
) -> dict[str, Any]:
    own = [judged[label] for label in classes]
    total = sum(int(one.objects.sum()) for one in own)
    found = sum(int(one.counts[0].sum()) for one in own)
    right = sum(int((one.correct[0] & one.counts[0]).sum()) for one in own)
    empty = [p for p in given if not any(t.label in classes for t in p.truths)]
    alarms = [any(f.label in classes for f in p.predictions) for p in empty]
    return {
        "precision": right / found if found else None,
        "recall": right / total if total else None,
        "f1": 2 * right / (found + total) if found + total else None,
        "false_positive_rate": float(np.mean(alarms)) if alarms else None,
        "images": len(given),
        "empty_images": len(empty),
        "objects": total,
        "found": found,
    }


__all__ = ["LOWEST", "Asked", "InstanceEvaluation", "evaluate_instances"]
