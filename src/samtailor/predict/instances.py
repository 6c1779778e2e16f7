"""Predict all objects of an image without a user's prompt: propose prompts, decode them in batches, drop duplicates.

Small objects are also searched in tiles: overlapping parts of the image, each resized to the model frame, so that an
object has two or three times as many pixels in it. An object is taken from a tile unless an inner edge of the tile
cuts it; one that is larger than the overlap, and may be complete in no tile, is taken from the whole image.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from samtailor.data.augment import View
from samtailor.data.tile_views import cut_off, exceeds_overlap, views
from samtailor.masks import interior
from samtailor.masks.nms import mask_nms
from samtailor.predict.batched import BatchedDecoder, PromptBatch, stack_prompts
from samtailor.predict.competition import compete, exclusive_pairs
from samtailor.predict.postprocessing import finished, masks_of
from samtailor.predict.predictor import BASE
from samtailor.structures import Annotation, RunLengths, Sample

if TYPE_CHECKING:
    from samtailor.cache.embeddings import EmbeddingCache
    from samtailor.predict.predictor import Predictor
    from samtailor.predict.prompt import ObjectPrompt
    from samtailor.predict.source import AdapterSource

_PROMPTS_PER_PASS = 32
_MAX_PIXELS = 24_000_000  # float32 logits at the size of the image, about 100 MB


@dataclass(frozen=True)
class InstanceMask(RunLengths):
    """The mask predicted for one prompt.

    Args:
        prompt: in pixels of the image.
        rle: mask in the image frame, COCO run-length encoding; may be empty.
        iou: predicted IoU.
        complete: no inner edge of a tile cuts it.
    """

    prompt: ObjectPrompt
    rle: dict[str, Any]
    iou: float
    complete: bool = True

    @property
    def label(self) -> str | None:
        """Class of the prompt."""
        return self.prompt.label

    @property
    def score(self) -> float:
        """Score of the proposal, in [0, 1]; the predicted IoU if the prompt is the user's."""
        return self.iou if self.prompt.score is None else self.prompt.score

    @property
    def rank(self) -> float:
        """Sort key of predictions: score of the proposal times predicted IoU, in [0, 1]."""
        iou = min(max(self.iou, 0.0), 1.0)
        return iou if self.prompt.score is None else self.prompt.score * iou

    def belongs_to(self, view: View, size: tuple[int, int], tiles: int) -> bool:
        """Whether the object is taken from this view rather than from another one.

        Args:
            view: in which it was predicted.
            size: (height, width) of the image.
            tiles: tiles per side.
        """
        return self.complete and (tiles == 1 or not view.untouched or exceeds_overlap(self.box, size, tiles))


def predict_instances(
    predictor: Predictor,
    image: Sample | np.ndarray,
    source: AdapterSource,
    *,
    store: EmbeddingCache | None = None,
    image_is_set: bool = False,
) -> list[InstanceMask]:
    """Predict all objects of an image, each once, sorted by falling rank.

    Args:
        predictor: with the adapter loaded. With several tiles per side, the last tile is set on it afterwards.
        image: a sample, or uint8 RGB (height, width, 3).
        source: the adapter, what proposes its prompts, and the tiles per side.
        store: embedding cache for the tiles of a sample.
        image_is_set: the image is already set on the predictor.
    """
    size = image.size if isinstance(image, Sample) else (image.shape[0], image.shape[1])
    frozen = source.adapter is None or predictor.segmenter(source.adapter).encoder_frozen
    instances: list[InstanceMask] = []
    for view in views(source.tiles):
        ready = image_is_set and view.untouched
        shown = image if ready else _set_view(predictor, image, view, store if frozen else None, source.adapter)
        prompts = source.propose(predictor, shown)
        for prompt, mask, iou in predict_prompts(predictor, prompts, source.adapter, postprocess=False):
            instance = in_image(prompt, mask, iou, view, size)
            if instance.belongs_to(view, size, source.tiles):
                instances.append(instance)
    return finished(mask_nms(instances, rank=lambda one: one.rank), source.postprocess)


def predict_classes(
    predictor: Predictor, image: Sample | np.ndarray, sources: Sequence[AdapterSource]
) -> list[InstanceMask]:
    """The objects of several sources in the current image, by falling rank; classes compete for a pixel, see `compete`.

    Args:
        predictor: with the adapters loaded and the image set. With tiles, the last tile is set on it afterwards.
        image: as of `predict_instances`; it is only read for tiles.
        sources: one for each class, as a rule.
    """
    objects: list[InstanceMask] = []
    for source in with_image(predictor, image, sources):
        objects += predict_instances(predictor, image, source, image_is_set=True)
    competing = compete(objects, exclusive_pairs(sources), certainty=lambda one: one.prompt.certainty)
    return sorted(competing, key=lambda one: -one.rank)


def with_image(
    predictor: Predictor, image: Sample | np.ndarray, sources: Sequence[AdapterSource]
) -> Iterator[AdapterSource]:
    """The sources, each while the whole image is set; those with tiles, which replace the image, come last.

    Args:
        predictor: with the image set.
        image: as of `predict_instances`; it is only read if several sources have tiles.
        sources: in any order.
    """
    replaced = False
    for source in sorted(sources, key=lambda one: one.tiles):
        if replaced:
            if isinstance(image, Sample):
                predictor.set_sample(image)
            else:
                predictor.set_image(image)
        yield source
        replaced = source.tiles > 1


def predict_prompts(
    predictor: Predictor, prompts: Sequence[ObjectPrompt], adapter: str | None, *, postprocess: bool = True
) -> Iterator[tuple[ObjectPrompt, np.ndarray, float]]:
    """Predict the best mask of each prompt on the current image.

    Args:
        predictor: with the adapter loaded and an image set.
        prompts: of any kind; consecutive prompts of one kind are decoded together.
        adapter: name; None is the base.
        postprocess: with the adapter's postprocessing for prompts of the kind; False for the prompts of automatic
            mode, whose objects are postprocessed at the end.

    Yields:
        the prompt, its mask as bool (height, width), and its predicted IoU, in order. A prompt that includes its mask
        is not decoded; its score takes the place of the predicted IoU.
    """
    size = (predictor.frame.height, predictor.frame.width)
    step = max(1, min(_PROMPTS_PER_PASS, _MAX_PIXELS // max(size[0] * size[1], predictor.base.size**2)))
    decoder = BatchedDecoder(predictor.base, {} if adapter is None else {adapter: predictor.segmenter(adapter)})
    start = 0
    while start < len(prompts):
        kind, end = _kind(prompts[start]), start + 1
        while end < min(len(prompts), start + step) and _kind(prompts[end]) == kind:
            end += 1
        part = prompts[start:end]
        start = end
        if part[0].mask_rle is not None:
            yield from ((prompt, prompt.mask, prompt.score or 0.0) for prompt in part)
            continue
        (best,) = decoder.predict(predictor, [PromptBatch(adapter, tuple(part))])
        selected = adapter if adapter is not None and postprocess else BASE  # the base postprocesses nothing
        masks = masks_of(predictor, best.logits[:, None], stack_prompts(part, size), selected)[:, 0]
        yield from zip(part, masks, best.scores.tolist(), strict=True)


def _set_view(
    predictor: Predictor,
    image: Sample | np.ndarray,
    view: View,
    store: EmbeddingCache | None,
    adapter: str | None,
) -> Sample | np.ndarray:
    """Set a view of the image on the predictor, from the cache if there is one, and return the view."""
    if not isinstance(image, Sample):
        shown = np.ascontiguousarray(view.image(image))
        predictor.set_image(shown)
        return shown
    if view.untouched:
        predictor.set_sample(image)
        return image
    if store is None:
        predictor.set_image(view.image(image.image))
    else:
        companions = () if adapter is None else predictor.segmenter(adapter).companions
        features = store.features(predictor.base, [image], [view], companions)
        predictor.set_features(features, *view.size(*image.size), image=lambda: view.image(image.image))
    return view.sample(image)


def in_image(prompt: ObjectPrompt, mask: np.ndarray, iou: float, view: View, size: tuple[int, int]) -> InstanceMask:
    """Convert a prediction on a view to the frame of the image.

    Args:
        prompt: in pixels of the view.
        mask: bool, of the size of the view.
        iou: predicted IoU.
        view: part of the image.
        size: (height, width) of the image.
    """
    if view.untouched:
        return InstanceMask(prompt, Annotation.from_mask("", mask).rle, iou)
    top, bottom, left, right = view.edges(*size)
    full = np.zeros(size, bool)
    full[top:bottom, left:right] = mask
    cut = bool(mask.any()) and cut_off(interior.box(mask), view, size)
    return InstanceMask(prompt.moved(left, top), Annotation.from_mask("", full).rle, iou, not cut)


def _kind(prompt: ObjectPrompt) -> tuple[int, bool, bool]:
    return len(prompt.clicks), prompt.box is not None, prompt.mask_rle is not None


__all__ = ["InstanceMask", "in_image", "predict_classes", "predict_instances", "predict_prompts", "with_image"]
