"""Predicted masks of the rows of a comparison, for images: the same objects, all methods side by side."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zlib import crc32

import numpy as np

from samtailor import artefact
from samtailor.bases import Base
from samtailor.compare import baselines
from samtailor.compare.baselines._artefact import read_meta as read_baseline
from samtailor.compare.entries import kind_of
from samtailor.data.regions import regions
from samtailor.errors import InputError
from samtailor.evaluation.protocol import prompt_source, prompts_for
from samtailor.masks.metrics import iou
from samtailor.masks.overlay import around, close_up
from samtailor.predict.postprocessing import masks_of
from samtailor.predict.predictor import BASE, Predictor
from samtailor.segmenter import Segmenter
from samtailor.structures import Annotation, Output, Prompts, Sample

if TYPE_CHECKING:
    from samtailor.cache.embeddings import EmbeddingCache


TRUE = (48, 209, 88)
"""Color of true masks in sheets."""


@dataclass(frozen=True)
class Row:
    """One row of a comparison, for one seed.

    Args:
        title: name of the row.
        method: name of the method or baseline.
        folders: folders of its fits, one for each class with `per_class`; empty if nothing was fitted.
    """

    title: str
    method: str
    folders: tuple[Path, ...]


@dataclass(frozen=True)
class Target:
    """One object of an image.

    Args:
        sample: the image.
        index: of the object among those of the classes.
        annotation: the object.
        why: why it was chosen, for the caption.
    """

    sample: Sample
    index: int
    annotation: Annotation
    why: str = ""


@dataclass(frozen=True)
class Prediction:
    """What one row predicts for one object.

    Args:
        mask: bool (height, width).
        iou: with the true mask, in [0, 1].
        points: clicks (x, y, label) of the prompt, pixels.
        boxes: boxes (x0, y0, x1, y1) of the prompt, pixels.
        output: of the decoder; None for a baseline.
    """

    mask: np.ndarray
    iou: float
    points: tuple[tuple[float, float, int], ...] = ()
    boxes: tuple[tuple[float, ...], ...] = ()
    output: Output | None = None


class Predictions:
    """Predicts objects with every row, prompted as in the evaluation.

    Args:
        base: base model of all rows.
        rows: the rows.
        classes: classes of the evaluation.
        regions: one region per image and class instead of single objects.
        prompt: prompt source for all rows; None: that of each.
        store: cached embeddings.
    """

    def __init__(
        self,
        base: Base,
        rows: Sequence[Row],
        classes: Sequence[str],
        *,
        regions: bool = False,
        prompt: str | None = None,
        store: EmbeddingCache | None = None,
    ) -> None:
        self.rows = {row.title: row for row in rows}
        self.classes, self.regions, self.prompt = tuple(classes), regions, prompt
        self.predictor = Predictor(base, store=store)
        self._sample: Sample | None = None
        self._networks: dict[Path, Any] = {}
        self._of_class = cache(self._folder)
        self._sources: dict[str, Callable[..., Prompts]] = {}

    @property
    def base(self) -> Base:
        """The base model."""
        return self.predictor.base

    def targets(self, samples: Sequence[Sample]) -> list[Target]:
        """All objects of the classes, as they are evaluated."""
        joined = regions(samples, self.classes) if self.regions else samples
        return [Target(s, i, a) for s in joined for i, a in enumerate(s.of(self.classes))]

    def set(self, target: Target) -> None:
        """Encode the image of an object, if it is not the present one."""
        if self._sample is None or self._sample.id != target.sample.id:
            self.predictor.set_sample(target.sample)
            self._sample = target.sample

    def __call__(self, title: str, target: Target) -> Prediction:
        """The mask of a row for an object."""
        row, truth = self.rows[title], target.annotation
        if kind_of(row.method) == "baselines":
            mask = self._of_network(self._of_class(title, truth.label), target)
            return Prediction(mask, float(iou(mask, truth.mask)))
        self.set(target)
        name, segmenter = self.adapter(title, truth.label)
        if name not in self._sources:
            self._sources[name] = prompt_source(segmenter, self.prompt, self.regions)[1]
        prompts = prompts_for(target.sample, target.sample.of(self.classes), target.index, self._sources[name], 0)
        output = self.predictor.decode(prompts, name)
        _, low_res = output.best_masks()
        mask = masks_of(self.predictor, low_res[:, :1], prompts, name)[0, 0]
        points: tuple[Any, ...] = ()
        if prompts.points is not None and prompts.labels is not None:
            pairs = zip(prompts.points[0, 0].tolist(), prompts.labels[0, 0].tolist(), strict=True)
            points = tuple((x, y, label) for (x, y), label in pairs if label in (0, 1))
        boxes = () if prompts.boxes is None else (tuple(prompts.boxes[0, 0].tolist()),)
        return Prediction(mask, float(iou(mask, truth.mask)), points, boxes, output)

    def adapter(self, title: str, label: str) -> tuple[str, Segmenter | Base]:
        """Name in the predictor, and segmenter, of the adapter of a row for a class; those of the base without one."""
        folder = self._of_class(title, label)
        if folder is None:
            return BASE, self.base
        name = str(folder)
        if name not in self.predictor.adapters:
            self.predictor.add_adapter(name, artefact.load(folder, self.base).segmenter)
        return name, self.predictor.segmenter(name)

    def _folder(self, title: str, label: str) -> Path | None:
        row = self.rows[title]
        read: Any = artefact.read_meta if kind_of(row.method) == "methods" else read_baseline
        for folder in row.folders:
            if label in read(folder).classes:
                return folder
        if row.folders:
            raise InputError(f"{title} has no fit of the class {label!r} in this run.")
        return None

    def _of_network(self, folder: Path | None, target: Target) -> np.ndarray:
        if folder is None:
            raise InputError("A baseline without a fit predicts nothing.")
        if folder not in self._networks:
            self._networks[folder] = baselines.load(folder).to(self.predictor.device)
        network = self._networks[folder]
        values = network.segment(target.sample.image).numpy()
        return values[network.classes.index(target.annotation.label)] > 0


def rows_of(folders: Mapping[str, Path | None], methods: Mapping[str, str], seed: int) -> list[Row]:
    """Rows from the folders of a comparison, by "NAME/SEED/CLASS"."""
    by_title: dict[str, list[Path]] = {title: [] for title in methods}
    for key, folder in folders.items():
        title, of_seed, _ = key.rsplit("/", 2)
        if of_seed == str(seed) and folder is not None:
            by_title[title].append(folder)
    return [Row(title, methods[title], tuple(folders)) for title, folders in by_title.items()]


def drawn(targets: Sequence[Target], count: int, seed: int = 0) -> list[Target]:
    """A fixed draw of objects: classes in turn, the objects of a class in an order that the seed decides.

    Args:
        targets: all objects.
        count: largest number of objects.
        seed: of the draw.
    """
    by_class: dict[str, list[Target]] = {}
    for target in sorted(targets, key=lambda t: crc32(f"{seed}:{t.annotation.label}:{t.sample.id}:{t.index}".encode())):
        by_class.setdefault(target.annotation.label, []).append(target)
    queues = list(by_class.values())
    chosen = [
        queue[place] for place in range(max(map(len, queues), default=0)) for queue in queues if place < len(queue)
    ]
    return chosen[:count]


def panels_by_method(
    predictions: Predictions, targets: Sequence[Target], titles: Sequence[str]
) -> tuple[list[str], list[list[tuple[np.ndarray, str]]]]:
    """Columns and panels of a sheet: image with the prompt, truth, then the mask of every row.

    Returns:
        titles of the columns, and for each object its panels, uint8 RGB with a caption.
    """
    rows = []
    for target in targets:
        made = {title: predictions(title, target) for title in titles}
        image = target.sample.image
        view = around(target.annotation.box, *image.shape[:2])
        prompted = close_up(image, view, points=_points(made.values()), boxes=_boxes(made.values()))
        truth = close_up(image, view, [target.annotation.mask], colors=[TRUE])
        panels = [(prompted, f"{target.sample.id} {target.why}".strip()), (truth, target.annotation.label)]
        for one in made.values():
            drawing = close_up(image, view, [one.mask], outlines=[target.annotation.mask])
            panels.append((drawing, f"IoU {100 * one.iou:.0f}"))
        rows.append(panels)
    return ["image and prompt", "truth", *titles], rows


def _points(predictions: Any) -> tuple[Any, ...]:
    return tuple(dict.fromkeys(point for one in predictions for point in one.points))


def _boxes(predictions: Any) -> tuple[Any, ...]:
    return tuple(dict.fromkeys(box for one in predictions for box in one.boxes))


__all__ = ["TRUE", "Prediction", "Predictions", "Row", "Target", "drawn", "panels_by_method", "rows_of"]
