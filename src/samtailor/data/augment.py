"""Augmented views of an image: horizontal flip, mild crop (hence scale), color; masks follow exactly.

A view is a handful of numbers (`View`), drawn from (sample id, index, seed) and from nothing else, so that it can be
named in the key of the embedding cache and made again anywhere. Index 0 is always the untouched image.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np

from samtailor.errors import InputError
from samtailor.structures import Annotation, Prompts, Sample

_SIDES = {"left": "right", "right": "left", "l": "r", "r": "l"}
_KEPT = 0.6  # share of an object's box that a crop must keep for the object to count as kept
_TRIES = 20


@dataclass(frozen=True)
class View:
    """What is done to one image.

    Args:
        crop: kept part (x0, y0, x1, y1), fractions of width and height; applied first.
        flip: mirror left to right.
        color: factors of brightness, contrast (about the mean gray) and saturation.
        labels: label after a flip by label before it, for labels that name a side.
    """

    crop: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0)
    flip: bool = False
    color: tuple[float, float, float] = (1.0, 1.0, 1.0)
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def untouched(self) -> bool:
        """Whether image and masks come out as they went in."""
        return self.key == View().key

    @property
    def key(self) -> str:
        """Everything that changes the pixels, exactly; part of the key of the embedding cache."""
        numbers = ",".join(repr(v) for v in (*self.crop, *self.color))
        return f"crop-flip-colour-1:{int(self.flip)}:{numbers}"

    def size(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) of the view of an image, pixels."""
        top, bottom, left, right = self.edges(height, width)
        return bottom - top, right - left

    def image(self, image: np.ndarray) -> np.ndarray:
        """uint8 RGB (height, width, 3) to the view, same type."""
        return image if self.untouched else _colored(self._moved(image), self.color)

    def mask(self, mask: np.ndarray) -> np.ndarray:
        """Boolean (height, width) mask to the view; no pixel is interpolated."""
        return mask if self.untouched else self._moved(mask)

    def annotation(self, annotation: Annotation) -> Annotation:
        """An annotation of the image as one of the view; what the crop cuts off wholly comes back empty."""
        if self.untouched:
            return annotation
        label = self.labels.get(annotation.label, annotation.label) if self.flip else annotation.label
        return Annotation.from_mask(label, self.mask(annotation.mask), annotation.crowd)

    def prompts(self, prompts: Prompts) -> Prompts | None:
        """Prompts of the image frame as those of the view's; None where the crop cuts a prompt off.

        Boxes are cut at the crop's edges, and lost when nothing of them is left; points are lost beyond them, unless
        the prompt keeps another point of its own: the lost ones are then ignored. Boxes are edges (a box of one pixel
        is 1 wide), points pixel indices, so a mirror takes x to width - x and to width - 1 - x.
        """
        import torch

        if self.untouched:
            return prompts
        top, _, left, _ = self.edges(*prompts.frame)
        height, width = self.size(*prompts.frame)
        points, labels, boxes = prompts.points, prompts.labels, prompts.boxes
        if boxes is not None:
            boxes = boxes - torch.tensor([left, top, left, top], dtype=boxes.dtype)
            boxes = torch.minimum(boxes.clamp(min=0), torch.tensor([width, height] * 2, dtype=boxes.dtype))
            if ((boxes[..., 2:] - boxes[..., :2]) <= 0).any():
                return None
            if self.flip:
                x0, y0, x1, y1 = boxes.unbind(-1)
                boxes = torch.stack([width - x1, y0, width - x0, y1], -1)
        if points is not None:
            points = points - torch.tensor([left, top], dtype=points.dtype)
            beyond = (points < -0.5) | (points > torch.tensor([width, height], dtype=points.dtype) - 0.5)
            labels = torch.where(beyond.any(-1) & (labels >= 0), -10, labels)
            if (labels.amax(-1) < prompts.labels.amax(-1)).any():
                return None
            if self.flip:
                points = torch.stack([width - 1 - points[..., 0], points[..., 1]], -1)
        return replace(prompts, points=points, labels=labels, boxes=boxes, frame=(height, width))

    def sample(self, sample: Sample) -> Sample:
        """A sample as seen in this view: same id and group, annotations in the same order and number."""
        if self.untouched:
            return sample
        return replace(sample, read_image=partial(_read, self, sample), read_annotations=partial(_follow, self, sample))

    def edges(self, height: int, width: int) -> tuple[int, int, int, int]:
        """(top, bottom, left, right) of the crop of an image, pixels; bottom and right exclusive."""
        left, top, right, bottom = self.crop
        rows = int(top * height), max(int(np.ceil(bottom * height)), int(top * height) + 1)
        columns = int(left * width), max(int(np.ceil(right * width)), int(left * width) + 1)
        return rows[0], min(rows[1], height), columns[0], min(columns[1], width)

    def _moved(self, pixels: np.ndarray) -> np.ndarray:
        top, bottom, left, right = self.edges(*pixels.shape[:2])
        cut = pixels[top:bottom, left:right]
        return np.ascontiguousarray(cut[:, ::-1] if self.flip else cut)


UNTOUCHED = View()


@dataclass(frozen=True)
class Augment:
    """Which views a fit draws from. The seed is not the fit's own: fits of several seeds share the cached embeddings.

    Args:
        views: number of views an image, the untouched one included; 1 is no augmentation (the papers).
        flip: half of the views are mirrored.
        flip_pairs: pairs of labels that swap in a mirrored image, as ("left_eye", "right_eye"); see `flip_pairs`.
        crop: smallest kept share of each side; 1 is off.
        color: largest change of brightness, contrast and saturation, as a share; 0 is off.
        seed: any integer.
    """

    views: int = 1
    flip: bool = True
    flip_pairs: tuple[tuple[str, str], ...] = ()
    crop: float = 0.7
    color: float = 0.2
    seed: int = 0

    def __post_init__(self) -> None:
        if self.views < 1:
            raise InputError(f"views counts the untouched image too and must be at least 1, got {self.views}.")
        if not 0 < self.crop <= 1 or not 0 <= self.color < 1:
            raise InputError(f"crop must lie in (0, 1] and color in [0, 1), got {self.crop} and {self.color}.")

    def draw(self, sample: Sample, index: int) -> View:
        """View `index` of a sample; 0 is untouched. Reads the annotations (a crop keeps one object of each class)."""
        if not 0 <= index < self.views:
            raise InputError(f"View {index} does not exist; there are {self.views}, from 0.")
        if index == 0:
            return UNTOUCHED
        digest = hashlib.sha256(f"{sample.id}\0{index}\0{self.seed}".encode()).digest()
        rng = np.random.default_rng(np.frombuffer(digest, np.uint32))
        flip = bool(rng.integers(2)) and self.flip
        color = rng.uniform(1 - self.color, 1 + self.color, 3) if self.color else np.ones(3)
        crop = _crop(sample, self.crop, rng) if self.crop < 1 else (0.0, 0.0, 1.0, 1.0)
        labels = dict(self.flip_pairs) | {b: a for a, b in self.flip_pairs}
        return View(crop, flip, tuple(round(float(c), 4) for c in color), labels)


def view(sample: Sample, index: int, seed: int = 0, *, flip: bool = True, flip_pairs: Iterable = ()) -> Sample:
    """Augmented view of a sample, deterministic from (sample id, index, seed); index 0 is the sample itself.

    Args:
        sample: the sample; its images and masks are not read before the view's are.
        index: number of the view, from 0.
        seed: seed of the family of views.
        flip: allow mirroring.
        flip_pairs: labels that swap in a mirrored image.
    """
    pairs = tuple((str(a), str(b)) for a, b in flip_pairs)
    return Augment(index + 1, flip, pairs, seed=seed).draw(sample, index).sample(sample)


def flip_pairs(labels: Iterable[str]) -> tuple[tuple[str, str], ...] | None:
    """Pairs of labels that a mirror swaps ("l_eye" and "r_eye", "left hand" and "right hand").

    Returns None when a label names a side and its partner is not among the labels: then a mirrored image would hold
    objects of a wrong name, and flips must be off.
    """
    names = set(labels)
    pairs = set()
    for name in names:
        other = re.sub(r"(?<![a-z])(left|right|l|r)(?![a-z])", lambda m: _SIDES[m[1]], name)
        if other == name:
            continue
        if other not in names:
            return None
        pairs.add(tuple(sorted((name, other))))
    return tuple(sorted(pairs))


def _read(view: View, sample: Sample) -> np.ndarray:
    return view.image(sample.image)


def _follow(view: View, sample: Sample) -> list[Annotation]:
    return [view.annotation(a) for a in sample.annotations]


def _crop(sample: Sample, smallest: float, rng: np.random.Generator) -> tuple[float, float, float, float]:
    """A crop in which every class that the image has keeps an object, or the whole image when none is found."""
    targets = sample.of(None)
    labels = np.array([a.label for a in targets])
    boxes = np.array([[v / s for v, s in zip(a.box, (*a.rle["size"][::-1],) * 2, strict=True)] for a in targets])
    boxes = boxes.reshape(-1, 4)
    for _ in range(_TRIES):
        width, height = rng.uniform(smallest, 1, 2)
        left, top = rng.uniform(0, 1 - width), rng.uniform(0, 1 - height)
        crop = tuple(round(float(v), 4) for v in (left, top, left + width, top + height))
        inside = np.minimum(boxes[:, 2:], crop[2:]) - np.maximum(boxes[:, :2], crop[:2])
        share = (inside.clip(0) / np.maximum(boxes[:, 2:] - boxes[:, :2], 1e-9)).prod(axis=1)
        if set(labels) == set(labels[share >= _KEPT]):
            return crop
    return 0.0, 0.0, 1.0, 1.0


def _colored(image: np.ndarray, color: tuple[float, float, float]) -> np.ndarray:
    brightness, contrast, saturation = color
    if color == (1.0, 1.0, 1.0):
        return image
    pixels = image.astype(np.float32) * brightness
    gray = pixels @ np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601
    pixels = gray[..., None] + (pixels - gray[..., None]) * saturation
    mean = gray.mean(dtype=np.float64).astype(np.float32)
    return np.rint((pixels - mean) * contrast + mean).clip(0, 255).astype(np.uint8)


__all__ = ["UNTOUCHED", "Augment", "View", "flip_pairs", "view"]
