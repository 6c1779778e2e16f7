"""Training images as id maps, and square views of them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import cv2
import numpy as np

Rng = np.random.Generator
SMALLEST = 36  # pixels of the id maps, 3 x 3 cells of the mask logits, below which a mask is not trained on
MAX_IDS = 250
FILL = (127, 127, 127)


@dataclass
class Labelled:
    """An image and its id maps.

    Args:
        image: (H, W, 3) uint8 RGB.
        objects: (H, W) object ids, 0 for none; uint16, in a view uint8.
        parts: (H, W) part ids, the smallest part of each pixel; likewise.
        owner: part id to object id.
        complete: whether every object in the image has an id, so that what has none is background.
        groups: object id to that of its carrier; a carrier and what it carries are one group.
        nested: part id to that of the part around it.
        sources: names of the data sources in the image, those of the background and of pasted objects too.
        boxed: ids of the objects whose masks, and those of their parts, are boxes: they are only roughly right along
            their borders.
    """

    image: np.ndarray
    objects: np.ndarray
    parts: np.ndarray
    owner: dict[int, int] = field(default_factory=dict)
    complete: bool = True
    groups: dict[int, int] = field(default_factory=dict)
    nested: dict[int, int] = field(default_factory=dict)
    sources: tuple[str, ...] = ()
    boxed: frozenset[int] = frozenset()


def view(rng: Rng, labelled: Labelled, size: int, *, close: float = 0.3) -> Labelled:
    """A `size` x `size` view: window, stretch, mirror and recolor; id maps at half the side, ids compact.

    Args:
        rng: random generator.
        labelled: the image.
        size: side of the view.
        close: share of views that show the surroundings of one object or part instead of the whole image.
    """
    window = _window(rng, labelled, close)
    move = _placement(rng, window, size)
    image = _warp(labelled.image, move, size)
    half = np.array([[0.5], [0.5]]) * move
    ids = [_warp_ids(m, half, size // 2) for m in (labelled.objects, labelled.parts)]
    return _compact(replace(labelled, image=recolor(rng, image), objects=ids[0], parts=ids[1]))


def _window(rng: Rng, labelled: Labelled, close: float) -> np.ndarray:
    """Left, top, width and height of what the view shows."""
    height, width = labelled.objects.shape
    ids = labelled.parts if labelled.parts.any() and rng.uniform() < 0.5 else labelled.objects
    present = np.unique(ids)
    present = present[present > 0]
    if rng.uniform() >= close or len(present) == 0:
        zoom = 1.0 if rng.uniform() < 0.5 else np.exp(rng.uniform(-0.45, 0.1))
        side = np.array([width, height]) * min(zoom, 1.0) ** rng.uniform(0.5, 1.5, 2)
        return np.concatenate([rng.uniform(0, 1, 2) * (np.array([width, height]) - side), side])
    x, y, w, h = cv2.boundingRect((ids == rng.choice(present)).astype(np.uint8))
    least = max(1.15 * max(w, h), 0.12 * max(height, width), 40.0)
    side = min(least * np.exp(rng.uniform(0, 1.6)), max(height, width))
    side = np.minimum([side, side], [width, height]).astype(float)
    free = np.array([x + w / 2, y + h / 2]) - side * rng.uniform(0.3, 0.7, 2)
    return np.concatenate([np.clip(free, 0, np.array([width, height]) - side), side])


def _placement(rng: Rng, window: np.ndarray, size: int) -> np.ndarray:
    """(2, 3) affine map from the image to the view: squashed to the square, or padded with the aspect kept."""
    zoom = size / window[2:]
    if rng.uniform() < 0.4:
        zoom = np.repeat(zoom.min() if rng.uniform() < 0.5 else zoom.max(), 2)
    zoom = zoom * np.exp(rng.normal(0, 0.08, 2))
    if rng.uniform() < 0.2:
        zoom = zoom * np.exp(rng.uniform(-0.7, 0))
    spare = size - zoom * window[2:]
    offset = spare * rng.uniform(0, 1, 2) - zoom * window[:2]
    angle = np.deg2rad(rng.normal(0, 12)) if rng.uniform() < 0.3 else 0.0
    if rng.uniform() < 0.05:
        angle += np.pi / 2 * rng.integers(4)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    flip = np.array([rng.choice([-1, 1]), 1])
    matrix = turn @ np.diag(flip * zoom)
    center = np.full(2, size / 2)
    shift = turn @ (flip * (offset - center)) + center
    return np.column_stack([matrix, shift])


def _warp(image: np.ndarray, move: np.ndarray, size: int) -> np.ndarray:
    zoom = np.sqrt(abs(np.linalg.det(move[:, :2])))
    if zoom < 0.7:
        reach = max(2, round(0.8 / zoom))
        image = cv2.blur(image, (reach, reach))
    flags = cv2.INTER_LINEAR if zoom < 1.5 else cv2.INTER_CUBIC
    return cv2.warpAffine(image, move, (size, size), flags=flags, borderMode=cv2.BORDER_CONSTANT, borderValue=FILL)


def _warp_ids(ids: np.ndarray, move: np.ndarray, size: int) -> np.ndarray:
    return cv2.warpAffine(ids, move, (size, size), flags=cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT)


def _compact(labelled: Labelled) -> Labelled:
    """Number the ids that are left 1, 2, ... in their old order, at most 250 of each kind, the largest first."""
    objects, of_object = _renumber(labelled.objects)
    parts, of_part = _renumber(labelled.parts)
    owner = {n: of_object.get(labelled.owner.get(p, 0), 0) for p, n in of_part.items()}
    nested = {n: of_part[w] for p, n in of_part.items() if (w := _surrounding(labelled.nested, of_part, p))}
    groups = {n: of_object[c] for o, n in of_object.items() if (c := labelled.groups.get(o)) in of_object}
    boxed = frozenset(n for o, n in of_object.items() if o in labelled.boxed)
    return replace(labelled, objects=objects, parts=parts, owner=owner, nested=nested, groups=groups, boxed=boxed)


def _surrounding(nested: dict[int, int], of_part: dict[int, int], part: int) -> int:
    """The nearest surrounding part that has visible pixels of its own; 0 if there is none."""
    around = nested.get(part, 0)
    while around and around not in of_part:
        around = nested.get(around, 0)
    return around


def _renumber(ids: np.ndarray) -> tuple[np.ndarray, dict[int, int]]:
    present, counts = np.unique(ids, return_counts=True)
    counts = counts[present > 0]
    present = present[present > 0]
    kept = np.sort(present[np.argsort(-counts)[:MAX_IDS]])
    table = np.zeros(int(ids.max()) + 1, np.uint8)
    table[kept] = np.arange(1, len(kept) + 1)
    return table[ids], {int(old): new for new, old in enumerate(kept, 1)}


def recolor(rng: Rng, image: np.ndarray) -> np.ndarray:
    """Random gain per channel, offset, blur and noise; sometimes gray, permuted or inverted."""
    if rng.uniform() < 0.08:
        image = image[..., rng.permutation(3)]
    if rng.uniform() < 0.08:
        image = np.repeat(cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2)
    if rng.uniform() < 0.6:
        gain = np.exp(rng.normal(0, 0.12) + rng.normal(0, 0.05, 3))
        curve = (np.arange(256)[:, None] / 255) ** np.exp(rng.normal(0, 0.15)) * 255
        table = np.clip(curve * gain + rng.normal(0, 8), 0, 255).astype(np.uint8)
        image = cv2.LUT(np.ascontiguousarray(image), table[None])
    if rng.uniform() < 0.04:
        image = 255 - image
    if rng.uniform() < 0.1:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.5, 1.5))
    if rng.uniform() < 0.1:
        noise = rng.normal(0, rng.uniform(2, 10), image.shape)
        image = np.clip(image + noise, 0, 255).astype(np.uint8)
    return np.ascontiguousarray(image)
