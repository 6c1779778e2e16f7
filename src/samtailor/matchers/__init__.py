"""Matchers: find objects like those marked in a few reference images, without a fit; one file per matcher.

To add a matcher, write a file with one function, here or as a plug-in (see `samtailor.registry`):

* `build(base, references, **options) -> Matcher`: reads the references; options are its keyword-only arguments.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from torch import Tensor

from samtailor.bases import Base
from samtailor.bases.companions import Companion
from samtailor.data.augment import View
from samtailor.data.transform import Frame
from samtailor.errors import InputError
from samtailor.registry import find, options, refuse_unknown

if TYPE_CHECKING:
    from samtailor.structures import Features

DEFAULT = "multiscale"
"""Name of the default matcher."""
See = Callable[[Sequence[Companion], View], "Features"]
"""Embedding of a view of an image, one row, with the maps of some companions; `Predictor.with_companions` is one."""


@dataclass(frozen=True)
class MarkedImage:
    """A reference: an image in which objects are marked.

    Args:
        see: its embedding.
        frame: its geometry.
        masks: bool (height, width) of each object, none of them empty; at least one.
        alike: False marks what must not be found.
        complete: every such object of the image is marked. If not, the rest of the image may contain more of them.
    """

    see: See
    frame: Frame
    masks: tuple[np.ndarray, ...]
    alike: bool = True
    complete: bool = True

    @property
    def union(self) -> np.ndarray:
        """All marked pixels, bool (height, width)."""
        return np.logical_or.reduce(self.masks)


@dataclass(frozen=True)
class Candidates:
    """N objects of one view of an image, not yet cut at a score and with duplicates.

    Args:
        logits: (N, h, w) low-resolution mask logits, float32.
        match: (N,) how much each resembles the references, in [0, 1].
        iou: (N,) IoU that the base predicts for each mask, in about [0, 1].
        rectangles: the objects are the bounding boxes of the masks, as in references that are rectangles.
    """

    logits: Tensor
    match: Tensor
    iou: Tensor
    rectangles: bool = False

    @property
    def scores(self) -> Tensor:
        """(N,) match times predicted IoU, in [0, 1]."""
        return self.match.clamp(0, 1) * self.iou.clamp(0, 1)


class Matcher(Protocol):
    """Finds objects that resemble the references it was built with.

    Attributes:
        companions: whose maps it reads beside the embedding.
        tiles: tiles per side that are searched besides the whole image; 1 for none.
        threshold: lowest score of an accepted object, in [0, 1].
    """

    companions: tuple[Companion, ...]
    tiles: int
    threshold: float

    def candidates(self, features: Features, frame: Frame) -> Candidates:
        """Objects of an image, or of a tile.

        Args:
            features: one row, with the maps of `companions`.
            frame: of the image or tile.
        """


def make(name: str, base: Base, references: Sequence[MarkedImage], settings: dict[str, Any] | None = None) -> Matcher:
    """Build a matcher by name.

    Args:
        name: of a file of this package or of a plug-in.
        base: frozen base model, on which the references were encoded.
        references: at least one of them `alike`.
        settings: options of the matcher.

    Raises:
        InputError: an unknown name or option, or no reference of what to find.
    """
    module: Any = find("matchers", name)
    given = dict(settings or {})
    refuse_unknown(module.build, given.keys() - options(module.build).keys())
    if not any(one.alike for one in references):
        raise InputError(
            "There is no reference of what to find. Expected at least one; negative references (--not-like, not_like) "
            "only say what to leave out."
        )
    return module.build(base, references, **given)


__all__ = ["DEFAULT", "Candidates", "MarkedImage", "Matcher", "See", "make"]
