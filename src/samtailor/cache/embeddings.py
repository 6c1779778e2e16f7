"""Image embeddings on disk: content-addressed, crash-safe, bounded, shared by training, evaluation and prediction.

The base is frozen, so each image is encoded once. An entry is one safetensors file (half precision, one tensor per
level, checksum in its header) of a `CacheFolder`, named by the SHA-256 of pixels, base fingerprint and view. The maps
of a companion have their own entry, named by its fingerprint too, so that adapters with and without a companion share
the embedding. Missing or damaged entries are recomputed.

Results do not depend on the state of the cache: new embeddings are rounded to half precision too. On the CPU images
are encoded one at a time, so an embedding does not depend on the rest of its batch. On an accelerator another batch
size may change the last bit. SAM 2's neck is summed in the cheaper order of `bases/encoder.py`, whose difference to
the original is far below half precision.
"""

from __future__ import annotations

import logging
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from weakref import WeakKeyDictionary

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from samtailor.bases import Base
from samtailor.bases.companions import Companion, companion_maps
from samtailor.bases.encoder import fast_encoder
from samtailor.cache.bounded import BoundedCache
from samtailor.cache.digests import MEMO, SCHEMA, ImageLike, PixelDigests
from samtailor.cache.folder import CacheFolder, default_root, touch
from samtailor.data.augment import UNTOUCHED, View
from samtailor.data.transform import Frame
from samtailor.errors import InputError, counted
from samtailor.structures import Features, Sample

_log = logging.getLogger("samtailor.cache.embeddings")
_encoders: WeakKeyDictionary[Base, tuple[torch.device, Base | None]] = WeakKeyDictionary()


class EmbeddingCache:
    """Image embeddings of base models, computed on first use.

    Args:
        root: folder, created when first written to; None for `default_root()`. If the folder is not writable, warn
            once and recompute embeddings.
        max_bytes: the least recently used entries are removed when the folder grows beyond this size.
        batch: images per encoder pass; None is 1 on the CPU and 8 elsewhere.
    """

    def __init__(
        self, root: str | Path | None = None, *, max_bytes: int = 20 * 2**30, batch: int | None = None
    ) -> None:
        self.root = Path(root) if root is not None else default_root()
        self.max_bytes = max_bytes
        self._batch = batch
        self._folder = CacheFolder(self.root, max_bytes)
        self._digests = PixelDigests(self._folder)
        self._checked: BoundedCache[str, None] = BoundedCache(MEMO, lru=False)

    def features(
        self,
        base: Base,
        images: ImageLike | Sequence[ImageLike],
        views: Sequence[View] | None = None,
        companions: Sequence[Companion] = (),
    ) -> Features:
        """Embeddings of B images: float32 on the CPU, (B, D, H, W) and skips, without gradients.

        Args:
            base: the base model, on any device.
            images: samples or uint8 RGB arrays (height, width, 3), also mixed; a single one is a batch of one.
            views: one view per image; None for the untransformed images.
            companions: whose maps the features get (`Features.companions`).

        Raises:
            InputError: something is not an image, or the encoder returns infinity or NaN.
        """
        jobs = _jobs(images, views)
        main, *skips = self._levels(_BaseEncoder(base), jobs)
        return Features(main, tuple(skips), {one.fingerprint: self._maps(one, base, jobs) for one in companions})

    def maps(
        self,
        companion: Companion,
        base: Base,
        images: ImageLike | Sequence[ImageLike],
        views: Sequence[View] | None = None,
    ) -> tuple[Tensor, ...]:
        """Maps of a companion alone, as in `Features.companions`; arguments and errors as in `features`."""
        return self._maps(companion, base, _jobs(images, views))

    def prepare(
        self,
        base: Base,
        images: Sequence[ImageLike],
        views: Sequence[View] | None = None,
        companions: Sequence[Companion] = (),
        *,
        progress: Callable[[int, int], None] | None = None,
    ) -> int:
        """Compute missing embeddings without reading existing ones; returns the number computed.

        Args:
            base: the base model.
            images, views, companions: as in `features`.
            progress: called with (done, total) after each image.
        """
        encoders: list[Encoder] = [_BaseEncoder(base), *(_CompanionEncoder(one, base) for one in companions)]
        jobs, size, made, warned = _jobs(images, views), self._batch_size(base), 0, False
        waiting: dict[Encoder, list[Job]] = {encoder: [] for encoder in encoders}
        for done, job in enumerate(jobs, 1):
            absent = [encoder for encoder in encoders if not self._path(encoder, *job).exists()]
            made += bool(absent)
            for encoder in absent:
                waiting[encoder].append(job)
            full = [e for e, listed in waiting.items() if len(listed) == size or (listed and done == len(jobs))]
            for encoder in full:
                rows = self._make(encoder, waiting[encoder])
                if not warned:
                    self._warn_if_too_small(rows[0], len(jobs))
                warned, waiting[encoder] = True, []
            if progress is not None:
                progress(done, len(jobs))
        return made

    def _maps(self, companion: Companion, base: Base, jobs: Sequence[Job]) -> tuple[Tensor, ...]:
        return tuple(self._levels(_CompanionEncoder(companion, base), jobs))

    def _levels(self, encoder: Encoder, jobs: Sequence[Job]) -> list[Tensor]:
        """The levels of an encoder for all jobs, float32."""
        rows = [self._read(self._path(encoder, *job), encoder) for job in jobs]
        missing = [i for i, row in enumerate(rows) if row is None]
        size = self._batch_size(encoder.base)
        for start in range(0, len(missing), size):
            part = missing[start : start + size]
            for i, row in zip(part, self._make(encoder, [jobs[i] for i in part]), strict=True):
                rows[i] = row
        levels = zip(*(row for row in rows if row is not None), strict=True)
        return [torch.stack(level).float() for level in levels]

    def _path(self, encoder: Encoder, image: ImageLike, view: View) -> Path:
        key = f"{SCHEMA}\0{self._digests.of(image)}\0{encoder.key}\0{view.key}"
        return self._folder.place(key, ".safetensors")

    def _read(self, path: Path, encoder: Encoder) -> list[Tensor] | None:
        """The levels of an entry in half precision, memory-mapped; None if it must be computed."""
        try:
            with safe_open(path, framework="pt") as entry:
                tensors = [entry.get_tensor(name) for name in _level_names(entry.keys())]
                checksum = (entry.metadata() or {}).get("crc32")
            if tensors[0].shape != encoder.shape:
                raise SafetensorError(f"unexpected shapes {[tuple(tensor.shape) for tensor in tensors]}")
            if path.name not in self._checked:
                if checksum != _checksum(tensors):
                    raise SafetensorError("checksum differs")
                self._checked.put(path.name, None)
        except FileNotFoundError:
            return None
        except (SafetensorError, OSError, ValueError) as error:
            _log.warning("The cached embedding %s is damaged (%s) and will be recomputed.", path, error)
            return None
        touch(path)
        return tensors

    def _make(self, encoder: Encoder, jobs: Sequence[Job]) -> list[list[Tensor]]:
        levels = _encode(encoder, [view.image(_pixels(image)) for image, view in jobs])
        rows = [[level[i] for level in levels] for i in range(len(jobs))]
        for job, row in zip(jobs, rows, strict=True):
            names = ("main", *(f"skip{i}" for i in range(len(row) - 1)))
            tensors = {name: tensor.contiguous() for name, tensor in zip(names, row, strict=True)}
            metadata = {"crc32": _checksum(list(tensors.values())), "base": encoder.base.fingerprint}
            path = self._path(encoder, *job)
            self._folder.write(path, partial(save_file, tensors, metadata=metadata))
            self._checked.discard(path.name)
        return rows

    def _batch_size(self, base: Base) -> int:
        return self._batch or (1 if _device(base).type == "cpu" else 8)

    def _warn_if_too_small(self, row: Sequence[Tensor], count: int) -> None:
        needed = count * sum(t.numel() * t.element_size() for t in row)
        if needed > self.max_bytes:
            _log.warning(
                "%s need %.1f GB, but the cache is limited to %.1f GB: images will be encoded repeatedly. "
                "Raise the limit or use fewer views.",
                counted(count, "embedding"),
                needed / 1e9,
                self.max_bytes / 1e9,
            )


@dataclass(frozen=True)
class _BaseEncoder:
    """The encoder of a base: the embedding, then the high-resolution features."""

    base: Base

    @property
    def key(self) -> str:
        return self.base.fingerprint

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the first level, without the batch axis."""
        return self.base.dim, self.base.grid, self.base.grid

    @property
    def failure(self) -> str:
        return "The image encoder"

    def __call__(self, frames: Tensor) -> Sequence[Tensor]:
        made = _encoder(self.base).encode_image(frames)
        return made.main, *made.skips


@dataclass(frozen=True)
class _CompanionEncoder:
    """A companion on the frame of a base: its maps."""

    companion: Companion
    base: Base

    @property
    def key(self) -> str:
        base = self.base  # its frame, not its weights
        return f"{self.companion.fingerprint}\0{base.size} {base.squash} {base.mean} {base.std}"

    @property
    def shape(self) -> tuple[int, ...]:
        side = self.companion.sides[0]
        return self.companion.channels[0], side, side

    @property
    def failure(self) -> str:
        return f"The companion {self.companion.name!r}"

    def __call__(self, frames: Tensor) -> Sequence[Tensor]:
        return companion_maps(self.companion, self.base, frames)


Encoder = _BaseEncoder | _CompanionEncoder
Job = tuple[ImageLike, View]


def _jobs(images: ImageLike | Sequence[ImageLike], views: Sequence[View] | None) -> list[Job]:
    listed = [images] if isinstance(images, Sample | np.ndarray) else list(images)
    chosen = [UNTOUCHED] * len(listed) if views is None else list(views)
    if len(chosen) != len(listed) or not listed:
        raise InputError(f"Expected at least one image and one view per image, got {len(listed)} and {len(chosen)}.")
    return list(zip(listed, chosen, strict=True))


def _pixels(image: ImageLike) -> np.ndarray:
    return image if isinstance(image, np.ndarray) else image.image


def _encode(encoder: Encoder, images: Sequence[np.ndarray]) -> list[Tensor]:
    """Levels in half precision on the CPU, each with B rows."""
    base = encoder.base
    frames = [Frame.of(base, *image.shape[:2]).image(image, base) for image in images]
    with torch.inference_mode():
        made = [level.to("cpu", torch.float16) for level in encoder(torch.stack(frames).to(_device(base)))]
    levels = [level.clone() for level in made]  # inference tensors cannot enter autograd
    if not all(torch.isfinite(level).all() for level in levels):
        raise InputError(f"{encoder.failure} returned infinity or NaN (in half precision). Its weights are not usable.")
    return levels


def _encoder(base: Base) -> Base:
    """The encoder of a base, prepared once per device and kept as long as the base."""
    device, cached = _device(base), _encoders.get(base)
    if cached is None or cached[0] != device:
        with torch.inference_mode(False):
            made = fast_encoder(base)
        # a value that refers to its own key would never be released
        cached = _encoders[base] = device, None if made is base else made
    return base if cached[1] is None else cached[1]


def _device(base: Base) -> torch.device:
    return next(base.model.parameters()).device


def _checksum(tensors: Sequence[Tensor]) -> str:
    value = 0
    for tensor in tensors:
        value = zlib.crc32(tensor.contiguous().numpy().data, value)
    return f"{value:08x}"


def _level_names(names: Sequence[str]) -> list[str]:
    """ "main", then the other levels in order."""
    return ["main", *sorted((name for name in names if name.startswith("skip")), key=lambda name: int(name[4:]))]


__all__ = ["EmbeddingCache", "ImageLike"]
