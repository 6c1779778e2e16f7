"""Data x segmenters to a table of one row per mask, by SAM's single-point protocol (SAM paper 7.1, App. D.1).

One prompt a mask; the answer is the candidate with the highest predicted IoU ("default"), and beside it the best
candidate by the truth ("oracle"). Both are cut at logit 0 after resizing to the image's own size.
Several segmenters are evaluated in one pass: same embedding, same clicks, so that differences are paired.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from samtailor.bases import Base
from samtailor.data.regions import regions as joined
from samtailor.data.split import Split
from samtailor.errors import InputError
from samtailor.evaluation.protocol import asked_with, prompts_for
from samtailor.evaluation.scores import Evaluation
from samtailor.masks import metrics
from samtailor.predict.predictor import Predictor
from samtailor.segmenter import Segmenter
from samtailor.structures import Annotation, Output, Prompts, Sample, Score
from samtailor.train.config import load

if TYPE_CHECKING:
    from samtailor.cache.embeddings import EmbeddingCache

PROMPTS_AT_ONCE = 32
_LOGITS_AT_ONCE = 48_000_000  # float32 logits of candidates at the image's size, about 200 MB
REFINED = " + refinement"
"""Ending of the name under which `refine=True` reports a segmenter's test-time refined masks."""


def evaluate(segmenter: Segmenter | Base, samples: Sequence[Sample], **asked: Any) -> Evaluation:
    """Evaluate one segmenter, or a base alone; keyword arguments as in `evaluate_many`."""
    return evaluate_many({"it": segmenter}, samples, **asked)["it"]


def evaluate_many(
    segmenters: Mapping[str, Segmenter | Base],
    samples: Sequence[Sample],
    *,
    classes: Sequence[str] | None = None,
    prompt: str | Callable[..., Prompts] | None = None,
    store: EmbeddingCache | None = None,
    seed: int = 0,
    refine: bool = False,
    regions: bool | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Evaluation]:
    """Evaluate several segmenters on the same images and clicks in one pass, one encoder pass an image.

    Args:
        segmenters: name to segmenter, or to the base itself; all on one base object.
        samples: images; only their embeddings and one image at a time are in memory.
        classes: only masks of these; None takes all.
        prompt: a prompt source's name ("mask-center" is the protocol, "sampled-click", "mask-box"), or the source;
            None asks each segmenter with its own (`Segmenter.prompt`: no prompt for BLO-SAM, a box for AM-SAM; for
            regions none where it is `promptless`), and "mask-center" where it has none.
        store: embeddings on disk, shared with `fit`.
        seed: of random clicks (drawn per mask: independent of order and of what else is evaluated) and bootstrap.
        regions: the truth is one region an image and class, not single objects; None: where any of the segmenters
            answers so, for all of them, so that all are judged on the same masks.
        refine: report test-time refined masks of segmenters that have a PMM as well, as NAME + `REFINED`.
        progress: called with (images done, images in all).

    Raises:
        InputError: segmenters on different bases, an unknown prompt source, or no mask at all to evaluate.
    """
    predictor, names = _predictor(segmenters, store)
    if regions is None:
        regions = any(isinstance(s, Segmenter) and s.inference.regions for s in segmenters.values())
    sources = {name: asked_with(segmenter, prompt, regions) for name, segmenter in segmenters.items()}
    samples = joined(samples, classes) if regions else samples
    refiners = {n: s for n, s in segmenters.items() if refine and isinstance(s, Segmenter) and "pmm" in s.training_only}
    rows: dict[str, list[Score]] = {name: [] for name in [*segmenters, *(n + REFINED for n in refiners)]}
    for done, sample in enumerate(samples):
        targets = sample.of(classes)
        if targets:
            predictor.set_sample(sample)
        for first, last in _chunks(predictor, targets):
            truths = [a.mask for a in targets[first:last]]
            asked = {
                label: Prompts.cat([prompts_for(sample, targets, i, source, seed) for i in range(first, last)], axis=1)
                for label, source in dict(sources.values()).items()
            }
            for name, adapter in names.items():
                output = predictor.decode(asked[sources[name][0]], adapter)
                score = _Scorer(sample, targets, first, truths, output)
                rows[name] += score.rows(_masks(predictor, output))
                if name in refiners:
                    rows[name + REFINED] += score.rows(_refined(predictor, refiners[name], output))
        if progress:
            progress(done + 1, len(samples))
    if not any(rows.values()):
        wanted = "any class" if classes is None else ", ".join(classes)
        raise InputError(f"There is no mask to evaluate: {len(samples)} images, none has a mask of {wanted}.")
    labels = {name: label.split("\0")[0] for name, (label, _) in sources.items()}
    labels |= {name + REFINED: label for name, label in labels.items()}
    return {name: Evaluation(tuple(found), labels[name], seed) for name, found in rows.items()}


def unseen(samples: Sequence[Sample], folder: Path, data: Path) -> tuple[list[Sample], list[str]]:
    """Leave out the images that an adapter was fitted on, if it was fitted on this data set.

    It was where config.yaml names the same folder, and also where every image that it learnt from is here by its id:
    data sets are moved and copied, and the fits of a comparison name none. Sets that only share their ids lose these
    images for nothing; the other mistake would tell figures of images learnt by heart.

    Args:
        samples: of the data set.
        folder: of the adapter; config.yaml tells its data set, split.json its images.
        data: folder of the data set.

    Returns:
        the samples that it was not trained on (those that chose its best state stay in), and the ids left out.
    """
    config, file = folder / "config.yaml", folder / "split.json"
    if not file.is_file():
        return list(samples), []
    seen = set(Split.read(file).train)
    fitted_on = load(config).data if config.is_file() else None
    same = fitted_on is not None and fitted_on.resolve() == Path(data).resolve()
    if not same and not (seen and seen <= {sample.id for sample in samples}):
        return list(samples), []
    left = [sample for sample in samples if sample.id not in seen]
    return left, [sample.id for sample in samples if sample.id in seen]


def _predictor(
    segmenters: Mapping[str, Segmenter | Base], store: EmbeddingCache | None
) -> tuple[Predictor, dict[str, str | None]]:
    if not segmenters:
        raise InputError("evaluate needs at least one segmenter.")
    bases = [s.base if isinstance(s, Segmenter) else s for s in segmenters.values()]
    predictor = Predictor(bases[0], store=store)
    names: dict[str, str | None] = {}
    for (name, segmenter), base in zip(segmenters.items(), bases, strict=True):
        if base is not bases[0]:
            raise InputError(f"{name!r} stands on another base object than {next(iter(segmenters))!r}; load one base.")
        names[name] = name if isinstance(segmenter, Segmenter) else None
        if isinstance(segmenter, Segmenter):
            predictor.add_adapter(name, segmenter)
    return predictor, names


def _chunks(predictor: Predictor, targets: Sequence[Annotation]) -> Iterator[tuple[int, int]]:
    """(first, last) of so many masks as are asked at once: hundreds of them must not exhaust memory."""
    if not targets:
        return
    pixels = max(predictor.frame.height * predictor.frame.width, predictor.base.size**2)
    step = max(1, min(PROMPTS_AT_ONCE, _LOGITS_AT_ONCE // (3 * pixels)))
    for first in range(0, len(targets), step):
        yield first, min(first + step, len(targets))


def _masks(predictor: Predictor, output: Output) -> np.ndarray:
    """bool (P, M, height, width): all candidates at the image's own size."""
    return (predictor.frame.logits(output.candidate_logits()[0]) > 0).cpu().numpy()


def _refined(predictor: Predictor, segmenter: Segmenter, output: Output) -> np.ndarray:
    """The same after PMM's test-time refinement (Kim et al. Fig. 5)."""
    from samtailor.adapters.pmm import refine

    masks, pmm = _masks(predictor, output), segmenter.adapter("pmm")
    refined = [
        [refine(mask, output.keys[0, p], predictor.frame, pmm) for mask in candidates]
        for p, candidates in enumerate(masks)
    ]
    return np.array(refined)


@dataclass(frozen=True)
class _Scorer:
    """Rows of one chunk of masks."""

    sample: Sample
    targets: Sequence[Annotation]
    first: int
    truths: Sequence[np.ndarray]
    output: Output

    def rows(self, masks: np.ndarray) -> list[Score]:
        scores = self.output.candidate_iou()[0].float().cpu().numpy()
        return [self._row(p, masks[p], truth, scores[p]) for p, truth in enumerate(self.truths)]

    def _row(self, p: int, candidates: np.ndarray, truth: np.ndarray, predicted: np.ndarray) -> Score:
        chosen = int(predicted.argmax())
        ious = [metrics.iou(mask, truth) for mask in candidates]
        best = int(np.argmax(ious))
        target = self.targets[self.first + p]
        return Score(
            id=self.sample.id,
            label=target.label,
            index=self.first + p,
            iou=float(ious[chosen]),
            oracle_iou=float(ious[best]),
            dice=float(metrics.dice(candidates[chosen], truth)),
            oracle_dice=float(metrics.dice(candidates[best], truth)),
            boundary_iou=float(metrics.boundary_iou(candidates[chosen], truth)),
            predicted_iou=float(predicted[chosen]),
            area=target.area,
            group=self.sample.group or self.sample.id,
            paper_dice=float(metrics.paper_dice(candidates[chosen], truth)),
        )


__all__ = [
    "PROMPTS_AT_ONCE",
    "REFINED",
    "evaluate",
    "evaluate_many",
    "unseen",
]
