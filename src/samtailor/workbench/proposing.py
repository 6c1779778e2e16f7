"""Automatic segmentation of an image, with an uncertainty for each object.

Uncertainty of an object: 1 - score x stability. `score` is the calibrated score of the proposal; for adapters that
predict without a prompt it is the predicted IoU. `stability` is the mean IoU of the mask with the masks that the same
adapter predicts for four shifted prompts: a click is shifted left, right, up and down by a quarter of the radius of a
disc with the mask's area (at least one pixel), a box by a twentieth of its sides. Without a prompt, and where the
object is a part of a map, stability is 1. The uncertainty of an image is that of its most uncertain object; without
objects it is 1.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from samtailor.data.tile_views import views
from samtailor.data.transform import Frame
from samtailor.masks.nms import mask_nms
from samtailor.masks.rle import to_json as rle_to_json
from samtailor.predict.batched import BatchedDecoder, PromptBatch
from samtailor.predict.competition import compete, exclusive_pairs
from samtailor.predict.instances import InstanceMask, in_image, with_image
from samtailor.predict.postprocessing import finished
from samtailor.predict.predictor import Predictor
from samtailor.predict.prompt import ObjectPrompt
from samtailor.predict.source import AdapterSource
from samtailor.predict.windows import Windows
from samtailor.serve.adapters import LoadedAdapter
from samtailor.workbench.masks import paste
from samtailor.workbench.records import Object, Runs, SavedPrompt

_NO_IMAGE = np.zeros((0, 0, 3), np.uint8)  # proposals need the embedding only
_SIDE = 320  # px, longer side of the masks that are compared for stability
_BATCH = 64  # prompts per decoder pass
_SHIFTS = ((-1, 0), (1, 0), (0, -1), (0, 1))


@torch.no_grad()
def objects(loaded: LoadedAdapter, predictor: Predictor, threshold: float | None = None) -> list[Object]:
    """Objects in the image that is set, in descending order of score, without duplicates and empty masks.

    If the proposals use tiles, the predictor holds the last tile afterwards.

    Args:
        loaded: the adapter.
        predictor: predictor of the adapter, with the embedding of the image set.
        threshold: lowest score of a proposal; None: the default of each class.

    Raises:
        Refused: the adapter has no proposals.
    """
    sources = loaded.sources(threshold)
    image = predictor.image if any(source.tiles > 1 for source in sources) else _NO_IMAGE
    decoder = BatchedDecoder(predictor.base, {name: predictor.segmenter(name) for name in predictor.adapters})
    masks: list[_StableMask] = []
    for source in with_image(predictor, image, sources):
        masks += _of_source(source, decoder, predictor, image)
    competing = compete(masks, exclusive_pairs(sources), certainty=lambda one: one.prompt.certainty)
    kept = sorted(competing, key=lambda instance: -instance.score)
    return [_object(loaded, instance, f"a{i}") for i, instance in enumerate(kept, 1)]


def _of_source(
    source: AdapterSource, decoder: BatchedDecoder, predictor: Predictor, image: np.ndarray
) -> list[_StableMask]:
    """The objects of one source, each once."""
    size = (predictor.frame.height, predictor.frame.width)
    instances: list[_StableMask] = []
    for view in views(source.tiles):
        if not view.untouched:
            predictor.set_image(view.image(image))
        for prompt, mask, iou, stability in _predict(source, decoder, predictor):
            instance = in_image(prompt, mask, iou, view, size)
            if instance.belongs_to(view, size, source.tiles):
                instances.append(_StableMask(instance.prompt, instance.rle, instance.iou, stability=stability))
    return finished(mask_nms(instances, rank=lambda instance: instance.rank), source.postprocess)


def uncertainty(objects: Sequence[Object]) -> float:
    """Uncertainty of an image with these objects, in [0, 1]."""
    return max((o.uncertainty or 0.0 for o in objects), default=1.0)


@dataclass(frozen=True)
class _StableMask(InstanceMask):
    """A mask with its stability in [0, 1]."""

    stability: float = 1.0


def _predict(
    source: AdapterSource, decoder: BatchedDecoder, predictor: Predictor
) -> Iterator[tuple[ObjectPrompt, np.ndarray, float, float]]:
    """Prompt, mask (bool, image or tile), predicted IoU and stability of each proposal for the image or tile set."""
    proposed = source.propose(predictor, _NO_IMAGE)
    yield from ((p, p.mask, p.score or 0.0, 1.0) for p in proposed if p.mask_rle is not None)
    prompts = [p for p in proposed if p.mask_rle is None]
    for start in range(0, len(prompts), _BATCH):
        yield from _decode(source.adapter, decoder, predictor, prompts[start : start + _BATCH])


def _decode(
    adapter: str | None, decoder: BatchedDecoder, predictor: Predictor, prompts: Sequence[ObjectPrompt]
) -> Iterator[tuple[ObjectPrompt, np.ndarray, float, float]]:
    """Masks for some prompts; a second decoder pass with shifted prompts gives their stability."""
    frame, windows = predictor.frame, Windows()
    logits, scores = _best(decoder, predictor, prompts, adapter)
    masks = [windows.mask(row, frame) for row in logits]
    kept = [i for i, (mask, _, _) in enumerate(masks) if mask.any()]
    areas = [int(masks[i][0].sum()) for i in kept]
    stabilities = _stability(adapter, decoder, predictor, [prompts[i] for i in kept], logits[kept], areas)
    for i, stability in zip(kept, stabilities, strict=True):
        yield prompts[i], paste(*masks[i], (frame.height, frame.width)), scores[i], stability


def _object(loaded: LoadedAdapter, instance: _StableMask, id: str) -> Object:
    prompt, score = instance.prompt, min(max(instance.score, 0.0), 1.0)
    classes = loaded.meta.classes if loaded.meta is not None else ()
    saved = SavedPrompt.model_validate(
        {"points": [c[:2] for c in prompt.clicks], "labels": [c[2] for c in prompt.clicks], "box": prompt.box}
    )
    return Object(
        id=id, class_=prompt.label or (classes[0] if classes else loaded.name or "object"), source="auto",
        rle=Runs(**rle_to_json(instance.rle)), adapter=loaded.name, score=score, clicks=0,
        uncertainty=min(max(1 - score * instance.stability, 0.0), 1.0), prompts=None if prompt.promptless else saved,
    )  # fmt: skip


def _stability(
    adapter: str | None,
    decoder: BatchedDecoder,
    predictor: Predictor,
    prompts: Sequence[ObjectPrompt],
    logits: Tensor,
    areas: Sequence[int],
) -> list[float]:
    """Stability of each mask.

    Args:
        adapter, decoder, predictor: as in `_decode`.
        prompts: P prompts.
        logits: (P, h, w) mask logits for the prompts.
        areas: areas of the masks in the image, pixels.
    """
    if not prompts or prompts[0].promptless:
        return [1.0] * len(prompts)
    frame = predictor.frame
    scale = min(1.0, _SIDE / max(frame.height, frame.width))
    small = Frame.of(predictor.base, max(1, round(frame.height * scale)), max(1, round(frame.width * scale)))
    shifted = [
        _shifted(prompt, area, shift, frame) for prompt, area in zip(prompts, areas, strict=True) for shift in _SHIFTS
    ]
    batches = (shifted[at : at + _BATCH] for at in range(0, len(shifted), _BATCH))
    parts = [_best(decoder, predictor, batch, adapter)[0] for batch in batches]
    others = (small.logits(torch.cat(parts)[:, None])[:, 0] > 0).unflatten(0, (len(prompts), len(_SHIFTS)))
    masks = (small.logits(logits[:, None]) > 0).expand_as(others)
    intersection, union = (masks & others).flatten(2).sum(-1), (masks | others).flatten(2).sum(-1)
    return (intersection / union.clamp(min=1)).mean(dim=1).tolist()


def _shifted(prompt: ObjectPrompt, area: int, shift: tuple[int, int], frame: Frame) -> ObjectPrompt:
    """The prompt shifted in one direction and kept inside the image."""
    width, height = frame.width, frame.height
    if prompt.box is None:
        distance = max(1.0, math.sqrt(area / math.pi) / 4)
        (x, y, label), *_ = prompt.clicks
        x = min(max(x + distance * shift[0], 0), width - 1)
        y = min(max(y + distance * shift[1], 0), height - 1)
        return ObjectPrompt(clicks=((x, y, label),))
    x0, y0, x1, y1 = prompt.box
    dx, dy = shift[0] * (x1 - x0) / 20, shift[1] * (y1 - y0) / 20
    return ObjectPrompt(box=(max(x0 + dx, 0), max(y0 + dy, 0), min(x1 + dx, width), min(y1 + dy, height)))


def _best(
    decoder: BatchedDecoder, predictor: Predictor, prompts: Sequence[ObjectPrompt], adapter: str | None
) -> tuple[Tensor, list[float]]:
    """Logits (P, h, w) with the highest predicted IoU for each prompt, and that IoU.

    All prompts must be of one kind, which proposals guarantee.
    """
    (best,) = decoder.predict(predictor, [PromptBatch(adapter, tuple(prompts))])
    return best.logits.cpu(), best.scores.tolist()


__all__ = ["objects", "uncertainty"]
