"""Objects of an image without a human prompt: what is proposed, answered in passes of the decoder, each object once.

Small objects are looked for in tiles: overlapping parts of the image, each brought to the model frame by itself, so
that an object of 12 px has twice or three times as many. An object that no inner edge of its tile cuts is taken from
the tile; one that is larger than the overlap, and so may be whole in no tile, from the whole image.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np

from samtailor.data.augment import View
from samtailor.data.tile_views import OVERLAP, views
from samtailor.masks import interior
from samtailor.predict.batched import BatchedDecoder, PromptBatch
from samtailor.structures import Annotation, RunLengths, Sample

if TYPE_CHECKING:
    from samtailor.cache.embeddings import EmbeddingCache
    from samtailor.predict.predictor import Predictor
    from samtailor.predict.prompt import ObjectPrompt

    Proposer = Callable[[Predictor, Sample | np.ndarray], list[ObjectPrompt]]

NMS_IOU = 0.6
"""IoU of two masks of one class from which on they are one object, and the one of higher rank stays."""
CONTAINMENT = 0.8
"""Likewise the share of the smaller one that the larger one covers."""


class RankedMask(Protocol):
    """What `mask_nms` compares: run lengths in the image, their number of pixels, a class and a rank."""

    rle: dict[str, Any]

    @property
    def area(self) -> int:
        """Pixels of the mask."""

    @property
    def label(self) -> str | None:
        """Class."""

    @property
    def rank(self) -> float:
        """The higher one of two stays."""


Answered = TypeVar("Answered", bound=RankedMask)
_TOGETHER = 32  # prompts a pass of the decoder
_PIXELS = 24_000_000  # float32 logits at the image's size, about 100 MB


@dataclass(frozen=True)
class InstanceMask(RunLengths):
    """One answer to a proposal.

    Args:
        ask: what was asked for, pixels of the image.
        rle: its mask in the image, run-length encoded; may be empty.
        iou: predicted IoU.
        whole: no inner edge of a tile cuts it.
    """

    ask: ObjectPrompt
    rle: dict
    iou: float
    whole: bool = True

    @property
    def label(self) -> str | None:
        """Its class."""
        return self.ask.label

    @property
    def score(self) -> float:
        """The proposer's score; the predicted IoU where it has none."""
        return self.iou if self.ask.score is None else self.ask.score

    @property
    def rank(self) -> float:
        """What answers are ranked by: score of the proposal times predicted IoU."""
        sure = min(max(self.iou, 0.0), 1.0)
        return sure if self.ask.score is None else self.ask.score * sure

    def seen_best(self, view: View, size: tuple[int, int], tiles: int) -> bool:
        """Whether the view that it was seen in is the one to take it from, of so many tiles a side of the image."""
        return self.whole and (tiles == 1 or not view.untouched or beyond_tiles(self.box, size, tiles))


def objects(
    predictor: Predictor,
    image: Sample | np.ndarray,
    propose: Proposer,
    adapter: str | None,
    *,
    tiles: int = 1,
    store: EmbeddingCache | None = None,
    ready: bool = False,
) -> list[InstanceMask]:
    """All objects of an image, each once, by falling rank.

    Args:
        predictor: with the adapter.
        image: a sample, or uint8 RGB (height, width, 3).
        propose: says what to ask for in the image (or tile) that is set.
        adapter: who answers; None is the base.
        tiles: tiles a side; 1 looks at the whole image only.
        store: embeddings of a sample's tiles, kept on disk.
        ready: the whole image is set on the predictor already. After several tiles the last of them is.
    """
    size = image.size if isinstance(image, Sample) else image.shape[:2]
    frozen = adapter is None or predictor.segmenter(adapter).encoder_frozen
    found: list[InstanceMask] = []
    for view in views(tiles):
        ready = ready and view.untouched
        seen = image if ready else _set(predictor, image, view, store if frozen else None)
        asks = propose(predictor, seen)
        for ask, mask, iou in answer_asks(predictor, asks, adapter):
            one = placed(ask, mask, iou, view, size)
            if one.seen_best(view, size, tiles):
                found.append(one)
    return mask_nms(found)


def answer_asks(
    predictor: Predictor, asks: Sequence[ObjectPrompt], adapter: str | None
) -> Iterator[tuple[ObjectPrompt, np.ndarray, float]]:
    """Of each prompt the mask with the highest predicted IoU, bool (height, width), and that IoU; in order.

    What is given is its own answer, its score in the place of a predicted IoU.
    """
    size = (predictor.frame.height, predictor.frame.width)
    step = max(1, min(_TOGETHER, _PIXELS // max(size[0] * size[1], predictor.base.size**2)))
    passes, start = (
        BatchedDecoder(predictor.base, {} if adapter is None else {adapter: predictor.segmenter(adapter)}),
        0,
    )
    while start < len(asks):
        kind = _kind(asks[start])
        end = start + 1
        while end < min(len(asks), start + step) and _kind(asks[end]) == kind:
            end += 1
        part = asks[start:end]
        if part[0].mask_rle is not None:
            yield from ((ask, ask.mask, ask.score or 0.0) for ask in part)
            start = end
            continue
        (best,) = passes.answers(predictor, [PromptBatch(adapter, tuple(part))])
        masks = (predictor.frame.logits(best.logits[:, None])[:, 0] > 0).cpu().numpy()
        yield from zip(part, masks, best.scores.tolist(), strict=True)
        start = end


def mask_nms(found: Sequence[Answered]) -> list[Answered]:
    """Without empty masks, and each object of a class once, by falling rank: two proposals may lead to one mask."""
    from pycocotools import mask as coco

    kept: dict[str | None, list[Answered]] = {}
    for one in sorted(found, key=lambda one: -one.rank):
        others = kept.setdefault(one.label, [])
        if not one.area or (others and _doubled(coco, one, others)):
            continue
        others.append(one)
    return sorted((one for own in kept.values() for one in own), key=lambda one: -one.rank)


def _doubled(coco: Any, one: RankedMask, others: Sequence[RankedMask]) -> bool:
    runs = [other.rle for other in others]
    if float(np.max(coco.iou([one.rle], runs, [0] * len(runs)))) > NMS_IOU:
        return True
    # with "crowd" pycocotools divides by the area of the first: the share of it that is covered
    covered = coco.iou([one.rle], runs, [1] * len(runs))[0]
    smaller = np.array([one.area <= other.area for other in others])
    return bool((covered[smaller] > CONTAINMENT).any())


def _set(
    predictor: Predictor, image: Sample | np.ndarray, view: View, store: EmbeddingCache | None
) -> Sample | np.ndarray:
    """Set a view of the image, from the store where there is one; the view, for whoever proposes."""
    if not isinstance(image, Sample):
        seen = np.ascontiguousarray(view.image(image))
        predictor.set_image(seen)
        return seen
    if view.untouched:
        predictor.set_sample(image)
        return image
    if store is None:
        predictor.set_image(view.image(image.image))
    else:
        shown = {"image": lambda: view.image(image.image)}
        predictor.set_features(store.features(predictor.base, [image], [view]), *view.size(*image.size), **shown)
    return view.sample(image)


def placed(ask: ObjectPrompt, mask: np.ndarray, iou: float, view: View, size: tuple[int, int]) -> InstanceMask:
    """An answer of a view, bool mask of the view's size, at its place in the image of (height, width)."""
    if view.untouched:
        return InstanceMask(ask, Annotation.from_mask("", mask).rle, iou)
    top, bottom, left, right = view.edges(*size)
    full = np.zeros(size, bool)
    full[top:bottom, left:right] = mask
    cut = mask.any() and cut_off(interior.box(mask), view, size)
    return InstanceMask(ask.moved(left, top), Annotation.from_mask("", full).rle, iou, not cut)


def cut_off(box: tuple[int, int, int, int], view: View, size: tuple[int, int]) -> bool:
    """Whether an inner edge of a view of an image of (height, width) cuts an object.

    Args:
        box: first and last column and row of the object in the view (x0, y0, x1, y1), all inclusive.
    """
    top, bottom, left, right = view.edges(*size)
    height, width = bottom - top, right - left
    across, down = max(1, width // 100), max(1, height // 100)  # masks fade out a little before the edge
    x0, y0, x1, y1 = box
    at_rows = (top > 0 and y0 < down) or (bottom < size[0] and y1 >= height - down)
    return at_rows or (left > 0 and x0 < across) or (right < size[1] and x1 >= width - across)


def beyond_tiles(box: tuple[float, float, float, float], size: tuple[int, int], tiles: int) -> bool:
    """Whether no tile is sure to have an object whole: its box (x1, y1 exclusive) is longer than the overlap."""
    x0, y0, x1, y1 = box
    shared = OVERLAP / (tiles - (tiles - 1) * OVERLAP)
    return x1 - x0 > shared * size[1] or y1 - y0 > shared * size[0]


def _kind(ask: ObjectPrompt) -> tuple[int, bool, bool]:
    return len(ask.clicks), ask.box is not None, ask.mask_rle is not None


__all__ = [
    "OVERLAP", "InstanceMask", "RankedMask", "answer_asks", "beyond_tiles", "cut_off", "mask_nms", "objects",
    "placed", "views",
]  # fmt: skip
