"""What a model takes and gives: prompts, embeddings, tokens, answers, and the batches of a fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from samtailor.errors import InputError

if TYPE_CHECKING:  # torch takes seconds to import and data handling does not need it
    import torch
    from torch import Tensor


@dataclass(frozen=True)
class Prompts:
    """What is asked of the model, for B images with P prompts each.

    Without points, boxes and masks it is the empty prompt (BLO-SAM, SAMed): no sparse token, the default dense prompt.

    Args:
        points: float32 (B, P, K, 2), x then y, pixels of `frame`; None without clicks.
        labels: int64 (B, P, K): 1 object, 0 not the object, -1 no point (padding of SAM), -10 ignored.
        boxes: float32 (B, P, 4), x0 y0 x1 y1, pixels of `frame`; None without boxes.
        masks: float32 (B, 1, 4H, 4W), logits of an earlier answer, model frame; None without. Needs P = 1.
        frame: (height, width) of the frame the coordinates live in.
        count: (B, P) of an empty prompt; what is given tells it otherwise.
    """

    frame: tuple[int, int]
    points: Tensor | None = None
    labels: Tensor | None = None
    boxes: Tensor | None = None
    masks: Tensor | None = None
    count: tuple[int, int] = (1, 1)

    def __post_init__(self) -> None:
        if self.points is not None:
            _expect("points", self.points, (None, None, None, 2))
            if self.labels is None or self.labels.shape != self.points.shape[:3]:
                got = None if self.labels is None else tuple(self.labels.shape)
                raise InputError(f"labels must have shape {tuple(self.points.shape[:3])} like the points, got {got}.")
        if self.boxes is not None:
            _expect("boxes", self.boxes, (None, None, 4))
            if self.points is not None and self.points.shape[:2] != self.boxes.shape[:2]:
                raise InputError(
                    f"points and boxes must agree in (B, P): {tuple(self.points.shape[:2])} against "
                    f"{tuple(self.boxes.shape[:2])}."
                )
        if self.masks is not None:
            _expect("masks", self.masks, (None, 1, None, None))

    @property
    def shape(self) -> tuple[int, int]:
        """(B, P)."""
        if self.empty:
            return self.count
        given = self.points if self.points is not None else self.boxes
        return (self.masks.shape[0], 1) if given is None else (given.shape[0], given.shape[1])

    @property
    def empty(self) -> bool:
        """Whether nothing is given."""
        return self.points is None and self.boxes is None and self.masks is None

    def to(self, *args: Any) -> Prompts:
        """Move the tensors to a device."""
        return _move(self, *args)

    def __getitem__(self, rows: Sequence[int] | slice) -> Prompts:
        """The prompts of some of the B images."""
        rows = list(range(self.shape[0])[rows]) if isinstance(rows, slice) else list(rows)
        named = ((name, getattr(self, name)) for name in ("points", "labels", "boxes", "masks"))
        given = {name: value[rows] for name, value in named if value is not None}
        return replace(self, **given, count=(len(rows), self.count[1]))

    @staticmethod
    def cat(parts: Sequence[Prompts], axis: int = 0) -> Prompts:
        """Join along B (axis 0) or P (axis 1) in one frame; points are padded with SAM's ignored label to one K.

        Raises:
            InputError: some have points, boxes or masks and others do not, or the frames differ.
        """
        import torch

        kinds = {(p.frame, p.points is None, p.boxes is None, p.masks is None) for p in parts}
        if len(kinds) != 1:
            raise InputError(
                "Prompts can be joined only in one frame and when all have the same of points, boxes, masks."
            )
        first, joined = parts[0], {}
        for name in ("boxes", "masks"):
            if getattr(first, name) is not None:
                joined[name] = torch.cat([getattr(p, name) for p in parts], axis)
        if first.empty:
            total = sum(p.count[axis] for p in parts)
            joined["count"] = (total, first.count[1]) if axis == 0 else (first.count[0], total)
        if first.points is not None:
            most = max(p.points.shape[2] for p in parts)
            pad = torch.nn.functional.pad
            joined["points"] = torch.cat([pad(p.points, (0, 0, 0, most - p.points.shape[2])) for p in parts], axis)
            joined["labels"] = torch.cat([pad(p.labels, (0, most - p.labels.shape[2]), value=-10) for p in parts], axis)
        return Prompts(frame=first.frame, **joined)


@dataclass(frozen=True)
class Features:
    """Image embedding of B images: what the encoder gives and the decoder takes; what the cache holds.

    Args:
        main: (B, D, H, W) image embedding.
        skips: high-resolution features, finest first, each (B, C, h, w); empty for SAM 1.
    """

    main: Tensor
    skips: tuple[Tensor, ...] = ()

    def __post_init__(self) -> None:
        _expect("image embedding", self.main, (None, None, None, None))

    def __len__(self) -> int:
        return self.main.shape[0]

    def __getitem__(self, index: Any) -> Features:
        """Rows of the batch: a slice or an index tensor."""
        return Features(self.main[index], tuple(skip[index] for skip in self.skips))

    def to(self, *args: Any) -> Features:
        """Move or cast every tensor."""
        return Features(self.main.to(*args), tuple(skip.to(*args) for skip in self.skips))

    @staticmethod
    def cat(parts: Sequence[Features]) -> Features:
        """Join along the batch axis."""
        import torch

        skips = zip(*(part.skips for part in parts), strict=True)
        return Features(torch.cat([p.main for p in parts]), tuple(torch.cat(level) for level in skips))


@dataclass(frozen=True)
class Tokens:
    """Encoded prompts.

    Args:
        sparse: (B, P, N, D) tokens of points and boxes.
        dense: (B or 1, D, H, W) dense prompt, added to the image embedding.
    """

    sparse: Tensor
    dense: Tensor


@dataclass(frozen=True)
class Output:
    """What the mask decoder answers, for ALL its mask tokens, gradients kept.

    Args:
        logits: (B, P, M, h, w) low-resolution mask logits; token 0 is SAM's single-mask token.
        iou: (B, P, M) predicted IoU.
        keys: (B, P, D, H, W) image keys after the two-way transformer (Kim et al.: f_DT).
        upscaled: (B, P, c, h, w) upscaled image keys (AM-SAM: U).
        hyper: (B, P, M, c) outputs of the hyper-network MLPs (AM-SAM: H); logits = hyper @ upscaled.
        candidates: mask tokens a user chooses among; SAM's three multimask outputs are (1, 2, 3).
    """

    logits: Tensor
    iou: Tensor
    keys: Tensor
    upscaled: Tensor
    hyper: Tensor
    candidates: tuple[int, ...] = (1, 2, 3)

    def candidate_logits(self) -> Tensor:
        """(B, P, len(candidates), h, w)."""
        return self.logits[:, :, list(self.candidates)]

    def candidate_iou(self) -> Tensor:
        """(B, P, len(candidates))."""
        return self.iou[:, :, list(self.candidates)]

    def best_masks(self) -> tuple[Tensor, Tensor]:
        """For each prompt the candidate with the highest predicted IoU.

        Returns:
            (B, P) predicted IoU and (B, P, h, w) low-resolution logits, gradients kept.
        """
        scores, best = self.candidate_iou().max(dim=2)
        logits = self.candidate_logits()
        index = best[:, :, None, None, None].expand(-1, -1, 1, *logits.shape[-2:])
        return scores, logits.gather(2, index)[:, :, 0]


@dataclass(frozen=True)
class Batch:
    """What a training step takes: B masks, each with the embedding of its image and one prompt.

    Args:
        features: embedding of each mask's image (view), B rows; None where the encoder learns and `images` are given.
        prompts: model frame, (B, P) with P = 1 in training.
        targets: float32 (B, P, h, w) in [0, 1]: share of each low-resolution cell that the mask covers.
        valid: bool (B, 1, h, w): False on the padding, which no loss may see.
        contours: float32 (B, P, Q, 2) points of the mask's outline in the model frame, or None (see adapters.pmm).
        radius: float32 (B, P) largest interior distance of the mask, model-frame pixels; None without contours.
        labels: class name of each mask, length B.
        ids: sample id of each mask, length B.
        images: float32 (B, 3, size, size) normalized images, for methods that adapt the encoder; else None.
    """

    features: Features | None
    prompts: Prompts
    targets: Tensor
    valid: Tensor
    contours: Tensor | None = None
    radius: Tensor | None = None
    labels: tuple[str, ...] = ()
    ids: tuple[str, ...] = ()
    images: Tensor | None = None

    def __post_init__(self) -> None:
        _expect("targets", self.targets, (*self.prompts.shape, None, None))

    def __len__(self) -> int:
        return self.targets.shape[0]

    def __getitem__(self, rows: Sequence[int]) -> Batch:
        """Some of the B masks, in the order given."""
        rows = list(rows)
        names = ("features", "prompts", "targets", "valid", "contours", "radius", "images")
        given = {name: value[rows] for name in names if (value := getattr(self, name)) is not None}
        told = {name: tuple(value[row] for row in rows) for name in ("labels", "ids") if (value := getattr(self, name))}
        return replace(self, **given, **told)

    def to(self, *args: Any) -> Batch:
        """Move every tensor to a device."""
        return _move(self, *args)


def _expect(name: str, tensor: torch.Tensor | np.ndarray, shape: tuple[int | None, ...]) -> None:
    got = tuple(tensor.shape)
    if len(got) != len(shape) or any(want not in (None, have) for want, have in zip(shape, got, strict=False)):
        wanted = ", ".join("any" if want is None else str(want) for want in shape)
        raise InputError(f"{name} must have shape ({wanted}), got {got}.")


def _move(value: Any, *args: Any) -> Any:
    moved = {f.name: getattr(value, f.name).to(*args) for f in fields(value) if hasattr(getattr(value, f.name), "to")}
    return replace(value, **moved)


__all__ = ["Batch", "Features", "Output", "Prompts", "Tokens"]
