"""What every base model offers: a frozen promptable model, cut at its two seams.

The seams are after the image encoder (`Features`, what the cache holds) and after the prompt encoder (`Tokens`, where
prompt adapters work). A base is frozen by `requires_grad_(False)`, never by `no_grad`: gradients must flow through it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from torch import Tensor, nn

from samtailor.structures import Features, Output, Prompts, Tokens


@runtime_checkable
class Base(Protocol):
    """A frozen promptable segmentation model.

    Attributes:
        name: what the user asked for: a registry name, a hub id, or the name of a local folder.
        size: side of the square model frame, pixels.
        dim: token width D.
        grid: side of the image embedding, cells (H = W).
        low_res: side of the low-resolution logits, cells (h = w).
        skips: channels of the high-resolution features at twice and four times the grid; 0 where there are none.
        mean, std: normalisation of RGB in 0..255, three numbers each.
        squash: True when images are resized to the square without keeping their aspect (SAM 2), False when the
            longest side is resized and the rest padded (SAM 1).
        fingerprint: hash of weights and preprocessing; the key of the cache and of the artefact.
        sites: named places an adapter may enter, each a regular expression over module names of `model`.
        model: the vendor's module, unchanged.
    """

    name: str
    size: int
    dim: int
    grid: int
    low_res: int
    skips: tuple[int, int]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    squash: bool
    fingerprint: str
    sites: Mapping[str, str]
    model: nn.Module

    def encode_image(self, images: Tensor) -> Features:
        """Normalised images (B, 3, size, size) float32 to the image embedding."""

    def encode_prompts(self, prompts: Prompts) -> Tokens:
        """Prompts of the model frame to tokens."""

    def positions(self) -> Tensor:
        """(1, D, H, W) positional encoding of the grid of the image embedding."""

    def decode(self, features: Features, tokens: Tokens) -> Output:
        """All mask tokens, gradients kept."""

    def with_modules(self, modules: Mapping[str, nn.Module]) -> Base:
        """A twin that shares every frozen tensor, with modules of `model` exchanged by name.

        The way an adapter enters the model: the base itself is not touched, so that it and any number of twins
        answer side by side, from several threads too. The number of mask tokens follows the hyper-network MLPs.
        """
