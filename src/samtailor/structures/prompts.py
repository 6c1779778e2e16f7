"""Prompts of images: clicks, boxes and masks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from samtailor.errors import InputError
from samtailor.structures._checked import expect, move, rows_of

if TYPE_CHECKING:  # importing torch takes seconds, and data handling does not need it
    from torch import Tensor


@dataclass(frozen=True)
class Prompts:
    """Prompts for B images with P prompts each.

    Without points, boxes and masks it is the empty prompt (BLO-SAM, SAMed): no sparse token, the default dense prompt.

    Args:
        points: float32 (B, P, K, 2), x then y, pixels of `frame`; None without clicks.
        labels: int64 (B, P, K): 1 foreground, 0 background, -1 no point (SAM's padding), -10 ignored.
        boxes: float32 (B, P, 4), x0 y0 x1 y1, pixels of `frame`; None without boxes.
        masks: float32 (B, 1, 4H, 4W), logits of an earlier prediction, model frame; None without. Requires P = 1.
        frame: (height, width) of the frame of the coordinates.
        count: (B, P) of an empty prompt; otherwise taken from the tensors.

    Raises:
        InputError: the shapes do not fit together.
    """

    frame: tuple[int, int]
    points: Tensor | None = None
    labels: Tensor | None = None
    boxes: Tensor | None = None
    masks: Tensor | None = None
    count: tuple[int, int] = (1, 1)

    def __post_init__(self) -> None:
        if self.points is not None:
            expect("points", self.points, (None, None, None, 2))
            if self.labels is None or self.labels.shape != self.points.shape[:3]:
                got = None if self.labels is None else tuple(self.labels.shape)
                raise InputError(f"labels must have shape {tuple(self.points.shape[:3])} like the points, got {got}.")
        if self.boxes is not None:
            expect("boxes", self.boxes, (None, None, 4))
            if self.points is not None and self.points.shape[:2] != self.boxes.shape[:2]:
                raise InputError(
                    f"points and boxes must have the same (B, P), got {tuple(self.points.shape[:2])} and "
                    f"{tuple(self.boxes.shape[:2])}."
                )
        if self.masks is not None:
            expect("masks", self.masks, (None, 1, None, None))

    @property
    def shape(self) -> tuple[int, int]:
        """(B, P)."""
        sparse = self.points if self.points is not None else self.boxes
        if sparse is not None:
            return sparse.shape[0], sparse.shape[1]
        return self.count if self.masks is None else (self.masks.shape[0], 1)

    @property
    def empty(self) -> bool:
        """Whether there are neither points, boxes nor masks."""
        return self.points is None and self.boxes is None and self.masks is None

    def to(self, *args: Any) -> Prompts:
        """Move the tensors to a device."""
        return move(self, *args)

    def __getitem__(self, rows: Sequence[int] | slice) -> Prompts:
        """Prompts of some of the B images."""
        rows = list(range(self.shape[0])[rows]) if isinstance(rows, slice) else list(rows)
        picked = rows_of(self, ("points", "labels", "boxes", "masks"), rows)
        return replace(self, **picked, count=(len(rows), self.count[1]))

    @staticmethod
    def cat(parts: Sequence[Prompts], axis: int = 0) -> Prompts:
        """Join prompts of one frame along B (axis 0) or P (axis 1); points are padded to one K with ignored points.

        Raises:
            InputError: only some have points, boxes or masks, or the frames differ.
        """
        from torch.nn.functional import pad

        kinds = {(p.frame, p.points is None, p.boxes is None, p.masks is None) for p in parts}
        if len(kinds) != 1:
            raise InputError(
                "Prompts can be joined only if they have the same frame and the same kinds (points, boxes, masks)."
            )
        first = parts[0]
        count = (1, 1)
        if first.empty:
            total = sum(p.count[axis] for p in parts)
            count = (total, first.count[1]) if axis == 0 else (first.count[0], total)
        points, labels, boxes, masks = (
            [value for part in parts if (value := getattr(part, name)) is not None]
            for name in ("points", "labels", "boxes", "masks")
        )
        most = max((p.shape[2] for p in points), default=0)
        return Prompts(
            first.frame,
            points=_joined([pad(p, (0, 0, 0, most - p.shape[2])) for p in points], axis),
            labels=_joined([pad(p, (0, most - p.shape[2]), value=-10) for p in labels], axis),
            boxes=_joined(boxes, axis),
            masks=_joined(masks, axis),
            count=count,
        )


def _joined(tensors: Sequence[Tensor], axis: int) -> Tensor | None:
    import torch

    return torch.cat(list(tensors), axis) if tensors else None


__all__ = ["Prompts"]
