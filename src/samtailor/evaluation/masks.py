"""Evaluate segmenters on annotated images, by SAM's single-point protocol (arXiv 2304.02643, 7.1, App. D.1).

One prompt per mask. Two candidates are scored: the one with the highest predicted IoU ("default"), and the one with the
highest true IoU ("oracle"). Logits are cut at 0 after resizing to the size of the image. Several segmenters are
evaluated in one pass, with the same embeddings and the same clicks, so that differences are paired.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from samtailor.bases import Base
from samtailor.data.regions import regions as join_regions
from samtailor.data.split import Split
from samtailor.errors import InputError
from samtailor.evaluation.protocol import prompt_source, prompts_for
from samtailor.evaluation.scores import Evaluation
from samtailor.masks import metrics
from samtailor.predict.postprocessing import masks_of
from samtailor.predict.predictor import BASE, Predictor
from samtailor.segmenter import Segmenter
from samtailor.structures import Annotation, Output, Prompts, Sample, Score
from samtailor.train.config import load

if TYPE_CHECKING:
    from samtailor.cache.embeddings import EmbeddingCache

PROMPTS_AT_ONCE = 32
"""Largest number of prompts in one pass of the decoder."""
_MAX_LOGITS = 48_000_000  # float32 logits of candidates at the size of the image, about 200 MB
REFINED = " + refinement"
"""Suffix of the result name of refined masks (`refine=True`)."""


def evaluate(segmenter: Segmenter | Base, samples: Sequence[Sample], **options: Any) -> Evaluation:
    """Evaluate one segmenter, or a base alone; keyword arguments as in `evaluate_many`."""
    return evaluate_many({"it": segmenter}, samples, **options)["it"]


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
    """Evaluate several segmenters on the same images and clicks, with one encoder pass per image.

    Args:
        segmenters: name to segmenter or base; all on the same base object.
        samples: images; one at a time is read into memory.
        classes: evaluate only masks of these classes; None: all.
        prompt: name of a prompt source ("mask-center", which is the protocol, "sampled-click", "mask-box"), or the
            source itself. None: the prompt source that each segmenter was fitted with (no prompt for BLO-SAM, a box for
            AM-SAM; for regions no prompt if it is `promptless`), else "mask-center".
        store: embedding cache on disk, shared with `fit`.
        seed: of the bootstrap and of random clicks, which are drawn per mask, independent of order and of other masks.
        refine: also evaluate masks refined by the PMM, for segmenters that have one, as NAME + `REFINED`.
        regions: the truth is one region per image and class rather than single objects. None: if any of the segmenters
            predicts regions, then for all of them, so that all are evaluated on the same masks.
        progress: called with (images done, images in all).

    Returns:
        name to evaluation.

    Raises:
        InputError: no segmenter, segmenters on different bases, an unknown prompt source, or no mask to evaluate.
    """
    predictor, names = _predictor(segmenters, store)
    if regions is None:
        regions = any(isinstance(s, Segmenter) and s.inference.regions for s in segmenters.values())
    sources = {name: prompt_source(segmenter, prompt, regions) for name, segmenter in segmenters.items()}
    samples = join_regions(samples, classes) if regions else samples
    refiners = {n: s for n, s in segmenters.items() if refine and isinstance(s, Segmenter) and "pmm" in s.training_only}
    rows: dict[str, list[Score]] = {name: [] for name in [*segmenters, *(n + REFINED for n in refiners)]}
    for done, sample in enumerate(samples):
        targets = sample.of(classes)
        if targets:
            predictor.set_sample(sample)
        for first, last in _chunks(predictor, targets):
            truths = [a.mask for a in targets[first:last]]
            prompts = {
                label: Prompts.cat([prompts_for(sample, targets, i, source, seed) for i in range(first, last)], axis=1)
                for label, source in dict(sources.values()).items()
            }
            for name, adapter in names.items():
                asked = prompts[sources[name][0]]
                output = predictor.decode(asked, adapter)
                score = _Scorer(sample, targets, first, truths, output)
                rows[name] += score.rows(masks_of(predictor, output.candidate_logits()[0], asked, adapter))
                if name in refiners:
                    rows[name + REFINED] += score.rows(_refined(predictor, refiners[name], output))
        if progress:
            progress(done + 1, len(samples))
    if not any(rows.values()):
        wanted = "any class" if classes is None else ", ".join(classes)
        raise InputError(f"There is no mask to evaluate: {len(samples)} images, none has a mask of {wanted}.")
    labels = {name: label.split("\0")[0] for name, (label, _) in sources.items()}
    labels |= {name + REFINED: label for name, label in labels.items()}
    return {name: Evaluation(tuple(scores), labels[name], seed) for name, scores in rows.items()}


def without_training_images(samples: Sequence[Sample], folder: Path, data: Path) -> tuple[list[Sample], list[str]]:
    """Leave out the images that an adapter was trained on, if it was fitted to this data set.

    It was if config.yaml names the same folder, or if the ids of all its training images occur in the data set, since
    data sets are moved and copied, and the fits of a comparison name none. Data sets that merely share ids lose these
    images without need; the opposite error would evaluate an adapter on its training images.

    Args:
        samples: of the data set.
        folder: of the adapter; config.yaml has its data set, split.json its images.
        data: folder of the data set.

    Returns:
        the samples that it was not trained on (its validation images stay in), and the ids left out.
    """
    config, file = folder / "config.yaml", folder / "split.json"
    if not file.is_file():
        return list(samples), []
    trained_on = set(Split.read(file).train)
    fitted_on = load(config).data if config.is_file() else None
    same = fitted_on is not None and fitted_on.resolve() == Path(data).resolve()
    if not same and not (trained_on and trained_on <= {sample.id for sample in samples}):
        return list(samples), []
    left = [sample for sample in samples if sample.id not in trained_on]
    return left, [sample.id for sample in samples if sample.id in trained_on]


def _predictor(
    segmenters: Mapping[str, Segmenter | Base], store: EmbeddingCache | None
) -> tuple[Predictor, dict[str, str]]:
    if not segmenters:
        raise InputError("evaluate needs at least one segmenter.")
    bases = [s.base if isinstance(s, Segmenter) else s for s in segmenters.values()]
    predictor = Predictor(bases[0], store=store)
    names: dict[str, str] = {}
    for (name, segmenter), base in zip(segmenters.items(), bases, strict=True):
        if base is not bases[0]:
            raise InputError(
                f"{name!r} was built on another base object than {next(iter(segmenters))!r}; load one base."
            )
        names[name] = name if isinstance(segmenter, Segmenter) else BASE
        if isinstance(segmenter, Segmenter):
            predictor.add_adapter(name, segmenter)
    return predictor, names


def _chunks(predictor: Predictor, targets: Sequence[Annotation]) -> Iterator[tuple[int, int]]:
    """(first, last) of the masks that are predicted together, so that hundreds of masks fit into memory."""
    if not targets:
        return
    pixels = max(predictor.frame.height * predictor.frame.width, predictor.base.size**2)
    step = max(1, min(PROMPTS_AT_ONCE, _MAX_LOGITS // (3 * pixels)))
    for first in range(0, len(targets), step):
        yield first, min(first + step, len(targets))


def _refined(predictor: Predictor, segmenter: Segmenter, output: Output) -> np.ndarray:
    """All candidates after test-time refinement by the PMM (Kim et al., arXiv 2403.09199, Fig. 5)."""
    from samtailor.adapters.pmm import PMM, refine

    masks, pmm = (predictor.frame.logits(output.candidate_logits()[0]) > 0).cpu().numpy(), segmenter.adapter("pmm")
    if not isinstance(pmm, PMM):
        raise InputError("Refining outlines needs an adapter with a PMM (method plm-pmm).")
    refined = [
        [refine(mask, output.keys[0, p], predictor.frame, pmm) for mask in candidates]
        for p, candidates in enumerate(masks)
    ]
    return np.array(refined)


@dataclass(frozen=True)
class _Scorer:
    """Makes the scores of one chunk of masks, from the predictions of one segmenter."""

    sample: Sample
    targets: Sequence[Annotation]
    first: int
    truths: Sequence[np.ndarray]
    output: Output

    def rows(self, masks: np.ndarray) -> list[Score]:
        scores = self.output.candidate_iou()[0].float().cpu().numpy()
        return [self._row(p, masks[p], truth, scores[p]) for p, truth in enumerate(self.truths)]

    def _row(self, p: int, candidates: np.ndarray, truth: np.ndarray, predicted: np.ndarray) -> Score:
        chosen = int(predicted.argmax())  # as `Output.best_masks`, which returns no index
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
            predicted_area=int(np.count_nonzero(candidates[chosen])),
        )


__all__ = [
    "PROMPTS_AT_ONCE",
    "REFINED",
    "evaluate",
    "evaluate_many",
    "without_training_images",
]
