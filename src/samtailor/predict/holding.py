"""The adapters of a predictor, and what they read of the current image."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from samtailor.bases import Base
from samtailor.data.augment import View
from samtailor.errors import InputError
from samtailor.predict.finding import FindsObjects
from samtailor.segmenter import Segmenter
from samtailor.structures import Features

if TYPE_CHECKING:
    from samtailor.cache.embeddings import EmbeddingCache

BASE = "base"
"""Value of `adapter=` that selects the unchanged base model; no adapter may have this name."""


class HoldsAdapters(FindsObjects):
    """The part of `Predictor` that holds adapters, and their embeddings and maps of the current image."""

    def __init__(
        self,
        base: Base,
        adapters: Mapping[str, Segmenter | str | Path] | None = None,
        *,
        store: EmbeddingCache | None = None,
        precision: str = "fp32",
    ) -> None:
        super().__init__(base, store, precision)
        self._segmenters: dict[str, Segmenter] = {}
        for name, adapter in (adapters or {}).items():
            self.add_adapter(name, adapter)

    @property
    def adapters(self) -> tuple[str, ...]:
        """Names of the loaded adapters, in the order in which they were added."""
        return tuple(self._segmenters)

    def add_adapter(self, name: str, adapter: Segmenter | str | Path) -> None:
        """Add an adapter; the current image stays set.

        Args:
            name: value of `adapter=` that selects it; not "base".
            adapter: segmenter, folder, or hub id.

        Raises:
            InputError: the name is reserved or taken, or the segmenter was built on another base object.
            ArtefactError: the folder holds no valid adapter for this base.
        """
        if name == BASE or not name:
            raise InputError(f'An adapter cannot be called {name!r}: adapter="base" selects the unchanged base model.')
        if name in self._segmenters:
            raise InputError(f"There is an adapter {name!r} already; remove_adapter({name!r}) first.")
        if not isinstance(adapter, Segmenter):
            from samtailor import artefact

            adapter = artefact.load(adapter, self.base).segmenter
        if adapter.base is not self.base:
            raise InputError(
                f"The adapter {name!r} was built on another base object. Adapters can share an embedding only if they "
                "share the base: build or load it with this predictor's `base`."
            )
        self._segmenters[name] = adapter.to(self.device).eval()

    def remove_adapter(self, name: str) -> None:
        """Remove an adapter.

        Raises:
            InputError: no adapter of this name.
        """
        self.segmenter(name)
        del self._segmenters[name]
        self._adapter_features.pop(name, None)
        self._regions.pop(name, None)

    def segmenter(self, name: str) -> Segmenter:
        """The segmenter of an adapter.

        Raises:
            InputError: no adapter of this name.
        """
        if name not in self._segmenters:
            known = ", ".join(self._segmenters) or "none"
            raise InputError(f"No adapter is called {name!r}. Loaded: {known}. Add it with add_adapter(name, folder).")
        return self._segmenters[name]

    def selected(self, adapter: str | None) -> str:
        """Name that a value of `adapter=` selects: an adapter or "base".

        Raises:
            InputError: no adapter of this name, or None while several adapters are loaded.
        """
        if adapter == BASE:
            return BASE
        if adapter is not None:
            self.segmenter(adapter)
            return adapter
        if len(self._segmenters) > 1:
            raise InputError(
                f"Several adapters are loaded: {', '.join(self._segmenters)}. Select one with adapter=NAME, or the "
                'unchanged base model with adapter="base".'
            )
        return next(iter(self._segmenters), BASE)

    def view_features(self, view: View, adapter: str | None = None) -> Features:
        """Embedding of a view of the current image, one row; kept with the image and shared by all adapters.

        Args:
            view: of the image.
            adapter: name; the features are made with its companion. None and "base": without.

        Raises:
            InputError: the view is a part of the image, or the adapter has a companion, and only an embedding is set.
        """
        companions = () if adapter in (None, BASE) else self.segmenter(adapter).companions
        return self.with_companions(companions, view)

    @torch.no_grad()
    def features_of(self, adapter: str) -> Features:
        """Embedding that an adapter decodes: the base's, or that of its own encoder (kept) if it adapts the encoder.

        With the maps of the adapter's companion, if it has one.

        Raises:
            InputError: no adapter of this name, or it needs the image itself, and only an embedding is set.
        """
        segmenter = self.segmenter(adapter)
        if segmenter.encoder_frozen:
            return self.with_companions(segmenter.companions)
        if adapter not in self._adapter_features:
            image = self.frame.image(self._pixels(f"The adapter {adapter!r} changes the image encoder"), self.base)
            self._adapter_features[adapter] = segmenter.model.encode_image(image[None].to(self.device))
        return self._adapter_features[adapter]

    @torch.no_grad()
    def region_of(self, adapter: str, prompt_type: str | None) -> Tensor | None:
        """Logits (1, 1, h, w) of the map of an adapter for the current image, kept with it.

        None where the adapter has no map, or prompts of this type do not use it.

        Raises:
            InputError: no adapter of this name, or its companion needs the image itself.
        """
        segmenter = self.segmenter(adapter)
        if not segmenter.maps or not segmenter.uses_map(prompt_type):
            return None
        if adapter not in self._regions:
            region_map: Any = next(iter(segmenter.maps.values()))
            self._regions[adapter] = region_map.logits(self.features_of(adapter))
        return self._regions[adapter]


__all__ = ["BASE", "HoldsAdapters"]
