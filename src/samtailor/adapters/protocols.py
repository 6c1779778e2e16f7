"""What a segmenter expects of its adapters, by the place where they work."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from torch import Tensor, nn

from samtailor.bases import Base
from samtailor.structures import Features, Output, Tokens


class TokenAdapter(Protocol):
    """Changes the encoded prompts before the mask decoder (PLM, a learnt dense prompt)."""

    def __call__(self, tokens: Tokens, features: Features, positions: Tensor, *, fast: bool = False) -> Tokens:
        """Tokens of the same shapes.

        Args:
            tokens: of B images with P prompts each.
            features: of the B images.
            positions: (1, D, H, W) positional encoding of the grid.
            fast: as in `Segmenter.decode`; an adapter without a faster way need not have this argument.
        """


class OutputAdapter(Protocol):
    """Changes the output of the mask decoder (SAM-F, mask calibration)."""

    def __call__(self, output: Output) -> Output:
        """May change the number of masks, then also `candidates`."""


class InsideAdapter(Protocol):
    """Replaces modules of the base model (LoRA, a trained copy of the decoder's tail, bottleneck adapters)."""

    def modules_of(self, base: Base) -> Mapping[str, nn.Module]:
        """Replacements by the name of the module of `base.model`; all of them belong to the adapter."""


class MapAdapter(Protocol):
    """Predicts from the image embedding without a prompt, and changes the masks of prompts (a region map)."""

    def logits(self, features: Features) -> Tensor:
        """Logits of the class, (B, 1, h, w)."""

    def as_output(self, logits: Tensor, features: Features, prompts: int = 1) -> Output:
        """Such logits, of any grid, as the output for P = `prompts` empty prompts, all equal."""

    @property
    def trained_gain(self) -> Tensor:
        """The gain that was trained, one for each mask token."""

    def __call__(self, output: Output, features: Features, gain: float | Tensor | None = None) -> Output:
        """Add the logits of the class, times a gain (None: `trained_gain`), to those of the decoder's masks."""

    def combine(self, output: Output, logits: Tensor, gain: float | Tensor | None = None) -> Output:
        """The same with the logits (B, 1, h, w) of the class at hand."""


__all__ = ["InsideAdapter", "MapAdapter", "OutputAdapter", "TokenAdapter"]
