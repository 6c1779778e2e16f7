"""The nouns between the parts. Shape, dtype, axis order, unit and frame stand on every field.

Frames. *Picture frame*: pixels of the picture as stored, after EXIF rotation, origin at the centre of the top-left
pixel (pixel-index convention, x to the right, y down). *Model frame*: pixels of the square that the base model sees
(side `base.size`), after resizing the picture and padding it right and bottom. `data.transform` is the only place
that converts between them.

Letters: B pictures, P prompts a picture, K points a prompt, M mask tokens, D token width, H W grid of the image
embedding, h w grid of the low-resolution logits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from samtailor.errors import InputError

if TYPE_CHECKING:  # torch takes seconds to import and data handling does not need it
    import torch
    from torch import Tensor


class RunLengths:
    """What can be told of a mask that is kept run-length encoded in `rle`, see `Annotation`."""

    rle: dict[str, Any]

    @property
    def mask(self) -> np.ndarray:
        """Boolean mask, shape (height, width), picture frame. Decoded anew at every access."""
        from pycocotools import mask as coco

        return coco.decode(self.rle).astype(bool)

    @property
    def area(self) -> int:
        """Number of pixels of the mask."""
        from pycocotools import mask as coco

        return int(coco.area(self.rle))

    @property
    def box(self) -> tuple[float, float, float, float]:
        """Tight box (x0, y0, x1, y1) in pixels, x1 and y1 exclusive; (0, 0, 0, 0) for an empty mask."""
        from pycocotools import mask as coco

        x, y, width, height = (float(v) for v in coco.toBbox(self.rle))
        return x, y, x + width, y + height


@dataclass(frozen=True)
class Annotation(RunLengths):
    """One object of a picture: its class and its mask, kept run-length encoded.

    Args:
        label: class name.
        rle: COCO run-length encoding, `{"size": [height, width], "counts": bytes}`, in the picture frame.
        crowd: a region of many objects (COCO `iscrowd`); never a training or evaluation target.
    """

    label: str
    rle: dict[str, Any]
    crowd: bool = False

    @classmethod
    def from_mask(cls, label: str, mask: np.ndarray, crowd: bool = False) -> Annotation:
        """Encode a boolean mask of shape (height, width)."""
        from pycocotools import mask as coco

        if mask.ndim != 2:
            raise InputError(f"A mask must have shape (height, width), got {mask.shape}.")
        return cls(label, coco.encode(np.asfortranarray(mask.astype(np.uint8))), crowd)


@dataclass(frozen=True)
class Sample:
    """One picture of a data set with its annotations. Nothing is read before it is asked for.

    Args:
        id: unique within the data set, stable across runs, free of path separators other than "/".
        read_image: returns the picture as uint8 RGB, shape (height, width, 3), EXIF rotation applied.
        read_annotations: returns the annotations in a stable order.
        group: pictures of one group never fall on two sides of a split (a person, a video, a patient).
        source: file that the picture comes from; None for a picture made in memory.
    """

    id: str
    read_image: Callable[[], np.ndarray]
    read_annotations: Callable[[], Sequence[Annotation]]
    group: str | None = None
    source: Path | None = None

    @property
    def image(self) -> np.ndarray:
        """uint8 RGB, shape (height, width, 3). Read anew at every access."""
        return self.read_image()

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels; the picture is read only where no mask tells."""
        height, width = self.annotations[0].rle["size"] if self.annotations else self.image.shape[:2]
        return int(height), int(width)

    @cached_property
    def annotations(self) -> tuple[Annotation, ...]:
        """All annotations; read once, kept run-length encoded (about a hundred bytes to a kilobyte each)."""
        return tuple(self.read_annotations())

    def of(self, classes: Sequence[str] | None) -> tuple[Annotation, ...]:
        """Annotations that can be a target: of the given classes (None: all), not crowd, not empty."""
        return tuple(
            a for a in self.annotations if not a.crowd and (classes is None or a.label in classes) and a.area > 0
        )


@dataclass(frozen=True)
class Prompts:
    """What is asked of the model, for B pictures with P prompts each.

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


@dataclass(frozen=True)
class Features:
    """Image embedding of B pictures: what the encoder gives and the decoder takes; what the cache holds.

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


@dataclass(frozen=True)
class Batch:
    """What a training step takes: B masks, each with the embedding of its picture and one prompt.

    Args:
        features: embedding of each mask's picture (view), B rows; None where the encoder learns and `images` are given.
        prompts: model frame, (B, P) with P = 1 in training.
        targets: float32 (B, P, h, w) in [0, 1]: share of each low-resolution cell that the mask covers.
        valid: bool (B, 1, h, w): False on the padding, which no loss may see.
        contours: float32 (B, P, Q, 2) points of the mask's outline in the model frame, or None (see adapters.pmm).
        radius: float32 (B, P) largest interior distance of the mask, model-frame pixels; None without contours.
        labels: class name of each mask, length B.
        ids: sample id of each mask, length B.
        images: float32 (B, 3, size, size) normalised pictures, for methods that adapt the encoder; else None.
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

    def to(self, *args: Any) -> Batch:
        """Move every tensor to a device."""
        return _move(self, *args)


@dataclass(frozen=True)
class Score:
    """One row of an evaluation: one mask under one prompt.

    Args:
        id: sample id.
        label: class name.
        index: position of the mask among its picture's targets.
        iou: IoU of the mask chosen by predicted IoU, in [0, 1], at the picture's own size.
        oracle_iou: best IoU over the same candidates.
        dice, oracle_dice: likewise.
        boundary_iou: boundary IoU of the chosen mask.
        predicted_iou: the score the mask was chosen by.
        area: pixels of the true mask.
        group: group of the sample (bootstrap unit), or its id.
        paper_dice: Dice of the chosen mask on the papers' 64 x 64 grid; None in rows of earlier versions.
    """

    id: str
    label: str
    index: int
    iou: float
    oracle_iou: float
    dice: float
    oracle_dice: float
    boundary_iou: float
    predicted_iou: float
    area: int
    group: str = ""
    paper_dice: float | None = None


def _expect(name: str, tensor: torch.Tensor | np.ndarray, shape: tuple[int | None, ...]) -> None:
    got = tuple(tensor.shape)
    if len(got) != len(shape) or any(want not in (None, have) for want, have in zip(shape, got, strict=False)):
        wanted = ", ".join("any" if want is None else str(want) for want in shape)
        raise InputError(f"{name} must have shape ({wanted}), got {got}.")


def _move(value: Any, *args: Any) -> Any:
    moved = {f.name: getattr(value, f.name).to(*args) for f in fields(value) if hasattr(getattr(value, f.name), "to")}
    return replace(value, **moved)


__all__ = ["Annotation", "Batch", "Features", "Output", "Prompts", "RunLengths", "Sample", "Score", "Tokens"]
