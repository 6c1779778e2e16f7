"""Embeddings of images."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from samtailor.errors import InputError
from samtailor.structures._checked import expect

if TYPE_CHECKING:  # importing torch takes seconds, and data handling does not need it
    from torch import Tensor


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
        expect("image embedding", self.main, (None, None, None, None))

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


__all__ = ["Features"]
