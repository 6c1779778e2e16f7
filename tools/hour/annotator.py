"""A scripted person who knows what is in the image and judges the page's masks as an eye would: by overlap."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from hour import truth
from hour.hand import Hand


@dataclass
class Annotator:
    """Marks and corrects until each object's mask overlaps the truth by `good`; seconds a deed are in users_hour.py."""

    hand: Hand
    good: float = 0.7
    right: float = 0.5
    """From this overlap on a proposed object counts as found and is corrected rather than deleted."""
    seen: dict[str, np.ndarray] = field(default_factory=dict)

    def label(self, masks: list[np.ndarray]) -> dict[str, int]:
        """The open image, from what is there to accepted: how many objects came proposed, right, false, missing."""
        self.seen = self.hand.objects()
        self.hand.tally["glances"] += len(self.seen)
        pairs = self._pairs(masks)
        false = [name for name in self.seen if name not in pairs.values()]
        count = {"proposed": len(self.seen), "false": len(false), "found": len(pairs), "good": 0}
        for name in false:
            self._delete(name)
        for index, name in pairs.items():
            if truth.iou(self.seen[name], masks[index]) >= self.good:
                count["good"] += 1
            else:
                self._improve(name, masks[index])
        for index, mask in enumerate(masks):
            if index not in pairs:
                self._mark(mask)
        self.hand.objects()
        self.hand.key("Enter")
        return count

    def _pairs(self, masks: list[np.ndarray]) -> dict[int, str]:
        """Which truth each proposed object is, best overlaps first."""
        overlaps = [
            (truth.iou(seen, mask), i, name) for name, seen in self.seen.items() for i, mask in enumerate(masks)
        ]
        pairs: dict[int, str] = {}
        for overlap, index, name in sorted(overlaps, reverse=True):
            if overlap >= self.right and index not in pairs and name not in pairs.values():
                pairs[index] = name
        return pairs

    def _mark(self, mask: np.ndarray) -> None:
        """A new object by a click in its middle. In another object's mask the click needs Shift to begin a new one."""
        at = truth.centre(mask)
        covered = any(seen[int(at[1]), int(at[0])] for seen in self.seen.values())
        if covered:
            self.hand.key("Escape")
        offered = self.hand.prompt(at, shift=covered)
        name = self.hand.selected() if offered else None
        if name is None:
            self._draw(mask)
            return
        self.seen[name] = offered[0]
        self._refine(name, mask, offered)

    def _improve(self, name: str, mask: np.ndarray) -> None:
        self._select(name)
        self._refine(name, mask, [self.seen[name]])

    def _refine(self, name: str, mask: np.ndarray, offered: list[np.ndarray]) -> None:
        """Up to three more clicks, another candidate, the brush, at last a polygon."""
        for _ in range(3):
            if self._look_on(name, mask, offered) >= self.good:
                return
            before = self.seen[name]
            offered = self._correct(name, mask)
            if not offered or truth.iou(offered[0], mask) < truth.iou(before, mask):
                self.seen[name] = before
                if offered:
                    self.hand.key("Control+z")
                break
        if self._look_on(name, mask, offered) >= self.good or self._brush(name, mask) >= self.good:
            return
        self.hand.key("z")
        self._delete(name)
        self._draw(mask)
        self.hand.key("f")

    def _look_on(self, name: str, mask: np.ndarray, offered: list[np.ndarray]) -> float:
        """Tab through the candidates where the one taken is bad and stay at the best; its overlap."""
        overlaps = [truth.iou(one, mask) for one in offered]
        now = truth.iou(self.seen[name], mask)
        if now >= self.good or len(offered) < 2 or not np.array_equal(offered[0], self.seen[name]):
            return now
        best = int(np.argmax(overlaps))
        passed = best if overlaps[best] >= self.good else len(offered)  # all looked at, back at the first
        self.hand.key("Tab", passed)
        self.hand.tally["glances"] += passed
        self.seen[name] = offered[passed % len(offered)]
        return overlaps[passed % len(offered)]

    def _correct(self, name: str, mask: np.ndarray) -> list[np.ndarray]:
        """A click in the middle of the largest error; what is offered then."""
        missing, surplus = truth.largest(mask & ~self.seen[name]), truth.largest(self.seen[name] & ~mask)
        negative = np.count_nonzero(surplus) > np.count_nonzero(missing)
        at = truth.centre(surplus if negative else missing)
        offered = self.hand.prompt(at, negative=negative, shift=not negative)
        if offered:
            self.seen[name] = offered[0]
        return offered

    def _brush(self, name: str, mask: np.ndarray) -> float:
        """Up to two strokes where one blob is most of the error; the overlap after them."""
        for _ in range(2):
            seen = self.seen[name]
            missing, surplus = truth.largest(mask & ~seen), truth.largest(seen & ~mask)
            erase = np.count_nonzero(surplus) > np.count_nonzero(missing)
            blob = surplus if erase else missing
            after = seen & ~blob if erase else seen | blob
            if truth.iou(after, mask) < self.good:
                break  # one stroke would not do
            path, width = _stroke(blob)
            self.hand.stroke(path, width, erase=erase)
            self.seen = self.hand.objects()
            if name not in self.seen:
                return 0.0
            if truth.iou(self.seen[name], mask) >= self.good:
                break
        return truth.iou(self.seen[name], mask)

    def _draw(self, mask: np.ndarray) -> None:
        self.hand.key("Escape")
        self.hand.polygon(truth.corners(mask, 10))
        self.seen = self.hand.objects()
        self.hand.key("Escape")

    def _select(self, name: str) -> None:
        """By a click where it is the smallest object, else by its row in the list."""
        smaller = [one for one in self.seen.values() if one.sum() < self.seen[name].sum()]
        free = self.seen[name] & ~np.any(smaller, axis=0) if smaller else self.seen[name]
        if self.hand.selected() == name:
            return
        if free.any():
            self.hand.click(truth.centre(free))
        if self.hand.selected() != name:
            self.hand.button(f'li.object[data-object="{name}"] .pick')

    def _delete(self, name: str) -> None:
        if name in self.seen:
            self._select(name)
            self.hand.key("Delete")
            del self.seen[name]


def _stroke(blob: np.ndarray) -> tuple[list[tuple[float, float]], float]:
    """From one end of a blob to the other, and how wide."""
    deep = truth.depth(blob)
    core = np.argwhere(deep >= 0.7 * deep.max())[:, ::-1] + 0.5
    main = np.linalg.svd(core - core.mean(axis=0), full_matrices=False)[2][0] if len(core) > 1 else np.zeros(2)
    along = (core - core.mean(axis=0)) @ main
    ends = [core[along.argmin()], truth.centre(blob), core[along.argmax()]]
    return [(float(x), float(y)) for x, y in ends], max(2.0, 2 * float(deep.max()))
