"""Find objects like those shown in a few references, without a fit.

A `Finder` reads the references once and then works on any number of images.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from samtailor.data.augment import UNTOUCHED, View
from samtailor.data.tile_views import cut_off, exceeds_overlap, views
from samtailor.data.transform import Frame
from samtailor.errors import InputError
from samtailor.masks import interior
from samtailor.masks.nms import mask_nms
from samtailor.masks.postprocess import postprocessed
from samtailor.matchers import DEFAULT, Candidates, Matcher, make
from samtailor.predict.prompt import ObjectPrompt
from samtailor.predict.references import EncodedImage, Reference, marked_images
from samtailor.predict.windows import Windows
from samtailor.structures import Annotation, Postprocess, RunLengths, Sample

LABEL = "object"
"""Default class of what is found."""
CLEAN = Postprocess(fill_holes=0.03, crumbs=0.03)
"""What is done to the masks: smaller parts and holes come from noise in the map."""
_COVERAGE = 0.6  # share of a mask that better ones cover together, above which it only joins them


@dataclass(frozen=True)
class FoundObject(RunLengths):
    """An object that resembles the references.

    Args:
        rle: mask in the image frame, COCO run-length encoding.
        match: how much it resembles the references, in [0, 1].
        iou: IoU that the base predicts for its mask, in [0, 1].
        label: class.
    """

    rle: dict[str, Any]
    match: float
    iou: float
    label: str | None = LABEL

    @property
    def score(self) -> float:
        """Match times predicted IoU."""
        return self.match * self.iou


class Finder:
    """Finds objects like those of the references, in any number of images; may be used from several threads.

    Args:
        matcher: which has read the references.
        threshold: lowest score, in [0, 1]; None: that of the matcher, calibrated on the references.
        label: class of what is found.

    Raises:
        InputError: the threshold is no score.
    """

    def __init__(self, matcher: Matcher, *, threshold: float | None = None, label: str = LABEL) -> None:
        if threshold is not None and not 0 <= threshold <= 1:
            raise InputError(f"threshold must be a score from 0 to 1, got {threshold}.")
        self.matcher, self.label = matcher, label
        self.threshold = matcher.threshold if threshold is None else threshold

    @classmethod
    def of(
        cls,
        new_predictor: Callable[[], EncodedImage],
        like: Reference | Sequence[Reference],
        not_like: Reference | Sequence[Reference] = (),
        *,
        matcher: str = DEFAULT,
        settings: Mapping[str, Any] | None = None,
        threshold: float | None = None,
        label: str = LABEL,
    ) -> Finder:
        """Read references.

        Args:
            new_predictor: makes a predictor on the base with which images will be encoded.
            like: what to find, at least one.
            not_like: what not to find.
            matcher: name of a file in `samtailor.matchers`.
            settings: options of the matcher.
            threshold, label: see the class.

        Raises:
            InputError: no reference, a reference that marks nothing, an unknown matcher or option, or a wrong
                threshold.
            DataError: a file that cannot be read, or a mask that does not fit its image.
        """
        marked = marked_images(new_predictor, _listed(like), alike=True)
        marked += marked_images(new_predictor, _listed(not_like), alike=False)
        made = make(matcher, new_predictor().base, marked, dict(settings or {}))
        return cls(made, threshold=threshold, label=label)

    def propose(self, predictor: EncodedImage, image: Sample | np.ndarray) -> list[ObjectPrompt]:
        """The objects of the current image of a predictor as prompts that include masks, see `auto.Proposer`.

        Tiles are set on the predictor one after the other by the caller, so only the current view is searched.
        """
        prompts = []
        for one in self._of_view(predictor, UNTOUCHED):
            x, y = interior.center(one.mask)
            click = (float(x), float(y), 1)
            prompts.append(ObjectPrompt((click,), label=self.label, score=one.score, mask_rle=one.rle))
        return prompts

    def objects(self, predictor: EncodedImage) -> list[FoundObject]:
        """The objects of the current image of a predictor, each once, sorted by falling score."""
        size, tiles = (predictor.frame.height, predictor.frame.width), self.matcher.tiles
        objects = [
            one
            for view in views(tiles)
            for one in self._of_view(predictor, view)
            if tiles == 1 or not view.untouched or exceeds_overlap(one.box, size, tiles)
        ]
        return mask_nms(objects, rank=lambda one: one.score)

    def _of_view(self, predictor: EncodedImage, view: View) -> Iterator[FoundObject]:
        """Objects of a view that no inner edge cuts, in the frame of the image, each once."""
        size = predictor.frame.height, predictor.frame.width
        top, _, left, _ = view.edges(*size)
        frame = Frame.of(predictor.base, *view.size(*size))
        features = predictor.with_companions(self.matcher.companions, view)
        windows, candidates = Windows(), self.matcher.candidates(features, frame)
        for row in _distinct(candidates, self.threshold):
            mask, x, y = windows.mask(row.logits, frame)
            if not mask.any():
                continue
            mask = postprocessed(mask, CLEAN)
            x0, y0, x1, y1 = interior.box(mask)
            if not view.untouched and cut_off((x0 + x, y0 + y, x1 + x, y1 + y), view, size):
                continue
            if candidates.rectangles:
                mask[y0 : y1 + 1, x0 : x1 + 1] = True
            full = np.zeros(size, bool)
            full[top + y : top + y + mask.shape[0], left + x : left + x + mask.shape[1]] = mask
            yield FoundObject(Annotation.from_mask("", full).rle, row.match, row.iou, self.label)


@dataclass(frozen=True)
class _Row(RunLengths):
    """One candidate; `rle` is its mask on the grid of the logits."""

    logits: Tensor
    rle: dict[str, Any]
    score: float
    match: float
    iou: float
    label: str | None = None


def _distinct(candidates: Candidates, lowest: float) -> list[_Row]:
    """Candidates of at least a score, each object once.

    Duplicates are removed before the masks are brought to the size of the image, which takes most of the time.
    """
    scores, rows = candidates.scores.tolist(), []
    match, iou = candidates.match.clamp(0, 1).tolist(), candidates.iou.clamp(0, 1).tolist()
    for index in [i for i, score in enumerate(scores) if score >= lowest]:
        logits = candidates.logits[index].cpu()
        rle = Annotation.from_mask("", (logits > 0).numpy()).rle
        rows.append(_Row(logits, rle, scores[index], match[index], iou[index]))
    return mask_nms(rows, rank=lambda row: row.score, coverage=_COVERAGE)


def _listed(references: Reference | Sequence[Reference]) -> list[Reference]:
    return [references] if isinstance(references, Reference) else list(references)


__all__ = ["LABEL", "Finder", "FoundObject", "Reference"]
