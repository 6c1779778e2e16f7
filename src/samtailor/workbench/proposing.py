"""What an adapter finds in an image by itself, and how sure it is of each object.

Uncertainty of an object: 1 - score x stability. `score` is the proposal's calibrated score, for adapters that are asked
without a prompt their predicted IoU. `stability` is the mean IoU of its mask with the masks that the same adapter gives
when the prompt is moved a little: a click by a quarter of the radius of a disc of the mask's area (at least one pixel)
to the left, right, up and down; a box by a twentieth of its sides likewise. Without a prompt, and where a part of a map
is the object, there is nothing to move and stability is 1. An image is as uncertain as its most uncertain object, and
one in which nothing was found is 1.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from samtailor.data.transform import Frame
from samtailor.labelling._answers import Windows
from samtailor.masks.rle import to_json as rle_to_json
from samtailor.predict.auto import GROWN, Proposer
from samtailor.predict.batched import BatchedDecoder, PromptBatch
from samtailor.predict.instances import InstanceMask, mask_nms, placed, views
from samtailor.predict.predictor import Predictor
from samtailor.predict.prompt import ObjectPrompt
from samtailor.serve.adapters import LoadedAdapter
from samtailor.workbench.masks import placed as whole_mask
from samtailor.workbench.records import Asked, Object, Runs

_NO_IMAGE = np.zeros((0, 0, 3), np.uint8)  # proposals look at the embedding
_SIDE = 320  # pixels; masks are compared with their shifted ones at this size
_TOGETHER = 64  # prompts a pass of the decoder
_STEPS = ((-1, 0), (1, 0), (0, -1), (0, 1))


@torch.no_grad()
def objects(slot: LoadedAdapter, predictor: Predictor, threshold: float | None = None) -> list[Object]:
    """What is found in the image that is set, by falling score, each object of a class once, empty masks left out.

    As `instances.objects` has it. After proposals that look in tiles, the last of them is set.

    Args:
        slot: who answers.
        predictor: of the slot, with the image's embedding set.
        threshold: lowest score of a proposal; None takes each class's own.

    Raises:
        Refused: nothing can propose.
    """
    propose, size = slot.proposer(threshold, GROWN), (predictor.frame.height, predictor.frame.width)
    image = predictor.image if slot.tiles > 1 else _NO_IMAGE
    passes = BatchedDecoder(predictor.base, {} if slot.name is None else {slot.name: predictor.segmenter(slot.name)})
    found: list[_Steady] = []
    for view in views(slot.tiles):
        if not view.untouched:
            predictor.set_image(view.image(image))
        for ask, mask, iou, stability in _seen(slot, passes, predictor, propose):
            one = placed(ask, mask, iou, view, size)
            if one.seen_best(view, size, slot.tiles):
                found.append(_Steady(one.ask, one.rle, one.iou, stability=stability))
    kept = sorted(mask_nms(found), key=lambda one: -one.score)
    return [_object(slot, one, f"a{i}") for i, one in enumerate(kept, 1)]


def uncertainty(found: Sequence[Object]) -> float:
    """Of an image, see the head of the file."""
    return max((one.uncertainty or 0.0 for one in found), default=1.0)


@dataclass(frozen=True)
class _Steady(InstanceMask):
    """An answer and how stable it is."""

    stability: float = 1.0


def _seen(
    slot: LoadedAdapter, passes: BatchedDecoder, predictor: Predictor, propose: Proposer
) -> Iterator[tuple[ObjectPrompt, np.ndarray, float, float]]:
    """What is proposed in the image or tile that is set: mask (bool, of its size), predicted IoU, stability."""
    proposed = propose(predictor, _NO_IMAGE)
    yield from ((ask, ask.mask, ask.score or 0.0, 1.0) for ask in proposed if ask.mask_rle is not None)
    asks = [ask for ask in proposed if ask.mask_rle is None]
    for start in range(0, len(asks), _TOGETHER):
        yield from _asked(slot, passes, predictor, asks[start : start + _TOGETHER])


def _asked(
    slot: LoadedAdapter, passes: BatchedDecoder, predictor: Predictor, asks: Sequence[ObjectPrompt]
) -> Iterator[tuple[ObjectPrompt, np.ndarray, float, float]]:
    """The answers to some prompts, and their stability by a second pass with all prompts moved."""
    frame, windows = predictor.frame, Windows()
    logits, scores = _best(passes, predictor, asks, slot.name)
    masks = [windows.mask(one, frame) for one in logits]
    seen = [i for i, (mask, _, _) in enumerate(masks) if mask.any()]
    stable = _stability(
        slot, passes, predictor, [asks[i] for i in seen], logits[seen], [masks[i][0].sum() for i in seen]
    )
    for i, stability in zip(seen, stable, strict=True):
        yield asks[i], whole_mask(*masks[i], (frame.height, frame.width)), scores[i], stability


def _object(slot: LoadedAdapter, found: _Steady, id: str) -> Object:
    ask, score = found.ask, min(max(found.score, 0.0), 1.0)
    classes = slot.meta.classes if slot.meta is not None else ()
    asked = Asked(points=[c[:2] for c in ask.clicks], labels=[c[2] for c in ask.clicks], box=ask.box)
    return Object(
        id=id, class_=ask.label or (classes[0] if classes else slot.name or "object"), source="auto",
        rle=Runs(**rle_to_json(found.rle)), adapter=slot.name, score=score, clicks=0,
        uncertainty=min(max(1 - score * found.stability, 0.0), 1.0), prompts=None if ask.promptless else asked,
    )  # fmt: skip


def _stability(
    slot: LoadedAdapter,
    passes: BatchedDecoder,
    predictor: Predictor,
    asks: Sequence[ObjectPrompt],
    logits: Tensor,
    areas: Sequence[int],
) -> list[float]:
    if not asks or asks[0].promptless:
        return [1.0] * len(asks)
    frame = predictor.frame
    shrink = min(1.0, _SIDE / max(frame.height, frame.width))
    small = Frame.of(predictor.base, max(1, round(frame.height * shrink)), max(1, round(frame.width * shrink)))
    moved = [_moved(ask, area, step, frame) for ask, area in zip(asks, areas, strict=True) for step in _STEPS]
    turns = (moved[at : at + _TOGETHER] for at in range(0, len(moved), _TOGETHER))
    parts = [_best(passes, predictor, part, slot.name)[0] for part in turns]
    others = (small.logits(torch.cat(parts)[:, None])[:, 0] > 0).unflatten(0, (len(asks), len(_STEPS)))
    own = (small.logits(logits[:, None]) > 0).expand_as(others)
    both, either = (own & others).flatten(2).sum(-1), (own | others).flatten(2).sum(-1)
    return (both / either.clamp(min=1)).mean(dim=1).tolist()


def _moved(ask: ObjectPrompt, area: int, step: tuple[int, int], frame: Frame) -> ObjectPrompt:
    """The prompt moved a little, kept inside the image."""
    width, height = frame.width, frame.height
    if ask.box is None:
        far = max(1.0, math.sqrt(area / math.pi) / 4)
        (x, y, label), *_ = ask.clicks
        x, y = (min(max(v + far * s, 0), side - 1) for v, s, side in zip((x, y), step, (width, height), strict=True))
        return ObjectPrompt(clicks=((x, y, label),))
    x0, y0, x1, y1 = ask.box
    dx, dy = step[0] * (x1 - x0) / 20, step[1] * (y1 - y0) / 20
    return ObjectPrompt(box=(max(x0 + dx, 0), max(y0 + dy, 0), min(x1 + dx, width), min(y1 + dy, height)))


def _best(
    passes: BatchedDecoder, predictor: Predictor, asks: Sequence[ObjectPrompt], adapter: str | None
) -> tuple[Tensor, list[float]]:
    """Of each prompt the logits (P, h, w) of highest predicted IoU, and that; proposers ask all in the same way."""
    (best,) = passes.answers(predictor, [PromptBatch(adapter, tuple(asks))])
    return best.logits.cpu(), best.scores.tolist()


__all__ = ["objects", "uncertainty"]
