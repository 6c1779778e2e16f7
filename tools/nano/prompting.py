"""Prompts and targets of one training image."""

from __future__ import annotations

import cv2
import numpy as np

from nano.images import SMALLEST, WHOLE, Image

Rng = np.random.Generator
JOBS = ("box", "two points", "three points")


class Levels:
    """The masks of an image that are large enough, groups, objects and parts, and who holds whom."""

    def __init__(self, image: Image):
        self.image = image
        least = SMALLEST * image.objects.size
        objects = np.bincount(image.objects.ravel(), minlength=256)
        self.ids = [(0, int(i)) for i in np.flatnonzero(objects >= least) if i > 0]
        self.of_object = {i: k for k, (_, i) in enumerate(self.ids)}
        self.of_part = self._parts(objects, least)
        self.of_group = self._groups(objects, least)

    def _parts(self, objects: np.ndarray, least: float) -> dict[int, int]:
        """Level by part; a part that is hardly less than what it is a part of is none."""
        nested, area = self.image.nested, np.bincount(self.image.parts.ravel(), minlength=256)
        self.pieces: dict[int, list[int]] = {int(part): [int(part)] for part in np.flatnonzero(area) if part > 0}
        for part in sorted(self.pieces, reverse=True):  # what is within has the larger id
            if (whole := nested.get(part)) is not None:
                self.pieces.setdefault(whole, [whole]).extend(self.pieces[part])
        found: dict[int, int] = {}
        for part, pieces in sorted(self.pieces.items()):
            owner = int(self.image.owner[part]) if part < len(self.image.owner) else 0
            size, whole = area[pieces].sum(), nested.get(part)
            around = objects[owner] if whole is None else area[self.pieces[whole]].sum()
            if owner in self.of_object and size >= least and size < WHOLE * around:
                found[part] = len(self.ids)
                self.ids.append((1, part))
        return found

    def _groups(self, objects: np.ndarray, least: float) -> dict[int, int]:
        """Level of the group by object; a group that is hardly more than one of its objects is none."""
        members: dict[int, set[int]] = {}
        for carried, carrier in self.image.groups.items():
            members.setdefault(carrier, {carrier}).add(carried)
        self.members, found = {}, {}
        for carrier, group in members.items():
            whole = objects[list(group)].sum()
            if whole >= least and objects[list(group)].max() < WHOLE * whole:
                self.members[carrier] = sorted(group)
                found |= dict.fromkeys(group, len(self.ids))
                self.ids.append((2, carrier))
        return found

    def mask(self, level: int) -> np.ndarray:
        """Bool ``(S, S)`` of one level."""
        kind, i = self.ids[level]
        if kind == 2:
            return np.isin(self.image.objects, self.members[i])
        return np.isin(self.image.parts, self.pieces[i]) if kind else self.image.objects == i

    def at(self, x: int, y: int, source: int) -> tuple[int, int, int]:
        """The three smallest levels that hold the pixel, from small to large; of fewer the last once more."""
        owner = int(self.image.objects[y, x])
        part = int(self.image.parts[y, x])
        parts = [self.of_part.get(part), self.of_part.get(self.image.nested.get(part, 0))]
        held = (*parts, self.of_object.get(owner), self.of_group.get(owner))
        found = [k for k in held if k is not None] or [source]
        first, second, third = (found[min(i, len(found) - 1)] for i in range(3))
        return first, second, third


def centre(mask: np.ndarray) -> tuple[int, int, np.ndarray]:
    """(x, y) farthest inside the mask, and the distance map it was found on."""
    depth = cv2.distanceTransform(np.pad(mask, 1).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1]
    y, x = np.unravel_index(int(depth.argmax()), depth.shape)
    return int(x), int(y), depth


def click(rng: Rng, mask: np.ndarray) -> tuple[int, int]:
    """A click: anywhere as in SAM's own training (70 %), somewhere well inside (15 %), the centre (15 %).

    Many more clicks at centres would let the model guess what is meant from where exactly it was clicked.
    """
    kind = rng.uniform()
    if kind >= 0.3:
        return anywhere(rng, mask)
    x, y, depth = centre(mask)
    return (x, y) if kind < 0.15 else anywhere(rng, depth > 0.6 * depth[y, x])


def anywhere(rng: Rng, mask: np.ndarray) -> tuple[int, int]:
    """A uniformly random pixel (x, y) of the mask."""
    hits = np.flatnonzero(mask)
    y, x = divmod(int(hits[rng.integers(len(hits))]), mask.shape[1])
    return x, y


def box(rng: Rng, mask: np.ndarray) -> list[tuple[float, float]]:
    """Corners of the mask's box, each side moved by a tenth of it or so."""
    x, y, w, h = cv2.boundingRect(mask.astype(np.uint8))
    loose = rng.normal(0, 0.05, 4) if rng.uniform() < 0.7 else np.zeros(4)
    corners = np.array([x, y, x + w - 1, y + h - 1]) + np.clip(loose, -0.15, 0.15) * (w, h, w, h)
    corners = np.clip(corners, 0, mask.shape[0] - 1)
    return [(corners[0], corners[1]), (corners[2], corners[3])]


def several(rng: Rng, levels: Levels, source: int, count: int) -> tuple[list[tuple[float, float]], list[int]]:
    """``count`` points for one mask: the first inside, the others inside or (half of them) near it but outside."""
    mask = levels.mask(source)
    points, labels = [click(rng, mask)], [1]
    x, y, w, h = cv2.boundingRect(mask.astype(np.uint8))
    near = np.zeros_like(mask)
    near[max(0, y - h // 4) : y + h + h // 4, max(0, x - w // 4) : x + w + w // 4] = True
    near &= ~mask
    for _ in range(count - 1):
        outside = rng.uniform() < 0.5 and near.any()
        points.append(anywhere(rng, near if outside else mask))
        labels.append(0 if outside else 1)
    return points, labels


def prompts(rng: Rng, image: Image, clicks: int, others: int, job: str) -> dict[str, np.ndarray] | None:
    """Everything one image contributes to a batch; None where nothing in it is large enough.

    ``clicks`` single clicks and ``others`` prompts of kind ``job``. targets index into masks:
    per prompt (source, smallest, next larger, largest).
    """
    levels = Levels(image)
    if not levels.ids:
        return None
    order = _order(rng, len(levels.ids), clicks + others)
    single, targets, more, labels = [], [], [], []
    for source in order[:clicks]:
        x, y = click(rng, levels.mask(source))
        single.append([(x, y)])
        targets.append((source, *levels.at(x, y, source)))
    for source in order[clicks:]:
        if job == "box":
            points, marks = box(rng, levels.mask(source)), [2, 3]
        else:
            points, marks = several(rng, levels, source, 2 if job == "two points" else 3)
        more.append(points)
        labels.append(marks)
        targets.append((source,) * 4)
    return _arrays(image, levels, single, more, labels, targets)


def _order(rng: Rng, have: int, want: int) -> list[int]:
    """``want`` indices below ``have``: every one before any twice."""
    rounds = [rng.permutation(have) for _ in range(-(-want // have))]
    return [int(i) for i in np.concatenate(rounds)[:want]]


def _arrays(
    image: Image, levels: Levels, single: list, more: list, labels: list, targets: list
) -> dict[str, np.ndarray]:
    used = sorted({k for row in targets for k in row})
    slot = {k: i for i, k in enumerate(used)}
    side = image.objects.shape[0] // 4
    masks = np.zeros((3 * len(targets), side, side), np.uint8)
    for k, i in slot.items():
        masks[i] = cv2.resize(levels.mask(k).astype(np.uint8) * 255, (side, side), interpolation=cv2.INTER_AREA)
    return {
        "image": image.image.transpose(2, 0, 1),
        "objects": image.objects[2::4, 2::4],
        "parts": image.parts[2::4, 2::4],
        "complete": np.float32(image.complete),
        "masks": masks,
        "targets": np.array([[slot[k] for k in row] for row in targets]),
        "clicks": np.array(single, np.float32),
        "points": np.array(more, np.float32),
        "labels": np.array(labels),
    }
