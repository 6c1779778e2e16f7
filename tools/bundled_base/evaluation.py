"""Held-out figures: center clicks, random clicks, boxes and corrective clicks on scenes and real images.

None of these images is trained on. `humans`, `face_parts` and `lesions` carry no licence: they are only measured on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from bundled_base.decoder import Decode, Levels
from bundled_base.facades import read_boxes
from bundled_base.network import SIZE
from bundled_base.prompting import anywhere, center
from bundled_base.sources import HELD_OUT, held_out_images
from samtailor.data.synth.scenes import scene

LEAST = 256  # pixels of a procedural scene of 256 x 256: masks from 16 x 16 on
SIDE = 384  # longest side at which real masks are compared
PARTS = ("skin", "hair", "nose", "mouth", "eyes")
TITLES = {
    "scenes": "Scenes",
    "humans": "People",
    "faces": "Face parts",
    "lesions": "Lesions",
    "nuclei": "Nuclei",
    "dev_fashion": "Clothes",
    "dev_open": "Open sets",
    "facades": "Facades",
}
FIGURES = {
    "oracle": ("Center click, best of three masks", "center_oracle"),
    "default": ("Center click, mask of the highest predicted IoU", "center_default"),
    "box": ("Box, mask of the highest predicted IoU", "box_default"),
}
"""Titles of the figures that are published, and their names in what `measure` returns."""
COUNTS = {"scenes": 150, "humans": 30, "faces": 15, "lesions": 30, "nuclei": 15, "dev_fashion": 24, "dev_open": 6}
COUNTS |= {"facades": 20}
KINDS = ("random", "box", "center")


@dataclass
class Item:
    """An image in the model's frame and its masks.

    Args:
        image: (SIZE, SIZE, 3) uint8 RGB.
        masks: (M, H, W) bool.
    """

    image: np.ndarray
    masks: np.ndarray

    def points(self, choose: Callable[[np.ndarray], tuple[int, int]]) -> Tensor:
        """(1, M, 1, 2) one click for each mask, in pixels of the frame."""
        found = np.array([choose(mask) for mask in self.masks], np.float32)
        return self.frame(found)[None, :, None]

    def boxes(self) -> Tensor:
        """(1, M, 2, 2) corners."""
        found = [(np.argwhere(m).min(0)[::-1], np.argwhere(m).max(0)[::-1]) for m in self.masks]
        return self.frame(np.array(found, np.float32))[None]

    def frame(self, points: np.ndarray) -> Tensor:
        """Pixels (..., 2) of the masks to pixels of the frame."""
        height, width = self.masks.shape[1:]
        return torch.from_numpy((points + 0.5) * np.array([SIZE / width, SIZE / height]) - 0.5).float()


def scenes_items(count: int, first: int = HELD_OUT) -> Iterator[Item]:
    """Procedural scenes of 256 px, enlarged."""
    for seed in range(first, first + count):
        drawn = scene(seed)
        masks = [mask for mask in drawn.masks if mask.sum() >= LEAST]
        if masks:
            yield Item(cv2.resize(drawn.image, (SIZE, SIZE), interpolation=cv2.INTER_LINEAR), np.stack(masks))


def real_item(path: Path, masks: list[np.ndarray], limit: int = 16) -> Item | None:
    """A real image with at most `limit` of its masks."""
    image = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
    small = reduced(masks, reduced_size(image, SIDE), limit)
    interpolation = cv2.INTER_AREA if max(image.shape[:2]) > SIZE else cv2.INTER_LINEAR
    return Item(cv2.resize(image, (SIZE, SIZE), interpolation=interpolation), np.stack(small)) if small else None


def reduced_size(image: np.ndarray, side: int) -> tuple[int, int]:
    """(width, height) with a longest side of at most `side` pixels."""
    zoom = min(1.0, side / max(image.shape[:2]))
    return round(image.shape[1] * zoom), round(image.shape[0] * zoom)


def reduced(masks: list[np.ndarray], size: tuple[int, int], limit: int) -> list[np.ndarray]:
    """At most `limit` masks at (width, height), drawn at random; those that vanish are left out."""
    small = [cv2.resize(m.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0 for m in masks]
    small = [m for m in small if m.any()]
    if len(small) > limit:
        small = [small[i] for i in np.random.default_rng(len(small)).permutation(len(small))[:limit]]
    return small


Make = Callable[[Path, list[np.ndarray]], Any]
"""Makes an item of an image file and its masks; None if no mask is left."""


def _binary(path: Path) -> list[np.ndarray]:
    mask = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    return [] if mask is None else [mask > 127]


def one_mask(folder: Path, count: int, make: Make = real_item) -> Iterator[Any]:
    """The first images by name of a set with one mask each (`humans`, `lesions`)."""
    for path in sorted((folder / "images").iterdir())[:count]:
        item = make(path, _binary(next((folder / "masks").glob(f"{path.stem}.*"))))
        if item:
            yield item


def face_items(folder: Path, count: int, make: Make = real_item) -> Iterator[Any]:
    """The first images by name of `face_parts`."""
    for path in sorted((folder / "images").iterdir())[:count]:
        item = make(path, [m for part in PARTS for m in _binary(folder / "masks" / part / f"{path.stem}.png")])
        if item:
            yield item


def instance_items(folder: Path, count: int, make: Make = real_item) -> Iterator[Any]:
    """Held-out images of a set with instance ids."""
    for path in held_out_images(folder)[:count]:
        ids = cv2.imread(str(folder / "labels" / f"{path.stem}.png"), cv2.IMREAD_UNCHANGED)
        item = make(path, [ids == i for i in np.unique(ids) if i > 0])
        if item:
            yield item


def held_out_sets(
    data: Path, data_open: Path, scale: float = 1.0, counts: Mapping[str, int] = COUNTS
) -> dict[str, list[Item]]:
    """All evaluation sets; `nuclei`, `facades` and those named `dev` are held-out images of sources of the training.

    Args:
        data, data_open: as of `Sources`; `data` with `humans`, `face_parts` and `lesions` too.
        scale: part of the images.
        counts: images of each set; of the open sets, images of each.
    """
    count = {k: max(2, round(scale * v)) for k, v in counts.items()}
    sets = {
        "scenes": scenes_items(count["scenes"]),
        "humans": one_mask(data / "humans", count["humans"]),
        "faces": face_items(data / "face_parts", count["faces"]),
        "lesions": one_mask(data / "lesions", count["lesions"]),
        "nuclei": instance_items(data / "nuclei", count["nuclei"]),
        "dev_fashion": fashion_items(data / "street_fashion", count["dev_fashion"]),
        "dev_open": (item for folder in sorted(data_open.iterdir()) if (folder / "labels").is_dir()
                     for item in instance_items(folder, count["dev_open"])),
        "facades": facade_items(data / "facades", count["facades"]),
    }  # fmt: skip
    return {name: list(items) for name, items in sets.items()}


def fashion_items(folder: Path, count: int, make: Make = real_item) -> Iterator[Any]:
    """Held-out people: the whole person and each class of clothing."""
    for path in held_out_images(folder)[:count]:
        classes = cv2.imread(str(folder / "labels" / f"{path.stem}.png"), cv2.IMREAD_UNCHANGED)
        masks = [classes > 0, *(classes == c for c in np.unique(classes) if c > 0 and (classes == c).sum() > 300)]
        item = make(path, masks)
        if item:
            yield item


def facade_items(folder: Path, count: int, make: Make = real_item) -> Iterator[Any]:
    """Held-out facades: each window, door and signboard, with its box as mask."""
    for path in held_out_images(folder)[:count]:
        shape = cv2.imread(str(path)).shape[:2]
        masks = []
        for box in read_boxes(folder / "labels" / f"{path.stem}.txt", shape):
            masks.append(np.zeros(shape, bool))
            masks[-1][box] = True
        item = make(path, masks)
        if item:
            yield item


def overlap(found: Tensor, true: Tensor) -> Tensor:
    """IoU of bool masks (..., H, W)."""
    return (found & true).sum((-2, -1)) / (found | true).sum((-2, -1)).clamp(min=1)


@torch.inference_mode()
def measure(
    items: list[Item],
    features: Callable[[Item], Levels],
    decode: Decode,
    *,
    kinds: Sequence[str] = KINDS,
    clicks: int = 3,
) -> dict[str, float]:
    """Mean IoUs over all masks of a set: `oracle` of three masks, `default` by predicted IoU, for each kind of prompt;
    `click2` and `click3` are the default after corrective clicks at the center of the largest error.

    Args:
        items: images with their masks.
        features: decoder inputs of an image.
        decode: the decoder.
        kinds: kinds of prompts, of `KINDS`.
        clicks: clicks of each mask, with corrective ones; 1 leaves these out.
    """
    rows: dict[str, list[Tensor]] = {}
    for number, item in enumerate(items):
        levels, rng = features(item), np.random.default_rng(number)
        for name, values in _figures(item, levels, decode, rng, kinds, clicks).items():
            rows.setdefault(name, []).append(values)
    return {name: round(float(torch.cat(values).mean()), 4) for name, values in rows.items()}


def _figures(
    item: Item, levels: Levels, decode: Decode, rng: np.random.Generator, kinds: Sequence[str], clicks: int
) -> dict[str, Tensor]:
    device = levels[0].device
    true = torch.from_numpy(item.masks)
    found: dict[str, Tensor] = {}

    def answer(points: Tensor, labels: Tensor, before: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        with torch.autocast(device.type, torch.bfloat16):
            logits, iou, _ = decode(levels, points.to(device), labels.to(device), before)
        logits, best = logits[0, :, 1:].float(), iou[0, :, 1:].float().argmax(1).cpu()
        large = F.interpolate(logits, true.shape[-2:], mode="bilinear", align_corners=False).cpu() > 0
        chosen = torch.arange(len(best))
        return overlap(large, true[:, None]), large[chosen, best], logits[chosen, best]

    def note(name: str, points: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        scores, mask, logits = answer(points, labels)
        found[f"{name}_oracle"], found[f"{name}_default"] = scores.max(1).values, overlap(mask, true)
        return mask, logits

    ones = torch.ones(1, len(true), 1, dtype=torch.long)
    if "random" in kinds:
        note("random", item.points(lambda mask: anywhere(rng, mask)), ones)
    if "box" in kinds:
        note("box", item.boxes(), torch.tensor([2, 3]).expand(1, len(true), 2))
    if "center" not in kinds:
        return found
    points, labels = item.points(lambda mask: center(mask)[:2]), ones
    mask, logits = note("center", points, labels)
    for count in range(2, clicks + 1):
        more, marks = corrections(item, mask.numpy())
        points, labels = torch.cat([points, more], 2), torch.cat([labels, marks], 2)
        _, mask, logits = answer(points, labels, logits[None])
        found[f"click{count}"] = overlap(mask, true)
    return found


def correction(predicted: np.ndarray, mask: np.ndarray) -> tuple[tuple[int, int], int]:
    """A click (x, y) at the center of the largest error, and its label: 1 on what is missing, 0 on what is too much."""
    missed, wrong = center(mask & ~predicted), center(predicted & ~mask)
    inside = missed[2].max() >= wrong[2].max()
    x, y = (missed if inside else wrong)[:2]
    return (int(x), int(y)), int(inside)


def corrections(item: Item, found: np.ndarray) -> tuple[Tensor, Tensor]:
    """A click at the center of the largest error of each mask: (1, M, 1, 2) and its labels (1, M, 1)."""
    points, labels = [], []
    for mask, predicted in zip(item.masks, found, strict=True):
        point, label = correction(predicted, mask)
        points.append(point)
        labels.append(label)
    return item.frame(np.array(points, np.float32))[None, :, None], torch.tensor(labels)[None, :, None]
