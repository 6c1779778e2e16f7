"""Predictor: encode an image once, then predict masks for any number of prompts and adapters.

The interface follows Meta's `SamPredictor`; `adapter=` selects an adapter or, with "base", the unchanged base model.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from samtailor.bases import Base, load_on
from samtailor.data.augment import View
from samtailor.errors import InputError
from samtailor.predict.finding import FindsObjects
from samtailor.predict.inputs import as_prompts
from samtailor.predict.postprocessing import masks_of
from samtailor.predict.pretrained import adapters_of
from samtailor.registry import BUNDLED_BASE
from samtailor.segmenter import Segmenter
from samtailor.structures import Features, Output, Prompts, way_of

if TYPE_CHECKING:
    from samtailor.cache.embeddings import EmbeddingCache

BASE = "base"
"""Value of `adapter=` that selects the unchanged base model; no adapter may have this name."""


class Predictor(FindsObjects):
    """Predict masks from prompts, one image at a time.

    Args:
        base: frozen base model.
        adapters: name to segmenter (or folder or hub id of an adapter); each must have been built on the same `base`
            object.
        store: embedding cache on disk. Cached embeddings have half precision: predictions differ in the fourth digit.
        precision: of the image encoder, see `EmbeddedImage`.

    Not thread-safe: the image is state. Create one predictor per thread; they may share the base and the adapters.
    """

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

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path = BUNDLED_BASE,
        adapters: Mapping[str, str | Path] | None = None,
        *,
        device: str | torch.device | None = None,
        store: EmbeddingCache | None = None,
        precision: str = "fp32",
    ) -> Predictor:
        """Load an adapter with its base, or a base with any number of adapters.

        Args:
            source: an adapter (folder that `samtailor fit` wrote, or hub id), whose base is read from its metadata and
                whose name is that of the folder or repository; the folder of a fit with `per_class`, for the adapters
                of its classes; or a base ("lite", hub id, folder, or Meta's
                `sam_vit_*.pth`).
            adapters: name to folder or hub id of further adapters on the same base.
            device: device of the base and the adapters; None selects a GPU if there is one.
            store: embedding cache on disk.
            precision: as above.

        Raises:
            BaseUnavailableError: the base cannot be loaded.
            ArtefactError: an adapter is damaged or belongs to another base.
            InputError: an adapter is called "base", or there is no such device.
        """
        fitted = adapters_of(source, reserved=BASE)
        if not fitted:
            return cls(load_on(source, device), adapters, store=store, precision=precision)
        from samtailor import artefact

        base = load_on(artefact.base_of(next(iter(fitted.values()))), device)
        return cls(base, {**fitted, **(adapters or {})}, store=store, precision=precision)

    @property
    def adapters(self) -> tuple[str, ...]:
        """Names of the loaded adapters, in the order in which they were added."""
        return tuple(self._segmenters)

    def to(self, device: str | torch.device) -> Predictor:
        """Move the base, the adapters and the embeddings of the current image to a device.

        The base is moved in place, so other predictors that share it must be moved as well.

        Raises:
            InputError: there is no such device.
        """
        try:
            self.base.model.to(device)
        except (RuntimeError, AssertionError) as error:
            raise InputError(f"The device {str(device)!r} cannot be used: {str(error).splitlines()[0]}") from error
        for segmenter in self._segmenters.values():
            segmenter.to(self.device)
            segmenter.model.model.to(self.device)
            for companion in segmenter.companions:
                companion.model.to(self.device)
        self._features = None if self._features is None else self._features.to(self.device)
        for kept in (self._adapter_features, self._view_features):
            kept.update({key: features.to(self.device) for key, features in kept.items()})
        self._maps = {key: tuple(one.to(self.device) for one in maps) for key, maps in self._maps.items()}
        self._regions = {name: one.to(self.device) for name, one in self._regions.items()}
        return self

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
    def decode(self, prompts: Prompts, adapter: str | None = None) -> Output:
        """Decode P prompts of the image frame in one pass.

        Args:
            prompts: B = 1.
            adapter: as in `predict`.

        Returns:
            all mask tokens at low resolution, on the predictor's device.
        """
        adapter = self.selected(adapter)
        prompts = self.frame.prompts(prompts).to(self.device)
        if adapter == BASE:
            return self.base.decode(self.features, self.base.encode_prompts(prompts))
        segmenter = self.segmenter(adapter)
        if segmenter.base_answers(prompts):
            return self.base.decode(self.features, self.base.encode_prompts(prompts))
        if prompts.empty and segmenter.maps and not segmenter.inference.tiling.plain:
            return segmenter.predict_tiled(self.frame, lambda view: self.view_features(view, adapter), prompts.shape[1])
        region = self.region_of(adapter, way_of(prompts))
        return segmenter.decode(self.features_of(adapter), prompts, region=region)

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

    @torch.no_grad()
    def predict(
        self,
        point_coords: Any = None,
        point_labels: Any = None,
        box: Any = None,
        mask_input: Any = None,
        multimask_output: bool = True,
        return_logits: bool = False,
        *,
        adapter: str | None = None,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Predict masks for one prompt, as Meta's `SamPredictor.predict`.

        Adapters that were fitted without prompts (BLO-SAM, SAMed) need no prompt.

        Args:
            point_coords: (K, 2) clicks, x then y, pixels of the image.
            point_labels: (K,) 1 for the object, 0 for the background; None: all 1.
            box: (4,) x0, y0, x1, y1, pixels of the image.
            mask_input: (h, w) or (1, h, w) low-resolution logits of an earlier prediction.
            multimask_output: True returns the three candidate masks of an ambiguous prompt. False returns one mask: of
                the base SAM's single-mask token; of an adapter the candidate with the highest predicted IoU, since
                adapters are trained on the candidates.
            return_logits: return logits instead of boolean masks; the mask is where they are above 0, before the
                adapter's postprocessing.
            adapter: name of an adapter, or "base" for the unchanged base model, bit for bit. None selects the only
                loaded adapter, or the base if there is none.

        Returns:
            masks (M, height, width) bool, or float32 with `return_logits`; scores (M,) predicted IoU in about [0, 1];
            low-resolution logits (M, h, w), to be passed as `mask_input` later.

        Raises:
            InputError: no image, no prompt, wrong shapes or types, coordinates outside the image, no adapter of this
                name, or several adapters and no `adapter`.
        """
        adapter = self.selected(adapter)
        promptless = adapter != BASE and self.segmenter(adapter).promptless
        if all(given is None for given in (point_coords, point_labels, box, mask_input)) and not promptless:
            raise InputError("A prompt needs points, a box or a mask; none was given.")
        prompts = as_prompts(point_coords, point_labels, box, mask_input, self.frame)
        output = self.decode(prompts, adapter)
        low, scores = output.candidate_logits()[0, 0], output.candidate_iou()[0, 0]
        if not multimask_output and adapter == BASE:
            low, scores = output.logits[0, 0, :1], output.iou[0, 0, :1]
        elif not multimask_output:
            (scores,), (low,) = output.best_masks()
        if return_logits:
            masks = self.frame.logits(low[None])[0].cpu().numpy()
        else:
            (masks,) = masks_of(self, low[None], prompts, adapter)
        if low.shape[-1] != self.base.low_res:  # tiled inference has more cells than a mask prompt takes
            low = F.adaptive_avg_pool2d(low, self.base.low_res)
        return masks, scores.float().cpu().numpy(), low.float().cpu().numpy()

    def _summary(self) -> dict[str, str]:
        summary = super()._summary()
        return {"base": summary.pop("base"), "adapters": "[" + ", ".join(self._segmenters) + "]", **summary}


__all__ = ["BASE", "Predictor"]
