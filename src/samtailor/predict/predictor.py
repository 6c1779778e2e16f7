"""Predictor: encode an image once, then predict masks for any number of prompts and adapters.

The interface follows Meta's `SamPredictor`; `adapter=` selects an adapter or, with "base", the unchanged base model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from samtailor.bases import Base, load_on
from samtailor.bases.companions import Companion, companion_maps
from samtailor.cache.encoders import encode_image
from samtailor.cache.precision import resolve
from samtailor.data.augment import UNTOUCHED, View
from samtailor.data.transform import Frame
from samtailor.errors import InputError
from samtailor.matchers import DEFAULT as MATCHER
from samtailor.predict.inputs import as_image, as_prompts
from samtailor.predict.pretrained import adapter_folder, adapter_name
from samtailor.registry import BUNDLED_BASE
from samtailor.segmenter import Segmenter
from samtailor.structures import Features, Output, Prompts, Sample

if TYPE_CHECKING:
    from samtailor.cache.embeddings import EmbeddingCache
    from samtailor.predict.find import Finder, FoundObject
    from samtailor.predict.references import Reference

BASE = "base"
"""Value of `adapter=` that selects the unchanged base model; no adapter may have this name."""


class Predictor:
    """Predict masks from prompts, one image at a time.

    Args:
        base: frozen base model.
        adapters: name to segmenter (or folder or hub id of an adapter); each must have been built on the same `base`
            object.
        store: embedding cache on disk; a cached image is not encoded again. Cached embeddings have half precision, so
            that predictions differ from those without a cache in about the fourth digit.
        precision: of the image encoder: "fp32", "bf16", "fp16", or "auto" for the fastest one of this machine that does
            not change masks (`cache.precision`). A store has its own.

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
        self.base, self.precision = base, resolve(base, precision)
        self._store = store
        self._segmenters: dict[str, Segmenter] = {}
        self._features: Features | None = None
        self._adapter_features: dict[str, Features] = {}
        self._view_features: dict[str, Features] = {}
        self._maps: dict[tuple[str, str], tuple[Tensor, ...]] = {}  # by companion and view
        self._image: Callable[[], np.ndarray] | None = None
        self._sample: Sample | None = None
        self._frame: Frame | None = None
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
                whose name is that of the folder or repository; or a base ("lite", hub id, folder, or Meta's
                `sam_vit_*.pth`).
            adapters: name to folder or hub id of further adapters on the same base.
            device: device of the base and the adapters; None selects a GPU if there is one.
            store: embedding cache on disk.
            precision: of the image encoder, as above.

        Raises:
            BaseUnavailableError: the base cannot be loaded.
            ArtefactError: an adapter is damaged or belongs to another base.
            InputError: an adapter is called "base", or there is no such device.
        """
        folder = adapter_folder(source)
        if folder is None:
            return cls(load_on(source, device), adapters, store=store, precision=precision)
        from samtailor import artefact

        base = load_on(artefact.read_meta(folder).base.name, device)
        named = {adapter_name(source, reserved=BASE): folder, **(adapters or {})}
        return cls(base, named, store=store, precision=precision)

    @property
    def adapters(self) -> tuple[str, ...]:
        """Names of the loaded adapters, in the order in which they were added."""
        return tuple(self._segmenters)

    @property
    def device(self) -> torch.device:
        """Device of the base."""
        return next(self.base.model.parameters()).device

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
        self._adapter_features, self._view_features, self._maps = {}, {}, {}
        self._image, self._sample = image, None

    def reset_image(self) -> None:
        """Drop the current image."""
        self._features = self._frame = self._image = self._sample = None
        self._adapter_features, self._view_features, self._maps = {}, {}, {}

    @property
    def features(self) -> Features:
        """Embedding of the current image, one row, float32.

        Raises:
            InputError: no image is set.
        """
        if self._features is None:
            raise InputError("No image is set. Call set_image(image) first.")
        return self._features

    @property
    def frame(self) -> Frame:
        """Geometry of the current image.

        Raises:
            InputError: no image is set.
        """
        if self._frame is None:
            raise InputError("No image is set. Call set_image(image) first.")
        return self._frame

    @property
    def image(self) -> np.ndarray:
        """The current image, uint8 RGB (height, width, 3), read again.

        Raises:
            InputError: no image is set, or only its embedding.
        """
        return self._pixels("Only the embedding of the image is available")

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
        return segmenter.decode(self.features_of(adapter), prompts)

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
            return_logits: return logits instead of boolean masks; the mask is where they are above 0.
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
        full = self.frame.logits(low[None])[0].cpu()
        if low.shape[-1] != self.base.low_res:  # tiled inference has more cells than a mask prompt takes
            low = F.adaptive_avg_pool2d(low, self.base.low_res)
        masks = full.numpy() if return_logits else (full > 0).numpy()
        return masks, scores.float().cpu().numpy(), low.float().cpu().numpy()

    def finder(
        self,
        like: Reference | Sequence[Reference],
        not_like: Reference | Sequence[Reference] = (),
        *,
        matcher: str = MATCHER,
        threshold: float | None = None,
        label: str = "object",
        **options: Any,
    ) -> Finder:
        """Read references once, to find similar objects in many images with `find`.

        Args:
            like: what to find: images with masks, boxes or clicks.
            not_like: what not to find.
            matcher: "multiscale", "persam", "persam-f", or a plug-in.
            threshold: lowest score, in [0, 1]; None: calibrated on the references.
            label: class of what is found.
            **options: of the matcher.

        Raises:
            InputError: no reference, a reference that marks nothing, an unknown matcher or option, or a wrong
                threshold.
            DataError: a file that cannot be read, or a mask that does not fit its image.
        """
        from samtailor.predict.find import Finder

        return Finder.of(
            lambda: Predictor(self.base, store=self._store), like, not_like,
            matcher=matcher, settings=options, threshold=threshold, label=label,
        )  # fmt: skip

    def find(
        self,
        like: Finder | Reference | Sequence[Reference],
        not_like: Reference | Sequence[Reference] = (),
        **options: Any,
    ) -> list[FoundObject]:
        """Find objects of the current image that resemble references, by the base and without a fit.

        Args:
            like: what to find: references, or a `finder`, which has read them already.
            not_like: what not to find; not together with a finder.
            **options: as of `finder`; not together with a finder.

        Returns:
            objects with mask and score, each once, sorted by falling score; none where nothing is alike.

        Raises:
            InputError: no image is set, or as `finder`.
            DataError: as `finder`.

        Example:
            ```python
            from samtailor import Predictor, Reference

            predictor = Predictor.from_pretrained()
            predictor.set_image("street.jpg")
            for one in predictor.find(Reference("photo.jpg", mask="mask.png")):
                print(one.score, one.box)
            ```
        """
        from samtailor.predict.find import Finder

        self.frame  # noqa: B018 - raises when there is no image
        if not isinstance(like, Finder):
            like = self.finder(like, not_like, **options)
        elif not_like or options:
            raise InputError("A finder has read its references already: give not_like and options to `finder`.")
        with torch.no_grad():
            return like.objects(self)

    def __repr__(self) -> str:
        return f"Predictor({', '.join(f'{name}={value}' for name, value in self._summary().items())})"

    def _repr_html_(self) -> str:
        rows = (f"<tr><th>{name}</th><td>{escape(value)}</td></tr>" for name, value in self._summary().items())
        return f"<table><caption>samtailor Predictor</caption>{''.join(rows)}</table>"

    def _summary(self) -> dict[str, str]:
        size = "none" if self._frame is None else f"{self._frame.width}x{self._frame.height} px"
        return {
            "base": self.base.name,
            "adapters": "[" + ", ".join(self._segmenters) + "]",
            "device": str(self.device),
            "image": size,
        }

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


__all__ = ["BASE", "Predictor"]
