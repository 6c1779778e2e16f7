"""References of `find`: images in which objects are marked by a mask, a box or clicks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from PIL import Image

from samtailor.data.image import Header, header, read_levels
from samtailor.data.mask_values import inspect, threshold
from samtailor.data.placement import to_image_frame
from samtailor.data.transform import Frame
from samtailor.errors import InputError
from samtailor.masks.contours import connected
from samtailor.matchers import MarkedImage, See
from samtailor.predict.inputs import as_image

if TYPE_CHECKING:
    from samtailor.bases import Base

ImageInput = np.ndarray | Image.Image | str | Path
_SPECK = 0.01  # of the largest connected part of a mask; smaller parts are no objects of their own


class EncodedImage(Protocol):
    """What is used of a predictor."""

    base: Base

    @property
    def frame(self) -> Frame:
        """Geometry of the current image."""

    @property
    def with_companions(self) -> See:
        """Embedding of a view of the current image."""

    def set_image(self, image: Any) -> None:
        """Encode an image."""

    def predict(
        self, point_coords: Any = None, point_labels: Any = None, box: Any = None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Masks, predicted IoU and logits for a prompt."""


@dataclass(frozen=True, eq=False)
class Reference:
    """An image in which objects are marked by a mask, a box or clicks.

    Args:
        image: array uint8 RGB (height, width, 3), Pillow image or path.
        mask: array (height, width) or path; values above 0 mark objects. In an instance map each number is an object,
            in a mask with one value each connected part.
        box: x0, y0, x1, y1 around one object, pixels.
        clicks: (x, y) or (x, y, label) each, pixels, all on one object; label 1 is the object, 0 the background.
        complete: all such objects of the image are marked, so that the rest of it is background. None: True for masks,
            False for boxes and clicks. If not, places that resemble the object are not used as background.

    A negative reference without mask, box and clicks means the whole image.
    """

    image: ImageInput
    mask: np.ndarray | str | Path | None = None
    box: Sequence[float] | None = None
    clicks: Sequence[Sequence[float]] = ()
    complete: bool | None = None

    @property
    def name(self) -> str:
        """Of the image, for messages."""
        return str(self.image) if isinstance(self.image, str | Path) else "The image of a reference"


def marked_images(
    new_predictor: Callable[[], EncodedImage], references: Sequence[Reference], *, alike: bool
) -> list[MarkedImage]:
    """Encode references; those of one image file become one marked image with all their objects.

    Args:
        new_predictor: makes a predictor.
        references: what to find, or what not to find.
        alike: whether they show what to find.

    Raises:
        InputError: a reference that marks nothing, or in several ways.
        DataError: a file that cannot be read, or a mask that does not fit its image.
    """
    by_image: dict[Any, list[Reference]] = {}
    for one in references:
        key = str(Path(one.image)) if isinstance(one.image, str | Path) else id(one.image)
        by_image.setdefault(key, []).append(one)
    return [_marked_image(new_predictor(), same, alike) for same in by_image.values()]


def _marked_image(predictor: EncodedImage, same: Sequence[Reference], alike: bool) -> MarkedImage:
    pixels = as_image(same[0].image)
    predictor.set_image(pixels)
    masks = [mask for one in same for mask in _objects(predictor, one, pixels.shape[:2], alike)]
    complete = all(one.mask is not None if one.complete is None else one.complete for one in same)
    return MarkedImage(predictor.with_companions, predictor.frame, tuple(masks), alike, complete)


def _objects(predictor: EncodedImage, one: Reference, size: tuple[int, int], alike: bool) -> list[np.ndarray]:
    """Masks of the objects that a reference marks."""
    given = [one.mask is not None, one.box is not None, len(one.clicks) > 0]
    if not any(given) and not alike:
        return [np.ones(size, bool)]
    if sum(given) != 1:
        raise InputError(
            f"{one.name}: a reference needs a mask, a box or clicks, exactly one of them, got {sum(given)}."
        )
    if one.mask is not None:
        return _of_mask(one, size)
    clicks = [tuple(click) for click in one.clicks]
    if any(len(click) not in (2, 3) for click in clicks):
        raise InputError(f"{one.name}: a click must be x,y or x,y,label, got {clicks}.")
    points = [click[:2] for click in clicks] or None
    labels = [click[2] if len(click) == 3 else 1 for click in clicks] or None
    try:
        masks, scores, _ = predictor.predict(points, labels, one.box)
    except InputError as error:
        raise InputError(f"{one.name}: {error}") from error
    best = masks[int(np.argmax(scores))]
    if not best.any():
        raise InputError(f"{one.name}: the base predicts no object for this prompt. Give a mask, or another prompt.")
    return [best]


def _of_mask(one: Reference, size: tuple[int, int]) -> list[np.ndarray]:
    if isinstance(one.mask, str | Path):
        name, values = str(one.mask), read_levels(Path(one.mask))
        stored = header(Path(one.image)) if isinstance(one.image, str | Path) else _plain(size)
    else:
        name, values, stored = f"{one.name}, mask", np.asarray(one.mask), _plain(size)
    if values.ndim != 2 or values.dtype.kind not in "biuf":
        raise InputError(f"{name}: a mask must be numbers of shape (height, width), got {values.dtype} {values.shape}.")
    values = to_image_frame(values, stored, name)
    if not (values > 0).any():
        raise InputError(f"{name}: the mask is empty, so that the reference shows nothing. Expected values above 0.")
    seen = inspect(values)
    if seen.kind == "numbers":
        return [values == number for number in np.unique(values[values > 0])]
    if not (mask := threshold(values, seen)).any():
        raise InputError(f"{name}: no value reaches half of the range, 0 to {seen.top:g}, so that nothing is marked.")
    return _parts(mask)


def _parts(mask: np.ndarray) -> list[np.ndarray]:
    """Connected parts of a mask, without specks."""
    parts = list(connected(mask))
    areas = [np.count_nonzero(part) for part in parts]
    return [part for part, area in zip(parts, areas, strict=True) if area >= _SPECK * max(areas)]


def _plain(size: tuple[int, int]) -> Header:
    return Header(size, size, 1, "RGB", "")


__all__ = ["EncodedImage", "ImageInput", "Reference", "marked_images"]
