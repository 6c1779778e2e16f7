"""Evaluate automatic mode against the truth: mask AP, precision and recall, false positives on images without objects.

Predictions are ranked by the score of their proposal times their predicted IoU. AP counts all of them, however
unlikely, since it measures the ranking. Precision, recall and the false-positive rate count the accepted ones, which
`predict --prompt auto` returns: the score of the proposal reaches the threshold of its class.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from samtailor.errors import InputError
from samtailor.evaluation.counting import count_figures, count_text, counts_by_image
from samtailor.evaluation.scores import MIN_OBJECTS, TOO_FEW, percent
from samtailor.masks import average_precision as precision
from samtailor.masks.average_precision import ImageResult, Instance
from samtailor.masks.confusion import Confusion, instance_confusion
from samtailor.masks.disagreement import Disagreement, disagreements, instance_answers
from samtailor.predict.competition import compete, exclusive_pairs
from samtailor.predict.instances import InstanceMask, predict_instances, with_image
from samtailor.predict.source import AdapterSource
from samtailor.structures import Account, Sample
from samtailor.structures.notebook import table_html

if TYPE_CHECKING:
    from samtailor.cache.embeddings import EmbeddingCache
    from samtailor.predict.predictor import Predictor

LOWEST = 0.02
"""Score below which a proposal is not decoded at all; such proposals change AP by less than a thousandth. Pass it as
`lowest` to `AdapterSource.of`."""
Sources = AdapterSource | Mapping[str, AdapterSource]
"""An adapter with its prompt source, or class to source for several adapters, whose objects are evaluated together."""
_NO_LIMIT = 10**6  # predictions per image


@dataclass(frozen=True)
class InstanceEvaluation:
    """Predictions of all images, with their figures.

    Args:
        images: with their true objects of the classes.
        classes: that are evaluated.
        seed: of the bootstrap.
        reference: the base model on the same images, where both were evaluated together.
        account: what the data set contains and what is left out of it; None for samples in memory.
        part: what the images are, see `parts.Part`; empty if it is not known.
    """

    images: tuple[ImageResult, ...]
    classes: tuple[str, ...]
    seed: int = 0
    reference: InstanceEvaluation | None = None
    account: Account | None = None
    part: str = ""

    def __repr__(self) -> str:
        """Scores in percent, of the reference too."""
        head, rows = self._table()
        return "\n".join(f"{row[0]}: " + ", ".join(map(" ".join, zip(head[1:], row[1:], strict=True))) for row in rows)

    def _repr_html_(self) -> str:
        """A table for notebooks."""
        return table_html(*self._table(), "Percent; count error in objects per image. Objects found without a prompt.")

    def _table(self) -> tuple[list[str], list[list[str]]]:
        pairs = [("Evaluation", self)] if self.reference is None else [("Base", self.reference), ("Adapter", self)]
        named = {"AP50": "ap50", "AP": "ap", "precision": "precision", "recall": "recall"}
        rows = []
        for name, one in pairs:
            summary = one.summary()
            cells = [percent(summary[key], summary[f"{key}_interval"]) for key in named.values()]
            cells.append(count_text(summary))
            if summary["objects"] < MIN_OBJECTS:
                cells = [TOO_FEW, *("" for _ in cells[1:])]
            rows.append([name, *cells, str(summary["objects"]), str(summary["images"])])
        return ["", *named, "count error", "objects", "images"], rows

    def summary(self, draws: int = 1000) -> dict[str, Any]:
        """Figures in [0, 1], with 95 % intervals from a bootstrap over groups of images.

        Returns:
            `ap`, `ap50`, `ap75` as defined by COCO (at most 100 predictions per class and image), each with
            `..._interval`; `without_limit`: the same three without that maximum; of the accepted predictions
            `precision`, `recall`, `f1` (IoU at least 0.5, all classes together) and `false_positive_rate`: the share
            of the images without an object of the classes that have an accepted prediction, None without such images;
            the errors of the number of objects per image `count_error` and `count_bias`, see
            `counting.count_figures`; `confusion` with several classes, see `Confusion.to_json`; counts `images`,
            `empty_images`, `objects`, `found`; and `classes`: the same by class, where `empty_images` are those
            without an object of that class.
        """
        groups = [image.group or image.id for image in self.images]
        limited = precision.match(self.images, self.classes)
        unlimited = precision.match(self.images, self.classes, _NO_LIMIT)
        accepted = self._accepted()
        matched = precision.match(accepted, self.classes, _NO_LIMIT)
        counts = counts_by_image(len(accepted), matched, self.classes)
        return {
            **precision.with_intervals(limited, groups, self.seed, draws),
            "without_limit": precision.mean_precision(unlimited),
            **_accepted_figures(accepted, self.classes, matched),
            **self._intervals(accepted, self.classes, matched, groups, draws),
            **count_figures(counts, groups, self.seed, draws),
            "groups": len(set(groups)),
            **({} if len(self.classes) < 2 else {"confusion": self.confusion.to_json()}),
            "classes": {
                label: {
                    **precision.with_intervals({label: one}, groups, self.seed, draws),
                    **_accepted_figures(accepted, [label], matched),
                    **self._intervals(accepted, [label], matched, groups, draws),
                    **count_figures(counts[:, place : place + 1], groups, self.seed, draws),
                }
                for place, (label, one) in enumerate(limited.items())
            },
        }

    def _intervals(
        self,
        accepted: Sequence[ImageResult],
        classes: Sequence[str],
        matched: Mapping[str, precision.Matched],
        groups: Sequence[Hashable],
        draws: int,
    ) -> dict[str, list[float] | None]:
        """95 % intervals of the figures of the accepted predictions, by a bootstrap over groups."""
        counts = np.array([_counts(image, row, classes, matched) for row, image in enumerate(accepted)], np.float64)
        codes = {group: index for index, group in enumerate(dict.fromkeys(groups))}
        by_group = np.zeros((len(codes), counts.shape[1]))
        np.add.at(by_group, [codes[group] for group in groups], counts)
        rng = np.random.default_rng(self.seed)
        drawn = rng.multinomial(len(codes), np.full(len(codes), 1 / len(codes)), size=draws if len(codes) > 1 else 0)
        right, predicted, objects, alarms, empty = (drawn @ by_group).T
        pairs = {
            "precision": (right, predicted),
            "recall": (right, objects),
            "f1": (2 * right, predicted + objects),
            "false_positive_rate": (alarms, empty),
        }
        return {f"{name}_interval": _bounds(above, below) for name, (above, below) in pairs.items()}

    def accepted_f1(self) -> float:
        """F1 of the accepted predictions at IoU 0.5, in [0, 1]."""
        accepted = self._accepted()
        matched = precision.match(accepted, self.classes, _NO_LIMIT)
        return _accepted_figures(accepted, self.classes, matched)["f1"] or 0.0

    @property
    def confusion(self) -> Confusion:
        """Which class's objects are covered by the accepted predictions of which class."""
        return instance_confusion(self.images, self.classes)

    def disagreements(self, count: int | None = None) -> list[Disagreement]:
        """Annotations that strongly disagree with the predictions, see `masks.disagreement`."""
        return disagreements(instance_answers(self.images, self.classes), count=count)

    def count_figures(self) -> dict[str, Any]:
        """Errors of the number of accepted predictions per image, see `counting.count_figures`."""
        matched = precision.match(self._accepted(), self.classes, _NO_LIMIT)
        counts = counts_by_image(len(self.images), matched, self.classes)
        return count_figures(counts, [image.group or image.id for image in self.images], self.seed)

    def _accepted(self) -> list[ImageResult]:
        """The images with only the predictions that a user would get."""
        return [replace(one, predictions=tuple(p for p in one.predictions if p.accepted)) for one in self.images]


def evaluate_instances(
    predictor: Predictor,
    sources: Mapping[str, Sources],
    samples: Sequence[Sample],
    classes: Sequence[str],
    *,
    store: EmbeddingCache | None = None,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, InstanceEvaluation]:
    """Predict all objects of some classes in every image, with one or several adapters on the same embeddings.

    Args:
        predictor: with the adapters loaded.
        sources: name of the result to adapter and prompt source, made with `lowest=LOWEST`; see `Sources`.
        samples: images; those without an object determine the false-positive rate.
        classes: names; predictions of other classes do not count.
        store: embedding cache on disk.
        seed: of the bootstrap.
        progress: called with (images done, images in all).

    Raises:
        InputError: the samples have no object of the classes.
    """
    if not any(sample.of(classes) for sample in samples):
        raise InputError(f"There is no object to find: none of {len(samples)} images has one of {', '.join(classes)}.")
    results: dict[str, list[ImageResult]] = {name: [] for name in sources}
    for done, sample in enumerate(samples, 1):
        truths = tuple(a for a in sample.annotations if a.label in classes and a.area)
        for name, source in sources.items():
            predictions = tuple(
                Instance(one.label, one.rle, one.rank, accepted)
                for one, accepted in _predicted(predictor, sample, source, store)
                if one.label is not None and one.label in classes
            )
            results[name].append(ImageResult(sample.id, truths, predictions, sample.group or sample.id))
        if progress:
            progress(done, len(samples))
    return {name: InstanceEvaluation(tuple(images), tuple(classes), seed) for name, images in results.items()}


def by_class(pairs: Iterable[tuple[Sequence[str], AdapterSource]]) -> Sources:
    """The source of a single adapter, or class to source for several.

    Args:
        pairs: classes of each adapter, and its source.
    """
    listed = list(pairs)
    if len(listed) == 1:
        return listed[0][1]
    return {label: source for labels, source in listed for label in labels}


def _predicted(
    predictor: Predictor, sample: Sample, sources: Sources, store: EmbeddingCache | None
) -> list[tuple[InstanceMask, bool]]:
    """The objects of an image, and whether a user would get them.

    Of several adapters, the accepted objects of competing classes share no pixel, as in use; the others, which count
    for the ranking only, stay as they are.
    """
    if isinstance(sources, AdapterSource):
        predicted = predict_instances(predictor, sample, sources, store=store)
        return [(one, one.score >= sources.threshold(one.label)) for one in predicted]
    every = list({id(source): source for source in sources.values()}.values())
    predictor.set_sample(sample)
    accepted, others = list[InstanceMask](), list[InstanceMask]()
    for source in with_image(predictor, sample, every):
        for one in predict_instances(predictor, sample, source, store=store, image_is_set=True):
            (accepted if one.score >= source.threshold(one.label) else others).append(one)
    kept = compete(accepted, exclusive_pairs(every), certainty=lambda one: one.prompt.certainty)
    return [*((one, True) for one in kept), *((one, False) for one in others)]


def _counts(
    image: ImageResult, row: int, classes: Sequence[str], matched: Mapping[str, precision.Matched]
) -> list[int]:
    """Of one image: right predictions, predictions, objects, and whether it is a false alarm and without objects."""
    by_class = [matched[label] for label in classes]
    here = [one.counts[0] & (one.image == row) for one in by_class]
    right = sum(int((one.correct[0] & kept).sum()) for one, kept in zip(by_class, here, strict=True))
    empty = not any(truth.label in classes for truth in image.truths)
    alarm = empty and any(one.label in classes for one in image.predictions)
    return [right, sum(int(kept.sum()) for kept in here), sum(int(one.objects[row]) for one in by_class), alarm, empty]


def _bounds(above: np.ndarray, below: np.ndarray) -> list[float] | None:
    """95 % interval of a ratio over bootstrap samples; those with an undefined ratio are left out."""
    defined = below > 0
    if not defined.any():
        return None
    low, high = np.percentile(above[defined] / below[defined], [2.5, 97.5])
    return [float(low), float(high)]


def _accepted_figures(
    images: Sequence[ImageResult], classes: Sequence[str], matched: dict[str, precision.Matched]
) -> dict[str, Any]:
    by_class = [matched[label] for label in classes]
    objects = sum(int(one.objects.sum()) for one in by_class)
    predicted = sum(int(one.counts[0].sum()) for one in by_class)
    right = sum(int((one.correct[0] & one.counts[0]).sum()) for one in by_class)
    empty = [image for image in images if not any(truth.label in classes for truth in image.truths)]
    false_alarms = [any(one.label in classes for one in image.predictions) for image in empty]
    return {
        "precision": right / predicted if predicted else None,
        "recall": right / objects if objects else None,
        "f1": 2 * right / (predicted + objects) if predicted + objects else None,
        "false_positive_rate": float(np.mean(false_alarms)) if false_alarms else None,
        "images": len(images),
        "empty_images": len(empty),
        "objects": objects,
        "found": predicted,
    }


__all__ = ["LOWEST", "InstanceEvaluation", "Sources", "by_class", "evaluate_instances"]
