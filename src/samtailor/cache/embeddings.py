"""Image embeddings on disk: content-addressed, crash-safe, bounded, shared by training, evaluation and prediction.

The base is frozen, so each image is encoded once. An entry is one safetensors file (half precision, one tensor per
level, checksum in its header) of a `CacheFolder`, named by the SHA-256 of pixels, base fingerprint and view. Missing or
damaged entries are recomputed.

Results do not depend on the state of the cache: new embeddings are rounded to half precision too. On the CPU images
are encoded one at a time, so an embedding does not depend on the rest of its batch. On an accelerator another batch
size may change the last bit. SAM 2's neck is summed in the cheaper order of `bases/encoder.py`, whose difference to
the original is far below half precision.
"""

from __future__ import annotations

import logging
import zlib
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from weakref import WeakKeyDictionary

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from samtailor.bases import Base
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
        self, base: Base, images: ImageLike | Sequence[ImageLike], views: Sequence[View] | None = None
    ) -> Features:
        """Embeddings of B images: float32 on the CPU, (B, D, H, W) and skips, without gradients.

        Args:
            base: the base model, on any device.
            images: samples or uint8 RGB arrays (height, width, 3), also mixed; a single one is a batch of one.
            views: one view per image; None for the untransformed images.

        Raises:
            InputError: something is not an image, or the encoder returns infinity or NaN.
        """
        jobs = _jobs(images, views)
        rows: list[Features | None] = [self._read(self._path(base, *job), base) for job in jobs]
        missing = [i for i, row in enumerate(rows) if row is None]
        size = self._batch_size(base)
        for start in range(0, len(missing), size):
            part = missing[start : start + size]
            for i, row in zip(part, self._make(base, [jobs[i] for i in part]), strict=True):
                rows[i] = row
        joined = Features.cat([row for row in rows if row is not None])
        return Features(joined.main.float(), tuple(skip.float() for skip in joined.skips))

    def prepare(
        self,
        base: Base,
        images: Sequence[ImageLike],
        views: Sequence[View] | None = None,
        *,
        progress: Callable[[int, int], None] | None = None,
    ) -> int:
        """Compute missing embeddings without reading existing ones; returns the number computed.

        Args:
            base: the base model.
            images, views: as in `features`.
            progress: called with (done, total) after each image.
        """
        jobs, size, made = _jobs(images, views), self._batch_size(base), 0
        waiting: list[tuple[ImageLike, View]] = []
        for done, job in enumerate(jobs, 1):
            if not self._path(base, *job).exists():
                waiting.append(job)
            if len(waiting) == size or (waiting and done == len(jobs)):
                rows = self._make(base, waiting)
                if made == 0:
                    self._warn_if_too_small(rows[0], len(jobs))
                made += len(waiting)
                waiting = []
            if progress is not None:
                progress(done, len(jobs))
        return made

    def _path(self, base: Base, image: ImageLike, view: View) -> Path:
        key = f"{SCHEMA}\0{self._digests.of(image)}\0{base.fingerprint}\0{view.key}"
        return self._folder.place(key, ".safetensors")

    def _read(self, path: Path, base: Base) -> Features | None:
        """An entry as a batch of one in half precision, memory-mapped; None if it must be computed."""
        try:
            with safe_open(path, framework="pt") as entry:
                tensors = [entry.get_tensor(name) for name in ("main", *_skip_names(entry.keys()))]
                checksum = (entry.metadata() or {}).get("crc32")
            if tensors[0].shape != (base.dim, base.grid, base.grid):
                raise SafetensorError(f"unexpected shape {tuple(tensors[0].shape)}")
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
        return Features(tensors[0][None], tuple(t[None] for t in tensors[1:]))

    def _make(self, base: Base, jobs: Sequence[tuple[ImageLike, View]]) -> list[Features]:
        features = _encode(base, [view.image(_pixels(image)) for image, view in jobs])
        rows = [features[i : i + 1] for i in range(len(jobs))]
        for job, row in zip(jobs, rows, strict=True):
            tensors = {"main": row.main[0]} | {f"skip{i}": skip[0] for i, skip in enumerate(row.skips)}
            tensors = {name: tensor.contiguous() for name, tensor in tensors.items()}
            metadata = {"crc32": _checksum(list(tensors.values())), "base": base.fingerprint}
            path = self._path(base, *job)
            self._folder.write(path, partial(save_file, tensors, metadata=metadata))
            self._checked.discard(path.name)
        return rows

    def _batch_size(self, base: Base) -> int:
        return self._batch or (1 if _device(base).type == "cpu" else 8)

    def _warn_if_too_small(self, row: Features, count: int) -> None:
        needed = count * sum(t.numel() * t.element_size() for t in (row.main, *row.skips))
        if needed > self.max_bytes:
            _log.warning(
                "%s need %.1f GB, but the cache is limited to %.1f GB: images will be encoded repeatedly. "
                "Raise the limit or use fewer views.",
                counted(count, "embedding"),
                needed / 1e9,
                self.max_bytes / 1e9,
            )


def _jobs(images: ImageLike | Sequence[ImageLike], views: Sequence[View] | None) -> list[tuple[ImageLike, View]]:
    listed = [images] if isinstance(images, Sample | np.ndarray) else list(images)
    chosen = [UNTOUCHED] * len(listed) if views is None else list(views)
    if len(chosen) != len(listed) or not listed:
        raise InputError(f"Expected at least one image and one view per image, got {len(listed)} and {len(chosen)}.")
    return list(zip(listed, chosen, strict=True))


def _pixels(image: ImageLike) -> np.ndarray:
    return image if isinstance(image, np.ndarray) else image.image


def _encode(base: Base, images: Sequence[np.ndarray]) -> Features:
    """Embeddings in half precision on the CPU."""
    frames = [Frame.of(base, *image.shape[:2]).image(image, base) for image in images]
    with torch.inference_mode():
        made = _encoder(base).encode_image(torch.stack(frames).to(_device(base))).to("cpu", torch.float16)
    levels = [level.clone() for level in (made.main, *made.skips)]  # inference tensors cannot enter autograd
    if not all(torch.isfinite(level).all() for level in levels):
        raise InputError("The image encoder returned infinity or NaN (in half precision). Its weights are not usable.")
    return Features(levels[0], tuple(levels[1:]))


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


def _skip_names(names: Sequence[str]) -> list[str]:
    return sorted((name for name in names if name.startswith("skip")), key=lambda name: int(name[4:]))


__all__ = ["EmbeddingCache", "ImageLike"]
