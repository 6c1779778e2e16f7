"""Objects of a picture without a human prompt: what is proposed, answered in passes of the decoder, each object once.

Small objects are looked for in tiles: overlapping parts of the picture, each brought to the model frame by itself, so
that an object of 12 px has twice or three times as many. An object that no inner edge of its tile cuts is taken from
the tile; one that is larger than the overlap, and so may be whole in no tile, from the whole picture.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np

from samtailor.data.augment import View
from samtailor.data.tile_views import OVERLAP, views
from samtailor.masks import interior
from samtailor.predict.batched import Passes, Question
from samtailor.structures import Annotation, RunLengths, Sample

if TYPE_CHECKING:
    from samtailor.cache.embeddings import EmbeddingStore
    from samtailor.predict.files import Ask
    from samtailor.predict.predictor import Predictor

    Proposer = Callable[[Predictor, Sample | np.ndarray], list[Ask]]

SAME = 0.6
"""IoU of two masks of one class from which on they are one object, and the one of higher rank stays."""
WITHIN = 0.8
"""Likewise the share of the smaller one that the larger one covers."""


class Ranked(Protocol):
    """What `distinct` compares: run lengths in the picture, their number of pixels, a class and a rank."""

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


Answered = TypeVar("Answered", bound=Ranked)
_TOGETHER = 32  # prompts a pass of the decoder
_PIXELS = 24_000_000  # float32 logits at the picture's size, about 100 MB


@dataclass(frozen=True)
class Found(RunLengths):
    """One answer to a proposal.

    Args:
        ask: what was asked for, pixels of the picture.
        rle: its mask in the picture, run-length encoded; may be empty.
        iou: predicted IoU.
        whole: no inner edge of a tile cuts it.
    """

    ask: Ask
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
        """Whether the view that it was seen in is the one to take it from, of so many tiles a side of the picture."""
        return self.whole and (tiles == 1 or not view.untouched or beyond_tiles(self.box, size, tiles))


def objects(
    predictor: Predictor,
    picture: Sample | np.ndarray,
    propose: Proposer,
    adapter: str | None,
    *,
    tiles: int = 1,
    store: EmbeddingStore | None = None,
    ready: bool = False,
) -> list[Found]:
    """All objects of a picture, each once, by falling rank.

    Args:
        predictor: with the adapter.
        picture: a sample, or uint8 RGB (height, width, 3).
        propose: says what to ask for in the picture (or tile) that is set.
        adapter: who answers; None is the base.
        tiles: tiles a side; 1 looks at the whole picture only.
        store: embeddings of a sample's tiles, kept on disk.
        ready: the whole picture is set on the predictor already. After several tiles the last of them is.
    """
    size = picture.size if isinstance(picture, Sample) else picture.shape[:2]
    frozen = adapter is None or predictor.segmenter(adapter).encoder_frozen
    found: list[Found] = []
    for view in views(tiles):
        ready = ready and view.untouched
        seen = picture if ready else _set(predictor, picture, view, store if frozen else None)
        asks = propose(predictor, seen)
        for ask, mask, iou in answer_asks(predictor, asks, adapter):
            one = placed(ask, mask, iou, view, size)
            if one.seen_best(view, size, tiles):
                found.append(one)
    return distinct(found)


def answer_asks(
    predictor: Predictor, asks: Sequence[Ask], adapter: str | None
) -> Iterator[tuple[Ask, np.ndarray, float]]:
    """Of each prompt the mask with the highest predicted IoU, bool (height, width), and that IoU; in order.

    What is given is its own answer, its score in the place of a predicted IoU.
    """
    size = (predictor.frame.height, predictor.frame.width)
    step = max(1, min(_TOGETHER, _PIXELS // max(size[0] * size[1], predictor.base.size**2)))
    passes, start = Passes(predictor.base, {} if adapter is None else {adapter: predictor.segmenter(adapter)}), 0
    while start < len(asks):
        kind = _kind(asks[start])
        end = start + 1
        while end < min(len(asks), start + step) and _kind(asks[end]) == kind:
            end += 1
        part = asks[start:end]
        if part[0].given is not None:
            yield from ((ask, ask.mask, ask.score or 0.0) for ask in part)
            start = end
            continue
        (best,) = passes.answers(predictor, [Question(adapter, tuple(part))])
        masks = (predictor.frame.logits(best.logits[:, None])[:, 0] > 0).cpu().numpy()
        yield from zip(part, masks, best.scores.tolist(), strict=True)
        start = end


def distinct(found: Sequence[Answered]) -> list[Answered]:
    """Without empty masks, and each object of a class once, by falling rank: two proposals may lead to one mask."""
    from pycocotools import mask as coco

    kept: dict[str | None, list[Answered]] = {}
    for one in sorted(found, key=lambda one: -one.rank):
        others = kept.setdefault(one.label, [])
        if not one.area or (others and _doubled(coco, one, others)):
            continue
        others.append(one)
    return sorted((one for own in kept.values() for one in own), key=lambda one: -one.rank)


def _doubled(coco: Any, one: Ranked, others: Sequence[Ranked]) -> bool:
    runs = [other.rle for other in others]
    if float(np.max(coco.iou([one.rle], runs, [0] * len(runs)))) > SAME:
        return True
    # with "crowd" pycocotools divides by the area of the first: the share of it that is covered
    covered = coco.iou([one.rle], runs, [1] * len(runs))[0]
    smaller = np.array([one.area <= other.area for other in others])
    return bool((covered[smaller] > WITHIN).any())


def _set(
    predictor: Predictor, picture: Sample | np.ndarray, view: View, store: EmbeddingStore | None
) -> Sample | np.ndarray:
    """Set a view of the picture, from the store where there is one; the view, for whoever proposes."""
    if not isinstance(picture, Sample):
        seen = np.ascontiguousarray(view.image(picture))
        predictor.set_image(seen)
        return seen
    if view.untouched:
        predictor.set_sample(picture)
        return picture
    if store is None:
        predictor.set_image(view.image(picture.image))
    else:
        shown = {"picture": lambda: view.image(picture.image)}
        predictor.set_features(store.features(predictor.base, [picture], [view]), *view.size(*picture.size), **shown)
    return view.sample(picture)


def placed(ask: Ask, mask: np.ndarray, iou: float, view: View, size: tuple[int, int]) -> Found:
    """An answer of a view, bool mask of the view's size, at its place in the picture of (height, width)."""
    if view.untouched:
        return Found(ask, Annotation.from_mask("", mask).rle, iou)
    top, bottom, left, right = view.edges(*size)
    full = np.zeros(size, bool)
    full[top:bottom, left:right] = mask
    cut = mask.any() and cut_off(interior.box(mask), view, size)
    return Found(ask.moved(left, top), Annotation.from_mask("", full).rle, iou, not cut)


def cut_off(box: tuple[int, int, int, int], view: View, size: tuple[int, int]) -> bool:
    """Whether an inner edge of a view of a picture of (height, width) cuts an object.

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


def _kind(ask: Ask) -> tuple[int, bool, bool]:
    return len(ask.clicks), ask.box is not None, ask.given is not None


__all__ = [
    "OVERLAP", "Found", "Ranked", "answer_asks", "beyond_tiles", "cut_off", "distinct", "objects", "placed", "views",
]  # fmt: skip
