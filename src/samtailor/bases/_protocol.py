"""The interface of every base model: a frozen promptable model with two intermediate results.

The image encoder gives `Features`, which the cache stores. The prompt encoder gives `Tokens`, which prompt adapters
change. A base is frozen by `requires_grad_(False)`, never by `no_grad`, since gradients must flow through it.
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
        name: the source it was loaded from: a registry name, a hub id, or a local folder.
        size: side of the square model frame, pixels.
        dim: token width D.
        grid: side of the image embedding, cells (H = W).
        low_res: side of the low-resolution logits, cells (h = w).
        skips: channels of the high-resolution features at twice and four times the grid; 0 where there are none.
        mean, std: normalization of RGB in 0..255, three numbers each.
        squash: True when images are resized to the square without keeping their aspect ratio (SAM 2), False when the
            longest side is resized and the rest padded (SAM 1).
        fingerprint: hash of weights and preprocessing; identifies the base in the cache and in saved adapters.
        sites: named places for adapters, each a regular expression over module names of `model`.
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
        """Normalized images (B, 3, size, size) float32 to the image embedding."""

    def encode_prompts(self, prompts: Prompts) -> Tokens:
        """Prompts of the model frame to tokens."""

    def positions(self) -> Tensor:
        """(1, D, H, W) positional encoding of the grid of the image embedding."""

    def decode(self, features: Features, tokens: Tokens, *, fast: bool = False) -> Output:
        """All mask tokens, gradients kept.

        Args:
            features: of B images.
            tokens: of B images with P prompts each.
            fast: use the cheaper order of the decoder's sums where it applies (one prompt per image on a CPU in full
                precision, see `bases.decoder`); the result then differs by rounding. For training.
        """

    def with_modules(self, modules: Mapping[str, nn.Module]) -> Base:
        """A twin that shares every frozen tensor, with modules of `model` exchanged by name.

        This is how an adapter enters the model. The base itself is not changed, so the base and any number of twins
        can be used at the same time, also from several threads. The number of mask tokens follows the number of
        hyper-network MLPs.
        """
