"""A prompt for one object: clicks, a box, or none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from samtailor.errors import InputError
from samtailor.predict.inputs import box_tensor, click_tensors
from samtailor.structures import Prompts


@dataclass(frozen=True)
class ObjectPrompt:
    """Prompt for one object of an image.

    Args:
        clicks: (x, y, label) each, pixels of the image; label 1 is the object, 0 the background.
        box: (x0, y0, x1, y1), pixels of the image.
        label: class of the object in the result; None: the adapter's name.
        score: of the proposal, in [0, 1]; None for a prompt given by the user.
        promptless: predict without a prompt, for adapters that were fitted without prompts.
        mask_rle: the object's mask where the proposal includes it, run-length encoded in the image (or tile): then the
            decoder is not run and the clicks only mark the place.
        certainty: uint8 (height, width) of the image: the probability of each pixel that it belongs to the class, 255
            for 1, where the proposal includes it; see `predict.competition`.
    """

    clicks: tuple[tuple[float, float, int], ...] = ()
    box: tuple[float, float, float, float] | None = None
    label: str | None = None
    score: float | None = None
    promptless: bool = False
    mask_rle: Mapping[str, Any] | None = None
    certainty: np.ndarray | None = field(default=None, compare=False, repr=False)

    @property
    def mask(self) -> np.ndarray:
        """bool (height, width): `mask_rle` decoded.

        Raises:
            InputError: the prompt includes no mask.
        """
        from pycocotools import mask as coco

        if self.mask_rle is None:
            raise InputError("This prompt includes no mask.")
        return coco.decode(dict(self.mask_rle)).astype(bool)

    def moved(self, x: float, y: float) -> ObjectPrompt:
        """The same prompt shifted right and down by `x` and `y` pixels, for another view of the image.

        The mask and its certainty are dropped, since they are of one view.
        """
        clicks = tuple((column + x, row + y, label) for column, row, label in self.clicks)
        box = self.box and (self.box[0] + x, self.box[1] + y, self.box[2] + x, self.box[3] + y)
        return replace(self, clicks=clicks, box=box, mask_rle=None, certainty=None)

    def check(self, size: tuple[int, int]) -> None:
        """Raise InputError unless the prompt has a click or a box (or is promptless), all inside the image.

        Args:
            size: (height, width) of the image.
        """
        if not self.clicks and self.box is None and not self.promptless:
            raise InputError("A prompt needs at least one click or a box.")
        self.prompts(size)

    def prompts(self, size: tuple[int, int]) -> Prompts:
        """As tensors for an image of (height, width); the empty prompt if `promptless`."""
        points, labels = None, None
        if self.clicks:
            points, labels = click_tensors([c[:2] for c in self.clicks], [c[2] for c in self.clicks], size)
        return Prompts(size, points, labels, None if self.box is None else box_tensor(self.box, size))


__all__ = ["ObjectPrompt"]
