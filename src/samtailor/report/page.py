"""The images of a report: what each segmenter answers on chosen masks, IoU maps, the refinement of Fig. 5."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from samtailor import report
from samtailor.bases import Base
from samtailor.data.listing import read_json
from samtailor.evaluation import iou_map as maps
from samtailor.evaluation.protocol import prompts_for
from samtailor.evaluation.scores import Evaluation
from samtailor.fitting.folder import HISTORY
from samtailor.masks.overlay import around, overlay
from samtailor.predict.predictor import BASE, Predictor
from samtailor.report import Section
from samtailor.segmenter import Segmenter
from samtailor.structures import Prompts, Sample

if TYPE_CHECKING:
    from samtailor.cache.embeddings import EmbeddingCache

PMM_NOTE = (
    "Test-time refinement is off in every figure of the paper's tables and in ours unless a row says otherwise. The "
    "PMM was trained on shaken true outlines and is used here on predicted ones, whose errors are not shakes."
)


@dataclass(frozen=True)
class Show:
    """What the images are drawn from.

    Args:
        base: the base.
        segmenters: name to segmenter, or to the base; the order is that of the panels.
        samples: held-out images.
        classes: classes of the evaluation.
        prompt: prompt source of the evaluation.
        seed: of its clicks.
        store: embeddings on disk.
    """

    base: Base
    segmenters: Mapping[str, Segmenter | Base]
    samples: Sequence[Sample]
    classes: Sequence[str] | None
    prompt: str = "mask-center"
    seed: int = 0
    store: EmbeddingCache | None = None

    def predictor(self) -> Predictor:
        """With all segmenters that are not the base as adapters."""
        own = {name: s for name, s in self.segmenters.items() if isinstance(s, Segmenter)}
        return Predictor(self.base, own, store=self.store)

    def overlays(self, evaluations: Mapping[str, Evaluation]) -> Section:
        """Worst, quartiles and best of the last evaluation, with what each segmenter answers."""
        predictor = self.predictor()
        shown = {name: evaluation for name, evaluation in evaluations.items() if name in self.segmenters}

        def masks_of(name: str, sample: Sample, index: int) -> tuple[np.ndarray, list[tuple[float, float, int]]]:
            predictor.set_sample(sample)
            prompts = self._prompts(sample, index)
            mask, _ = _answer(predictor, prompts, self._adapter(name))
            return mask, _clicks(prompts)

        return report.overlays(shown, self.samples, self.classes, masks_of)

    def iou_map(self, evaluation: Evaluation, names: Sequence[str], cells: int = 24) -> Section:
        """IoU maps of several segmenters on the median mask of an evaluation."""
        (_, row), *_ = report.cases(evaluation, (("median", 0.5),))
        score = evaluation.rows[row]
        sample = self._sample(score.id)
        truth, predictor = sample.of(self.classes)[score.index].mask, self.predictor()
        predictor.set_sample(sample)
        found = {n: maps.iou_map(predictor, truth, adapter=self._adapter(n) or BASE, cells=cells) for n in names}
        image = sample.image
        text = (
            f"A click at every grid position of {sample.id}, the median image by IoU; the colour is the IoU of the "
            "mask that comes back. Red: true outline. Even colour inside it means that it does not matter where one "
            "clicks."
        )
        return report.figure(
            "Where one may click", text, lambda: maps.draw(image, truth, found), "IoU maps: " + ", ".join(names)
        )

    def refinement(
        self, evaluation: Evaluation, name: str, shares: Sequence[tuple[str, float]] = (("median", 0.5), ("best", 1.0))
    ) -> Section | None:
        """Mask, its outline moved by the PMM, and the refined mask (Kim et al., Fig. 5); None without a PMM."""
        segmenter = self.segmenters.get(name)
        if not isinstance(segmenter, Segmenter) or "pmm" not in segmenter.training_only:
            return None
        from samtailor.adapters.pmm import refine
        from samtailor.masks.metrics import iou

        predictor, rows = self.predictor(), []
        for rank, row in report.cases(evaluation, (("lower quarter", 0.25), *shares)):
            score = evaluation.rows[row]
            sample = self._sample(score.id)
            predictor.set_sample(sample)
            truth = sample.of(self.classes)[score.index]
            mask, keys = _answer(predictor, self._prompts(sample, score.index), name)
            refined = refine(mask, keys, predictor.frame, segmenter.adapter("pmm"))
            image = sample.image
            view = around(truth.box, *image.shape[:2], margin=0.35)
            panels = [
                (overlay(image, [], outlines=[truth.mask])[view], "true outline"),
                (overlay(image, [mask])[view], f"mask: IoU {100 * iou(mask, truth.mask):.1f}"),
                (_moved(image, mask, refined)[view], "what the PMM added (orange) and took away (violet)"),
                (overlay(image, [refined])[view], f"refined: IoU {100 * iou(refined, truth.mask):.1f}"),
            ]
            rows.append((rank, sample.id, panels))
        section = report.sheet("Refinement by the PMM", "Two steps at test time, as in Kim et al., Fig. 5.", rows)
        return section | {"note": PMM_NOTE}

    def _adapter(self, name: str) -> str | None:
        return name if isinstance(self.segmenters[name], Segmenter) else None

    def _sample(self, id: str) -> Sample:
        return next(sample for sample in self.samples if sample.id == id)

    def _prompts(self, sample: Sample, index: int) -> Prompts:
        return prompts_for(sample, sample.of(self.classes), index, self.prompt, self.seed)


def _answer(predictor: Predictor, prompts: Prompts, adapter: str | None) -> tuple[np.ndarray, Any]:
    """Mask chosen by predicted IoU, bool (height, width), and the image keys (D, H, W) of its prompt."""
    output = predictor.decode(prompts, adapter or BASE)
    best = int(output.candidate_iou()[0, 0].argmax())
    logits = predictor.frame.logits(output.candidate_logits()[0, :, best : best + 1])
    return (logits[0, 0] > 0).cpu().numpy(), output.keys[0, 0]


def _clicks(prompts: Prompts) -> list[tuple[float, float, int]]:
    if prompts.points is None:
        return []
    pairs = zip(prompts.points[0, 0].tolist(), prompts.labels[0, 0].tolist(), strict=True)
    return [(x, y, label) for (x, y), label in pairs if label in (0, 1)]


def _moved(image: np.ndarray, before: np.ndarray, after: np.ndarray) -> np.ndarray:
    grey = np.repeat(image.mean(axis=2, keepdims=True), 3, axis=2)
    soft = (0.5 * grey + 120).clip(0, 255).astype(np.uint8)
    return overlay(soft, [after & ~before, before & ~after], colors=((255, 120, 0), (150, 60, 220)), alpha=0.9)


def history_of(folder: str | Path) -> dict[str, Any]:
    """The history that a fit left in its folder; empty without one."""
    file = Path(folder, HISTORY)
    return read_json(file) if file.is_file() else {}


__all__ = ["PMM_NOTE", "Show", "history_of"]
