"""An image with the embeddings of its views, all on one base."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from samtailor.bases import Base
from samtailor.bases.companions import Companion, companion_maps
from samtailor.cache.encoders import encode_image
from samtailor.cache.precision import resolve
from samtailor.data.augment import UNTOUCHED, View
from samtailor.data.transform import Frame
from samtailor.errors import InputError
from samtailor.predict.inputs import as_image
from samtailor.structures import Features, Sample

if TYPE_CHECKING:
    from samtailor.cache.embeddings import EmbeddingCache

T = TypeVar("T")


class EmbeddedImage:
    """The current image: set once, encoded once, and its views when they are needed.

    Args:
        base: frozen base model.
        store: embedding cache on disk.
        precision: of the image encoder: "fp32", "bf16", "fp16", or "auto" (`cache.precision`). A store has its own.
    """

    def __init__(self, base: Base, store: EmbeddingCache | None = None, precision: str = "fp32") -> None:
        self.base, self.precision = base, resolve(base, precision)
        self._store = store
        self._features: Features | None = None
        self._adapter_features: dict[str, Features] = {}
        self._view_features: dict[str, Features] = {}
        self._maps: dict[tuple[str, str], tuple[Tensor, ...]] = {}  # by companion and view
        self._regions: dict[str, Tensor] = {}  # logits of the maps of adapters
        self._image: Callable[[], np.ndarray] | None = None
        self._sample: Sample | None = None
        self._frame: Frame | None = None

    @property
    def device(self) -> torch.device:
        """Device of the base."""
        return next(self.base.model.parameters()).device

    @torch.no_grad()
    def set_image(self, image: np.ndarray | Image.Image | str | Path, image_format: str = "RGB") -> None:
        """Encode an image. This is the expensive step; every prediction on the image reuses its embedding.

        Args:
            image: uint8 array (height, width, 3), a Pillow image, or a path. Files and Pillow images may be gray,
                palette or transparent (composited over white), and their EXIF rotation is applied.
            image_format: channel order of an array, "RGB" or "BGR" (OpenCV); Pillow images and files have their own.

        Raises:
            InputError: an array of another shape or dtype, or an unknown format.
            DataError: a file that is not an image.
        """
        pixels = as_image(image, image_format)
        self.set_features(self._encode(pixels), *pixels.shape[:2], image=lambda: pixels)

    @torch.no_grad()
    def set_sample(self, sample: Sample) -> None:
        """Set the image of a data set's sample; with a cache that has its embedding, the image is not read."""
        features = self._encode(sample.image) if self._store is None else self._store.features(self.base, sample)
        self.set_features(features, *sample.size, image=lambda: sample.image)
        self._sample = sample

    def set_features(
        self, features: Features, height: int, width: int, *, image: Callable[[], np.ndarray] | None = None
    ) -> None:
        """Set an image by its embedding.

        Args:
            features: embedding of one image, one row. Maps of companions that it holds are used; others are computed
                when an adapter needs them.
            height, width: of the image, pixels.
            image: returns the image, uint8 RGB. Adapters inside the image encoder, companions and tiled inference need
                it.

        Raises:
            InputError: more or less than one row.
        """
        if len(features) != 1:
            raise InputError(f"A predictor holds one image: expected features of one row, got {len(features)}.")
        self._frame = Frame.of(self.base, height, width)
        self._features = features.to(self.device, torch.float32)
        self._adapter_features, self._view_features, self._maps, self._regions = {}, {}, {}, {}
        self._image, self._sample = image, None

    def reset_image(self) -> None:
        """Drop the current image."""
        self._features = self._frame = self._image = self._sample = None
        self._adapter_features, self._view_features, self._maps, self._regions = {}, {}, {}, {}

    @property
    def features(self) -> Features:
        """Embedding of the current image, one row, float32.

        Raises:
            InputError: no image is set.
        """
        return _of_current_image(self._features)

    @property
    def frame(self) -> Frame:
        """Geometry of the current image.

        Raises:
            InputError: no image is set.
        """
        return _of_current_image(self._frame)

    @property
    def image(self) -> np.ndarray:
        """The current image, uint8 RGB (height, width, 3), read again.

        Raises:
            InputError: no image is set, or only its embedding.
        """
        return self._pixels("Only the embedding of the image is available")

    @torch.no_grad()
    def with_companions(self, companions: Sequence[Companion], view: View = UNTOUCHED) -> Features:
        """Embedding of a view of the current image with the maps of some companions, which are kept with the image.

        Raises:
            InputError: the image itself is needed, and only an embedding is set.
        """
        features = self.features if view.untouched else self._of_view(view)
        missing = [one for one in companions if one.fingerprint not in features.companions]
        if not missing:
            return features
        maps = {one.fingerprint: self._companion_maps(one, view) for one in missing}
        return replace(features, companions={**features.companions, **maps})

    def _companion_maps(self, companion: Companion, view: View) -> tuple[Tensor, ...]:
        key = (companion.fingerprint, view.key)
        if key not in self._maps:
            reason = f"The companion {companion.name!r} needs the image itself"
            if self._store is not None and self._sample is not None:
                maps = self._store.maps(companion, self.base, [self._sample], [view])
            elif self._store is not None:
                maps = self._store.maps(companion, self.base, [self._pixels(reason)], [view])
            else:
                shown = view.image(self._pixels(reason))
                image = Frame.of(self.base, *shown.shape[:2]).image(shown, self.base)
                maps = companion_maps(companion, self.base, image[None].to(self.device))
            self._maps[key] = tuple(one.to(self.device, torch.float32) for one in maps)
        return self._maps[key]

    @torch.no_grad()
    def _of_view(self, view: View) -> Features:
        if view.key not in self._view_features:
            if self._store is not None and self._sample is not None:
                features = self._store.features(self.base, [self._sample], [view])
            else:
                features = self._encode(view.image(self._pixels("Tiled inference needs the image itself")))
            self._view_features[view.key] = features.to(self.device, torch.float32)
        return self._view_features[view.key]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value}' for name, value in self._summary().items())})"

    def _repr_html_(self) -> str:
        rows = (f"<tr><th>{name}</th><td>{escape(value)}</td></tr>" for name, value in self._summary().items())
        return f"<table><caption>samtailor {type(self).__name__}</caption>{''.join(rows)}</table>"

    def _summary(self) -> dict[str, str]:
        size = "none" if self._frame is None else f"{self._frame.width}x{self._frame.height} px"
        return {"base": self.base.name, "device": str(self.device), "image": size}

    def _pixels(self, reason: str) -> np.ndarray:
        self.frame  # noqa: B018 - raises when there is no image
        if self._image is None:
            raise InputError(f"{reason}: set the image, not its features.")
        return self._image()

    def _encode(self, pixels: np.ndarray) -> Features:
        if self._store is not None:
            return self._store.features(self.base, pixels)
        image = Frame.of(self.base, *pixels.shape[:2]).image(pixels, self.base)
        return encode_image(self.base, image[None].to(self.device), self.precision)


def _of_current_image(value: T | None) -> T:
    if value is None:
        raise InputError("No image is set. Call set_image(image) first.")
    return value


__all__ = ["EmbeddedImage"]
