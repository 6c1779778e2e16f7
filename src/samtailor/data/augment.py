"""Augmented views of an image: horizontal flip, mild crop (hence scale) and color; masks are transformed exactly.

A view consists of a few numbers (`View`) that depend on sample id, index and seed only. It can therefore be part of a
key of the embedding cache and be reproduced anywhere. Index 0 is always the untransformed image.
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
_KEPT = 0.6  # share of an object's box that a crop must contain for the object to count as kept
_TRIES = 20


@dataclass(frozen=True)
class View:
    """Transform of one image.

    Args:
        crop: kept part (x0, y0, x1, y1), fractions of width and height; applied first.
        flip: mirror left to right.
        color: factors of brightness, contrast (about the mean gray) and saturation.
        labels: labels that a flip exchanges ("left_eye" to "right_eye").
    """

    crop: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0)
    flip: bool = False
    color: tuple[float, float, float] = (1.0, 1.0, 1.0)
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def untouched(self) -> bool:
        """Whether the view changes nothing."""
        return self.key == View().key

    @property
    def key(self) -> str:
        """Exact description of everything that changes pixels; part of the key of the embedding cache."""
        numbers = ",".join(repr(v) for v in (*self.crop, *self.color))
        return f"crop-flip-colour-1:{int(self.flip)}:{numbers}"

    def size(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) of the view of an image, in pixels."""
        top, bottom, left, right = self.edges(height, width)
        return bottom - top, right - left

    def image(self, image: np.ndarray) -> np.ndarray:
        """Transform an image, uint8 RGB (height, width, 3)."""
        return image if self.untouched else _colored(self._moved(image), self.color)

    def mask(self, mask: np.ndarray) -> np.ndarray:
        """Transform a boolean mask (height, width), without interpolation."""
        return mask if self.untouched else self._moved(mask)

    def annotation(self, annotation: Annotation) -> Annotation:
        """Transform an annotation. Its mask is empty if the crop excludes the object."""
        if self.untouched:
            return annotation
        label = self.labels.get(annotation.label, annotation.label) if self.flip else annotation.label
        return Annotation.from_mask(label, self.mask(annotation.mask), annotation.crowd)

    def prompts(self, prompts: Prompts) -> Prompts | None:
        """Transform prompts from the image frame to the frame of the view; None if the crop excludes a prompt.

        Boxes are clipped to the crop and excluded if nothing remains. Points outside the crop are ignored if the
        prompt keeps another point of the object, else the prompt is excluded. Boxes are edges (a box of one pixel is 1
        wide) and points are pixel indices, so mirroring maps x to width - x and to width - 1 - x.
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
        if points is not None and labels is not None:
            before = labels
            points = points - torch.tensor([left, top], dtype=points.dtype)
            beyond = (points < -0.5) | (points > torch.tensor([width, height], dtype=points.dtype) - 0.5)
            labels = torch.where(beyond.any(-1) & (labels >= 0), -10, labels)
            if (labels.amax(-1) < before.amax(-1)).any():
                return None
            if self.flip:
                points = torch.stack([width - 1 - points[..., 0], points[..., 1]], -1)
        return replace(prompts, points=points, labels=labels, boxes=boxes, frame=(height, width))

    def sample(self, sample: Sample) -> Sample:
        """A sample transformed by this view: same id and group, same number and order of annotations."""
        if self.untouched:
            return sample
        return replace(sample, read_image=partial(_read, self, sample), read_annotations=partial(_follow, self, sample))

    def edges(self, height: int, width: int) -> tuple[int, int, int, int]:
        """(top, bottom, left, right) of the crop in pixels; bottom and right are exclusive."""
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
    """Distribution of views. Its seed differs from the seed of a fit, so that fits of several seeds share embeddings.

    Args:
        views: number of views per image, the untransformed one included; 1 is no augmentation (as in the papers).
        flip: mirror half of the views.
        flip_pairs: pairs of labels that a mirrored image exchanges, as ("left_eye", "right_eye"); see `flip_pairs`.
        crop: smallest kept fraction of each side, in (0, 1]; 1 is off.
        color: largest relative change of brightness, contrast and saturation, in [0, 1); 0 is off.
        seed: random seed.

    Raises:
        InputError: a value out of range.
    """

    views: int = 1
    flip: bool = True
    flip_pairs: tuple[tuple[str, str], ...] = ()
    crop: float = 0.7
    color: float = 0.2
    seed: int = 0

    def __post_init__(self) -> None:
        if self.views < 1:
            raise InputError(f"views includes the untransformed image and must be at least 1, got {self.views}.")
        if not 0 < self.crop <= 1 or not 0 <= self.color < 1:
            raise InputError(f"crop must lie in (0, 1] and color in [0, 1), got {self.crop} and {self.color}.")

    def draw(self, sample: Sample, index: int) -> View:
        """View `index` of a sample; 0 changes nothing. Reads the annotations: a crop keeps an object of each class."""
        if not 0 <= index < self.views:
            raise InputError(f"There is no view {index}. Views are numbered from 0 to {self.views - 1}.")
        if index == 0:
            return UNTOUCHED
        digest = hashlib.sha256(f"{sample.id}\0{index}\0{self.seed}".encode()).digest()
        rng = np.random.default_rng(np.frombuffer(digest, np.uint32))
        flip = bool(rng.integers(2)) and self.flip
        factors = rng.uniform(1 - self.color, 1 + self.color, 3) if self.color else np.ones(3)
        crop = _crop(sample, self.crop, rng) if self.crop < 1 else (0.0, 0.0, 1.0, 1.0)
        labels = dict(self.flip_pairs) | {b: a for a, b in self.flip_pairs}
        brightness, contrast, saturation = (round(float(factor), 4) for factor in factors)
        return View(crop, flip, (brightness, contrast, saturation), labels)


def view(sample: Sample, index: int, seed: int = 0, *, flip: bool = True, flip_pairs: Iterable = ()) -> Sample:
    """Augmented view of a sample, determined by sample id, index and seed; index 0 is the sample itself.

    Args:
        sample: the sample; its image and masks are read lazily.
        index: number of the view, from 0.
        seed: random seed.
        flip: allow mirroring.
        flip_pairs: pairs of labels that a mirrored image exchanges.
    """
    pairs = tuple((str(a), str(b)) for a, b in flip_pairs)
    return Augment(index + 1, flip, pairs, seed=seed).draw(sample, index).sample(sample)


def flip_pairs(labels: Iterable[str]) -> tuple[tuple[str, str], ...] | None:
    """Pairs of labels that mirroring exchanges ("l_eye" and "r_eye", "left hand" and "right hand").

    Returns None if a label names a side but its counterpart is missing: mirrored images would then have wrong labels,
    so flips must be off.
    """
    names = set(labels)
    pairs: set[tuple[str, str]] = set()
    for name in names:
        other = re.sub(r"(?<![a-z])(left|right|l|r)(?![a-z])", lambda m: _SIDES[m[1]], name)
        if other == name:
            continue
        if other not in names:
            return None
        pairs.add((min(name, other), max(name, other)))
    return tuple(sorted(pairs))


def _read(view: View, sample: Sample) -> np.ndarray:
    return view.image(sample.image)


def _follow(view: View, sample: Sample) -> list[Annotation]:
    return [view.annotation(a) for a in sample.annotations]


def _crop(sample: Sample, smallest: float, rng: np.random.Generator) -> tuple[float, float, float, float]:
    """A random crop that keeps an object of every class of the image; the whole image if none is found."""
    targets = sample.of(None)
    labels = np.array([a.label for a in targets])
    boxes = np.array([[v / s for v, s in zip(a.box, (*a.rle["size"][::-1],) * 2, strict=True)] for a in targets])
    boxes = boxes.reshape(-1, 4)
    for _ in range(_TRIES):
        width, height = rng.uniform(smallest, 1, 2)
        left, top = rng.uniform(0, 1 - width), rng.uniform(0, 1 - height)
        x0, y0, x1, y1 = (round(float(v), 4) for v in (left, top, left + width, top + height))
        inside = np.minimum(boxes[:, 2:], (x1, y1)) - np.maximum(boxes[:, :2], (x0, y0))
        share = (inside.clip(0) / np.maximum(boxes[:, 2:] - boxes[:, :2], 1e-9)).prod(axis=1)
        if set(labels) == set(labels[share >= _KEPT]):
            return x0, y0, x1, y1
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
