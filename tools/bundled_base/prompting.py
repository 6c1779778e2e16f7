"""Prompts and targets of one view."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from bundled_base.images import SMALLEST, Labelled, Rng

WHOLE = 0.9  # a part above this share of what it is a part of is no mask of its own
OBJECT_WEIGHT = 3.0
JOBS = ("box", "two points", "three points")
BAND = 0.06  # half the width of the band along the border of a box that is no outline, by the root of its area


class Levels:
    """The masks of a view that are large enough - groups, objects and parts - and which contains which."""

    def __init__(self, labelled: Labelled) -> None:
        self.labelled = labelled
        objects = np.bincount(labelled.objects.ravel(), minlength=256)
        self.ids = [(0, int(i)) for i in np.flatnonzero(objects >= SMALLEST) if i > 0]
        self.areas = [int(objects[i]) for _, i in self.ids]
        self.of_object = {i: k for k, (_, i) in enumerate(self.ids)}
        self.of_part = self._parts(objects)
        self.of_group = self._groups(objects)

    def _add(self, kind: int, number: int, area: int) -> int:
        self.ids.append((kind, number))
        self.areas.append(area)
        return len(self.ids) - 1

    def _parts(self, objects: np.ndarray) -> dict[int, int]:
        nested, area = self.labelled.nested, np.bincount(self.labelled.parts.ravel(), minlength=256)
        self.pieces: dict[int, list[int]] = {int(part): [int(part)] for part in np.flatnonzero(area) if part > 0}
        for part in sorted(self.pieces, reverse=True):  # inner parts have larger ids
            if (whole := nested.get(part)) is not None:
                self.pieces.setdefault(whole, [whole]).extend(self.pieces[part])
        found: dict[int, int] = {}
        for part, pieces in sorted(self.pieces.items()):
            owner = self.labelled.owner.get(part, 0)
            size, whole = int(area[pieces].sum()), nested.get(part)
            around = objects[owner] if whole is None else area[self.pieces[whole]].sum()
            if owner in self.of_object and SMALLEST <= size < WHOLE * around:
                found[part] = self._add(1, part, size)
        return found

    def _groups(self, objects: np.ndarray) -> dict[int, int]:
        members: dict[int, set[int]] = {}
        for carried, carrier in self.labelled.groups.items():
            members.setdefault(carrier, {carrier}).add(carried)
        self.members: dict[int, list[int]] = {}
        found: dict[int, int] = {}
        for carrier, group in members.items():
            whole = int(objects[list(group)].sum())
            if whole >= SMALLEST and objects[list(group)].max() < WHOLE * whole:
                self.members[carrier] = sorted(group)
                found |= dict.fromkeys(group, self._add(2, carrier, whole))
        return found

    def mask(self, level: int) -> np.ndarray:
        """(S, S) bool."""
        kind, number = self.ids[level]
        if kind == 2:
            return np.isin(self.labelled.objects, self.members[number])
        return np.isin(self.labelled.parts, self.pieces[number]) if kind else self.labelled.objects == number

    def boxed(self, level: int) -> bool:
        """Whether the mask is a box."""
        kind, number = self.ids[level]
        members = self.members[number] if kind == 2 else [self.labelled.owner.get(number, 0) if kind else number]
        return not self.labelled.boxed.isdisjoint(members)

    def at(self, x: int, y: int, source: int) -> tuple[int, int, int]:
        """The three smallest levels that contain the pixel, from small to large; of fewer the last repeats."""
        part, chain = int(self.labelled.parts[y, x]), []
        while part:
            chain.append(self.of_part.get(part))
            part = self.labelled.nested.get(part, 0)
        owner = int(self.labelled.objects[y, x])
        held = (*chain, self.of_object.get(owner), self.of_group.get(owner))
        found = [k for k in held if k is not None] or [source]
        first, second, third = (found[min(i, len(found) - 1)] for i in range(3))
        return first, second, third


def center(mask: np.ndarray) -> tuple[int, int, np.ndarray]:
    """(x, y) farthest inside the mask, and the distance map it was found on."""
    depth = cv2.distanceTransform(np.pad(mask, 1).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1]
    y, x = np.unravel_index(int(depth.argmax()), depth.shape)
    return int(x), int(y), depth


def click(rng: Rng, mask: np.ndarray) -> tuple[int, int]:
    """A click anywhere in the mask (65 %), well inside (15 %) or at its center (20 %)."""
    kind = rng.uniform()
    if kind >= 0.35:
        return anywhere(rng, mask)
    x, y, depth = center(mask)
    return (x, y) if kind < 0.2 else anywhere(rng, depth > 0.6 * depth[y, x])


def anywhere(rng: Rng, mask: np.ndarray) -> tuple[int, int]:
    """A uniformly random pixel (x, y) of the mask."""
    hits = np.flatnonzero(mask)
    y, x = divmod(int(hits[rng.integers(len(hits))]), mask.shape[1])
    return x, y


def box(rng: Rng, mask: np.ndarray) -> list[tuple[float, float]]:
    """Corners of the mask's box, each side moved by about a twentieth of it in 70 % of the cases."""
    x, y, w, h = cv2.boundingRect(mask.astype(np.uint8))
    loose = rng.normal(0, 0.05, 4) if rng.uniform() < 0.7 else np.zeros(4)
    corners = np.array([x, y, x + w - 1, y + h - 1]) + np.clip(loose, -0.15, 0.15) * (w, h, w, h)
    corners = np.clip(corners, 0, mask.shape[0] - 1)
    return [(corners[0], corners[1]), (corners[2], corners[3])]


def empty_box(rng: Rng, nothing: np.ndarray) -> list[tuple[float, float]] | None:
    """Corners of a random box with no object in it; None where a few tries give none."""
    side = len(nothing)
    for _ in range(6):
        w, h = np.exp(rng.uniform(np.log(0.08), np.log(0.5), 2)) * side
        x, y = rng.uniform(0, side - w), rng.uniform(0, side - h)
        if nothing[int(y) : int(y + h) + 1, int(x) : int(x + w) + 1].all():
            return [(x, y), (x + w, y + h)]
    return None


def several(rng: Rng, mask: np.ndarray, count: int) -> tuple[list[tuple[float, float]], list[int]]:
    """`count` points for one mask: the first inside, each other one inside or near it outside."""
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


def prompts(rng: Rng, labelled: Labelled, clicks: int, others: int, job: str) -> dict[str, np.ndarray] | None:
    """What one view contributes to a batch; None where no mask in it is large enough.

    Args:
        rng: random generator.
        labelled: a view; its id maps have half the side of the image.
        clicks: single clicks. On a complete view one of them, or a box, may lie on nothing: `present` is 0 there.
        others: prompts of kind `job`.
        job: one of `JOBS`.

    Returns:
        points in pixels of the image, labels as SAM has them (2 and 3 are the corners of a box), masks as 0..255 at a
        quarter of the image's side, bands as 0 or 1 of the same shape (1 where a mask that is a box is not certain,
        along its border), targets as indices into masks: (wanted, smallest, next larger, largest).
    """
    levels = Levels(labelled)
    if not levels.ids:
        return None
    order = _order(rng, levels, clicks + others)
    single = [_click(rng, levels, source, may_miss=index == 0) for index, source in enumerate(order[:clicks])]
    more = [_other(rng, levels, source, job) for source in order[clicks:]]
    rows = [*single, *more]
    return {
        "clicks": 2 * np.array([row.points for row in single], np.float32) + 0.5,
        "points": 2 * np.array([row.points for row in more], np.float32) + 0.5,
        "labels": np.array([row.labels for row in more]),
        "present": np.array([row.present for row in rows], np.float32),
    } | _targets(levels, [row.targets for row in rows])


class _Prompt(NamedTuple):
    """Points (x, y) of the id maps with their labels, four levels to learn, and whether there is anything."""

    points: list[tuple[float, float]]
    labels: list[int]
    targets: tuple[int, int, int, int]
    present: bool = True


def _click(rng: Rng, levels: Levels, source: int, *, may_miss: bool) -> _Prompt:
    """A click on a level; where it may miss, half of them lie on nothing if all objects of the view have ids."""
    nothing = levels.labelled.objects == 0
    if levels.labelled.complete and may_miss and rng.uniform() < 0.5 and nothing.mean() > 0.02:
        return _Prompt([anywhere(rng, nothing)], [1], (source,) * 4, present=False)
    x, y = click(rng, levels.mask(source))
    return _Prompt([(x, y)], [1], (source, *levels.at(x, y, source)))


def _other(rng: Rng, levels: Levels, source: int, job: str) -> _Prompt:
    """A box or several points for a level; 15 % of the boxes lie on nothing if all objects of the view have ids."""
    mask, labelled = levels.mask(source), levels.labelled
    if job != "box":
        return _Prompt(*several(rng, mask, 2 if "two" in job else 3), (source,) * 4)
    empty = empty_box(rng, labelled.objects == 0) if labelled.complete and rng.uniform() < 0.15 else None
    return _Prompt(empty or box(rng, mask), [2, 3], (source,) * 4, present=empty is None)


def band(mask: np.ndarray) -> np.ndarray:
    """(H, W) uint8, 1 near the border of a mask; the border of the image is none."""
    reach = max(1, round(BAND * float(mask.sum()) ** 0.5))
    kernel = np.ones((2 * reach + 1,) * 2, np.uint8)
    inside = mask.astype(np.uint8)
    return cv2.dilate(inside, kernel) - cv2.erode(inside, kernel)


def _order(rng: Rng, levels: Levels, want: int) -> list[int]:
    """`want` levels at random, with replacement.

    A whole object is wanted `OBJECT_WEIGHT` times as often as a part of its size, and larger masks somewhat more often:
    the predicted IoU learns from this what a click usually means.
    """
    kinds = np.array([kind for kind, _ in levels.ids])
    weight = np.array(levels.areas, float) ** 0.3 * np.where(kinds == 0, OBJECT_WEIGHT, 1.0)
    return [int(i) for i in rng.choice(len(weight), want, p=weight / weight.sum())]


def _targets(levels: Levels, targets: list) -> dict[str, np.ndarray]:
    used = sorted({k for row in targets for k in row})
    slot = {k: i for i, k in enumerate(used)}
    side = levels.labelled.objects.shape[0] // 2
    masks = np.zeros((3 * len(targets), side, side), np.uint8)
    bands = np.zeros_like(masks)
    for k, i in slot.items():
        masks[i] = cv2.resize(levels.mask(k).astype(np.uint8) * 255, (side, side), interpolation=cv2.INTER_AREA)
        if levels.boxed(k):
            bands[i] = band(masks[i] > 127)
    return {
        "masks": masks,
        "bands": bands,
        "targets": np.array([[slot[k] for k in row] for row in targets]),
        "objects": levels.labelled.objects[::2, ::2],
        "parts": levels.labelled.parts[::2, ::2],
        "complete": np.float32(levels.labelled.complete),
    }
