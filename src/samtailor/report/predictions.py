"""Sections that run segmenters: predicted masks beside the truth, IoU maps, refinement by the PMM."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from samtailor.bases import Base
from samtailor.data.listing import read_json
from samtailor.evaluation import iou_map as maps
from samtailor.evaluation.protocol import prompts_for
from samtailor.evaluation.scores import Evaluation
from samtailor.fitting.folder import HISTORY
from samtailor.masks.overlay import around, overlay
from samtailor.predict.postprocessing import masks_of
from samtailor.predict.predictor import BASE, Predictor
from samtailor.report.page import Section
from samtailor.report.panels import cases, overlays, sheet
from samtailor.report.plots import figure
from samtailor.segmenter import Segmenter
from samtailor.structures import Output, Prompts, Sample

if TYPE_CHECKING:
    from samtailor.cache.embeddings import EmbeddingCache

PMM_NOTE = (
    "Test-time refinement is off in all tables of the paper and in ours unless a row says otherwise. The PMM was "
    "trained on perturbed true outlines and is applied here to predicted outlines, whose errors are different."
)


@dataclass(frozen=True)
class Predictions:
    """Makes sections with the predictions of several segmenters on the same images and prompts.

    Args:
        base: base model.
        segmenters: name to segmenter, or to the base model; the panels have this order.
        samples: held-out images.
        classes: classes of the evaluation; None for all.
        prompt: prompt source of the evaluation.
        seed: seed of random prompts.
        store: cached embeddings.
    """

    base: Base
    segmenters: Mapping[str, Segmenter | Base]
    samples: Sequence[Sample]
    classes: Sequence[str] | None
    prompt: str = "mask-center"
    seed: int = 0
    store: EmbeddingCache | None = None

    def predictor(self) -> Predictor:
        """A predictor with all segmenters other than the base model as adapters."""
        adapters = {name: s for name, s in self.segmenters.items() if isinstance(s, Segmenter)}
        return Predictor(self.base, adapters, store=self.store)

    def overlays(self, evaluations: Mapping[str, Evaluation]) -> Section:
        """Predicted masks at the worst, the quartiles and the best of the last evaluation."""
        predictor = self.predictor()
        shown = {name: evaluation for name, evaluation in evaluations.items() if name in self.segmenters}

        def masks_of(name: str, sample: Sample, index: int) -> tuple[np.ndarray, list[tuple[float, float, int]]]:
            predictor.set_sample(sample)
            prompts = self._prompts(sample, index)
            mask, _ = _best_mask(predictor, prompts, self._adapter(name))
            return mask, _clicks(prompts)

        return overlays(shown, self.samples, self.classes, masks_of)

    def iou_map(self, evaluation: Evaluation, names: Sequence[str], cells: int = 24) -> Section:
        """IoU maps of several segmenters on the median mask of an evaluation."""
        (_, row), *_ = cases(evaluation, (("median", 0.5),))
        score = evaluation.rows[row]
        sample = self._sample(score.id)
        truth, predictor = sample.of(self.classes)[score.index].mask, self.predictor()
        predictor.set_sample(sample)
        iou_maps = {n: maps.iou_map(predictor, truth, adapter=self._adapter(n), cells=cells) for n in names}
        image = sample.image
        text = (
            f"One click at each position of a grid on {sample.id}, the image with the median IoU. The color is the IoU "
            "of the predicted mask. Red: true outline. A uniform color inside the outline means that the position of "
            "the click does not matter."
        )
        return figure(
            "IoU by click position", text, lambda: maps.draw(image, truth, iou_maps), "IoU maps: " + ", ".join(names)
        )

    def refinement(
        self, evaluation: Evaluation, name: str, shares: Sequence[tuple[str, float]] = (("median", 0.5), ("best", 1.0))
    ) -> Section | None:
        """Mask, its outline moved by the PMM, and the refined mask (Kim et al., Fig. 5); None without a PMM."""
        segmenter = self.segmenters.get(name)
        if not isinstance(segmenter, Segmenter) or "pmm" not in segmenter.training_only:
            return None
        predictor, rows = self.predictor(), []
        for rank, row in cases(evaluation, (("lower quarter", 0.25), *shares)):
            score = evaluation.rows[row]
            rows.append((rank, score.id, self._refined(predictor, name, segmenter, score.id, score.index)))
        section = sheet("Refinement by the PMM", "Two steps at test time, as in Kim et al., Fig. 5.", rows)
        return section | {"note": PMM_NOTE}

    def _refined(
        self, predictor: Predictor, name: str, segmenter: Segmenter, id: str, index: int
    ) -> list[tuple[np.ndarray, str]]:
        from samtailor.adapters.pmm import PMM, refine
        from samtailor.masks.metrics import iou

        pmm = segmenter.adapter("pmm")
        if not isinstance(pmm, PMM):
            return []
        sample = self._sample(id)
        predictor.set_sample(sample)
        truth = sample.of(self.classes)[index]
        mask, output = _best_mask(predictor, self._prompts(sample, index), name)
        refined = refine(mask, output.keys[0, 0], predictor.frame, pmm)
        image = sample.image
        height, width = image.shape[:2]
        view = around(truth.box, height, width, margin=0.35)
        return [
            (overlay(image, [], outlines=[truth.mask])[view], "true outline"),
            (overlay(image, [mask])[view], f"mask: IoU {100 * iou(mask, truth.mask):.1f}"),
            (changes(image, mask, refined)[view], "added by the PMM (orange) and removed (violet)"),
            (overlay(image, [refined])[view], f"refined: IoU {100 * iou(refined, truth.mask):.1f}"),
        ]

    def _adapter(self, name: str) -> str:
        return name if isinstance(self.segmenters[name], Segmenter) else BASE

    def _sample(self, id: str) -> Sample:
        return next(sample for sample in self.samples if sample.id == id)

    def _prompts(self, sample: Sample, index: int) -> Prompts:
        return prompts_for(sample, sample.of(self.classes), index, self.prompt, self.seed)


def history_of(folder: str | Path) -> dict[str, Any]:
    """The training history in the folder of a fit; empty if there is none."""
    file = Path(folder, HISTORY)
    return read_json(file) if file.is_file() else {}


def _best_mask(predictor: Predictor, prompts: Prompts, adapter: str) -> tuple[np.ndarray, Output]:
    """Mask with the highest predicted IoU, bool (height, width), and the output of the decoder."""
    output = predictor.decode(prompts, adapter)
    _, low_res = output.best_masks()
    return masks_of(predictor, low_res[:, :1], prompts, adapter)[0, 0], output


def _clicks(prompts: Prompts) -> list[tuple[float, float, int]]:
    if prompts.points is None or prompts.labels is None:
        return []
    pairs = zip(prompts.points[0, 0].tolist(), prompts.labels[0, 0].tolist(), strict=True)
    return [(x, y, label) for (x, y), label in pairs if label in (0, 1)]


def changes(image: np.ndarray, before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """What a refinement added (orange) and removed (violet), on a pale image; uint8 RGB."""
    gray = np.repeat(image.mean(axis=2, keepdims=True), 3, axis=2)
    soft = (0.5 * gray + 120).clip(0, 255).astype(np.uint8)
    return overlay(soft, [after & ~before, before & ~after], colors=((255, 120, 0), (150, 60, 220)), alpha=0.9)


__all__ = ["PMM_NOTE", "Predictions", "changes", "history_of"]
