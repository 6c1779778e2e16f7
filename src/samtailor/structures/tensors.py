"""Inputs and outputs of a model: prompts, embeddings, tokens, masks, and training batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from samtailor.errors import InputError

if TYPE_CHECKING:  # importing torch takes seconds, and data handling does not need it
    import torch
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
            _expect("points", self.points, (None, None, None, 2))
            if self.labels is None or self.labels.shape != self.points.shape[:3]:
                got = None if self.labels is None else tuple(self.labels.shape)
                raise InputError(f"labels must have shape {tuple(self.points.shape[:3])} like the points, got {got}.")
        if self.boxes is not None:
            _expect("boxes", self.boxes, (None, None, 4))
            if self.points is not None and self.points.shape[:2] != self.boxes.shape[:2]:
                raise InputError(
                    f"points and boxes must have the same (B, P), got {tuple(self.points.shape[:2])} and "
                    f"{tuple(self.boxes.shape[:2])}."
                )
        if self.masks is not None:
            _expect("masks", self.masks, (None, 1, None, None))

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
        return _move(self, *args)

    def __getitem__(self, rows: Sequence[int] | slice) -> Prompts:
        """Prompts of some of the B images."""
        rows = list(range(self.shape[0])[rows]) if isinstance(rows, slice) else list(rows)
        picked = _rows(self, ("points", "labels", "boxes", "masks"), rows)
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


@dataclass(frozen=True)
class Features:
    """Embeddings of B images: output of the encoder, input of the decoder, content of the cache.

    Args:
        main: (B, D, H, W) image embedding.
        skips: high-resolution features, finest first, each (B, C, h, w); empty for SAM 1.
        companions: fingerprint of a companion (`bases.companions`) to its maps, finest first, each (B, C, s, s) over
            the same area as the embedding.
    """

    main: Tensor
    skips: tuple[Tensor, ...] = ()
    companions: Mapping[str, tuple[Tensor, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _expect("image embedding", self.main, (None, None, None, None))

    def __len__(self) -> int:
        return self.main.shape[0]

    def __getitem__(self, index: Any) -> Features:
        """Rows of the batch: a slice or an index tensor."""
        return self.apply(lambda tensor: tensor[index])

    def to(self, *args: Any) -> Features:
        """Move or cast every tensor."""
        return self.apply(lambda tensor: tensor.to(*args))

    def apply(self, change: Callable[[Tensor], Tensor]) -> Features:
        """The same function of every tensor."""
        companions = {key: tuple(change(one) for one in maps) for key, maps in self.companions.items()}
        return Features(change(self.main), tuple(change(skip) for skip in self.skips), companions)

    def tensors(self) -> Iterator[Tensor]:
        """Every tensor."""
        yield self.main
        yield from self.skips
        for maps in self.companions.values():
            yield from maps

    def of_companion(self, fingerprint: str) -> tuple[Tensor, ...]:
        """The maps of a companion.

        Raises:
            InputError: these features were made without it.
        """
        if fingerprint not in self.companions:
            made = ", ".join(self.companions) or "none"
            raise InputError(
                f"This adapter reads the features of a companion (fingerprint {fingerprint}), but the image was "
                f"encoded with these companions: {made}. Pass the image itself, or features made with that companion."
            )
        return self.companions[fingerprint]

    @staticmethod
    def cat(parts: Sequence[Features]) -> Features:
        """Join along the batch axis.

        Raises:
            InputError: the parts were made with different companions.
        """
        import torch

        if any(part.companions.keys() != parts[0].companions.keys() for part in parts):
            raise InputError("Features can be joined only if they were made with the same companions.")
        skips = zip(*(part.skips for part in parts), strict=True)
        companions = {
            key: tuple(torch.cat(level) for level in zip(*(part.companions[key] for part in parts), strict=True))
            for key in parts[0].companions
        }
        return Features(torch.cat([p.main for p in parts]), tuple(torch.cat(level) for level in skips), companions)


@dataclass(frozen=True)
class Tokens:
    """Encoded prompts of B images with P prompts each.

    Args:
        sparse: (B, P, N, D) tokens of points and boxes.
        dense: (B or 1, D, H, W) dense prompt, added to the image embedding.
    """

    sparse: Tensor
    dense: Tensor


@dataclass(frozen=True)
class Output:
    """Output of the mask decoder for all its mask tokens, with gradients.

    Args:
        logits: (B, P, M, h, w) low-resolution mask logits; token 0 is SAM's single-mask token.
        iou: (B, P, M) predicted IoU.
        keys: (B, P, D, H, W) image keys after the two-way transformer (f_DT in Kim et al.).
        upscaled: (B, P, c, h, w) upscaled image keys (U in AM-SAM).
        hyper: (B, P, M, c) outputs of the hypernetwork MLPs (H in AM-SAM); logits = hyper @ upscaled.
        candidates: mask tokens of the candidate masks; SAM's three multimask outputs are (1, 2, 3).
    """

    logits: Tensor
    iou: Tensor
    keys: Tensor
    upscaled: Tensor
    hyper: Tensor
    candidates: tuple[int, ...] = (1, 2, 3)

    def candidate_logits(self) -> Tensor:
        """Logits of the candidate masks, (B, P, len(candidates), h, w)."""
        return self.logits[:, :, list(self.candidates)]

    def candidate_iou(self) -> Tensor:
        """Predicted IoU of the candidate masks, (B, P, len(candidates))."""
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
    """Input of a training step: B masks, each with the embedding of its image and one prompt.

    Args:
        features: embedding of the image (view) of each mask, B rows; None if the encoder is trained from `images`.
        prompts: model frame, (B, P) with P = 1 in training.
        targets: float32 (B, P, h, w) in [0, 1]: share of each low-resolution cell that the mask covers.
        valid: bool (B, 1, h, w): False on the padding, which losses ignore.
        contours: float32 (B, P, Q, 2) points of the mask outline, model frame; None unless needed (see adapters.pmm).
        radius: float32 (B, P) largest interior distance of the mask, model-frame pixels; None without contours.
        labels: class name of each mask, length B.
        ids: sample id of each mask, length B.
        images: float32 (B, 3, size, size) normalized images for methods that adapt the encoder, else None.
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
        picked = _rows(self, ("features", "prompts", "targets", "valid", "contours", "radius", "images"), rows)
        named = {
            name: tuple(value[row] for row in rows) for name in ("labels", "ids") if (value := getattr(self, name))
        }
        return replace(self, **(picked | named))

    def to(self, *args: Any) -> Batch:
        """Move every tensor to a device."""
        return _move(self, *args)


def _joined(tensors: Sequence[Tensor], axis: int) -> Tensor | None:
    import torch

    return torch.cat(list(tensors), axis) if tensors else None


def _rows(value: Any, names: Sequence[str], rows: list[int]) -> dict[str, Any]:
    """The rows of those of the fields that are not None."""
    fields_of = ((name, getattr(value, name)) for name in names)
    return {name: field[rows] for name, field in fields_of if field is not None}


def _expect(name: str, tensor: torch.Tensor | np.ndarray, shape: tuple[int | None, ...]) -> None:
    got = tuple(tensor.shape)
    if len(got) != len(shape) or any(want not in (None, have) for want, have in zip(shape, got, strict=False)):
        expected = ", ".join("any" if want is None else str(want) for want in shape)
        raise InputError(f"{name} must have shape ({expected}), got {got}.")


def _move(value: Any, *args: Any) -> Any:
    moved = {f.name: getattr(value, f.name).to(*args) for f in fields(value) if hasattr(getattr(value, f.name), "to")}
    return replace(value, **moved)


__all__ = ["Batch", "Features", "Output", "Prompts", "Tokens"]
