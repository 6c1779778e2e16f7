"""Inputs and outputs of a model: tokens, masks and training batches, and with them prompts and embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from samtailor.structures._checked import expect, move, rows_of
from samtailor.structures.features import Features
from samtailor.structures.prompts import Prompts

if TYPE_CHECKING:  # importing torch takes seconds, and data handling does not need it
    from torch import Tensor


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
        expect("targets", self.targets, (*self.prompts.shape, None, None))

    def __len__(self) -> int:
        return self.targets.shape[0]

    def __getitem__(self, rows: Sequence[int]) -> Batch:
        """Some of the B masks, in the order given."""
        rows = list(rows)
        picked = rows_of(self, ("features", "prompts", "targets", "valid", "contours", "radius", "images"), rows)
        named = {
            name: tuple(value[row] for row in rows) for name in ("labels", "ids") if (value := getattr(self, name))
        }
        return replace(self, **(picked | named))

    def to(self, *args: Any) -> Batch:
        """Move every tensor to a device."""
        return move(self, *args)


__all__ = ["Batch", "Features", "Output", "Prompts", "Tokens"]
