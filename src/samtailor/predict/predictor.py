"""Predictor: set an image once, ask many times, with any number of adapters on the one image embedding.

Works as Meta's `SamPredictor`; `adapter=` chooses who answers, None the untouched base.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from torch.nn import functional as F

from samtailor.bases import Base, load_on
from samtailor.data.augment import View
from samtailor.data.transform import Frame
from samtailor.errors import InputError
from samtailor.predict.inputs import as_image, as_prompts
from samtailor.segmenter import Segmenter
from samtailor.structures import Features, Output, Prompts, Sample

if TYPE_CHECKING:
    from samtailor.cache.embeddings import EmbeddingCache


class Predictor:
    """Masks from prompts on one image at a time.

    Args:
        base: frozen base model.
        adapters: name to segmenter; each must have been built on the same `base` object.
        store: embeddings on disk; an image seen before is not encoded again. Kept in half precision there, so
            answers differ from those without a store in the fourth digit.

    Not safe for several threads: the image is state. Make one predictor a thread; they may share the base.
    """

    def __init__(
        self, base: Base, adapters: Mapping[str, Segmenter] | None = None, *, store: EmbeddingCache | None = None
    ) -> None:
        self.base = base
        self._store = store
        self._segmenters: dict[str, Segmenter] = {}
        self._features: Features | None = None
        self._own: dict[str, Features] = {}
        self._views: dict[str, Features] = {}
        self._image: Callable[[], np.ndarray] | None = None
        self._sample: Sample | None = None
        self._frame: Frame | None = None
        for name, segmenter in (adapters or {}).items():
            self.add_adapter(name, segmenter)

    @classmethod
    def from_pretrained(
        cls,
        base: str | Path = "nano",
        adapters: Mapping[str, str | Path] | None = None,
        *,
        device: str | torch.device | None = None,
        store: EmbeddingCache | None = None,
    ) -> Predictor:
        """Load a base and adapters from disk or hub.

        Args:
            base: "nano", a hub id, a folder, or Meta's `sam_vit_*.pth`.
            adapters: name to folder (or hub id) of an adapter that `samtailor fit` wrote.
            device: where to compute; None takes a GPU where there is one.

        Raises:
            BaseUnavailableError: the base cannot be had.
            ArtefactError: an adapter is damaged or belongs to another base.
        """
        predictor = cls(load_on(base, device), store=store)
        for name, folder in (adapters or {}).items():
            predictor.add_adapter(name, folder)
        return predictor

    @property
    def adapters(self) -> tuple[str, ...]:
        """Names that `adapter=` takes, in the order they were added."""
        return tuple(self._segmenters)

    @property
    def device(self) -> torch.device:
        """Where the base computes."""
        return next(self.base.model.parameters()).device

    def add_adapter(self, name: str, adapter: Segmenter | str | Path) -> None:
        """Plug an adapter in, as a segmenter or from its folder; the image that is set stays set.

        Raises:
            InputError: the name is taken, or the segmenter stands on another base object.
            ArtefactError: the folder holds no sound adapter for this base.
        """
        if name in self._segmenters:
            raise InputError(f"There is an adapter {name!r} already; remove_adapter({name!r}) first.")
        if not isinstance(adapter, Segmenter):
            from samtailor import artefact

            adapter = artefact.load(adapter, self.base).segmenter
        if adapter.base is not self.base:
            raise InputError(
                f"The adapter {name!r} was built on another base object. Adapters share one embedding only when they "
                "share the base: build or load it with this predictor's `base`."
            )
        self._segmenters[name] = adapter.to(self.device).eval()

    def remove_adapter(self, name: str) -> None:
        """Take an adapter out; an unknown name is an InputError."""
        self.segmenter(name)
        del self._segmenters[name]
        self._own.pop(name, None)

    def segmenter(self, name: str) -> Segmenter:
        """The segmenter of an adapter's name; an unknown name is an InputError."""
        if name not in self._segmenters:
            known = ", ".join(self._segmenters) or "none"
            raise InputError(f"No adapter is called {name!r}. Loaded: {known}. Add it with add_adapter(name, folder).")
        return self._segmenters[name]

    @torch.no_grad()
    def set_image(self, image: np.ndarray | Image.Image | str | Path) -> None:
        """Encode an image: the one expensive step, done once whatever is asked after.

        Args:
            image: uint8 RGB array (height, width, 3), a Pillow image, or a path. Files and Pillow images may be
                grey, palette or transparent (laid over white) and have their EXIF rotation applied.

        Raises:
            InputError: an array of another shape or dtype.
            DataError: a file that is not an image.
        """
        pixels = as_image(image)
        self.set_features(self._encode(pixels), *pixels.shape[:2], image=lambda: pixels)

    @torch.no_grad()
    def set_sample(self, sample: Sample) -> None:
        """Set the image of a data set's sample; with a store, one seen before is not even read."""
        features = self._encode(sample.image) if self._store is None else self._store.features(self.base, sample)
        self.set_features(features, *sample.size, image=lambda: sample.image)
        self._sample = sample

    def set_features(
        self, features: Features, height: int, width: int, *, image: Callable[[], np.ndarray] | None = None
    ) -> None:
        """Set an image by its embedding (one row) and its size in pixels.

        Args:
            features: the embedding.
            height, width: of the image.
            image: reads it, uint8 RGB, for adapters inside the image encoder and for closer looks; without it
                they cannot answer.
        """
        if len(features) != 1:
            raise InputError(f"A predictor holds one image: expected features of one row, got {len(features)}.")
        self._frame = Frame.of(self.base, height, width)
        self._features = features.to(self.device, torch.float32)
        self._own, self._views, self._image, self._sample = {}, {}, image, None

    def reset_image(self) -> None:
        """Forget the image."""
        self._features = self._frame = self._image = self._sample = None
        self._own, self._views = {}, {}

    @property
    def features(self) -> Features:
        """Image embedding of the image, one row, float32."""
        self.frame  # noqa: B018 - raises when there is no image
        return self._features

    @property
    def frame(self) -> Frame:
        """Geometry of the image; an InputError when none is set."""
        if self._frame is None:
            raise InputError("No image is set. Call set_image(image) first.")
        return self._frame

    @torch.no_grad()
    def decode(self, prompts: Prompts, adapter: str | None = None) -> Output:
        """Answer P prompts of the image frame at once (B = 1), all mask tokens, on the predictor's device."""
        prompts = self.frame.prompts(prompts).to(self.device)
        if adapter is None:
            return self.base.decode(self.features, self.base.encode_prompts(prompts))
        segmenter = self.segmenter(adapter)
        if prompts.empty and segmenter.maps and not segmenter.inference.tiling.plain:
            return segmenter.predict_tiled(self.frame, self.seen, prompts.shape[1])
        return segmenter.decode(self.features_of(adapter), prompts)

    @torch.no_grad()
    def seen(self, view: View) -> Features:
        """The embedding of a view of the image that is set, one row; kept with the image, common to all adapters.

        Raises:
            InputError: the view is closer than the whole image, and only an embedding is set.
        """
        if view.untouched:
            return self.features
        if view.key not in self._views:
            if self._store is not None and self._sample is not None:
                found = self._store.features(self.base, [self._sample], [view])
            else:
                found = self._encode(view.image(self._pixels("The adapter looks closer than the embedding shows")))
            self._views[view.key] = found.to(self.device, torch.float32)
        return self._views[view.key]

    @torch.no_grad()
    def features_of(self, adapter: str) -> Features:
        """The embedding an adapter answers on: the common one, or its own where it adapts the encoder (kept).

        Raises:
            InputError: it adapts the encoder, and only an embedding is set.
        """
        segmenter = self.segmenter(adapter)
        if segmenter.encoder_frozen:
            return self.features
        if adapter not in self._own:
            image = self.frame.image(self._pixels(f"The adapter {adapter!r} changes the image encoder"), self.base)
            self._own[adapter] = segmenter.model.encode_image(image[None].to(self.device))
        return self._own[adapter]

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
        """Masks for one prompt, as Meta's `SamPredictor.predict`.

        Nothing may be given where the adapter is asked without prompts (BLO-SAM, SAMed).

        Args:
            point_coords: (K, 2) clicks, x then y, pixels of the image.
            point_labels: (K,) 1 object, 0 not the object; None: all 1.
            box: (4,) x0, y0, x1, y1, pixels of the image.
            mask_input: (h, w) or (1, h, w) low-resolution logits of an earlier answer.
            multimask_output: True gives the three masks of an ambiguous prompt. False gives one: of the base SAM's
                single-mask token; of an adapter the mask with the highest score, since adapters learn those three.
            return_logits: give logits instead of boolean masks; an object is where they are above 0.
            adapter: who answers; None is the base, exactly as without samtailor.

        Returns:
            masks (M, height, width) bool, or float32 with `return_logits`; scores (M,) predicted IoU; low-resolution
            logits (M, h, w), to be given back as `mask_input`.

        Raises:
            InputError: no image, no prompt, wrong shapes or types, coordinates outside the image.
        """
        promptless = adapter is not None and self.segmenter(adapter).promptless
        if all(given is None for given in (point_coords, point_labels, box, mask_input)) and not promptless:
            raise InputError("A prompt needs points, a box or a mask; none was given.")
        prompts = as_prompts(point_coords, point_labels, box, mask_input, self.frame)
        output = self.decode(prompts, adapter)
        low, scores = output.candidate_logits()[0, 0], output.candidate_iou()[0, 0]
        if not multimask_output and adapter is None:
            low, scores = output.logits[0, 0, :1], output.iou[0, 0, :1]
        elif not multimask_output:
            best = scores.argmax()
            low, scores = low[best][None], scores[best][None]
        full = self.frame.logits(low[None])[0].cpu()
        if low.shape[-1] != self.base.low_res:  # closer looks have more cells than a mask prompt takes
            low = F.adaptive_avg_pool2d(low, self.base.low_res)
        masks = full.numpy() if return_logits else (full > 0).numpy()
        return masks, scores.float().cpu().numpy(), low.float().cpu().numpy()

    @property
    def image(self) -> np.ndarray:
        """The image that is set, uint8 RGB, read again; an InputError where only an embedding is."""
        return self._pixels("Only the embedding of the image is known")

    def _pixels(self, why: str) -> np.ndarray:
        self.frame  # noqa: B018 - raises when there is no image
        if self._image is None:
            raise InputError(f"{why}: set the image, not its features.")
        return self._image()

    def _encode(self, pixels: np.ndarray) -> Features:
        if self._store is not None:
            return self._store.features(self.base, pixels)
        image = Frame.of(self.base, *pixels.shape[:2]).image(pixels, self.base)
        return self.base.encode_image(image[None].to(self.device))


__all__ = ["Predictor"]
