"""Predictor: encode an image once, then predict masks for any number of prompts and adapters.

The interface follows Meta's `SamPredictor`; `adapter=` selects an adapter or, with "base", the unchanged base model.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn import functional as F

from samtailor.bases import load_on
from samtailor.errors import InputError
from samtailor.predict.holding import BASE, HoldsAdapters
from samtailor.predict.inputs import as_prompts
from samtailor.predict.postprocessing import masks_of
from samtailor.predict.pretrained import adapters_of
from samtailor.registry import BUNDLED_BASE
from samtailor.structures import Output, Prompts, way_of

if TYPE_CHECKING:
    from samtailor.cache.embeddings import EmbeddingCache


class Predictor(HoldsAdapters):
    """Predict masks from prompts, one image at a time.

    Args:
        base: frozen base model.
        adapters: name to segmenter (or folder or hub id of an adapter); each must have been built on the same `base`
            object.
        store: embedding cache on disk. Cached embeddings have half precision: predictions differ in the fourth digit.
        precision: of the image encoder, see `EmbeddedImage`.

    Not thread-safe: the image is state. Create one predictor per thread; they may share the base and the adapters.
    """

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
