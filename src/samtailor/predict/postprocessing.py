"""The one way from logits to masks, and the last step of the answers of an adapter: its postprocessing.

An adapter that was fitted may postprocess its masks (`InferenceSpec.postprocess`), separately for clicks, boxes, the
region of its class and the objects of automatic mode. Masks for prompts are postprocessed where their logits are cut
(`masks_of`), the objects of automatic mode after duplicates have been dropped (`finished`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np
from torch import Tensor

from samtailor.masks.postprocess import Window, postprocessed, postprocessed_runs, postprocessed_window
from samtailor.structures import NOTHING, PROMPT_TYPES, Postprocess, Prompts, RunLengths, way_of

if TYPE_CHECKING:
    from samtailor.data.transform import Frame
    from samtailor.segmenter import Segmenter

Object = TypeVar("Object", bound=RunLengths)


class AdaptedImage(Protocol):
    """An image with adapters: the part of `Predictor` that is needed here."""

    @property
    def frame(self) -> Frame:
        """Geometry of the image."""

    @property
    def adapters(self) -> tuple[str, ...]:
        """Names of the adapters."""

    def segmenter(self, name: str) -> Segmenter:
        """The segmenter of an adapter."""


def of_prompts(predictor: AdaptedImage, prompts: Prompts, adapter: str) -> Postprocess:
    """What an adapter does to its masks for such prompts; nothing for "base"."""
    if adapter not in predictor.adapters:
        return NOTHING
    return predictor.segmenter(adapter).inference.postprocess_of(way_of(prompts))


def of_automatic(segmenter: Segmenter | None, *, proposed: bool) -> Postprocess:
    """What an adapter does to the objects of automatic mode.

    Args:
        segmenter: the adapter; None for the base.
        proposed: the prompts come from learned proposals or a detector rather than from the adapter itself.
    """
    if segmenter is None:
        return NOTHING
    region = segmenter.inference.regions or (segmenter.by_itself and not proposed)
    return segmenter.inference.postprocess_of("region" if region else "instances")


def masks_of(predictor: AdaptedImage, logits: Tensor, prompts: Prompts, adapter: str) -> np.ndarray:
    """Cut the logits for prompts on the current image at 0, at the size of the image, and postprocess the masks.

    Args:
        predictor: with the image set.
        logits: (P, M, h, w) low-resolution logits of P prompts.
        prompts: which of the three kinds: clicks, boxes, or none.
        adapter: name, or "base".

    Returns:
        bool (P, M, height, width).
    """
    masks = (predictor.frame.logits(logits) > 0).cpu().numpy()
    how = of_prompts(predictor, prompts, adapter)
    if how.nothing:
        return masks
    never_empty = way_of(prompts) in PROMPT_TYPES
    return np.array([[postprocessed(mask, how, never_empty=never_empty) for mask in row] for row in masks])


def window_of(predictor: AdaptedImage, window: Window, prompts: Prompts, adapter: str) -> Window:
    """The postprocessing of `masks_of` for a mask of which only a window of the current image was upsampled."""
    how, frame = of_prompts(predictor, prompts, adapter), predictor.frame
    never_empty = way_of(prompts) in PROMPT_TYPES
    return postprocessed_window(window, how, (frame.height, frame.width), never_empty=never_empty)


def finished(objects: Sequence[Object], how: Postprocess) -> list[Object]:
    """The objects of automatic mode, each once, after postprocessing; those without a pixel left are dropped."""
    if how.nothing:
        return list(objects)
    changed: list[Any] = [(one, postprocessed_runs(one, how)) for one in objects]
    return [replace(one, rle=rle) for one, rle in changed if rle is not None]


__all__ = ["finished", "masks_of", "of_automatic", "of_prompts", "window_of"]
